"""Onsets and beats of metronomes, noise, silence and losses."""

from __future__ import annotations

import numpy as np
import pytest
from metronome_support import Listener, click_times, found_share, metronome, times
from support import blocks

from realtime_mer.core.events import RhythmEvent, RhythmKind

RATE = 16_000


def noise(
    seconds: float, level: float, seed: int = 0
) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    rng = np.random.default_rng(seed)
    return (level * rng.standard_normal(round(seconds * RATE))).astype(np.float32)


def numbers(rhythm: list[RhythmEvent]) -> list[tuple[float, float, float]]:
    return [(event.t, event.strength, event.bpm or 0.0) for event in rhythm]


@pytest.mark.parametrize("bpm", [75.0, 97.0, 120.0, 133.0, 174.0])
@pytest.mark.parametrize("noise_level", [0.0, 0.01])
def test_a_metronome_has_its_tempo_and_all_its_beats(bpm: float, noise_level: float) -> None:
    tracker = Listener(RATE)
    rhythm = tracker.feed(metronome(bpm, 12.0, RATE) + noise(12.0, noise_level))
    clicks = click_times(bpm, 12.0)
    assert found_share(times(rhythm, RhythmKind.ONSET), clicks, 0.05) >= 0.95
    assert tracker.bpm == pytest.approx(bpm, rel=0.02)
    beats = times(rhythm, RhythmKind.BEAT)
    settled = clicks[clicks > 5.0]
    assert found_share(beats, settled, 0.07) >= 0.9
    assert len([t for t in beats if t > 5.0]) <= len(settled) + 2
    assert all(event.bpm is not None for event in rhythm if event.kind is RhythmKind.BEAT)


@pytest.mark.parametrize(("slow_or_fast", "told"), [(50.0, 100.0), (60.0, 120.0), (200.0, 100.0)])
def test_other_tempi_count_as_the_double_or_the_half(slow_or_fast: float, told: float) -> None:
    tracker = Listener(RATE)
    tracker.feed(metronome(slow_or_fast, 16.0, RATE))
    assert tracker.bpm == pytest.approx(told, rel=0.02)


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 44_100, 48_000, 96_000])
def test_the_times_do_not_depend_on_the_sample_rate(rate_hz: int) -> None:
    clicks = click_times(120.0, 8.0)
    rhythm = Listener(rate_hz).feed(metronome(120.0, 8.0, rate_hz))
    assert found_share(times(rhythm, RhythmKind.ONSET), clicks, 0.02) == 1.0
    assert found_share(times(rhythm, RhythmKind.BEAT), clicks[clicks > 5.0], 0.03) == 1.0


@pytest.mark.parametrize("sizes", [(1, 7, 160), (333,), (1024,), (48_000,)])
def test_the_same_samples_give_the_same_pulses_however_they_are_cut(sizes: tuple[int, ...]) -> None:
    signal = metronome(110.0, 6.0, RATE) + noise(6.0, 0.02)
    whole = Listener(RATE).feed(signal)
    tracker = Listener(RATE)
    cut = [event for block in blocks(signal, sizes) for event in tracker.feed(block)]
    assert [event.kind for event in cut] == [event.kind for event in whole]
    np.testing.assert_allclose(numbers(cut), numbers(whole), atol=1e-6)
    assert times(whole, RhythmKind.BEAT)


def test_pulses_come_soon_after_their_sound() -> None:
    signal, fed = metronome(120.0, 8.0, RATE), 0
    tracker = Listener(RATE)
    delays: dict[RhythmKind, list[float]] = {RhythmKind.ONSET: [], RhythmKind.BEAT: []}
    clicks = click_times(120.0, 8.0)
    for block in blocks(signal, (160,)):
        fed += len(block)
        for event in tracker.feed(block):
            sound = clicks[np.abs(clicks - event.t).argmin()]
            delays[event.kind].append(fed / RATE - sound)
            assert event.t <= fed / RATE
    assert max(delays[RhythmKind.ONSET]) < 0.05
    assert np.median(delays[RhythmKind.BEAT]) < 0.02


def test_noise_has_no_tempo_and_silence_has_nothing() -> None:
    tracker = Listener(RATE)
    assert times(tracker.feed(noise(10.0, 0.1)), RhythmKind.BEAT) == []
    assert tracker.bpm is None
    assert Listener(RATE).feed(np.zeros(10 * RATE, dtype=np.float32)) == []
    assert Listener(RATE).feed(noise(10.0, 1e-4)) == []


def test_after_silence_the_tempo_is_unknown_and_found_again() -> None:
    tracker = Listener(RATE)
    tracker.feed(metronome(100.0, 8.0, RATE))
    assert tracker.bpm is not None
    end = times(tracker.feed(np.zeros(4 * RATE, dtype=np.float32)), RhythmKind.BEAT)
    assert tracker.bpm is None
    assert all(t < 8.0 + 2.5 for t in end)
    rhythm = tracker.feed(metronome(150.0, 8.0, RATE))
    assert tracker.bpm == pytest.approx(150.0, rel=0.02)
    clicks = 12.0 + click_times(150.0, 8.0)
    assert found_share(times(rhythm, RhythmKind.BEAT), clicks[clicks > 17.0], 0.05) >= 0.9


def test_a_change_of_tempo_is_followed() -> None:
    tracker = Listener(RATE)
    tracker.feed(metronome(90.0, 10.0, RATE))
    tracker.feed(metronome(140.0, 12.0, RATE))
    assert tracker.bpm == pytest.approx(140.0, rel=0.02)


@pytest.mark.parametrize(("lost_s", "keeps"), [(0.25, True), (3.0, False)])
def test_times_stay_true_after_a_loss(lost_s: float, keeps: bool) -> None:
    signal = metronome(120.0, 20.0, RATE)
    tracker = Listener(RATE)
    cut, after = round(8.1 * RATE), round((8.1 + lost_s) * RATE)
    tracker.feed(signal[:cut])
    tracker.skip(after - cut)
    rhythm = tracker.feed(signal[after : after + RATE // 50])
    assert (tracker.bpm is not None) == keeps
    rhythm += tracker.feed(signal[after + RATE // 50 :])
    clicks = click_times(120.0, 20.0)
    for kind in RhythmKind:
        assert found_share(times(rhythm, kind), clicks[clicks > 15.0], 0.05) >= 0.9


def test_a_later_start_moves_the_times() -> None:
    signal = metronome(120.0, 6.0, RATE)
    early, late = (Listener(RATE, start=start).feed(signal) for start in (0, 10 * RATE))
    assert [event.t for event in late] == pytest.approx([event.t + 10.0 for event in early])


def test_the_level_does_not_matter() -> None:
    signal = metronome(120.0, 8.0, RATE) * np.float32(1e-2)
    loud = Listener(RATE).feed(signal * np.float32(80.0))
    quiet = Listener(RATE).feed(signal)
    assert all(0.0 < event.strength <= 1.0 for event in loud + quiet)
    assert len(times(loud, RhythmKind.ONSET)) == len(times(quiet, RhythmKind.ONSET))
