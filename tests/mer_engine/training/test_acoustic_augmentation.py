"""Acoustic augmentation: the effect of each condition, and alignment with the original."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mer_engine.training.acoustic_augmentation import (
    AcousticAugmentation,
    add_reverberation,
    augment_audio,
    babble,
    clip_peaks,
)
from support import music

RATE = 16_000
SIGNAL = music(4.0, RATE)[:, 0]
UNCHANGED = AcousticAugmentation(drive_share=0, room_share=0, noise_share=0, tone_share=0)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def band_power(samples: np.ndarray, low_hz: float, high_hz: float) -> float:
    power = np.abs(np.fft.rfft(samples)) ** 2
    hertz = np.fft.rfftfreq(len(samples), 1 / RATE)
    return float(power[(hertz >= low_hz) & (hertz < high_hz)].sum())


def test_without_conditions_nothing_changes() -> None:
    np.testing.assert_allclose(augment_audio(SIGNAL, RATE, rng(), UNCHANGED), SIGNAL, rtol=1e-5)


def test_length_level_and_alignment_are_kept() -> None:
    all_conditions = AcousticAugmentation(drive_share=1, room_share=1, noise_share=1, tone_share=1)
    white = 0.1 * rng(1).standard_normal(2 * RATE).astype(np.float32)
    for seed in range(6):
        augmented = augment_audio(white, RATE, rng(seed), all_conditions)
        assert augmented.dtype == np.float32
        assert augmented.shape == white.shape
        assert np.std(augmented) == pytest.approx(np.std(white), rel=0.01)
        assert np.abs(augmented - white).max() > 0.01
        size = 2 * len(white)
        lag = np.fft.irfft(np.fft.rfft(augmented, size) * np.conj(np.fft.rfft(white, size)))
        assert abs((np.argmax(lag) + size // 2) % size - size // 2) <= 2
    assert not np.array_equal(augment_audio(white, RATE, rng(0), all_conditions), augmented)
    np.testing.assert_array_equal(augment_audio(white, RATE, rng(5), all_conditions), augmented)


def test_silence_stays_silence() -> None:
    all_conditions = AcousticAugmentation(drive_share=1, room_share=1, noise_share=1, tone_share=1)
    assert not augment_audio(np.zeros(RATE, np.float32), RATE, rng(), all_conditions).any()


def test_clipping_limits_the_peaks() -> None:
    clean, hard = clip_peaks(SIGNAL, 0.0), clip_peaks(SIGNAL, 12.0)
    assert np.mean(np.abs(clean) >= 1.0) < 0.001
    assert np.mean(np.abs(hard) >= 1.0) > 0.01
    assert np.abs(hard).max() == 1.0


def test_reverberation_decays_after_the_sound() -> None:
    click = np.zeros(RATE)
    click[1000] = 1.0
    reverberant = add_reverberation(click, RATE, rng(), 0.3, 0.0)
    assert reverberant[1000] == pytest.approx(1.0, abs=0.3)
    tail = reverberant[1001:]
    assert np.sum(tail**2) == pytest.approx(1.0, rel=0.3)  # as much energy as the direct sound
    late = np.sum(tail[int(0.3 * RATE) : int(0.34 * RATE)] ** 2)
    assert late < 1e-4 * np.sum(tail[: int(0.04 * RATE)] ** 2)
    assert not reverberant[:1000].max() > 1e-9


def test_babble_has_the_spectrum_and_rhythm_of_voices() -> None:
    noise = babble(4 * RATE, RATE, rng())
    assert band_power(noise, 100, 1000) > 3 * band_power(noise, 2000, 8000)
    assert band_power(noise, 0, 90) < 1e-3 * band_power(noise, 100, 1000)
    loudness = np.sqrt(np.square(noise).reshape(-1, RATE // 20).mean(1))
    assert loudness.std() > 0.1 * loudness.mean()


@pytest.mark.parametrize("ratio_db", [5.0, 25.0])
def test_noise_has_the_signal_to_noise_ratio(ratio_db: float) -> None:
    noisy = augment_audio(
        SIGNAL, RATE, rng(), replace(UNCHANGED, noise_share=1, noise_db=(ratio_db, ratio_db))
    )
    scale = float(noisy @ SIGNAL) / float(SIGNAL @ SIGNAL)
    noise = noisy - scale * SIGNAL
    ratio = 10 * np.log10(np.mean((scale * SIGNAL) ** 2) / np.mean(noise**2))
    assert ratio == pytest.approx(ratio_db, abs=0.7)


def test_another_microphone_attenuates_low_and_high_frequencies() -> None:
    white = rng(1).standard_normal(2 * RATE).astype(np.float32)
    small = AcousticAugmentation(
        drive_share=0, room_share=0, noise_share=0, tone_share=1, tone_db=0.0,
        low_share=1, low_hz=(300, 300), high_share=1, high_hz=(4000, 4000),
    )  # fmt: skip
    filtered = augment_audio(white, RATE, rng(), small)
    middle = band_power(filtered, 800, 2000) / band_power(white, 800, 2000)
    assert band_power(filtered, 0, 100) / band_power(white, 0, 100) < 0.05 * middle
    assert band_power(filtered, 7000, 8000) / band_power(white, 7000, 8000) < 0.2 * middle
