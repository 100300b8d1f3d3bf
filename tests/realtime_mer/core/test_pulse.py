"""Pulses of tones, quiet and loud sound, silence and hum."""

from __future__ import annotations

import numpy as np
import pytest
from metronome_support import click_times, metronome
from numpy.typing import NDArray
from support import blocks, music

from realtime_mer.core.onset_detector import OnsetDetector
from realtime_mer.core.pulse import BANDS, EDGES_HZ, Pulse, PulseMeter

RATE = 44_100
NOTHING = (0.0,) * BANDS


class Meter:
    """An onset detector and the meter that follows it."""

    def __init__(self, rate_hz: int = RATE, *, start: int = 0) -> None:
        self.detector = OnsetDetector(rate_hz, start=start)
        self.meter = PulseMeter(self.detector.flux.edges_hz, silence_db=-60.0)

    def feed(self, samples: NDArray[np.float32]) -> list[Pulse]:
        return self.meter.follow(self.detector.feed(samples))


def tone(hz: float, db: float, seconds: float = 2.0, rate_hz: int = RATE) -> NDArray[np.float32]:
    """Render a sine of an RMS level: float32 [n]."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    wave: NDArray[np.float64] = 10 ** (db / 20) * np.sqrt(2.0) * np.sin(2 * np.pi * hz * t)
    return wave.astype(np.float32)


def noise(db: float, seconds: float = 4.0) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    return (10 ** (db / 20) * rng.standard_normal(round(seconds * RATE))).astype(np.float32)


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000, 96_000])
def test_there_are_fifty_a_second_at_their_stream_times(rate_hz: int) -> None:
    pulses = Meter(rate_hz, start=3 * rate_hz).feed(tone(440.0, -20.0, 2.0, rate_hz))
    assert [pulse.t for pulse in pulses] == pytest.approx(3.0 + 0.02 * np.arange(1, 101))


@pytest.mark.parametrize("sizes", [(1, 7, 160), (882,), (44_100,)])
def test_the_same_samples_give_the_same_pulses_however_they_are_cut(sizes: tuple[int, ...]) -> None:
    signal = music(3.0, RATE)[:, 0]
    whole = Meter().feed(signal)
    meter = Meter()
    cut = [pulse for block in blocks(signal, sizes) for pulse in meter.feed(block)]
    assert len(cut) == len(whole)
    for one, other in zip(cut, whole, strict=True):
        assert one.level_db == pytest.approx(other.level_db, abs=1e-3)
        assert one.bands == pytest.approx(other.bands, abs=1e-4)


@pytest.mark.parametrize("db", [-40.0, -20.0, -6.0])
def test_the_level_is_the_rms_level(db: float) -> None:
    assert Meter().feed(tone(1000.0, db))[-1].level_db == pytest.approx(db, abs=0.3)
    assert Meter().feed(noise(db))[-1].level_db == pytest.approx(db, abs=4.0)


@pytest.mark.parametrize("band", range(1, BANDS))
def test_a_tone_is_in_its_band(band: int) -> None:
    middle_hz = float(np.sqrt(EDGES_HZ[band] * EDGES_HZ[band + 1]))
    bands = Meter().feed(tone(middle_hz, -20.0))[-1].bands
    assert int(np.argmax(bands)) == band
    assert bands[band] > 0.95
    assert sum(bands) - bands[band] < 0.3


def test_bass_is_in_the_first_band_where_there_are_overtones() -> None:
    bands = Meter().feed(tone(62.0, -15.0) + tone(310.0, -35.0))[-1].bands
    assert bands[0] > 0.95


def test_quiet_and_loud_music_look_alike() -> None:
    signal = music(8.0, RATE)[:, 0]
    signal *= 10 ** (-14 / 20) / np.sqrt(np.mean(signal**2))
    for gain in (1.0, 0.1, 0.02):  # down to -48 dBFS
        pulses = Meter().feed(signal * np.float32(gain))[200:]
        values = np.array([pulse.bands for pulse in pulses])
        assert values.max() > 0.4, gain
        assert values.min() < 0.2, gain
        assert values.max() <= 1.0, gain
        assert values.min() >= 0.0, gain


def test_the_gain_follows_a_fall_of_the_level() -> None:
    meter = Meter()
    loud, quiet = meter.feed(tone(1000.0, -10.0)), meter.feed(tone(1000.0, -30.0, 12.0))
    assert loud[-1].bands[3] > 0.95
    assert 0.05 < quiet[10].bands[3] < 0.2
    assert quiet[-1].bands[3] > 0.95


@pytest.mark.parametrize(
    "signal",
    [
        np.zeros(2 * RATE, dtype=np.float32),
        np.full(2 * RATE, 0.3, dtype=np.float32),
        tone(50.0, -13.0),
        tone(60.0, -13.0) + noise(-70.0, 2.0),
        noise(-62.0),
    ],
    ids=["silence", "offset", "hum 50 Hz", "hum 60 Hz and noise", "noise"],
)
def test_silence_and_hum_are_nothing(signal: NDArray[np.float32]) -> None:
    # The window of the first frames cuts into the start.
    for pulse in Meter().feed(signal)[5:]:
        assert (pulse.level_db, pulse.bands, pulse.onset) == (-120.0, NOTHING, 0.0)


def test_the_noise_of_a_room_stays_small() -> None:
    values = np.array([pulse.bands for pulse in Meter().feed(noise(-50.0))[20:]])
    assert values.max() < 0.4


def test_each_click_has_an_onset_soon_after_it() -> None:
    signal, clicks = metronome(120.0, 6.0, RATE), click_times(120.0, 6.0)
    told = [(pulse.t, pulse.onset) for pulse in Meter().feed(signal) if pulse.onset]
    assert len(told) == len(clicks)
    for (t, onset), click in zip(told, clicks, strict=True):
        assert 0.0 < t - click < 0.07
        assert 0.5 < onset <= 1.0


def test_times_stay_true_after_a_long_loss() -> None:
    meter = Meter()
    signal = tone(1000.0, -20.0, 6.0)
    meter.feed(signal[: 2 * RATE])
    assert meter.meter.follow(meter.detector.skip(RATE)) == []
    assert meter.feed(signal[: RATE // 10])[0].t == pytest.approx(3.02)


def test_a_message_has_few_digits() -> None:
    pulse = Pulse(1.2345, -20.06, (0.123,) * BANDS, 0.555)
    assert pulse.to_dict() == {"t": 1.23, "level_db": -20.1, "bands": [0.12] * 6, "onset": 0.56}
