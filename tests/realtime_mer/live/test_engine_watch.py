"""Engines that fail or do not return: what the watch, the runner and the pool make of it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable

import numpy as np
import pytest
from live_support import TIMEOUT_S, HangingSource, ScriptedSource, as_blocks, wait_for
from mer_engine import Engine
from support import FaultInjector, ManualClock, blocks, music

from realtime_mer.audio.format import AudioFormat
from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.types import Estimate, State
from realtime_mer.errors import EngineError
from realtime_mer.live import engine_watch
from realtime_mer.live.engine_watch import FAILING_S, HANG_S, TICK_S, EngineWatch
from realtime_mer.live.hub import End, Item, Notice, Subscription
from realtime_mer.live.runner import LiveRunner
from realtime_mer.live.session_pool import SessionPool
from realtime_mer.live.stats import Counter, Stats, Timing

RATE = 16_000
MONO = AudioFormat(RATE, 1)
HALF = PipelineConfig(hop_s=0.5)


class WaitingStream:
    """Notes for how long it was said to wait."""

    def __init__(self) -> None:
        self.waited_s: list[float] = []

    def wait_for_engine(self, waited_s: float) -> None:
        self.waited_s.append(waited_s)


class Caller:
    """A thread in a call of a watched engine that hangs."""

    def __init__(self, engine: Engine, hop_s: float = 1.0) -> None:
        self.injector = FaultInjector(engine)
        self.stats = Stats()
        self.watch = EngineWatch(self.injector, hop_s=hop_s, stats=self.stats)
        self.stream = WaitingStream()
        self.injector.hang()
        self.thread = threading.Thread(target=self._call, daemon=True)
        self.thread.start()
        assert self.injector.hangs.wait(TIMEOUT_S)

    def _call(self) -> None:
        with self.watch.turn([self.stream]):
            call(self.watch)

    def end(self) -> None:
        self.injector.release()
        self.thread.join(TIMEOUT_S)


def call(engine: Engine) -> None:
    info = engine.info
    maps = np.zeros((1, info.map_context, len(info.silent_map)), np.float32)
    engine.infer(info.check_frames(1), maps, np.zeros((1, 0, info.embedding_size), np.float32))


def codes(items: Iterable[Item]) -> list[str]:
    return [item.code for item in items if isinstance(item, Notice)]


def estimates(items: Iterable[Item]) -> list[Estimate]:
    return [item for item in items if isinstance(item, Estimate)]


def take_until(queue: Subscription, code: str) -> list[Item]:
    """Take the items up to a notice."""
    items: list[Item] = []
    while code not in codes(items):
        more = queue.wait(TIMEOUT_S)
        assert more, f"no {code} after {codes(items)}"
        items += more
    return items


@pytest.mark.parametrize(("hop_s", "limit_s"), [(0.1, HANG_S), (1.0, HANG_S)])
def test_a_call_hangs_after_its_limit_and_works_when_it_returns(
    engine: Engine, hop_s: float, limit_s: float
) -> None:
    caller = Caller(engine, hop_s)
    caller.watch.tick(limit_s - 0.5)
    assert caller.watch.works
    assert caller.watch.waited_s(caller.thread) == limit_s - 0.5
    caller.watch.tick(0.5)
    caller.watch.tick(0.25)
    assert not caller.watch.works
    assert caller.watch.hangs(caller.thread)
    assert caller.stream.waited_s == [limit_s, limit_s + 0.25]
    assert caller.stats[Counter.ENGINE_STALLS] == 1
    caller.end()
    caller.watch.tick(100.0)
    assert caller.watch.works
    assert len(caller.stream.waited_s) == 2
    assert caller.stats.histogram(Timing.ENGINE).count == 1


def test_a_stopped_process_makes_no_call_hang(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watch's thread finds that an hour has passed since its last tick."""
    now = 0.0
    ticks: list[float] = []

    def wait(_: threading.Event, seconds: float) -> bool:
        nonlocal now
        now += seconds if len(ticks) != 1 else 3600.0
        return len(ticks) == 3

    caller = Caller(engine)
    stopped = threading.Event()
    monkeypatch.setattr(stopped, "wait", lambda seconds: wait(stopped, seconds))
    monkeypatch.setattr("realtime_mer.live.engine_watch.time.monotonic", lambda: now)
    monkeypatch.setattr(caller.watch, "tick", ticks.append)
    caller.watch._watch(stopped)
    assert ticks == [TICK_S, 2 * TICK_S, TICK_S]
    monkeypatch.undo()
    caller.end()


