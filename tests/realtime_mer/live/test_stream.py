"""The rules of every live stream, with a manual clock."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mer_engine import Engine
from metronome_support import click_times, found_share, metronome, times
from numpy.typing import NDArray
from support import FaultInjector, FaultyEngine, ManualClock, blocks, music, values

from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.events import Event, EventKind, RhythmEvent, RhythmKind
from realtime_mer.core.pipeline import Pipeline
from realtime_mer.core.requests import Computation, run
from realtime_mer.core.sound_gate import SoundGate
from realtime_mer.core.types import Estimate, State
from realtime_mer.live.hub import End, Hub, Item, Notice, Subscription
from realtime_mer.live.stats import Counter, Stats, Timing
from realtime_mer.live.stream import LiveStream

RATE = 16_000


class Stage:
    """A live stream with its clock and the items that it published."""

    def __init__(self, engine: Engine, hop_s: float = 1.0) -> None:
        self.clock = ManualClock()
        self.hub, self.stats = Hub(hop_s=hop_s), Stats()
        pipeline = Pipeline(
            engine, sample_rate_hz=RATE, config=PipelineConfig(hop_s=hop_s), clock=self.clock
        )
        self.stream = LiveStream(pipeline, self.hub, self.stats)
        self._queue: Subscription = self.hub.subscribe_lossless()

    def items(self) -> list[Item]:
        return self._queue.take()

    def feed(self, samples: NDArray[np.float32], **options: Any) -> None:
        options.setdefault("arrived_at", self.clock.now)
        self.run(self.stream.feed_requests(samples, **options))

    def play(self, samples: NDArray[np.float32], size: int = 320) -> None:
        for block in blocks(samples, (size,)):
            self.clock.advance(len(block) / RATE)
            self.feed(block)

    def run(self, computation: Computation[None]) -> None:
        run(self.stream.pipeline.engine, computation)


def estimates(items: list[Item]) -> list[Estimate]:
    return [item for item in items if isinstance(item, Estimate)]


def codes(items: list[Item]) -> list[str]:
    return [item.code for item in items if isinstance(item, Notice)]


def test_live_equals_offline(engine: Engine) -> None:
    signal = music(4.0, RATE)
    stage = Stage(engine, hop_s=0.5)
    stage.play(signal)
    alone = Pipeline(engine, sample_rate_hz=RATE, config=PipelineConfig(hop_s=0.5))
    np.testing.assert_allclose(
        values(estimates(stage.items())), values(alone.feed(signal)), atol=1e-5
    )


def test_changes_follow_the_estimates_that_complete_them(engine: Engine) -> None:
    stage = Stage(engine, hop_s=0.5)
    stage.play(np.concatenate((np.zeros(2 * RATE), music(4.0, RATE)[:, 0])).astype(np.float32))
    items = stage.items()
    changes = [item for item in items if isinstance(item, Event)]
    assert [change.kind for change in changes] == [EventKind.MUSIC, EventKind.MOOD_ENTER]
    assert (changes[0].t, changes[0].detected_t) == (2.0, 3.5)
    before = items[items.index(changes[0]) - 1]
    assert isinstance(before, Estimate)
    assert before.t == 3.5


def test_a_stall_is_no_silence(engine: Engine) -> None:
    stage = Stage(engine, hop_s=0.5)
    stage.play(music(4.0, RATE))
    stage.items()
    for _ in range(10):
        stage.clock.advance(0.5)
        stage.stream.tick()
    stage.play(music(4.0, RATE))
    items = stage.items()
    assert any(item.state is State.STALLED for item in estimates(items))
    kinds = [item.kind for item in items if isinstance(item, Event)]
    assert EventKind.SILENCE not in kinds
    assert EventKind.MUSIC not in kinds


def test_latencies_of_an_estimate(engine: Engine) -> None:
    stage = Stage(engine)
    signal = music(1.0, RATE)
    # The estimate is due at 16,000 samples; its block has 800 more and waits for 30 ms.
    stage.feed(signal[:15_000])
    arrived_at = stage.clock.now
    stage.clock.advance(0.03)
    stage.feed(music(0.1125, RATE), arrived_at=arrived_at)
    (estimate,) = estimates(stage.items())
    assert estimate.latency.buffer_ms == pytest.approx(50.0)
    assert estimate.latency.queue_ms == pytest.approx(30.0)
    assert estimate.latency.window_s == 10.0
    assert stage.stats.histogram(Timing.QUEUE).count == 1
    assert stage.stats[Counter.ESTIMATES] == 1
    assert stage.stats[Counter.LATE_WINDOWS] == 0


def test_an_estimate_more_than_a_hop_after_its_audio_is_late(engine: Engine) -> None:
    stage = Stage(engine)
    arrived_at = stage.clock.now
    stage.clock.advance(1.5)
    stage.feed(music(1.0, RATE), arrived_at=arrived_at)
    assert stage.stats[Counter.LATE_WINDOWS] == 1


def test_a_late_stream_skips_updates_and_counts_them(engine: Engine) -> None:
    stage = Stage(engine)
    stage.feed(music(5.0, RATE), only_latest=True)
    (estimate,) = estimates(stage.items())
    assert estimate.t == 5.0
    assert estimate.seq == 0
    assert stage.stats[Counter.SKIPPED_UPDATES] == 4


def test_a_stall_repeats_the_last_values_once_per_hop(engine: Engine) -> None:
    stage = Stage(engine)
    stage.play(music(3.0, RATE))
    last = estimates(stage.items())[-1]
    stage.stream.tick()
    assert stage.items() == []
    assert stage.stream.due == pytest.approx(stage.clock.now + 2.0)
    stage.clock.advance(1.9)
    stage.stream.tick()
    assert stage.items() == []
    times: list[float] = []
    for _ in range(3):
        stage.clock.now = stage.stream.due
        stage.stream.tick()
        times.append(stage.clock.now)
    items = stage.items()
    stalled = estimates(items)
    assert np.diff(times) == pytest.approx([1.0, 1.0])
    assert codes(items) == ["stalled"]
    assert [e.seq for e in stalled] == [last.seq + 1, last.seq + 2, last.seq + 3]
    assert {e.state for e in stalled} == {State.STALLED}
    assert {(e.valence, e.arousal, e.t) for e in stalled} == {(last.valence, last.arousal, last.t)}
    assert stage.stream.stalled
    assert stage.stats[Counter.STALLS] == 1


def test_audio_ends_a_stall(engine: Engine) -> None:
    stage = Stage(engine)
    stage.play(music(3.0, RATE))
    stage.clock.advance(5.0)
    stage.stream.tick()
    stage.items()
    stage.play(music(1.0, RATE, seed=1))
    (estimate,) = estimates(stage.items())
    assert estimate.state is State.SETTLING
    assert estimate.t == 4.0
    assert not stage.stream.stalled


@pytest.mark.parametrize(("hop_s", "stall_s"), [(0.1, 1.0), (0.5, 1.0), (0.8, 1.6), (1.0, 2.0)])
def test_start_of_a_stall(engine: Engine, hop_s: float, stall_s: float) -> None:
    stage = Stage(engine, hop_s)
    assert stage.stream.stall_after_s == pytest.approx(stall_s)
    stage.clock.advance(stall_s + 1e-6)
    stage.stream.tick()
    assert len(estimates(stage.items())) == 1


def test_after_sleep_of_the_machine_one_stalled_estimate_is_published(engine: Engine) -> None:
    stage = Stage(engine)
    stage.clock.advance(3600.0)
    for _ in range(10):
        stage.stream.tick()
    assert len(estimates(stage.items())) <= 2


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e18, -1e30, 100.0])
def test_bad_samples_count_as_silence_with_one_notice(engine: Engine, bad: float) -> None:
    signal = music(3.0, RATE)
    signal[1000] = signal[40_000] = bad
    silenced = signal.copy()
    silenced[1000] = silenced[40_000] = 0.0
    stage, clean = Stage(engine), Stage(engine)
    stage.play(signal)
    clean.play(silenced)
    items = stage.items()
    np.testing.assert_array_equal(values(estimates(items)), values(estimates(clean.items())))
    assert codes(items) == ["bad_samples"]
    assert stage.stats[Counter.BAD_SAMPLES] == 2


def test_a_failing_engine_is_counted_and_told_once_per_outage(engine: Engine) -> None:
    """Calls 2 and 3 are one outage, call 9 another."""
    stage = Stage(FaultyEngine(engine, "probabilities", {2, 3, 9}))
    stage.play(music(14.0, RATE))
    items = stage.items()
    assert [e.t for e in estimates(items)] == [float(t) for t in range(1, 15)]
    assert codes(items) == ["engine_failed", "engine_back"] * 2
    notices = [item.message for item in items if isinstance(item, Notice)]
    assert notices[0] == (
        f"the backend {engine.backend} failed (NotFiniteError: it returned numbers that are not "
        "finite); the last values are repeated while it fails"
    )
    assert [notices[1], notices[3]] == [
        "the engine works again; 2 updates failed",
        "the engine works again; 1 update failed",
    ]
    assert stage.stats[Counter.FAULTY_UPDATES] == 3


@pytest.mark.parametrize("error", [RuntimeError("CUDA failure 700"), MemoryError()])
def test_a_stream_whose_engine_stays_failing_is_stalled_and_recovers(
    engine: Engine, error: Exception
) -> None:
    injector = FaultInjector(engine)
    stage = Stage(injector)
    signal = music(24.0, RATE)
    stage.play(signal[: 4 * RATE])
    injector.error = error
    stage.play(signal[4 * RATE : 12 * RATE])
    assert injector.calls == 4 + 2 * 8  # each failed call is repeated once, and no more
    injector.error = None
    stage.play(signal[12 * RATE :])
    items = stage.items()
    got = estimates(items)
    assert [e.seq for e in got] == list(range(24))
    assert [e.t for e in got] == [float(t) for t in range(1, 25)]
    stalled = [e.t for e in got if e.state is State.STALLED]
    assert stalled == [10.0, 11.0, 12.0]
    assert len({e.valence for e in got[3:12]}) == 1
    assert codes(items) == ["engine_failed", "engine_back"]
    # With all of its window heard again, the stream is what it would have been.
    alone = Pipeline(engine, sample_rate_hz=RATE).feed(signal)
    np.testing.assert_allclose(values(got[-1:]), values(alone[-1:]), atol=1e-5)


def test_features_that_fail_become_silence_in_their_time(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    stage = Stage(engine)
    signal = music(6.0, RATE)
    stage.play(signal[: 2 * RATE])
    with monkeypatch.context() as patch:
        patch.setattr("realtime_mer.core.requests.features_of", fail)
        stage.play(signal[2 * RATE : 3 * RATE])
    stage.play(signal[3 * RATE :])
    items = stage.items()
    assert [e.t for e in estimates(items)] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert codes(items) == ["engine_failed", "engine_back"]
    assert stage.stats[Counter.FAULTY_UPDATES] == 1


def test_a_call_that_does_not_return_is_told_and_the_values_are_repeated(engine: Engine) -> None:
    """Another thread calls `wait_for_engine` while the stream's own is in the engine."""
    injector = FaultInjector(engine)
    stage = Stage(injector)
    stage.play(music(2.0, RATE))
    before = stage.items()

    def wait() -> None:
        for waited_s in (5.0, 5.5, 6.0, 6.5, 7.0):
            stage.stream.wait_for_engine(waited_s)
            stage.clock.advance(0.5)

    injector.before = wait
    stage.play(music(1.0, RATE))
    injector.before = lambda: None
    stage.play(music(1.0, RATE))
    items = stage.items()
    assert codes(items) == ["engine_stalled", "engine_back"]
    got = estimates(items)
    assert [(e.t, e.state is State.STALLED) for e in got] == [
        *[(3.0, True)] * 3, (3.0, False), (4.0, False),
    ]  # fmt: skip
    assert [e.seq for e in estimates(before) + got] == list(range(7))
    assert got[0].latency.compute_ms == 0.0
    assert got[3].latency.compute_ms == pytest.approx(2500.0)


