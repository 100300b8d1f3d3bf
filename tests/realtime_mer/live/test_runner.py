"""The runner: pacing, recovery and faulty sources."""

from __future__ import annotations

import json
import os
import random
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from live_support import (
    TIMEOUT_S,
    ArraySource,
    HangingSource,
    ScriptedSource,
    Step,
    as_blocks,
    lost,
    wait_for,
)
from mer_engine import Engine
from numpy.typing import NDArray
from support import FaultInjector, ManualClock, music, values

from realtime_mer.audio.format import AudioFormat
from realtime_mer.audio.pcm import PcmFormat, PcmSource
from realtime_mer.audio.source import (
    Block,
    EndOfStream,
    Input,
    InputKind,
    SourceBase,
    SourceLost,
)
from realtime_mer.clock import iso_utc
from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.pipeline import Pipeline
from realtime_mer.core.types import Estimate, State
from realtime_mer.errors import UserError
from realtime_mer.live.hub import End, Item, Notice
from realtime_mer.live.runner import MAX_HELD_S, LiveRunner
from realtime_mer.live.session_pool import SessionPool
from realtime_mer.live.stats import Counter
from realtime_mer.live.stream import PULSE_BLOCK_S, LiveStream

RATE = 16_000


@pytest.fixture(autouse=True)
def longest_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the random part out of the pauses between attempts."""
    monkeypatch.setattr(random, "random", lambda: 0.0)


def offline(engine: Engine, samples: NDArray[np.float32]) -> list[Estimate]:
    pipeline = Pipeline(engine, sample_rate_hz=RATE, channels=samples.shape[1])
    return pipeline.feed(samples) + pipeline.finish()


def run_script(
    source: ScriptedSource, engine: Engine, clock: ManualClock, **options: object
) -> tuple[list[Item], LiveRunner]:
    """Run a script to its end and return the published items."""

    def wait(seconds: float) -> bool:
        clock.advance(seconds)
        return False

    options.setdefault("wait", wait)
    runner = LiveRunner(source, engine, clock=clock, **options)  # type: ignore[arg-type]
    queue = runner.hub.subscribe_lossless()
    with runner:
        assert runner.join(TIMEOUT_S)
    return queue.take(), runner


def estimates(items: Iterable[Item]) -> list[Estimate]:
    return [item for item in items if isinstance(item, Estimate)]


def messages(items: Iterable[Item]) -> list[str]:
    return [item.message for item in items if isinstance(item, Notice)]


def codes(items: Iterable[Item]) -> list[str]:
    return [item.code for item in items if isinstance(item, Notice)]


def test_a_live_file_equals_offline(engine: Engine) -> None:
    samples = music(6.0, RATE, channels=2)
    runner = LiveRunner(ArraySource(samples, RATE), engine, speed=200.0)
    queue = runner.hub.subscribe_lossless()
    with runner:
        assert runner.join(TIMEOUT_S)
    items = queue.take()
    np.testing.assert_allclose(
        values(estimates(items)), values(offline(engine, samples)), atol=1e-5
    )
    assert items[-1] == End("array is over")
    assert all(count == 0 for count in runner.stats.losses().values())


@pytest.mark.parametrize("pulses", [False, True])
def test_blocks_are_processed_together_while_nobody_needs_them(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, pulses: bool
) -> None:
    lengths_s: list[float] = []
    feed = LiveStream.feed_requests

    def count(stream: LiveStream, samples: NDArray[np.float32], **how: Any) -> Any:
        lengths_s.append(len(samples) / RATE)
        return feed(stream, samples, **how)

    monkeypatch.setattr(LiveStream, "feed_requests", count)
    clock = ManualClock()
    blocks = as_blocks(music(3.0, RATE))
    source = ScriptedSource(blocks, clock, paced=True, live=False)

    def wait(seconds: float) -> bool:
        clock.advance(seconds)
        return False

    runner = LiveRunner(source, engine, clock=clock, wait=wait)
    if pulses:
        runner.hub.subscribe_pulses(lambda: None)
    with runner:
        assert runner.join(TIMEOUT_S)
    assert sum(lengths_s) == pytest.approx(3.0)
    most_s = PULSE_BLOCK_S if pulses else MAX_HELD_S
    longest_block_s = max(len(block.samples) for block in blocks) / RATE
    assert max(lengths_s) <= most_s + longest_block_s
    # Up to each estimate, the last one may be shorter.
    assert len(lengths_s) <= 3 * (1.0 / most_s + 1)


def test_stream_time_follows_the_clock(engine: Engine) -> None:
    clock = ManualClock()
    source = ScriptedSource(as_blocks(music(5.0, RATE)), clock, paced=True, live=False)
    moments: list[tuple[float, float]] = []
    began = clock.now

    def wait(seconds: float) -> bool:
        clock.advance(seconds)
        return False

    def note() -> None:
        for item in queue.take():
            if isinstance(item, Estimate):
                moments.append((item.t, clock.now - began))

    runner = LiveRunner(source, engine, clock=clock, wait=wait)
    queue = runner.hub.subscribe_lossless(note)
    with runner:
        assert runner.join(TIMEOUT_S)
    assert [t for t, _ in moments] == [1.0, 2.0, 3.0, 4.0, 5.0]
    for stream_time, wall_time in moments:
        assert wall_time == pytest.approx(stream_time, abs=0.021)
    assert clock.now - began == pytest.approx(5.0, abs=0.001)


def test_speed_divides_the_waiting_time(engine: Engine) -> None:
    clock = ManualClock()
    began = clock.now
    source = ScriptedSource(as_blocks(music(5.0, RATE)), clock, paced=True, live=False)
    items, _ = run_script(source, engine, clock, speed=20.0)
    assert clock.now - began == pytest.approx(0.25, abs=0.001)
    assert len(estimates(items)) == 5


@pytest.mark.parametrize("speed", [0.0, -1.0, 1001.0, float("nan")])
def test_impossible_speeds_are_errors(engine: Engine, speed: float) -> None:
    with pytest.raises(UserError, match="the speed is"):
        LiveRunner(ArraySource(music(1.0, RATE), RATE), engine, speed=speed)


def test_a_late_stream_skips_updates_and_catches_up(engine: Engine) -> None:
    """Eight seconds of audio wait when the first block is read."""
    clock = ManualClock()
    parts = as_blocks(music(8.0, RATE))
    captured = [clock.now + (number + 1) * 0.02 for number in range(len(parts))]

    class Slow(ScriptedSource):
        def read(self, timeout_s: float) -> Block | None:
            if timeout_s == 0.0 and position[0] >= len(parts):
                return None
            return super().read(timeout_s)

    position = [0]

    def script() -> Iterable[Step]:
        clock.advance(8.0)
        for part, moment in zip(parts, captured, strict=True):
            position[0] += 1
            yield replace(part, captured_at=moment)

    source = Slow(script(), clock)
    items, runner = run_script(source, engine, clock, config=PipelineConfig(hop_s=0.5))
    got = estimates(items)
    assert got[-1].t == 8.0
    assert [e.seq for e in got] == list(range(len(got)))
    assert runner.stats[Counter.SKIPPED_UPDATES] == 16 - len(got)
    assert runner.stats[Counter.SKIPPED_UPDATES] >= 10


def test_stream_time_follows_the_clock_on_a_slow_machine(engine: Engine) -> None:
    """Each update takes 0.15 s with a hop of 0.1 s."""
    clock = ManualClock()

    class SlowEngine:
        info, backend = engine.info, engine.backend

        def infer(self, frames, cached_maps, past):  # type: ignore[no-untyped-def]
            clock.advance(0.15)
            return engine.infer(frames, cached_maps, past)

    began = clock.now
    source = ScriptedSource(as_blocks(music(10.0, RATE)), clock, paced=True, live=False)
    items, runner = run_script(source, SlowEngine(), clock, config=PipelineConfig(hop_s=0.1))
    assert estimates(items)[-1].t == 10.0
    assert clock.now - began < 11.5
    assert runner.stats[Counter.SKIPPED_UPDATES] > 10


class ClockedSource(SourceBase):
    """A device whose audio arrives by a manual clock, and waits while the runner is busy.

    A device keeps the newest ten seconds and counts what is lost before.
    """

    def __init__(self, clock: ManualClock, seconds: float) -> None:
        self._info = Input(InputKind.MICROPHONE, "clocked", RATE, 1, paced=False, live=True)
        self._clock, self._began = clock, clock.now
        self._parts = as_blocks(self.signal(seconds))
        self._next = 0

    @staticmethod
    def signal(seconds: float) -> NDArray[np.float32]:
        return np.tile(music(10.0, RATE), (round(seconds / 10.0), 1))

    def read(self, timeout_s: float) -> Block | None:
        dropped = 0
        while self._next < len(self._parts):
            captured_at = self._began + (self._next + 1) * 0.02
            if captured_at < self._clock.now - 10.0:
                dropped += len(self._parts[self._next].samples)
            elif captured_at <= self._clock.now or timeout_s > 0.0:
                self._clock.now = max(self._clock.now, captured_at)
                block = replace(
                    self._parts[self._next], captured_at=captured_at, dropped_before=dropped
                )
                self._next += 1
                return block
            else:
                return None
            self._next += 1
        raise EndOfStream

    def close(self) -> None: ...


def test_a_slow_engine_lowers_the_rate_and_a_fast_one_raises_it_again(engine: Engine) -> None:
    clock, injector = ManualClock(), FaultInjector(engine)
    cost_s = 1.6
    injector.before = lambda: clock.advance(cost_s if clock.now < 140.0 else 0.01)
    runner = LiveRunner(ClockedSource(clock, 80.0), injector, clock=clock)
    queue = runner.hub.subscribe_lossless()
    with runner:
        assert runner.join(TIMEOUT_S)
    items = queue.take()
    assert codes(items) == ["slower", "full_rate"]
    got = estimates(items)
    assert got[-1].t == 80.0
    slowed = items.index(next(item for item in items if isinstance(item, Notice)))
    assert [e.t for e in estimates(items[slowed:])][:15] == [float(t) for t in range(4, 34, 2)]
    losses = runner.stats.losses()
    assert losses.pop("skipped_updates") == 80 - len(got)
    assert losses.pop("late_windows") > 0
    assert set(losses.values()) == {0}
    # Every window is complete: at the lower rate nothing is left out.
    signal = ClockedSource.signal(80.0)
    alone = {e.t: e for e in Pipeline(engine, sample_rate_hz=RATE).feed(signal)}
    np.testing.assert_allclose(values(got), values([alone[e.t] for e in got]), atol=2e-5)


def test_clients_streams_are_slowed_before_the_servers_own_input(engine: Engine) -> None:
    clock, injector = ManualClock(), FaultInjector(engine)
    injector.before = lambda: clock.advance(1.6)
    pool = SessionPool(FaultInjector(engine), max_sessions=4, clock=clock)
    sessions = [pool.open(AudioFormat(RATE, 1), "client") for _ in range(4)]
    runner = LiveRunner(ClockedSource(clock, 40.0), injector, clock=clock)
    levels: list[tuple[int, int]] = []

    def give_way(share: float) -> bool:
        gave = pool.give_way(share)
        levels.append((min(session.level for session in sessions), runner.level))
        return gave

    runner.relieve = give_way
    with runner:
        assert runner.join(TIMEOUT_S)
    pool.close()
    assert levels[0][1] == 0
    assert all(own == 0 or clients == 2 for clients, own in levels)  # 2 is the lowest rate
    assert runner.level > 0


def test_a_long_call_lowers_no_rate_and_what_was_lost_meanwhile_counts(engine: Engine) -> None:
    """A process that is stopped for 30 s within a call; the device keeps 10 s."""
    clock, injector = ManualClock(), FaultInjector(engine)
    injector.before = lambda: clock.advance(30.0 if injector.calls == 5 else 0.0)
    runner = LiveRunner(ClockedSource(clock, 60.0), injector, clock=clock)
    queue = runner.hub.subscribe_lossless()
    with runner:
        assert runner.join(TIMEOUT_S)
    items = queue.take()
    assert codes(items) == []
    assert estimates(items)[-1].t == 60.0
    assert runner.stats[Counter.DROPPED_SAMPLES] == pytest.approx(20 * RATE, abs=320)
    assert runner.level == 0


def test_a_stall_is_reported_and_ends_with_the_next_block(engine: Engine) -> None:
    clock = ManualClock()
    head, tail = as_blocks(music(3.0, RATE)), as_blocks(music(2.0, RATE, seed=1))
    items, runner = run_script(
        ScriptedSource([*head, None, None, None, *tail], clock), engine, clock
    )
    states = [e.state for e in estimates(items)]
    settling, stalled = State.SETTLING, State.STALLED
    assert states == [settling] * 3 + [stalled] * 3 + [settling] * 2
    assert codes(items) == ["stalled"]
    assert runner.stats[Counter.STALLS] == 1
    assert [e.seq for e in estimates(items)] == list(range(8))


@pytest.mark.parametrize("length_s", [1.0, 1.1, 1.3])
def test_a_stall_counts_from_the_last_audio_even_if_that_was_not_needed_yet(
    engine: Engine, length_s: float
) -> None:
    clock = ManualClock()
    script = [*as_blocks(music(length_s, RATE)), *[None] * 4]
    moments: list[float] = []

    def note() -> None:
        moments.extend(clock.now for item in queue.take() if isinstance(item, Notice))

    runner = LiveRunner(ScriptedSource(script, clock), engine, clock=clock)
    queue = runner.hub.subscribe_lossless(note)
    with runner:
        assert runner.join(TIMEOUT_S)
    assert moments == pytest.approx([100.0 + length_s + 2.0])


def test_a_file_stalls_later_than_a_device(engine: Engine) -> None:
    clock = ManualClock()
    moments: list[float] = []
    script: list[Step] = [None, lambda: moments.append(clock.now), *as_blocks(music(1.0, RATE))]
    items, _ = run_script(ScriptedSource(script, clock, live=False), engine, clock)
    assert moments == [103.0]
    assert codes(items) == ["stalled"]


def test_a_source_that_blocks_is_reported_as_stalled(engine: Engine) -> None:
    source = HangingSource()
    runner = LiveRunner(source, engine, config=PipelineConfig(hop_s=0.5))
    slot = runner.hub.subscribe_lossless()
    with runner:
        first = slot.wait(TIMEOUT_S)
        assert codes(first) == ["stalled"]
        wait_for(lambda: runner.stalled, "stalled")
        source.give(music(0.6, RATE))
        wait_for(lambda: not runner.stalled, "audio again")
    assert source.closed
    assert runner.ended


def test_a_lost_device_is_reopened_with_growing_pauses(engine: Engine) -> None:
    clock = ManualClock()
    source = ScriptedSource(
        [*as_blocks(music(3.0, RATE)), lost(), *as_blocks(music(2.0, RATE, seed=1))],
        clock,
        reopenings=[lost(), lost(), lost(), lost(), lost(), lost(), None],
    )
    items, runner = run_script(source, engine, clock)
    assert np.diff(source.reopened_at) == pytest.approx([1.0, 2.0, 4.0, 8.0, 10.0, 10.0])
    assert codes(items) == ["input_lost", "input_back"]
    assert runner.stats[Counter.REOPENS] == 1
    # 35.5 s passed without audio: time went on, and the window is empty again.
    got = estimates(items)
    assert got[-1].state is State.SETTLING
    assert got[-1].t == pytest.approx(3.0 + 35.5 + 2.0, abs=0.6)
    stalled = [e for e in got if e.state is State.STALLED]
    assert 34 <= len(stalled) <= 37
    lost_at = next(at for at, item in enumerate(items) if isinstance(item, Notice))
    assert estimates(items[lost_at:])[0].state is State.STALLED
    assert {e.level_db for e in stalled} == {-120.0}
    assert messages(items)[-1] == "scripted is back; 35.5 s of audio are missing"
    assert runner.stats[Counter.DROPPED_SAMPLES] == pytest.approx(35.5 * RATE, rel=0.01)
    assert runner.stats.loss_text() == "35.5 s of audio missing"


def test_a_new_reason_is_told_at_most_once_a_minute(engine: Engine) -> None:
    """A station that does not answer, then has nothing at its address for two minutes."""
    clock = ManualClock()
    gone = SourceLost("nothing is at this address (404)", recoverable=True)
    source = ScriptedSource(
        [*as_blocks(music(1.0, RATE)), lost(), *as_blocks(music(1.0, RATE))],
        clock,
        reopenings=[lost(), *[gone] * 14, None],
    )
    items, _ = run_script(source, engine, clock)
    assert source.reopened_at[-1] - 101.0 > 120.0
    assert codes(items) == ["input_lost", "input_lost", "input_back"]
    assert messages(items)[1] == (
        "nothing is at this address (404); still waiting for it to come back"
    )


def test_the_pause_that_a_server_asks_for_is_kept(engine: Engine) -> None:
    clock = ManualClock()
    busy = SourceLost("busy", recoverable=True, retry_after_s=45.0)
    endless = SourceLost("busy", recoverable=True, retry_after_s=1e9)
    source = ScriptedSource(
        [lost(), *as_blocks(music(1.0, RATE))], clock, reopenings=[busy, lost(), endless, None]
    )
    run_script(source, engine, clock)
    assert np.diff(source.reopened_at) == pytest.approx([45.0, 2.0, 600.0])


def test_an_input_that_is_lost_at_once_again_is_not_reopened_faster(engine: Engine) -> None:
    clock = ManualClock()
    short, long = as_blocks(music(1.0, RATE)), as_blocks(music(11.0, RATE))
    script: list[Step] = [*short, lost(), *short, lost(), *short, lost(), *long, lost(), *short]
    source = ScriptedSource(script, clock, reopenings=[None] * 4)
    run_script(source, engine, clock)
    assert np.diff(source.reopened_at) == pytest.approx([1.0 + 1.0, 1.0 + 2.0, 11.0 + 0.5])


def test_pauses_differ_between_listeners(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "random", lambda: 1.0)
    clock = ManualClock()
    source = ScriptedSource([lost(), *as_blocks(music(1.0, RATE))], clock, reopenings=[None])
    run_script(source, engine, clock)
    assert source.reopened_at == pytest.approx([100.4])


def test_a_recording_on_a_server_loses_nothing(engine: Engine) -> None:
    """It goes on where it broke off, and the computer may sleep."""
    clock = ManualClock()
    samples = music(4.0, RATE)
    parts = as_blocks(samples)
    source = ScriptedSource(
        [*parts[:100], lost(), lambda: clock.sleep(60.0), *parts[100:]],
        clock,
        reopenings=[None],
        recorded=True,
    )
    items, runner = run_script(source, engine, clock)
    assert codes(items) == ["input_lost", "computer_slept", "input_back"]
    assert messages(items)[-1] == "scripted is back; it goes on where it broke off"
    assert all(count == 0 for count in runner.stats.losses().values())
    heard = [e for e in estimates(items) if e.state is not State.STALLED]
    np.testing.assert_allclose(values(heard), values(offline(engine, samples)), atol=1e-5)


def test_a_device_is_back_with_its_first_block(engine: Engine) -> None:
    """A device may open and deliver nothing, as a suspended one does."""
    clock = ManualClock()
    head, tail = as_blocks(music(3.0, RATE)), as_blocks(music(2.0, RATE, seed=1))
    source = ScriptedSource(
        [*head, lost(), None, None, lost(), None, *tail], clock, reopenings=[None, None]
    )
    items, runner = run_script(source, engine, clock)
    assert codes(items) == ["input_lost", "input_back"]
    missed_s = clock.now - 100.0 - 5.0
    assert messages(items)[-1] == f"scripted is back; {missed_s:.1f} s of audio are missing"
    assert runner.stats[Counter.DROPPED_SAMPLES] == pytest.approx(missed_s * RATE, abs=RATE / 10)
    assert runner.stats[Counter.REOPENS] == 1
    assert estimates(items)[-1].t == pytest.approx(5.0 + missed_s, abs=1.0)


@pytest.mark.parametrize("length_s", [1.0, 1.1, 1.3])
@pytest.mark.parametrize(
    "stall", [[None, None, None], [None, None], [lambda clock: clock.advance(0.4)]]
)
def test_the_stall_before_a_loss_is_missing_too(
    engine: Engine, length_s: float, stall: list[Callable[[ManualClock], None] | None]
) -> None:
    """A device counts as lost some time after its last sample."""
    clock = ManualClock()
    steps: list[Step] = [step and partial(step, clock) for step in stall]
    script = [*as_blocks(music(length_s, RATE)), *steps, lost(), *as_blocks(music(1.0, RATE))]
    _, runner = run_script(ScriptedSource(script, clock, reopenings=[None]), engine, clock)
    missed_s = clock.now - 100.0 - length_s - 1.0
    assert missed_s > 0.8
    assert runner.stats[Counter.DROPPED_SAMPLES] == pytest.approx(missed_s * RATE, abs=RATE / 10)


def test_the_stall_before_the_rest_of_a_decoder_is_missing_too(engine: Engine) -> None:
    """When a stream breaks off after a pause, its decoder still gives the last samples."""
    clock = ManualClock()
    rest = as_blocks(music(0.1, RATE))
    script = [*as_blocks(music(1.0, RATE)), *[None] * 20, *rest, lost()]
    source = ScriptedSource([*script, *as_blocks(music(1.0, RATE))], clock, reopenings=[None])
    _, runner = run_script(source, engine, clock)
    missed_s = clock.now - 100.0 - 2.1
    assert missed_s > 10.0
    assert runner.stats[Counter.DROPPED_SAMPLES] == pytest.approx(missed_s * RATE, abs=RATE / 10)


@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.parametrize("paced", [False, True])
def test_a_device_loses_a_gap_and_a_station_sends_it_later(
    engine: Engine, paced: bool, stopped: bool
) -> None:
    """For 20 s, no audio arrives, or the program is stopped."""
    clock = ManualClock()
    gap: list[Step] = [lambda: clock.advance(20.0)] if stopped else [None] * 20
    script = [*as_blocks(music(1.0, RATE)), *gap, *as_blocks(music(2.0, RATE))]
    items, runner = run_script(ScriptedSource(script, clock, paced=paced), engine, clock)
    lost_s = 0.0 if paced else clock.now - 100.0 - 3.0
    assert clock.now > 120.0
    assert runner.stats[Counter.DROPPED_SAMPLES] == pytest.approx(lost_s * RATE, abs=RATE / 10)
    assert estimates(items)[-1].t == pytest.approx(3.0 + lost_s, abs=1.0)


def test_a_gap_is_lost_with_the_connection(engine: Engine) -> None:
    """The station was 20 s late, and a new connection starts in the present."""
    clock = ManualClock()
    script: list[Step] = [*as_blocks(music(1.0, RATE)), lambda: clock.advance(20.0)]
    script += [*as_blocks(music(5.0, RATE)), lost(), *as_blocks(music(2.0, RATE))]
    source = ScriptedSource(script, clock, paced=True, reopenings=[None])
    items, runner = run_script(source, engine, clock)
    assert messages(items)[-1].endswith("s of audio are missing")
    # Up to a second of audio may be played ahead of time.
    assert runner.stats[Counter.DROPPED_SAMPLES] / RATE == pytest.approx(20.5, abs=1.1)


def test_what_a_device_kept_during_a_gap_is_not_lost(engine: Engine) -> None:
    """The program is stopped for 20 s; then two seconds arrive at once, and 10 s are dropped."""
    clock = ManualClock()
    kept = Block(music(2.0, RATE), dropped_before=10 * RATE)
    script: list[Step] = [lambda: clock.advance(18.0), kept, *as_blocks(music(2.0, RATE))]
    source = ScriptedSource([*as_blocks(music(1.0, RATE)), *script], clock)
    items, runner = run_script(source, engine, clock)
    assert runner.stats[Counter.DROPPED_SAMPLES] == pytest.approx(18.0 * RATE, abs=RATE / 10)
    assert estimates(items)[-1].t == pytest.approx(23.0, abs=0.6)


def test_a_device_that_starts_late_has_lost_nothing(engine: Engine) -> None:
    clock = ManualClock()
    script: list[Step] = [*[None] * 8, *as_blocks(music(3.0, RATE))]
    _, runner = run_script(ScriptedSource(script, clock), engine, clock)
    assert runner.stats[Counter.DROPPED_SAMPLES] == 0


@pytest.mark.parametrize("length", [320, 14_400])
@pytest.mark.parametrize("paced", [False, True])
def test_an_input_at_half_speed_is_told_once(engine: Engine, paced: bool, length: int) -> None:
    clock = ManualClock()
    script: list[Step] = []
    for block in as_blocks(music(30.0, RATE), (length,)):
        wait_s = (2 if paced else 1) * length / RATE

        def wait(seconds: float = wait_s) -> None:
            clock.advance(seconds)

        script += [wait, block]
    items, runner = run_script(ScriptedSource(script, clock, paced=paced), engine, clock)
    assert clock.now - 100.0 == pytest.approx(60.0, rel=0.03)
    assert codes(items) == ["slow_input"]
    assert "scripted sends only 0.50 s of audio per second" in messages(items)[0]
    assert runner.stats[Counter.DROPPED_SAMPLES] == 0


def test_a_slow_reader_is_not_a_slow_input(engine: Engine) -> None:
    clock = ManualClock()

    class SlowEngine:
        info, backend = engine.info, engine.backend

        def infer(self, frames, cached_maps, past):  # type: ignore[no-untyped-def]
            clock.advance(0.9)
            return engine.infer(frames, cached_maps, past)

    source = ScriptedSource(as_blocks(music(30.0, RATE)), clock, paced=True)
    items, _ = run_script(source, SlowEngine(), clock, config=PipelineConfig(hop_s=0.5))
    assert clock.now - 100.0 > 50.0
    assert codes(items) == []


@pytest.mark.parametrize("paced", [False, True])
def test_an_input_in_bursts_is_not_slow(engine: Engine, paced: bool) -> None:
    """Audio of 0.9 s every 0.9 s."""
    clock = ManualClock()
    script: list[Step] = []
    for part in as_blocks(music(40.0, RATE), (14_400,)):
        script += [*([lambda: clock.advance(0.9)] if paced else []), part]
    items, _ = run_script(ScriptedSource(script, clock, paced=paced), engine, clock)
    assert codes(items) == []


@pytest.mark.parametrize(("live", "lost_s"), [(True, 90.0), (False, 0.0)])
def test_a_live_input_loses_what_was_sent_while_the_computer_slept(
    engine: Engine, live: bool, lost_s: float
) -> None:
    clock = ManualClock()
    head, tail = as_blocks(music(2.0, RATE)), as_blocks(music(2.0, RATE, seed=1))
    source = ScriptedSource([*head, lambda: clock.sleep(90.0), *tail], clock, live=live)
    items, runner = run_script(source, engine, clock)
    assert codes(items) == ["computer_slept"]
    assert runner.stats[Counter.DROPPED_SAMPLES] == lost_s * RATE
    assert estimates(items)[-1].t == pytest.approx(4.0 + lost_s)
    assert estimates(items)[-1].utc == iso_utc(clock.utc())


def test_sleep_while_a_device_is_away_is_missing_too(engine: Engine) -> None:
    clock = ManualClock()
    head, tail = as_blocks(music(2.0, RATE)), as_blocks(music(2.0, RATE, seed=1))
    source = ScriptedSource(
        [*head, lost(), None, lambda: clock.sleep(90.0), *tail], clock, reopenings=[None]
    )
    items, runner = run_script(source, engine, clock)
    assert codes(items) == ["input_lost", "computer_slept", "input_back"]
    missed_s = clock.boottime() - 100.0 - 4.0
    assert runner.stats[Counter.DROPPED_SAMPLES] == pytest.approx(missed_s * RATE, abs=RATE / 10)
    assert messages(items)[-1] == f"scripted is back; {missed_s:.1f} s of audio are missing"
    assert estimates(items)[-1].t == pytest.approx(4.0 + missed_s, abs=0.6)


def test_a_clock_that_is_set_changes_only_the_times_of_day(engine: Engine) -> None:
    clock = ManualClock()
    samples = music(4.0, RATE)
    parts = as_blocks(samples)
    script: list[Step] = [*parts[:100], lambda: clock.set_wall(-3600.0), *parts[100:]]
    items, runner = run_script(ScriptedSource(script, clock), engine, clock)
    assert codes(items) == ["clock_changed"]
    assert [e.utc[11:16] for e in estimates(items)] == ["03:04", "03:04", "02:04", "02:04"]
    np.testing.assert_allclose(
        values(estimates(items)), values(offline(engine, samples)), atol=1e-5
    )
    assert all(count == 0 for count in runner.stats.losses().values())


def test_what_is_missing_grows_while_a_device_is_away_and_counts_at_the_end(
    engine: Engine,
) -> None:
    clock = ManualClock()
    texts: list[str] = []

    def wait(seconds: float) -> bool:
        texts.append(runner.stats.loss_text())
        clock.advance(seconds)
        return clock.now > 108.0

    source = ScriptedSource(
        [*as_blocks(music(1.0, RATE)), lost()], clock, reopenings=[lost() for _ in range(20)]
    )
    runner = LiveRunner(source, engine, clock=clock, wait=wait)
    with runner:
        assert runner.join(TIMEOUT_S)
    assert texts[0] == "nothing lost"
    assert "0.5 s of audio missing" in texts
    assert runner.stats.loss_text() == f"{clock.now - 101.0:.1f} s of audio missing"


def test_a_device_that_is_lost_for_good_ends_the_session(engine: Engine) -> None:
    clock = ManualClock()
    source = ScriptedSource([*as_blocks(music(1.0, RATE)), lost(recoverable=False)], clock)
    items, runner = run_script(source, engine, clock)
    assert codes(items) == ["input_lost"]
    assert items[-1] == End("the scripted input is gone")
    assert isinstance(runner.error, SourceLost)
    assert source.reopened_at == []


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), OSError("the drive is gone")])
def test_an_error_of_the_system_ends_the_session_with_its_reason(
    engine: Engine, error: OSError
) -> None:
    clock = ManualClock()
    source = ScriptedSource([*as_blocks(music(1.0, RATE)), error], clock)
    items, runner = run_script(source, engine, clock)
    reason = f"scripted cannot be read ({error.strerror or error})"
    assert [item.message for item in items if isinstance(item, Notice)] == [reason]
    assert items[-1] == End(reason)
    assert isinstance(runner.error, SourceLost)
    assert [e.t for e in estimates(items)] == [1.0]


def test_a_device_that_is_lost_for_good_while_waiting(engine: Engine) -> None:
    clock = ManualClock()
    source = ScriptedSource([lost()], clock, reopenings=[lost(), lost(recoverable=False)])
    items, _ = run_script(source, engine, clock)
    assert codes(items) == ["input_lost", "input_lost"]
    assert items[-1] == End("the scripted input is gone")
    assert len(source.reopened_at) == 2


def test_a_device_that_comes_back_with_another_format_ends_the_session(engine: Engine) -> None:
    clock = ManualClock()
    other = Input(InputKind.MICROPHONE, "scripted", 48_000, 1, paced=False, live=True)
    source = ScriptedSource([lost()], clock, reopenings=[other])
    items, _ = run_script(source, engine, clock)
    assert isinstance(items[-1], End)
    assert "came back with 48000 Hz and 1 channel(s) instead of 16000 Hz" in items[-1].reason


def test_stopping_while_waiting_for_a_device(engine: Engine) -> None:
    clock = ManualClock()
    source = ScriptedSource([lost()], clock)
    items, _ = run_script(source, engine, clock, wait=lambda seconds: True)
    assert items[-1] == End("stopped")
    assert source.reopened_at == []


def test_a_source_that_takes_long_to_reopen_is_reported_as_stalled(engine: Engine) -> None:
    clock = ManualClock()
    missing: list[int] = []

    class Slow(ScriptedSource):
        def reopen(self) -> None:
            for _ in range(3):
                before = runner.stats.states()[State.STALLED]
                clock.advance(runner.pipeline.config.hop_s)
                wait_for(lambda: runner.stats.states()[State.STALLED] > before, "a stall")  # noqa: B023
                missing.append(runner.stats[Counter.DROPPED_SAMPLES])

    script: list[Step] = [*as_blocks(music(1.0, RATE)), lost(), *as_blocks(music(1.0, RATE))]

    def wait(seconds: float) -> bool:
        clock.advance(seconds)
        return False

    runner = LiveRunner(Slow(script, clock), engine, clock=clock, wait=wait)
    with runner:
        assert runner.join(TIMEOUT_S)
    assert runner.error is None
    assert np.diff(missing) == pytest.approx(runner.pipeline.config.hop_s * RATE)


def test_stopping_while_a_source_reopens(engine: Engine) -> None:
    """A server that does not answer must not delay the end."""
    reopening, answered = threading.Event(), threading.Event()

    class Silent(HangingSource):
        def read(self, timeout_s: float) -> Block | None:
            raise lost()

        def reopen(self) -> None:
            reopening.set()
            answered.wait(TIMEOUT_S)

    with LiveRunner(Silent(), engine) as runner:
        queue = runner.hub.subscribe_lossless()
        assert reopening.wait(TIMEOUT_S)
        runner.stop()
        ended = runner.ended
        answered.set()
    assert ended
    assert queue.take()[-1] == End("stopped")


def test_losses_of_the_source_are_counted(engine: Engine) -> None:
    clock = ManualClock()
    script = as_blocks(music(2.0, RATE))
    script[50] = replace(script[50], dropped_before=RATE, overflows=3)
    items, runner = run_script(ScriptedSource(script, clock), engine, clock)
    assert runner.stats[Counter.DROPPED_SAMPLES] == RATE
    assert runner.stats[Counter.OVERFLOWS] == 3
    assert estimates(items)[-1].t == 3.0


def test_nan_does_not_end_the_session(engine: Engine) -> None:
    clock = ManualClock()
    script = as_blocks(music(2.0, RATE))
    script[10] = Block(np.full((320, 1), np.nan, dtype=np.float32))
    items, runner = run_script(ScriptedSource(script, clock), engine, clock)
    assert codes(items) == ["bad_samples"]
    assert runner.stats[Counter.BAD_SAMPLES] == 320
    assert [e.t for e in estimates(items)] == [1.0, 2.0]


def test_a_wrong_sample_format_is_told_once_and_poisons_nothing(engine: Engine) -> None:
    """16-bit integers that are read as 32-bit floating-point numbers, from a pipe."""
    rng = np.random.default_rng(5)
    integers = rng.integers(-(2**15), 2**15, 6 * RATE * 2).astype("<i2")
    values_read = integers.view("<f4")
    bad = values_read.size - int((np.abs(values_read) <= 16.0).sum())
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "wb") as writer:

        def feed() -> None:
            writer.write(integers.tobytes())
            writer.close()

        feeder = threading.Thread(target=feed)
        feeder.start()
        source = PcmSource(PcmFormat(RATE, 1, "f32le"), stream=reader)
        runner = LiveRunner(source, engine, speed=1000.0)
        queue = runner.hub.subscribe_lossless()
        with runner:
            assert runner.join(TIMEOUT_S)
        feeder.join()
    items = queue.take()
    assert runner.error is None
    assert codes(items) == ["bad_samples"]
    assert "check the sample format" in messages(items)[0]
    assert runner.stats[Counter.BAD_SAMPLES] == bad > 0
    history, _ = runner.hub.history()
    assert [e.t for e in history] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    json.dumps([e.to_dict() for e in history], allow_nan=False)


def test_a_spike_costs_nothing_but_itself(engine: Engine) -> None:
    clock = ManualClock()
    samples = music(4.0, RATE)
    script, clean = as_blocks(samples), samples.copy()
    script[60].samples[7] = 1e20
    clean[60 * 320 + 7] = 0.0
    items, runner = run_script(ScriptedSource(script, clock), engine, clock)
    assert codes(items) == ["bad_samples"]
    assert "1e+20" in messages(items)[0]
    assert runner.stats[Counter.BAD_SAMPLES] == 1
    np.testing.assert_allclose(values(estimates(items)), values(offline(engine, clean)), atol=1e-5)


def test_an_internal_error_ends_the_session(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    items, runner = run_script(ScriptedSource([RuntimeError("a bug")], clock), engine, clock)
    assert items == [End("internal error, see the server's log")]
    assert runner.ended
    assert isinstance(runner.error, RuntimeError)
    assert "a bug" in caplog.text


def test_stop_ends_a_blocking_read_and_its_thread(engine: Engine) -> None:
    before = set(threading.enumerate())
    source = HangingSource()
    runner = LiveRunner(source, engine)
    queue = runner.hub.subscribe_lossless()
    runner.start()
    runner.stop()
    runner.stop()
    assert runner.ended
    assert runner.error is None
    assert set(threading.enumerate()) <= before  # those of other tests may end meanwhile
    assert queue.take() == [End("stopped")]


def test_a_runner_can_be_started_only_once(engine: Engine) -> None:
    runner = LiveRunner(HangingSource(), engine)
    with runner, pytest.raises(RuntimeError, match="started only once"):
        runner.start()


def test_a_runner_that_was_not_started_can_be_stopped(engine: Engine) -> None:
    source = HangingSource()
    LiveRunner(source, engine).stop()
    assert source.closed


def test_the_latency_of_a_paced_file_is_at_most_its_block(engine: Engine) -> None:
    clock = ManualClock()
    source = ScriptedSource(as_blocks(music(3.0, RATE)), clock, paced=True, live=False)
    items, _ = run_script(source, engine, clock)
    for estimate in estimates(items):
        assert 0.0 <= estimate.latency.buffer_ms < 20.1
        assert estimate.latency.queue_ms < 0.1
