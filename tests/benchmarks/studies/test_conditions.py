"""Each condition changes a signal as its description says."""

from __future__ import annotations

import conditions as module
import numpy as np
import pytest
from conditions import (
    NOISE_DB,
    align,
    clipped_share,
    codec,
    conditions,
    crowd,
    gain,
    knock,
    laptop_microphone,
    small_room,
    telephone,
)
from numpy.typing import NDArray

from realtime_mer.audio.ffmpeg import ffmpeg_path

RATE = 48_000


def sine(hertz: float, seconds: float = 2.0, rate: int = RATE) -> NDArray[np.float32]:
    return (0.2 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype("f4")


def noise(seconds: float = 2.0, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(round(seconds * RATE))).astype(np.float32)


def rms(samples: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))


def decibel(after: NDArray[np.float32], before: NDArray[np.float32]) -> float:
    """Return the change of level, without the first and last 5 % of the signal."""
    edge = len(before) // 20
    return 20 * float(np.log10(rms(after[edge:-edge]) / rms(before[edge:-edge])))


def test_gain_doubles_the_amplitude_and_clips_at_full_scale() -> None:
    louder = gain(sine(440), 6.0206)
    np.testing.assert_allclose(louder, 2 * sine(440), rtol=1e-5)
    assert clipped_share(sine(440), 6.0) == 0.0
    loud = 4 * sine(440)  # peaks of 0.8
    assert np.abs(gain(loud, 6.0206)).max() == 1.0
    # A sine of amplitude 1.6 is above 1 for this share of the time.
    assert clipped_share(loud, 6.0206) == pytest.approx(
        1 - 2 / np.pi * np.arcsin(1 / 1.6), abs=5e-3
    )


def test_a_laptop_microphone_cuts_bass_and_boosts_presence() -> None:
    assert decibel(laptop_microphone(sine(60), RATE)[0], sine(60)) < -18
    assert 3 < decibel(laptop_microphone(sine(900), RATE)[0], sine(900)) < 6
    assert 3 < decibel(laptop_microphone(sine(3200), RATE)[0], sine(3200)) < 6
    assert decibel(laptop_microphone(sine(18_000), RATE)[0], sine(18_000)) < -6


def test_a_telephone_passes_its_band_only() -> None:
    filtered, rate = telephone(sine(1000), RATE)
    assert rate == 8_000
    assert len(filtered) == 16_000
    assert 20 * np.log10(rms(filtered[800:-800]) / rms(sine(1000))) == pytest.approx(0, abs=0.5)
    for hertz in (6000, 100):
        assert rms(telephone(sine(hertz), RATE)[0][800:-800]) < 0.03 * rms(sine(hertz))


def test_a_room_has_its_decay_time_and_keeps_the_level() -> None:
    click = np.zeros(RATE, dtype=np.float32)
    click[100] = 1.0
    wet = small_room(click, RATE, np.random.default_rng(0)) / 1.0
    assert np.argmax(np.abs(wet)) == 100
    energy = np.cumsum(wet[::-1].astype(np.float64) ** 2)[::-1]
    after = [energy[100 + round((0.003 + t) * RATE)] for t in (0.02, 0.22)]
    assert 10 * np.log10(after[0] / after[1]) == pytest.approx(60 * 0.2 / 0.4, abs=2)
    music = noise()
    assert rms(small_room(music, RATE, np.random.default_rng(0))) == pytest.approx(
        rms(music), rel=1e-4
    )


def test_a_knock_is_loud_and_short() -> None:
    music = noise(5.0)
    knocked, rate = knock(music, RATE)
    assert rate == RATE
    change = knocked - 0.1 * music
    first, last = np.flatnonzero(np.abs(change) > 1e-4)[[0, -1]]
    assert 3.0 * RATE <= first < last < 3.1 * RATE
    assert 20 * np.log10(np.abs(change).max() / np.abs(0.1 * music).max()) == pytest.approx(12)
    np.testing.assert_allclose(knock(music[: 2 * RATE], RATE)[0], 0.1 * music[: 2 * RATE])


@pytest.mark.parametrize("below", NOISE_DB)
def test_a_crowd_has_the_requested_level(below: int) -> None:
    music = noise()
    added = crowd(music, RATE, np.random.default_rng(1), snr_db=below) - music
    assert 20 * np.log10(rms(music) / rms(added)) == pytest.approx(below, abs=0.1)
    spectrum = np.abs(np.fft.rfft(added)) ** 2
    hertz = np.fft.rfftfreq(len(added), 1 / RATE)
    low = spectrum[(hertz > 150) & (hertz < 500)].mean()
    assert low > 100 * spectrum[(hertz > 4000) & (hertz < 8000)].mean()


def test_a_crowd_is_modulated() -> None:
    music = noise(4.0)
    added = crowd(music, RATE, np.random.default_rng(1), snr_db=0) - music
    levels = [rms(part) for part in np.split(added[: 40 * 4800], 40)]  # tenths of a second
    assert np.std(levels) / np.mean(levels) > 0.1


def test_alignment_removes_a_delay() -> None:
    music = noise(0.5)
    late = np.concatenate([np.zeros(1105, "f4"), 0.7 * music])
    np.testing.assert_allclose(align(music, late, 4000), 0.7 * music, atol=1e-6)
    early = music[317:]
    np.testing.assert_allclose(align(music, early, 4000)[317:], early, atol=1e-6)
    assert not align(music, early, 4000)[:317].any()


@pytest.mark.skipif(ffmpeg_path() is None, reason="ffmpeg is not installed")
@pytest.mark.parametrize("name", ["mp3", "opus"])
def test_a_codec_returns_a_similar_aligned_signal(name: str) -> None:
    rng = np.random.default_rng(0)
    music = sum(sine(f, 2.0) * np.float32(0.3) for f in (220, 277, 330)) * np.float32(1.0)
    music = (music * (0.2 + rng.random(20).repeat(4800))).astype(np.float32)
    decoded, rate = codec(music, RATE, name=name)
    assert rate == RATE
    assert decoded.shape == music.shape
    assert not np.array_equal(decoded, music)
    inner = slice(4800, -4800)
    assert np.corrcoef(decoded[inner], music[inner])[0, 1] > 0.99
    assert np.abs(np.diff(decoded)).max() < 0.2


def test_random_changes_depend_on_seed_and_clip() -> None:
    available = {c.name: c for c in conditions(seed=3)[0]}
    other = {c.name: c for c in conditions(seed=4)[0]}
    room, music = available["small room"].change, noise(0.5)
    np.testing.assert_array_equal(room(music, RATE)[0], room(music, RATE)[0])
    assert not np.array_equal(room(music, RATE)[0], other["small room"].change(music, RATE)[0])


def test_channels_and_rates() -> None:
    available = {c.name: c for c in conditions()[0]}
    music = noise(0.5)
    left, _ = available["stereo, left only"].change(music, RATE)
    np.testing.assert_array_equal(left[:, 0], music)
    assert not left[:, 1].any()
    assert available["fed at 96 kHz"].change(music, RATE)[1] == 96_000
    assert len(available["fed at 96 kHz"].change(music, RATE)[0]) == 2 * len(music)


def test_codecs_are_skipped_without_ffmpeg(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "ffmpeg_path", lambda: None)
    available, skipped = conditions()
    assert not [c for c in available if c.group == "codec"]
    assert len(skipped) == 2
    assert "needs ffmpeg" in skipped[0]