def test_lost_input_is_counted_and_time_goes_on(engine: Engine) -> None:
    stage = Stage(engine)
    stage.play(music(2.0, RATE))
    stage.feed(music(1.0, RATE), dropped_before=3 * RATE, overflows=2)
    assert estimates(stage.items())[-1].t == 6.0
    assert stage.stats[Counter.DROPPED_SAMPLES] == 3 * RATE
    assert stage.stats[Counter.OVERFLOWS] == 2


def test_a_long_loss_empties_the_window(engine: Engine) -> None:
    stage = Stage(engine)
    stage.play(music(11.0, RATE))
    assert estimates(stage.items())[-1].state is State.TRACKING
    stage.run(stage.stream.skip_requests(30 * RATE))
    stage.play(music(1.0, RATE))
    last = estimates(stage.items())[-1]
    assert (last.state, last.t) == (State.SETTLING, 42.0)


def test_finish_publishes_the_end_last(engine: Engine) -> None:
    stage = Stage(engine)
    stage.play(music(0.7, RATE))
    stage.run(stage.stream.finish_requests("over"))
    items = stage.items()
    assert len(estimates(items)) == 1
    assert items[-1] == End("over")


def test_onsets_and_beats_are_looked_for_while_someone_wants_them(engine: Engine) -> None:
    stage = Stage(engine)
    signal = metronome(120.0, 16.0, RATE)
    clicks = click_times(120.0, 16.0)
    stage.play(signal[: 2 * RATE])
    queue = stage.hub.subscribe_bounded(1_000, rhythm=True)
    stage.play(signal[2 * RATE : 8 * RATE])
    rhythm = queue.take()
    heard = clicks[(clicks > 2.0) & (clicks < 7.9)]
    assert found_share(times(rhythm, RhythmKind.ONSET), heard, 0.05) == 1.0
    assert found_share(times(rhythm, RhythmKind.BEAT), heard[heard > 6.5], 0.05) == 1.0
    # 1 s is lost, and the times stay those of the stream.
    stage.feed(signal[9 * RATE : 10 * RATE], dropped_before=RATE)
    stage.run(stage.stream.skip_requests(RATE // 4))
    stage.play(signal[10 * RATE + RATE // 4 : 15 * RATE])
    after = times(queue.take(), RhythmKind.ONSET)
    assert found_share(after, clicks[(clicks > 10.5) & (clicks < 14.9)], 0.05) == 1.0
    assert min(after) > 8.9
    stage.hub.unsubscribe(queue)
    stage.play(signal[15 * RATE :])
    assert queue.take() == []
    assert times(stage.items(), RhythmKind.ONSET) == []


def test_pulses_are_made_while_someone_wants_them(engine: Engine) -> None:
    stage = Stage(engine)
    signal = metronome(120.0, 8.0, RATE)
    stage.play(signal[:RATE])
    queue = stage.hub.subscribe_pulses(lambda: None)
    # One block, longer than a queue.
    stage.play(signal[RATE : 2 * RATE], size=RATE)
    assert [pulse.t for pulse in queue.take()] == pytest.approx(2.0 - 0.02 * np.arange(25)[::-1])
    stage.play(signal[2 * RATE : 2 * RATE + RATE // 4])
    assert [pulse.t for pulse in queue.take()] == pytest.approx(2.0 + 0.02 * np.arange(1, 13))
    # What is lost has none, and the times stay those of the stream.
    stage.feed(signal[4 * RATE : 4 * RATE + RATE // 10], dropped_before=2 * RATE - RATE // 4)
    assert [pulse.t for pulse in queue.take()] == pytest.approx(4.0 + 0.02 * np.arange(1, 6))
    stage.clock.advance(5.0)
    stage.stream.tick()
    assert queue.take() == []
    # Onsets are those that another subscriber finds beside them.
    rhythm = stage.hub.subscribe_bounded(1_000, rhythm=True)
    stage.play(signal[5 * RATE : 6 * RATE])
    told = [pulse for pulse in queue.take() if pulse.onset]
    onsets = [e for e in rhythm.take() if isinstance(e, RhythmEvent) and e.kind is RhythmKind.ONSET]
    assert len(onsets) == 2
    assert told[-1].onset == onsets[-1].strength
    stage.hub.unsubscribe_pulses(queue)
    stage.hub.unsubscribe_pulses(queue)
    stage.play(signal[6 * RATE : 7 * RATE])
    assert queue.take() == []
    assert len(times(rhythm.take(), RhythmKind.ONSET)) == 2


def test_pulses_change_no_estimate(engine: Engine) -> None:
    signal = music(3.0, RATE)
    plain, pulsing = Stage(engine, hop_s=0.5), Stage(engine, hop_s=0.5)
    pulsing.hub.subscribe_pulses(lambda: None)
    plain.play(signal)
    pulsing.play(signal)
    assert values(estimates(plain.items())).tolist() == values(estimates(pulsing.items())).tolist()


def test_an_absence_stands_until_it_is_over(engine: Engine) -> None:
    stage = Stage(engine)
    stream = stage.stream
    assert stream.standing == []
    stage.clock.advance(2.0)
    stream.tick()
    assert codes(list(stream.standing)) == ["stalled"]
    stage.play(music(0.5, RATE))
    assert stream.standing == []
    stream.lose_input("unplugged; waiting for it to come back")
    stage.clock.advance(3.0)
    stream.tick()
    assert stream.standing == [Notice("input_lost", "unplugged; waiting for it to come back")]
    stream.stay_lost("busy; still waiting for it to come back")
    assert stream.standing == [Notice("input_lost", "busy; still waiting for it to come back")]
    stream.regain_input("the microphone is back")
    assert stream.standing == []
    assert codes(stage.items()) == ["stalled", "input_lost", "input_lost", "input_back"]


def test_bad_samples_do_not_hide_the_onsets_around_them(engine: Engine) -> None:
    stage = Stage(engine)
    queue = stage.hub.subscribe_bounded(1_000, rhythm=True)
    signal = metronome(120.0, 4.0, RATE)
    signal[RATE + 7] = np.nan
    stage.play(signal)
    clicks = click_times(120.0, 4.0)
    assert found_share(times(queue.take(), RhythmKind.ONSET), clicks, 0.05) == 1.0


def test_speech_has_no_pulses(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(engine)
    queue = stage.hub.subscribe_bounded(1_000, rhythm=True)
    monkeypatch.setattr(SoundGate, "state", State.SPEECH)
    stage.play(metronome(120.0, 6.0, RATE))
    items = queue.take()
    spoken = next(e.t for e in estimates(items) if e.state is State.SPEECH)
    assert all(t <= spoken for t in times(items, RhythmKind.ONSET))
    assert times(items, RhythmKind.BEAT) == []