def test_failures_are_counted_and_logged_once_per_kind_and_minute(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 1000.0
    monkeypatch.setattr("realtime_mer.live.engine_watch.time.monotonic", lambda: now)
    injector, stats = FaultInjector(engine), Stats()
    watch = EngineWatch.of(EngineWatch.of(injector, hop_s=1.0, stats=stats), hop_s=9.0, stats=stats)

    def fail(error: Exception) -> None:
        injector.error = error
        with pytest.raises(type(error)):
            call(watch)

    with caplog.at_level(logging.ERROR):
        fail(RuntimeError("a"))
        fail(RuntimeError("b"))
        fail(MemoryError())
        assert watch.works
        now += FAILING_S
        fail(RuntimeError("c"))
        assert not watch.works
        injector.error = None
        call(watch)
        assert watch.works
        now += 60.0
        fail(RuntimeError("d"))
        assert watch.works
    assert stats[Counter.ENGINE_FAILURES] == 5
    assert [record.exc_info is not None for record in caplog.records] == [True] * 3
    assert stats.histogram(Timing.ENGINE).count == 6


@pytest.fixture
def short_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let calls hang after half a second. On a busy machine, calls that work may hang too."""
    for name, value in (("HANG_HOPS", 0), ("HANG_S", 0.5), ("TICK_S", 0.05)):
        monkeypatch.setattr(engine_watch, name, value)


@pytest.mark.usefixtures("short_limit")
def test_viewers_of_a_runner_see_that_its_engine_hangs(engine: Engine) -> None:
    injector, source = FaultInjector(engine), HangingSource()
    runner = LiveRunner(source, injector, config=HALF)
    queue = runner.hub.subscribe_lossless()
    signal = music(8.0, RATE)
    with runner:
        source.give(signal[:RATE])
        wait_for(lambda: runner.hub.latest is not None, "an estimate")
        injector.hang()
        source.give(signal[RATE : 2 * RATE])
        assert injector.hangs.wait(TIMEOUT_S)
        wait_for(lambda: not runner.watch.works, "the hang")
        wait_for(lambda: getattr(runner.hub.latest, "state", "") is State.STALLED, "stalled")
        injector.release()
        wait_for(lambda: runner.watch.works, "the end of the hang")
        for part in blocks(signal[2 * RATE :], (RATE // 2,)):
            source.give(part)
        wait_for(lambda: (latest := runner.hub.latest) is not None and latest.t >= 8.0, "the rest")
    items = queue.take()
    told = [code for code in codes(items) if code.startswith("engine")]
    assert told[:2] == ["engine_stalled", "engine_back"]
    assert [e.seq for e in estimates(items)] == list(range(len(estimates(items))))
    times = [e.t for e in estimates(items)]
    assert times == sorted(times)
    assert runner.error is None


@pytest.mark.usefixtures("short_limit")
def test_a_runner_whose_engine_hangs_can_be_stopped(engine: Engine) -> None:
    injector, source = FaultInjector(engine), HangingSource()
    runner = LiveRunner(source, injector, config=HALF)
    queue = runner.hub.subscribe_lossless()
    runner.start()
    injector.hang()
    source.give(music(1.0, RATE))
    assert injector.hangs.wait(TIMEOUT_S)
    runner.stop(timeout_s=TIMEOUT_S)  # no longer than the hang takes to be noticed
    assert runner.ended
    assert isinstance(runner.error, EngineError)
    assert "has not returned from a call for" in str(runner.error)
    items = queue.take()
    assert codes(items)[-1] == "engine_stalled"
    assert items[-1] == End(str(runner.error))
    injector.release()
    assert runner._thread is not None
    runner._thread.join(TIMEOUT_S)
    assert queue.take() == []  # nothing follows the end


@pytest.mark.usefixtures("short_limit")
def test_clients_streams_go_on_after_their_engine_hung(engine: Engine) -> None:
    """One worker hangs with the first session; the second one waits for it."""
    injector, stats = FaultInjector(engine), Stats()
    pool = SessionPool(injector, config=HALF, workers=1, stats=stats, clock=ManualClock())
    signal = music(3.0, RATE)
    sessions = [pool.open(MONO, name) for name in ("first", "second")]
    queues = [session.hub.subscribe_lossless() for session in sessions]
    injector.hang()
    pool.push(sessions[0], signal[:RATE])
    assert injector.hangs.wait(TIMEOUT_S)
    pool.push(sessions[1], signal[:RATE])
    before = [take_until(queue, "engine_stalled") for queue in queues]
    wait_for(lambda: all(s.hub.latest is not None for s in sessions), "the repeated values")
    assert not pool.watch.works
    injector.release()
    for session in sessions:
        pool.push(session, signal[RATE:])
        pool.finish(session, "done")
    for session, queue, items in zip(sessions, queues, before, strict=True):
        while not isinstance(items[-1], End):
            more = queue.wait(TIMEOUT_S)
            assert more
            items += more
        told = codes(items)
        assert told == ["engine_stalled", "engine_back"] * (len(told) // 2)
        got = estimates(items)
        assert got[0].state is State.STALLED
        assert [e.seq for e in got] == list(range(len(got)))
        assert [e.t for e in got if e.state is not State.STALLED] == [
            0.5, 1.0, 1.5, 2.0, 2.5, 3.0,
        ]  # fmt: skip
        assert items[-1] == End("done")
        assert session.stats[Counter.DROPPED_SAMPLES] == 0
    pool.close()
    assert pool.stuck == ""


@pytest.mark.usefixtures("short_limit")
def test_a_pool_whose_engine_hangs_can_be_closed(engine: Engine) -> None:
    injector = FaultInjector(engine)
    pool = SessionPool(injector, config=HALF, workers=2)
    session = pool.open(MONO, "client")
    injector.hang()
    pool.push(session, music(1.0, RATE))
    assert injector.hangs.wait(TIMEOUT_S)
    pool.close(timeout_s=TIMEOUT_S)
    assert "has not returned from a call for" in pool.stuck
    injector.release()
    wait_for(lambda: pool.workers == 0, "the worker")


def test_all_streams_of_a_batch_go_on_after_a_failure(engine: Engine) -> None:
    injector = FaultInjector(engine)
    pool = SessionPool(injector, config=HALF, workers=1, clock=ManualClock())
    signal = music(4.0, RATE)
    sessions = [pool.open(MONO, "client") for _ in range(3)]
    queues = [session.hub.subscribe_lossless() for session in sessions]
    for number, part in enumerate(blocks(signal, (RATE // 2,))):
        injector.error = MemoryError() if number in (1, 2) else None
        for session in sessions:
            pool.push(session, part)
        wait_for(lambda: pool.due == 0, "the workers")
    for session, queue in zip(sessions, queues, strict=True):
        pool.finish(session, "done")
        items = queue.take()
        while not isinstance(items[-1], End):
            items += queue.wait(TIMEOUT_S)
        assert codes(items) == ["engine_failed", "engine_back"]
        assert [e.t for e in estimates(items)] == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0]
        assert session.stats[Counter.FAULTY_UPDATES] == 2
    pool.close()


def test_a_runner_goes_on_after_failures_and_its_exit_code_says_so(engine: Engine) -> None:
    from realtime_mer.commands.options import exit_code

    clock, injector = ManualClock(), FaultInjector(engine)
    injector.failing = {2, 3}
    source = ScriptedSource(as_blocks(music(8.0, RATE)), clock)
    runner = LiveRunner(source, injector, clock=clock)
    queue = runner.hub.subscribe_lossless()
    with runner:
        assert runner.join(TIMEOUT_S)
    items = queue.take()
    assert len(estimates(items)) == 8
    assert codes(items) == ["engine_failed", "engine_back"]
    assert items[-1] == End("scripted is over")
    assert runner.error is None
    assert exit_code(runner) == 1
