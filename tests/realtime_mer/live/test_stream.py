"""The rules of every live stream, under a clock that the test turns."""

from __future__ import annotations

import numpy as np
import pytest
from mer_engine import Engine
from numpy.typing import NDArray
from support import ManualClock, blocks, music, values

from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.pipeline import Pipeline
from realtime_mer.core.types import Estimate, State
from realtime_mer.live.hub import End, Hub, Item, Notice, Subscription
from realtime_mer.live.stats import Counter, Stats, Timing
from realtime_mer.live.stream import LiveStream

RATE = 16_000


class Listening:
    """A stream, its clock and everything that came out of it."""

    def __init__(self, engine: Engine, hop_s: float = 1.0) -> None:
        self.clock = ManualClock()
        self.hub, self.stats = Hub(hop_s=hop_s), Stats()
        pipeline = Pipeline(
            engine, sample_rate_hz=RATE, config=PipelineConfig(hop_s=hop_s), clock=self.clock
        )
        self.stream = LiveStream(
            pipeline, self.hub, self.stats, sample_rate_hz=RATE, clock=self.clock
        )
        self._queue: Subscription = self.hub.subscribe_lossless()

    def items(self) -> list[Item]:
        return self._queue.take()

    def play(self, samples: NDArray[np.float32], size: int = 320) -> None:
        for block in blocks(samples, (size,)):
            self.clock.advance(len(block) / RATE)
            self.stream.feed(block, arrived_at=self.clock.now)


def estimates(items: list[Item]) -> list[Estimate]:
    return [item for item in items if isinstance(item, Estimate)]


def codes(items: list[Item]) -> list[str]:
    return [item.code for item in items if isinstance(item, Notice)]


def test_live_gives_what_the_pipeline_gives(engine: Engine) -> None:
    signal = music(4.0, RATE)
    listening = Listening(engine, hop_s=0.5)
    listening.play(signal)
    alone = Pipeline(engine, sample_rate_hz=RATE, config=PipelineConfig(hop_s=0.5))
    np.testing.assert_allclose(
        values(estimates(listening.items())), values(alone.feed(signal)), atol=1e-5
    )


def test_latency_says_where_the_time_went(engine: Engine) -> None:
    listening = Listening(engine)
    signal = music(1.0, RATE)
    # The estimate falls due at 16,000 samples; its block goes on for 800 more and then waits.
    listening.stream.feed(signal[:15_000], arrived_at=listening.clock.now)
    arrived_at = listening.clock.now
    listening.clock.advance(0.03)
    listening.stream.feed(music(0.1125, RATE), arrived_at=arrived_at)
    (estimate,) = estimates(listening.items())
    assert estimate.latency.buffer_ms == pytest.approx(50.0)
    assert estimate.latency.queue_ms == pytest.approx(30.0)
    assert estimate.latency.window_s == 10.0
    assert listening.stats.histogram(Timing.QUEUE).count == 1
    assert listening.stats[Counter.ESTIMATES] == 1
    assert listening.stats[Counter.LATE_WINDOWS] == 0


def test_what_waits_longer_than_a_hop_is_late(engine: Engine) -> None:
    listening = Listening(engine)
    arrived_at = listening.clock.now
    listening.clock.advance(1.5)
    listening.stream.feed(music(1.0, RATE), arrived_at=arrived_at)
    assert listening.stats[Counter.LATE_WINDOWS] == 1


def test_behind_it_skips_updates_and_counts_them(engine: Engine) -> None:
    listening = Listening(engine)
    listening.stream.feed(music(5.0, RATE), arrived_at=listening.clock.now, behind=True)
    (estimate,) = estimates(listening.items())
    assert estimate.t == 5.0
    assert estimate.seq == 0
    assert listening.stats[Counter.SKIPPED_UPDATES] == 4


