"""Music in other places: what each of them does, and that the music stays in time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mer_engine.training.acoustic_augmentation import (
    AcousticAugmentation,
    drive,
    people,
    play,
    room,
)
from support import music

RATE = 16_000
SIGNAL = music(4.0, RATE)[:, 0]
NOWHERE = AcousticAugmentation(drive_share=0, room_share=0, noise_share=0, tone_share=0)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def band_power(samples: np.ndarray, low_hz: float, high_hz: float) -> float:
    power = np.abs(np.fft.rfft(samples)) ** 2
    hertz = np.fft.rfftfreq(len(samples), 1 / RATE)
    return float(power[(hertz >= low_hz) & (hertz < high_hz)].sum())


def test_nowhere_changes_nothing() -> None:
    np.testing.assert_allclose(play(SIGNAL, RATE, rng(), NOWHERE), SIGNAL, rtol=1e-5)


def test_every_place_keeps_length_level_and_time() -> None:
    everywhere = AcousticAugmentation(drive_share=1, room_share=1, noise_share=1, tone_share=1)
    white = 0.1 * rng(1).standard_normal(2 * RATE).astype(np.float32)
    for seed in range(6):
        played = play(white, RATE, rng(seed), everywhere)
        assert played.dtype == np.float32
        assert played.shape == white.shape
        assert np.std(played) == pytest.approx(np.std(white), rel=0.01)
        assert np.abs(played - white).max() > 0.01
        size = 2 * len(white)
        lag = np.fft.irfft(np.fft.rfft(played, size) * np.conj(np.fft.rfft(white, size)))
        assert abs((np.argmax(lag) + size // 2) % size - size // 2) <= 2
    assert not np.array_equal(play(white, RATE, rng(0), everywhere), played)
    np.testing.assert_array_equal(play(white, RATE, rng(5), everywhere), played)


def test_silence_stays_silence() -> None:
    everywhere = AcousticAugmentation(drive_share=1, room_share=1, noise_share=1, tone_share=1)
    assert not play(np.zeros(RATE, np.float32), RATE, rng(), everywhere).any()


def test_driving_cuts_off_the_peaks() -> None:
    clean, hard = drive(SIGNAL, 0.0), drive(SIGNAL, 12.0)
    assert np.mean(np.abs(clean) >= 1.0) < 0.001
    assert np.mean(np.abs(hard) >= 1.0) > 0.01
    assert np.abs(hard).max() == 1.0


def test_a_room_rings_on_after_the_sound() -> None:
    click = np.zeros(RATE)
    click[1000] = 1.0
    rung = room(click, RATE, rng(), 0.3, 0.0)
    assert rung[1000] == pytest.approx(1.0, abs=0.3)
    tail = rung[1001:]
    assert np.sum(tail**2) == pytest.approx(1.0, rel=0.3)  # as strong as the direct sound
    late = np.sum(tail[int(0.3 * RATE) : int(0.34 * RATE)] ** 2)
    assert late < 1e-4 * np.sum(tail[: int(0.04 * RATE)] ** 2)
    assert not rung[:1000].max() > 1e-9


def test_people_talk_in_the_band_of_voices_and_in_syllables() -> None:
    noise = people(4 * RATE, RATE, rng())
    assert band_power(noise, 100, 1000) > 3 * band_power(noise, 2000, 8000)
    assert band_power(noise, 0, 90) < 1e-3 * band_power(noise, 100, 1000)
    loudness = np.sqrt(np.square(noise).reshape(-1, RATE // 20).mean(1))
    assert loudness.std() > 0.1 * loudness.mean()


@pytest.mark.parametrize("below", [5.0, 25.0])
def test_noise_lies_as_far_below_the_music_as_it_should(below: float) -> None:
    noisy = play(SIGNAL, RATE, rng(), replace(NOWHERE, noise_share=1, noise_db=(below, below)))
    scale = float(noisy @ SIGNAL) / float(SIGNAL @ SIGNAL)
    noise = noisy - scale * SIGNAL
    ratio = 10 * np.log10(np.mean((scale * SIGNAL) ** 2) / np.mean(noise**2))
    assert ratio == pytest.approx(below, abs=0.7)


def test_another_microphone_loses_the_corners_of_the_spectrum() -> None:
    white = rng(1).standard_normal(2 * RATE).astype(np.float32)
    small = AcousticAugmentation(
        drive_share=0, room_share=0, noise_share=0, tone_share=1, tone_db=0.0,
        low_share=1, low_hz=(300, 300), high_share=1, high_hz=(4000, 4000),
    )  # fmt: skip
    heard = play(white, RATE, rng(), small)
    middle = band_power(heard, 800, 2000) / band_power(white, 800, 2000)
    assert band_power(heard, 0, 100) / band_power(white, 0, 100) < 0.05 * middle
    assert band_power(heard, 7000, 8000) / band_power(white, 7000, 8000) < 0.2 * middle
