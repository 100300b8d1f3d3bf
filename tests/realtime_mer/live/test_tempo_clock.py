"""The beats of the music as a clock."""

from __future__ import annotations

import numpy as np
import pytest
from mer_engine import Engine
from metronome_support import click_times, metronome
from support import ManualClock, blocks

from realtime_mer.core.events import RhythmEvent, RhythmKind
from realtime_mer.core.pipeline import Pipeline
from realtime_mer.core.requests import run
from realtime_mer.live.hub import Hub
from realtime_mer.live.stats import Stats
from realtime_mer.live.stream import LiveStream
from realtime_mer.live.tempo_clock import BeatClock

RATE = 16_000


class Beats:
    """A hub that publishes beats at times of a manual clock, 50 s after those of the stream."""

    def __init__(self) -> None:
        self.clock, self.hub = ManualClock(), Hub()
        self.beats = BeatClock(self.hub, clock=self.clock)

    def beat(self, t: float, *, bpm: float | None = 120.0, late_s: float = 0.0) -> None:
        self.clock.now = 50.0 + t + late_s
        kind = RhythmKind.ONSET if bpm is None else RhythmKind.BEAT
        self.hub.publish(RhythmEvent(kind, t, 0.5, bpm))

    def until(self, t: float, beats: int = 1) -> float | None:
        return self.beats.seconds_to_beat(50.0 + t, beats)


def test_the_next_beat_and_the_next_bar() -> None:
    show = Beats()
    assert show.until(0.0) is None
    for number in range(6):
        show.beat(10.0 + 0.5 * number)
    # The newest beat, at 12.5 s, is the sixth: its number is 5.
    assert show.until(12.6) == pytest.approx(0.4)
    assert show.until(12.6, 2) == pytest.approx(0.4)
    assert show.until(12.6, 4) == pytest.approx(1.4)
    assert show.until(13.0) == pytest.approx(0.0, abs=1e-6)
    assert show.until(12.4) == pytest.approx(0.1)


def test_a_beat_that_arrives_late_moves_nothing() -> None:
    show = Beats()
    for number in range(8):
        show.beat(10.0 + 0.5 * number, late_s=0.08 * (number % 3))
    assert show.until(13.75) == pytest.approx(0.25, abs=0.01)


def test_a_beat_that_was_not_found_is_counted() -> None:
    show = Beats()
    for t in (10.0, 10.5, 11.5, 12.0):
        show.beat(t)
    assert show.until(12.1, 8) == pytest.approx(1.9)  # the newest is number 4


def test_after_a_pause_of_the_input_the_new_times_hold() -> None:
    show = Beats()
    show.beat(10.0)
    show.beat(10.5, late_s=1.2)
    assert show.until(11.8) == pytest.approx(0.4)


def test_without_beats_or_tempo_nothing_is_known() -> None:
    show = Beats()
    show.beat(10.0)
    assert show.until(11.9) is not None
    assert show.until(12.1) is None
    show.beat(12.2)
    show.beat(12.3, bpm=None)
    assert show.until(12.4) is None


def test_beats_are_looked_for_while_the_clock_is_open() -> None:
    show = Beats()
    assert show.hub.wants_rhythm
    with show.beats:
        pass
    assert not show.hub.wants_rhythm


def test_it_follows_music(engine: Engine) -> None:
    clock, hub = ManualClock(), Hub()
    stream = LiveStream(Pipeline(engine, sample_rate_hz=RATE, clock=clock), hub, Stats())
    began = clock.now
    with BeatClock(hub, clock=clock) as beats:
        for block in blocks(metronome(100.0, 10.0, RATE), (1024,)):
            clock.advance(len(block) / RATE)
            run(stream.pipeline.engine, stream.feed_requests(block, arrived_at=clock.now))
        until = beats.seconds_to_beat(clock.now)
    assert until is not None
    clicks = click_times(100.0, 20.0)
    assert float(np.abs(clicks - (clock.now - began + until)).min()) < 0.08
