"""Client sessions: isolated, fair, bounded, and gone without a trace."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator

import numpy as np
import pytest
from live_support import TIMEOUT_S, wait_for
from mer_engine import Engine
from mer_engine.engine import Inference
from numpy.typing import NDArray
from support import ManualClock, blocks, music, values

from realtime_mer.config import PipelineConfig
from realtime_mer.hub import End, Item, Notice, Subscription
from realtime_mer.pipeline import Pipeline
from realtime_mer.sessions import ClientSession, SessionPool, TooManySessionsError
from realtime_mer.stats import Counter, Stats
from realtime_mer.types import Estimate, State
from realtime_mer.wire import Encoding, StreamFormat

RATE = 16_000
MONO = StreamFormat(RATE, 1, Encoding.F32LE)
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
    formats = [MONO, StreamFormat(44_100, 2, Encoding.F32LE), StreamFormat(8000, 1, Encoding.S16LE)]
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
        self, frames: NDArray[np.float32], held: NDArray[np.float32], past: NDArray[np.float32]
    ) -> Inference:
        self.inside.release()
        if not self.open:
            assert self.may_go.acquire(timeout=TIMEOUT_S)
        return self._engine.infer(frames, held, past)

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
    session = pool.open(StreamFormat(192_000, 64, Encoding.F32LE), "client")
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
