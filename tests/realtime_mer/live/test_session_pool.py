"""Client sessions: isolated, fair, bounded, and gone without a trace."""

from __future__ import annotations

import gc
import threading
import tracemalloc
import weakref
from collections.abc import Iterator

import numpy as np
import pytest
from live_support import TIMEOUT_S, wait_for
from mer_engine import Engine
from mer_engine.engine import Inference
from numpy.typing import NDArray
from support import ManualClock, blocks, music, values

from realtime_mer.audio.format import AudioFormat
from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.pipeline import Pipeline
from realtime_mer.core.types import Estimate, State
from realtime_mer.live.hub import End, Item, Notice, Subscription
from realtime_mer.live.session_pool import ClientSession, SessionPool, TooManySessionsError
from realtime_mer.live.stats import Counter, Stats

RATE = 16_000
MONO = AudioFormat(RATE, 1)
HALF = PipelineConfig(hop_s=0.5)


def drain(queue: Subscription) -> list[Item]:
    """Everything up to the end."""
    items: list[Item] = []
    while not items or not isinstance(items[-1], End):
        more = queue.wait(TIMEOUT_S)
        assert more, f"no end came after {items[-1:]}"
        items += more
    return items


def estimates(items: list[Item]) -> list[Estimate]:
    return [item for item in items if isinstance(item, Estimate)]


def alone(engine: Engine, samples: NDArray[np.float32], rate: int = RATE) -> list[Estimate]:
    pipeline = Pipeline(
        engine, sample_rate_hz=rate, channels=samples.shape[1], config=HALF, clock=ManualClock()
    )
    return pipeline.feed(samples) + pipeline.finish()


@pytest.fixture
def pool(engine: Engine) -> Iterator[SessionPool]:
    # Time stands still, so that no load of this machine can make a session late.
    pool = SessionPool(engine, config=HALF, max_sessions=4, workers=3, clock=ManualClock())
    yield pool
    pool.close()
    assert pool.workers == 0


def test_interleaved_streams_give_what_each_gives_alone(engine: Engine, pool: SessionPool) -> None:
    formats = [MONO, AudioFormat(44_100, 2), AudioFormat(8000, 1)]
    signals = [
        music(4.0, f.sample_rate_hz, channels=f.channels, seed=seed)
        for seed, f in enumerate(formats)
    ]
    sessions = [pool.open(f, f"client {n}") for n, f in enumerate(formats)]
    queues = [session.hub.subscribe_lossless() for session in sessions]
    sizes = [(160, 1, 997), (441, 4410), (1024,)]
    parts = [list(blocks(s, size)) for s, size in zip(signals, sizes, strict=True)]
    for turn in range(max(map(len, parts))):
        for session, mine in zip(sessions, parts, strict=True):
            if turn < len(mine):
                pool.push(session, mine[turn])
    for session in sessions:
        pool.finish(session, "done")
    for session, queue, signal in zip(sessions, queues, signals, strict=True):
        items = drain(queue)
        assert items[-1] == End("done")
        np.testing.assert_allclose(
            values(estimates(items)),
            values(alone(engine, signal, session.format.sample_rate_hz)),
            atol=1e-5,
        )
        assert session.stats[Counter.DROPPED_SAMPLES] == 0
    assert len(pool) == 0


def test_a_second_client_begins_anew(engine: Engine, pool: SessionPool) -> None:
    results = []
    for _ in range(2):
        session = pool.open(MONO, "client")
        queue = session.hub.subscribe_lossless()
        pool.push(session, music(2.0, RATE))
        pool.finish(session, "done")
        results.append(values(estimates(drain(queue))))
    np.testing.assert_array_equal(results[0], results[1])
    assert len(results[0]) == 4


def test_refusal_at_the_limit_and_room_after(pool: SessionPool) -> None:
    sessions = [pool.open(MONO, "client") for _ in range(4)]
    with pytest.raises(TooManySessionsError, match="4 streams are running"):
        pool.open(MONO, "one too many")
    pool.drop(sessions[0])
    pool.drop(sessions[0])
    assert pool.get(sessions[0].session) is None
    assert pool.open(MONO, "now it fits").session not in {s.session for s in sessions}