def test_no_audio_is_told_at_the_hops_pace_and_holds_the_values(engine: Engine) -> None:
    listening = Listening(engine)
    listening.play(music(3.0, RATE))
    last = estimates(listening.items())[-1]
    listening.stream.tick()
    assert listening.items() == []
    assert listening.stream.due == pytest.approx(listening.clock.now + 2.0)
    listening.clock.advance(1.9)
    listening.stream.tick()
    assert listening.items() == []
    told: list[float] = []
    for _ in range(3):
        listening.clock.now = listening.stream.due
        listening.stream.tick()
        told.append(listening.clock.now)
    items = listening.items()
    held = estimates(items)
    assert np.diff(told) == pytest.approx([1.0, 1.0])
    assert codes(items) == ["stalled"]
    assert [e.seq for e in held] == [last.seq + 1, last.seq + 2, last.seq + 3]
    assert {e.state for e in held} == {State.STALLED}
    assert {(e.valence, e.arousal, e.t) for e in held} == {(last.valence, last.arousal, last.t)}
    assert listening.stream.stalled
    assert listening.stats[Counter.STALLS] == 1


def test_audio_ends_a_stall(engine: Engine) -> None:
    listening = Listening(engine)
    listening.play(music(3.0, RATE))
    listening.clock.advance(5.0)
    listening.stream.tick()
    listening.items()
    listening.play(music(1.0, RATE, seed=1))
    (estimate,) = estimates(listening.items())
    assert estimate.state is State.SETTLING
    assert estimate.t == 4.0
    assert not listening.stream.stalled


@pytest.mark.parametrize(("hop_s", "stall_s"), [(0.1, 1.0), (0.5, 1.0), (0.8, 1.6), (1.0, 2.0)])
def test_when_a_stall_begins(engine: Engine, hop_s: float, stall_s: float) -> None:
    listening = Listening(engine, hop_s)
    assert listening.stream.stall_after_s == pytest.approx(stall_s)
    listening.clock.advance(stall_s + 1e-6)
    listening.stream.tick()
    assert len(estimates(listening.items())) == 1


def test_after_the_machine_slept_one_stalled_estimate_is_enough(engine: Engine) -> None:
    listening = Listening(engine)
    listening.clock.advance(3600.0)
    for _ in range(10):
        listening.stream.tick()
    assert len(estimates(listening.items())) <= 2


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_bad_samples_are_silence_and_told_once(engine: Engine, bad: float) -> None:
    signal = music(3.0, RATE)
    signal[1000] = signal[40_000] = bad
    silenced = np.nan_to_num(signal, nan=0.0, posinf=0.0, neginf=0.0)
    listening, clean = Listening(engine), Listening(engine)
    listening.play(signal)
    clean.play(silenced)
    items = listening.items()
    np.testing.assert_array_equal(values(estimates(items)), values(estimates(clean.items())))
    assert codes(items) == ["bad_samples"]
    assert listening.stats[Counter.BAD_SAMPLES] == 2


def test_lost_input_is_counted_and_time_goes_on(engine: Engine) -> None:
    listening = Listening(engine)
    listening.play(music(2.0, RATE))
    listening.stream.feed(
        music(1.0, RATE), arrived_at=listening.clock.now, dropped_before=3 * RATE, overflows=2
    )
    assert estimates(listening.items())[-1].t == 6.0
    assert listening.stats[Counter.DROPPED_SAMPLES] == 3 * RATE
    assert listening.stats[Counter.OVERFLOWS] == 2


def test_a_long_loss_settles_again(engine: Engine) -> None:
    listening = Listening(engine)
    listening.play(music(11.0, RATE))
    assert estimates(listening.items())[-1].state is State.TRACKING
    listening.stream.lose(30 * RATE)
    listening.play(music(1.0, RATE))
    last = estimates(listening.items())[-1]
    assert (last.state, last.t) == (State.SETTLING, 42.0)


def test_finish_tells_the_end_last(engine: Engine) -> None:
    listening = Listening(engine)
    listening.play(music(0.7, RATE))
    listening.stream.finish("over")
    items = listening.items()
    assert len(estimates(items)) == 1
    assert items[-1] == End("over")