def test_no_session_may_be_allowed(engine: Engine) -> None:
    pool = SessionPool(engine, max_sessions=0)
    with pytest.raises(TooManySessionsError, match="0 streams"):
        pool.open(MONO, "client")


def test_a_vanished_client_leaves_nothing(engine: Engine) -> None:
    threads = threading.active_count()
    pool = SessionPool(engine, config=HALF, workers=2)
    session = pool.open(MONO, "client")
    pool.push(session, music(1.0, RATE))
    trace: weakref.ref[ClientSession] = weakref.ref(session)
    pool.drop(session)
    pool.push(session, music(1.0, RATE))
    assert not session.queue
    del session
    wait_for(lambda: threading.active_count() == threads, "the workers to leave")

    def gone() -> bool:
        gc.collect()
        return trace() is None

    wait_for(gone, "the session's memory")
    assert (len(pool), pool.workers) == (0, 0)


def test_workers_come_back_with_the_next_session(engine: Engine) -> None:
    pool = SessionPool(engine, config=HALF, workers=1)
    for _ in range(3):
        session = pool.open(MONO, "client")
        queue = session.hub.subscribe_lossless()
        pool.push(session, music(1.0, RATE))
        pool.finish(session, "done")
        assert len(estimates(drain(queue))) == 2
        wait_for(lambda: pool.workers == 0, "the worker to leave")


class SlowEngine:
    """Lets a test hold the workers inside an update."""

    def __init__(self, engine: Engine) -> None:
        self.info, self.backend = engine.info, engine.backend
        self._engine = engine
        self.inside = threading.Semaphore(0)
        self.may_go = threading.Semaphore(0)
        self.open = False

    def infer(
        self,
        frames: NDArray[np.float32],
        cached_maps: NDArray[np.float32],
        past: NDArray[np.float32],
    ) -> Inference:
        self.inside.release()
        if not self.open:
            assert self.may_go.acquire(timeout=TIMEOUT_S)
        return self._engine.infer(frames, cached_maps, past)

    def release_all(self) -> None:
        self.open = True
        self.may_go.release(1000)


def test_the_queue_is_bounded_and_what_is_dropped_is_counted(engine: Engine) -> None:
    slow = SlowEngine(engine)
    stats = Stats()
    pool = SessionPool(slow, config=HALF, workers=1, clock=ManualClock(), stats=stats)
    session = pool.open(MONO, "client")
    queue = session.hub.subscribe_lossless()
    pool.push(session, music(0.5, RATE))
    assert slow.inside.acquire(timeout=TIMEOUT_S)
    # The worker is inside the first update: 30 s come in, 10 s are kept.
    for part in blocks(music(30.0, RATE), (RATE // 10,)):
        pool.push(session, part)
    assert session.queued_frames == 10 * RATE
    slow.release_all()
    pool.finish(session, "done")
    told = estimates(drain(queue))
    assert session.stats[Counter.DROPPED_SAMPLES] == stats[Counter.DROPPED_SAMPLES] == 20 * RATE
    assert told[-1].t == 30.5
    pool.close()


def test_bytes_bound_the_queue_of_many_channels(pool: SessionPool) -> None:
    session = pool.open(AudioFormat(192_000, 64), "client")
    assert session.max_frames * 64 * 4 <= 4 * 2**20


def test_a_greedy_client_does_not_starve_another(engine: Engine) -> None:
    """With one worker, a short stream is answered while a long one still waits."""
    slow = SlowEngine(engine)
    pool = SessionPool(slow, config=HALF, workers=1, clock=ManualClock())
    greedy, modest = pool.open(MONO, "greedy"), pool.open(MONO, "modest")
    pool.push(greedy, music(0.5, RATE))
    assert slow.inside.acquire(timeout=TIMEOUT_S)
    for part in blocks(music(9.0, RATE), (RATE // 10,)):
        pool.push(greedy, part)
    modest_queue = modest.hub.subscribe_lossless()
    pool.push(modest, music(0.5, RATE))
    # One update of the greedy one, one turn of each: then the modest one has been heard.
    for _ in range(3):
        slow.may_go.release()
    assert estimates(modest_queue.wait(TIMEOUT_S))
    assert greedy.queued_frames >= 7 * RATE
    slow.release_all()
    pool.close()


def test_a_late_stream_skips_updates_instead_of_falling_behind(engine: Engine) -> None:
    clock = ManualClock()
    slow = SlowEngine(engine)
    pool = SessionPool(slow, config=HALF, workers=1, clock=clock)
    session = pool.open(MONO, "client")
    queue = session.hub.subscribe_lossless()
    pool.push(session, music(0.5, RATE))
    assert slow.inside.acquire(timeout=TIMEOUT_S)
    for part in blocks(music(8.0, RATE), (RATE // 10,)):
        pool.push(session, part)
    clock.advance(3.0)
    slow.release_all()
    pool.finish(session, "done")
    told = estimates(drain(queue))
    assert [e.t for e in told] == [0.5, 8.5]
    assert session.stats[Counter.SKIPPED_UPDATES] == 15
    pool.close()


def test_a_silent_client_is_told_and_then_ended(engine: Engine) -> None:
    """Real time: the workers wake up for the stall and for the idle timeout by themselves."""
    pool = SessionPool(engine, config=HALF, workers=1, idle_timeout_s=1.3)
    session = pool.open(MONO, "client")
    queue = session.hub.subscribe_lossless()
    items = drain(queue)
    assert [item.code for item in items if isinstance(item, Notice)] == ["stalled"]
    assert {e.state for e in estimates(items)} == {State.STALLED}
    assert items[-1] == End("no audio came for 1.3 s")
    assert len(pool) == 0
    wait_for(lambda: pool.workers == 0, "the worker to leave")


def test_a_fault_in_one_stream_leaves_the_others_alone(
    engine: Engine, pool: SessionPool, caplog: pytest.LogCaptureFixture
) -> None:
    broken, sound = pool.open(MONO, "broken"), pool.open(MONO, "sound")
    broken_queue, sound_queue = (s.hub.subscribe_lossless() for s in (broken, sound))
    broken.pipeline.feeding = None  # type: ignore[method-assign, assignment]
    pool.push(broken, music(1.0, RATE))
    assert drain(broken_queue) == [End("internal error, see the server's log")]
    pool.push(sound, music(1.0, RATE))
    pool.finish(sound, "done")
    assert len(estimates(drain(sound_queue))) == 2
    assert "a client's stream failed" in caplog.text


def test_audio_after_the_end_is_ignored(pool: SessionPool) -> None:
    session = pool.open(MONO, "client")
    queue = session.hub.subscribe_lossless()
    pool.finish(session, "done")
    pool.finish(session, "again")
    pool.push(session, music(1.0, RATE))
    assert drain(queue) == [End("done")]


def test_session_names_cannot_be_guessed(pool: SessionPool) -> None:
    names = {pool.open(MONO, "client").session for _ in range(4)}
    assert len(names) == 4
    assert min(map(len, names)) >= 12


class World:
    """Streams that send in real time and an engine that takes time: a time that is only counted.

    The clock goes on while the engine computes, and audio arrives meanwhile; the test lets it go on
    whenever nobody has anything to do.
    """

    def __init__(self, engine: Engine, *, streams: int, cost_s: float, hop_s: float) -> None:
        self.info, self.backend = engine.info, engine.backend
        self._engine = engine
        self._lock = threading.RLock()
        self.clock = ManualClock()
        self.cost_s = cost_s
        self.stats = Stats()
        self.batches: list[int] = []
        config = PipelineConfig(hop_s=hop_s)
        self.pool = SessionPool(
            self, config=config, workers=1, clock=self.clock, stats=self.stats, max_batch=2
        )
        self.sessions = [self.pool.open(MONO, f"stream {n}") for n in range(streams)]
        self.queues = [session.hub.subscribe_lossless() for session in self.sessions]
        self.signals = [np.tile(music(7.0, RATE, seed=n), (20, 1)) for n in range(streams)]
        self._began = self.clock.now
        self._sent = [0] * streams

    def infer(
        self,
        frames: NDArray[np.float32],
        cached_maps: NDArray[np.float32],
        past: NDArray[np.float32],
    ) -> Inference:
        self.batches.append(len(frames))
        self._pass(self.cost_s * len(frames))
        return self._engine.infer(frames, cached_maps, past)

    def _pass(self, seconds: float) -> None:
        with self._lock:
            until = self.clock.now + seconds
            while self.clock.now < until - 1e-9:
                self.clock.now = min(until, self.clock.now + 0.05)
                for n, session in enumerate(self.sessions):
                    # Each a little after the one before.
                    heard_s = self.clock.now - self._began - n / len(self.sessions)
                    while self._sent[n] + RATE // 10 <= heard_s * RATE + 1:
                        start, self._sent[n] = self._sent[n], self._sent[n] + RATE // 10
                        self.pool.push(session, self.signals[n][start : self._sent[n]])

    def play(self, seconds: float) -> None:
        """Lets so much time pass, and everything be done that is due in it."""
        until = self.clock.now + seconds
        while self.clock.now < until:
            wait_for(lambda: self.pool.due == 0 or self.clock.now >= until, "the workers")
            if self.pool.due == 0:
                self._pass(0.05)

    def items(self) -> list[list[Item]]:
        return [queue.take() for queue in self.queues]


def codes(items: list[Item]) -> list[str]:
    return [item.code for item in items if isinstance(item, Notice)]


def test_an_overload_lowers_rates_before_anything_is_lost(engine: Engine) -> None:
    """Six streams of which four fit; later, when all would, the full rates come back."""
    world = World(engine, streams=6, cost_s=0.25, hop_s=1.0)
    world.play(30.0)
    assert world.pool.slowed >= 3
    levels = [session.level for session in world.sessions]
    assert max(levels) - min(levels) <= 1
    world.cost_s = 0.02
    world.play(50.0)
    assert world.pool.slowed == 0
    all_items = world.items()
    history = [estimates(items) for items in all_items]
    world.pool.close()
    assert world.stats[Counter.DROPPED_SAMPLES] == 0
    assert world.stats[Counter.SLOWED] == sum(codes(items).count("slower") for items in all_items)
    told = set()
    for session, items, mine, signal in zip(
        world.sessions, all_items, history, world.signals, strict=True
    ):
        told |= {item.message for item in items if isinstance(item, Notice)}
        if codes(items):
            assert codes(items)[0] == "slower"
            assert codes(items)[-1] == "full_rate"
        # No hole in the numbers; what is left out is counted.
        assert [e.seq for e in mine] == list(range(len(mine)))
        assert len(mine) + session.stats[Counter.SKIPPED_UPDATES] == mine[-1].t
        # Every window is whole: each estimate is the one that comes at its time anyhow.
        heard = Pipeline(engine, sample_rate_hz=RATE, clock=ManualClock()).feed(
            signal[: int(mine[-1].t) * RATE]
        )
        expected = [heard[round(e.t) - 1] for e in mine]
        np.testing.assert_allclose(values(mine), values(expected), atol=1e-5)
    assert told == {
        "the server is busy: estimates come every 2 s instead of every 1 s until it is less so",
        "estimates come every 1 s again",
    }


def test_only_below_the_lowest_rate_is_audio_dropped(engine: Engine) -> None:
    world = World(engine, streams=12, cost_s=0.8, hop_s=1.0)
    lowest = 0.0
    while world.stats[Counter.DROPPED_SAMPLES] == 0:
        if lowest == 0.0 and all(session.level == 2 for session in world.sessions):
            lowest = world.clock.now
        world.play(0.5)
    assert 0.0 < lowest < world.clock.now
    for items in world.items():
        said = codes(items)
        assert said == ["slower"] * len(said)
    world.pool.close()


def test_many_due_sessions_are_computed_together(engine: Engine) -> None:
    world = World(engine, streams=1, cost_s=0.0, hop_s=0.5)
    world.pool.close()
    with SessionPool(world, config=HALF, workers=2, clock=ManualClock(), max_batch=8) as pool:
        sessions = [pool.open(MONO, "one of many") for _ in range(60)]
        queues = [session.hub.subscribe_lossless() for session in sessions]
        part = music(0.5, RATE)[:, 0]
        for session in sessions:
            pool.push(session, part)
        told = [estimates(queue.wait(TIMEOUT_S)) for queue in queues]
    assert {len(mine) for mine in told} == {1}
    assert len({mine[0].valence for mine in told}) <= 3  # a batch's arithmetic, to the sixth digit
    assert sum(world.batches) == 60
    assert 2 < max(world.batches) <= 8


def test_small_blocks_wait_for_the_audio_of_an_estimate(engine: Engine) -> None:
    """No turn of a worker for every block: what is queued is taken when it makes an estimate."""
    with SessionPool(engine, config=HALF, workers=1, clock=ManualClock()) as pool:
        session = pool.open(AudioFormat(48_000, 1), "client")
        queue = session.hub.subscribe_lossless()
        parts = list(blocks(music(0.6, 48_000), (960,)))
        for part in parts[:25]:
            pool.push(session, part)
        assert pool.due == 0
        assert session.queued_frames == 24_000
        # The resampler holds the last 12.5 ms, so one block more is needed.
        pool.push(session, parts[25])
        (estimate,) = estimates(queue.wait(TIMEOUT_S))
        assert estimate.t == 0.5
        assert estimate.latency.buffer_ms == pytest.approx(20.0)


def test_a_long_block_is_heard_in_turns(engine: Engine) -> None:
    slow = SlowEngine(engine)
    with SessionPool(slow, config=HALF, workers=1, clock=ManualClock()) as pool:
        greedy, modest = pool.open(MONO, "greedy"), pool.open(MONO, "modest")
        queue, modest_queue = (s.hub.subscribe_lossless() for s in (greedy, modest))
        pool.push(greedy, music(5.0, RATE))
        assert slow.inside.acquire(timeout=TIMEOUT_S)
        pool.push(modest, music(0.5, RATE))
        slow.may_go.release(2)
        assert estimates(modest_queue.wait(TIMEOUT_S))
        assert greedy.queued_frames >= 4 * RATE
        slow.release_all()
        pool.finish(greedy, "done")
        told = estimates(drain(queue))
    assert [e.t for e in told] == [0.5 * n for n in range(1, 11)]
    # All of it arrived together, so the first estimate's last sample waited for the others.
    assert told[0].latency.buffer_ms == pytest.approx(4500.0)
    assert told[-1].latency.buffer_ms == pytest.approx(0.0)


def test_what_was_heard_before_a_stall_counts(engine: Engine) -> None:
    """Real time: less audio than an estimate needs is taken before the stall is told."""
    with SessionPool(engine, config=HALF, workers=1) as pool:
        session = pool.open(MONO, "client")
        queue = session.hub.subscribe_lossless()
        pool.push(session, music(0.9, RATE))
        items: list[Item] = []
        while not codes(items):
            items += queue.wait(TIMEOUT_S)
        while not (held := [e for e in estimates(items) if e.state is State.STALLED]):
            items += queue.wait(TIMEOUT_S)
        assert held[0].t == 0.9


def test_a_stream_costs_little_memory(engine: Engine) -> None:
    """What a stream keeps after its window is full, its history and its queue apart."""
    with SessionPool(engine, max_sessions=40, workers=1, clock=ManualClock()) as pool:

        def play(streams: int) -> None:
            for n in range(streams):
                session = pool.open(MONO, f"stream {n}")
                queue = session.hub.subscribe_lossless()
                pool.push(session, np.tile(music(1.0, RATE), (10, 1)))
                wait_for(lambda queue=queue: len(queue.wait(TIMEOUT_S)) > 0, "an estimate")
            wait_for(lambda: pool.due == 0, "the workers")

        play(2)
        tracemalloc.start()
        try:
            play(20)
            gc.collect()
            used, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert used / 20 < 300_000
