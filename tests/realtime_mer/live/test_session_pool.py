"""Client sessions: isolated, fair, bounded, and removed completely."""

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
from support import FaultInjector, ManualClock, blocks, music, values

from realtime_mer.audio.format import AudioFormat
from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.pipeline import Pipeline
from realtime_mer.core.types import Estimate, State
from realtime_mer.live import freed_memory, session_pool
from realtime_mer.live.hub import End, Item, Notice, Subscription
from realtime_mer.live.session_pool import (
    MAX_BLOCKS,
    ClientSession,
    SessionPool,
    TooManySessionsError,
)
from realtime_mer.live.stats import Counter, Stats

RATE = 16_000
MONO = AudioFormat(RATE, 1)
HALF = PipelineConfig(hop_s=0.5)


def drain(queue: Subscription) -> list[Item]:
    """Take all items up to the end."""
    items: list[Item] = []
    while not items or not isinstance(items[-1], End):
        more = queue.wait(TIMEOUT_S)
        assert more, f"no end after {items[-1:]}"
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
    # The clock stands still, so a busy machine cannot make a session late.
    pool = SessionPool(engine, config=HALF, max_sessions=4, workers=3, clock=ManualClock())
    yield pool
    pool.close()
    assert pool.workers == 0


def test_push_says_when_the_audio_is_needed(engine: Engine) -> None:
    clock = ManualClock()
    pool = SessionPool(engine, config=HALF, max_sessions=1, workers=1, clock=clock)
    with pool:
        session = pool.open(MONO, "client")
        queue = session.hub.subscribe_lossless()
        tenth = music(0.1, RATE)
        needed_s = [pool.push(session, tenth)]
        for _ in range(3):
            clock.advance(0.1)
            needed_s.append(pool.push(session, tenth))
        # The estimate is due after half a second.
        assert needed_s == pytest.approx([0.4, 0.3, 0.2, 0.1])
        clock.advance(0.1)
        assert pool.push(session, tenth) == pytest.approx(0.5)
        assert queue.wait(TIMEOUT_S)
        # Faster than real time: the client must not have to wait.
        assert [pool.push(session, tenth) for _ in range(6)][-1] == 0.0
        assert session.stats[Counter.LATE_WINDOWS] == 0


def test_streams_do_not_affect_each_other(engine: Engine, pool: SessionPool) -> None:
    formats = [MONO, AudioFormat(44_100, 2), AudioFormat(8000, 1)]
    signals = [
        music(4.0, f.sample_rate_hz, channels=f.channels, seed=seed)
        for seed, f in enumerate(formats)
    ]
    sessions = [pool.open(f, f"client {n}") for n, f in enumerate(formats)]
    queues = [session.hub.subscribe_lossless() for session in sessions]
    sizes = [(160, 1, 997), (441, 4410), (1024,)]
    parts = [list(blocks(s, size)) for s, size in zip(signals, sizes, strict=True)]
    for index in range(max(map(len, parts))):
        for session, session_parts in zip(sessions, parts, strict=True):
            if index < len(session_parts):
                pool.push(session, session_parts[index])
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


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e20, 1e38])
def test_bad_samples_of_one_client_do_not_end_its_stream_or_affect_others(
    engine: Engine, pool: SessionPool, bad: float
) -> None:
    signal = music(4.0, RATE)
    broken, silenced = signal.copy(), signal.copy()
    broken[RATE : 2 * RATE], silenced[RATE : 2 * RATE] = bad, 0.0
    sessions = [pool.open(MONO, "bad"), pool.open(MONO, "good")]
    queues = [session.hub.subscribe_lossless() for session in sessions]
    for session, samples in zip(sessions, (broken, signal), strict=True):
        for block in blocks(samples, (320,)):
            pool.push(session, block)
        pool.finish(session, "done")
    for queue, samples, told in zip(queues, (silenced, signal), (["bad_samples"], []), strict=True):
        items = drain(queue)
        assert items[-1] == End("done")
        assert [item.code for item in items if isinstance(item, Notice)] == told
        np.testing.assert_allclose(
            values(estimates(items)), values(alone(engine, samples)), atol=1e-5
        )
    assert [s.stats[Counter.BAD_SAMPLES] for s in sessions] == [RATE, 0]


def test_a_second_client_starts_a_new_stream(engine: Engine, pool: SessionPool) -> None:
    results = []
    for _ in range(2):
        session = pool.open(MONO, "client")
        queue = session.hub.subscribe_lossless()
        pool.push(session, music(2.0, RATE))
        pool.finish(session, "done")
        results.append(values(estimates(drain(queue))))
    np.testing.assert_array_equal(results[0], results[1])
    assert len(results[0]) == 4


def test_the_limit_of_sessions(pool: SessionPool) -> None:
    sessions = [pool.open(MONO, "client") for _ in range(4)]
    with pytest.raises(TooManySessionsError, match="at most 4 audio streams at once"):
        pool.open(MONO, "one too many")
    pool.drop(sessions[0])
    pool.drop(sessions[0])
    assert pool.get(sessions[0].session) is None
    assert pool.open(MONO, "another one").session not in {s.session for s in sessions}


def test_a_limit_of_no_sessions(engine: Engine) -> None:
    pool = SessionPool(engine, max_sessions=0)
    with pytest.raises(TooManySessionsError, match="takes no audio of clients"):
        pool.open(MONO, "client")


def test_a_dropped_session_leaves_no_thread_and_no_memory(engine: Engine) -> None:
    threads = set(threading.enumerate())
    pool = SessionPool(engine, config=HALF, workers=2)
    session = pool.open(MONO, "client")
    pool.push(session, music(1.0, RATE))
    reference: weakref.ref[ClientSession] = weakref.ref(session)
    pool.drop(session)
    pool.push(session, music(1.0, RATE))
    assert not session.queue
    del session
    # Those of other tests may end meanwhile.
    wait_for(lambda: set(threading.enumerate()) <= threads, "the end of the workers")

    def collected() -> bool:
        gc.collect()
        return reference() is None

    wait_for(collected, "the collection of the session")
    assert (len(pool), pool.workers) == (0, 0)


def test_workers_start_again_with_the_next_session(engine: Engine) -> None:
    pool = SessionPool(engine, config=HALF, workers=1)
    for _ in range(3):
        session = pool.open(MONO, "client")
        queue = session.hub.subscribe_lossless()
        pool.push(session, music(1.0, RATE))
        pool.finish(session, "done")
        assert len(estimates(drain(queue))) == 2
        wait_for(lambda: pool.workers == 0, "the end of the worker")


class BlockingEngine:
    """Blocks the workers inside an update until a test lets them go."""

    def __init__(self, engine: Engine) -> None:
        self.info, self.backend = engine.info, engine.backend
        self._engine = engine
        self.entered = threading.Semaphore(0)
        self.allowed = threading.Semaphore(0)
        self.open = False
        self.batches: list[int] = []

    def infer(
        self,
        frames: NDArray[np.float32],
        cached_maps: NDArray[np.float32],
        past: NDArray[np.float32],
    ) -> Inference:
        self.batches.append(len(frames))
        self.entered.release()
        if not self.open:
            assert self.allowed.acquire(timeout=TIMEOUT_S)
        return self._engine.infer(frames, cached_maps, past)

    def release_all(self) -> None:
        self.open = True
        self.allowed.release(1000)


def test_the_queue_is_bounded_and_dropped_audio_is_counted(engine: Engine) -> None:
    slow = BlockingEngine(engine)
    stats = Stats()
    pool = SessionPool(slow, config=HALF, workers=1, clock=ManualClock(), stats=stats)
    session = pool.open(MONO, "client")
    queue = session.hub.subscribe_lossless()
    pool.push(session, music(0.5, RATE))
    assert slow.entered.acquire(timeout=TIMEOUT_S)
    # The worker is blocked in the first update: 40 s arrive, 20 s stay in the queue.
    for part in blocks(music(40.0, RATE), (RATE // 10,)):
        pool.push(session, part)
    assert session.queued_frames == 20 * RATE
    slow.release_all()
    pool.finish(session, "done")
    got = estimates(drain(queue))
    assert session.stats[Counter.DROPPED_SAMPLES] == stats[Counter.DROPPED_SAMPLES] == 20 * RATE
    assert got[-1].t == 40.5
    pool.close()


def test_the_queue_is_bounded_in_bytes_too(pool: SessionPool) -> None:
    session = pool.open(AudioFormat(192_000, 64), "client")
    assert session.max_frames * 64 * 4 <= 8 * 2**20


def test_all_queues_together_are_bounded_and_the_largest_loses_first(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_pool, "BACKLOG_BYTES", 12 * RATE * 4)
    slow = BlockingEngine(engine)
    pool = SessionPool(slow, config=HALF, workers=1, clock=ManualClock())
    sessions = [pool.open(MONO, f"client {n}") for n in range(3)]
    queues = [session.hub.subscribe_lossless() for session in sessions]
    pool.push(sessions[0], music(0.5, RATE))
    assert slow.entered.acquire(timeout=TIMEOUT_S)
    # The worker is blocked. Two seconds of each are no backlog, and all else may be 12 s.
    for session, seconds in zip(sessions, (10.0, 3.0, 18.0), strict=True):
        for part in blocks(music(seconds, RATE), (RATE // 10,)):
            pool.push(session, part)
    assert [s.queued_frames / RATE for s in sessions] == pytest.approx([7.5, 3.0, 7.5], abs=0.11)
    slow.release_all()
    for session in sessions:
        pool.finish(session, "done")
    for session, queue, seconds in zip(sessions, queues, (10.5, 3.0, 18.0), strict=True):
        assert estimates(drain(queue))[-1].t == seconds
        lost_s = session.stats[Counter.DROPPED_SAMPLES] / RATE
        assert lost_s == pytest.approx(max(0.0, seconds - 7.5 - (seconds == 10.5) / 2), abs=0.11)
    assert pool._backlog == 0
    pool.close()


def test_memory_is_given_back_once_after_a_burst(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_back: list[int] = []
    monkeypatch.setattr(freed_memory, "give_back", lambda: given_back.append(1))
    monkeypatch.setattr(session_pool, "BURST_BYTES", 4 * RATE * 4)
    pool = SessionPool(engine, config=HALF, workers=1, clock=ManualClock())
    session = pool.open(MONO, "client")
    for seconds, expected in ((2.0, 0), (8.0, 1), (2.0, 1)):
        pool.push(session, music(seconds, RATE))
        wait_for(lambda: pool.due == 0, "the worker")
        wait_for(lambda expected=expected: len(given_back) == expected, "memory")  # type: ignore[misc]
    pool.close()
    freed_memory.give_back()


def test_tiny_blocks_are_joined(engine: Engine, pool: SessionPool) -> None:
    """A block takes far more memory than its sample: a client must not choose how many wait."""
    session = pool.open(MONO, "client")
    queue = session.hub.subscribe_lossless()
    signal = music(1.0, RATE)
    longest = 0
    for sample in signal:
        pool.push(session, np.array([sample]))
        longest = max(longest, len(session.queue))
    assert longest <= MAX_BLOCKS < RATE // 2
    pool.finish(session, "done")
    np.testing.assert_allclose(
        values(estimates(drain(queue))), values(alone(engine, signal)), atol=2e-5
    )


def test_a_client_with_much_audio_does_not_delay_another(engine: Engine) -> None:
    """With one worker, a short stream is computed while a long one still waits."""
    slow = BlockingEngine(engine)
    pool = SessionPool(slow, config=HALF, workers=1, clock=ManualClock())
    long, short = pool.open(MONO, "long"), pool.open(MONO, "short")
    pool.push(long, music(0.5, RATE))
    assert slow.entered.acquire(timeout=TIMEOUT_S)
    for part in blocks(music(9.0, RATE), (RATE // 10,)):
        pool.push(long, part)
    short_queue = short.hub.subscribe_lossless()
    pool.push(short, music(0.5, RATE))
    # One update of the long stream and one turn of each: then the short one has an estimate.
    for _ in range(3):
        slow.allowed.release()
    assert estimates(short_queue.wait(TIMEOUT_S))
    assert long.queued_frames >= 7 * RATE
    slow.release_all()
    pool.close()


def test_pulses_come_between_the_estimates(engine: Engine, pool: SessionPool) -> None:
    session = pool.open(MONO, "client")
    queue = session.hub.subscribe_lossless()
    pulses = session.hub.subscribe_pulses(lambda: None)
    signal = music(2.0, RATE)
    heard: list[float] = []

    def hear(until_s: float) -> None:
        def all_told() -> bool:
            heard.extend(pulse.t for pulse in pulses.take())
            return bool(heard) and heard[-1] > until_s - 0.025

        wait_for(all_told, f"the pulse of {until_s} s")

    # The turns become short after the first one.
    pool.push(session, signal[: RATE // 2])
    hear(0.5)
    # Within a turn, what it needs is not what the next one will need.
    wait_for(lambda: pool.due == 0, "the end of the first turn")
    turn = session.frames_for_turn()
    assert turn < RATE // 10
    at = RATE // 2
    for at in range(RATE // 2, RATE - turn, turn):
        pool.push(session, signal[at : at + turn])
        hear((at + turn) / RATE)
    session.hub.unsubscribe_pulses(pulses)
    pool.push(session, signal[at + turn :])
    pool.finish(session, "done")
    np.testing.assert_allclose(
        values(estimates(drain(queue))), values(alone(engine, signal)), atol=2e-5
    )
    assert session.stats[Counter.LATE_WINDOWS] == 0


def test_a_stream_at_a_lower_rate_has_long_turns(engine: Engine, pool: SessionPool) -> None:
    session = pool.open(MONO, "client")
    long = session.frames_for_turn()
    session.hub.subscribe_pulses(lambda: None)
    assert session.frames_for_turn() == round(0.06 * RATE) < long
    session.level = 1
    assert session.frames_for_turn() == long


def test_a_late_stream_skips_updates(engine: Engine) -> None:
    clock = ManualClock()
    slow = BlockingEngine(engine)
    pool = SessionPool(slow, config=HALF, workers=1, clock=clock)
    session = pool.open(MONO, "client")
    queue = session.hub.subscribe_lossless()
    pool.push(session, music(0.5, RATE))
    assert slow.entered.acquire(timeout=TIMEOUT_S)
    for part in blocks(music(8.0, RATE), (RATE // 10,)):
        pool.push(session, part)
    clock.advance(3.0)
    slow.release_all()
    pool.finish(session, "done")
    got = estimates(drain(queue))
    assert [e.t for e in got] == [0.5, 8.5]
    assert session.stats[Counter.SKIPPED_UPDATES] == 15
    pool.close()


def test_a_burst_of_ten_seconds_loses_nothing(fast_engine: Engine) -> None:
    """On a machine that is little faster than real time."""
    simulation = Simulation(fast_engine, streams=1, cost_s=0.07, hop_s=0.1)
    (session,) = simulation.sessions
    (queue,) = simulation.queues
    signal = music(20.0, RATE)
    simulation.stop_playing()
    for _ in range(2):
        for part in blocks(signal[: 10 * RATE], (RATE // 20,)):
            simulation.pool.push(session, part)
        wait_for(lambda: simulation.pool.due == 0, "the burst")
    simulation.pool.finish(session, "done")
    assert [round(10 * e.t) for e in estimates(drain(queue))] == list(range(1, 201))
    for counter in (Counter.DROPPED_SAMPLES, Counter.SKIPPED_UPDATES, Counter.LATE_WINDOWS):
        assert session.stats[counter] == 0, counter
    simulation.pool.close()


def test_a_client_without_audio_stalls_and_then_ends(engine: Engine) -> None:
    """In real time: the workers wake up for the stall and for the idle timeout."""
    pool = SessionPool(engine, config=HALF, workers=1, idle_timeout_s=1.3)
    session = pool.open(MONO, "client")
    queue = session.hub.subscribe_lossless()
    items = drain(queue)
    assert [item.code for item in items if isinstance(item, Notice)] == ["stalled"]
    assert {e.state for e in estimates(items)} == {State.STALLED}
    assert items[-1] == End("no audio came for 1.3 s")
    assert len(pool) == 0
    wait_for(lambda: pool.workers == 0, "the end of the worker")


def test_an_error_in_one_stream_does_not_affect_the_others(
    engine: Engine, pool: SessionPool, caplog: pytest.LogCaptureFixture
) -> None:
    broken, sound = pool.open(MONO, "broken"), pool.open(MONO, "sound")
    broken_queue, sound_queue = (s.hub.subscribe_lossless() for s in (broken, sound))
    broken.pipeline.mono_requests = None  # type: ignore[method-assign, assignment]
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


def test_session_identifiers_are_long_and_unique(pool: SessionPool) -> None:
    names = {pool.open(MONO, "client").session for _ in range(4)}
    assert len(names) == 4
    assert min(map(len, names)) >= 12


class Simulation:
    """Streams that send in real time and an engine that takes time, in simulated time.

    The clock advances while the engine computes, and audio arrives meanwhile. The test advances it
    while the workers are idle.
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
        self._playing = True
        # At which time all streams had the lowest rate, and at which one first lost audio. Noted in
        # the thread that moves the time: the test's may have to wait for a processor meanwhile.
        self.lowest_at: float | None = None
        self.lost_at: float | None = None

    def infer(
        self,
        frames: NDArray[np.float32],
        cached_maps: NDArray[np.float32],
        past: NDArray[np.float32],
    ) -> Inference:
        self.batches.append(len(frames))
        self._advance(self.cost_s * len(frames))
        return self._engine.infer(frames, cached_maps, past)

    def _advance(self, seconds: float) -> None:
        with self._lock:
            until = self.clock.now + seconds
            while self.clock.now < until - 1e-9:
                self.clock.now = min(until, self.clock.now + 0.05)
                for n, session in enumerate(self.sessions if self._playing else ()):
                    # Each stream starts a little after the one before.
                    played_s = self.clock.now - self._began - n / len(self.sessions)
                    while self._sent[n] + RATE // 10 <= played_s * RATE + 1:
                        start, self._sent[n] = self._sent[n], self._sent[n] + RATE // 10
                        self.pool.push(session, self.signals[n][start : self._sent[n]])
            if self.lowest_at is None and all(session.level == 2 for session in self.sessions):
                self.lowest_at = self.clock.now
            if self.lost_at is None and self.stats[Counter.DROPPED_SAMPLES]:
                self.lost_at = self.clock.now

    def play(self, seconds: float) -> None:
        """Advance the time and wait until all work that is due in it is done."""
        until = self.clock.now + seconds
        while self.clock.now < until:
            wait_for(lambda: self.pool.due == 0 or self.clock.now >= until, "the workers")
            if self.pool.due == 0:
                self._advance(0.05)

    def stop_playing(self) -> None:
        """Send no more audio; only the engine takes time."""
        self._playing = False

    def items(self) -> list[list[Item]]:
        return [queue.take() for queue in self.queues]


def codes(items: list[Item]) -> list[str]:
    return [item.code for item in items if isinstance(item, Notice)]


def test_an_overload_lowers_rates_before_anything_is_lost(fast_engine: Engine) -> None:
    """The engine is fast enough for four of six streams; later it is fast enough for all."""
    simulation = Simulation(fast_engine, streams=6, cost_s=0.25, hop_s=1.0)
    simulation.play(30.0)
    assert simulation.pool.slowed >= 3
    with simulation.pool._lock:  # at one moment
        levels = [session.level for session in simulation.sessions]
    assert max(levels) - min(levels) <= 1
    simulation.cost_s = 0.02
    simulation.play(50.0)
    assert simulation.pool.slowed == 0
    all_items = simulation.items()
    history = [estimates(items) for items in all_items]
    simulation.pool.close()
    assert simulation.stats[Counter.DROPPED_SAMPLES] == 0
    assert simulation.stats[Counter.SLOWED] == sum(
        codes(items).count("slower") for items in all_items
    )
    messages = set()
    for session, items, got, signal in zip(
        simulation.sessions, all_items, history, simulation.signals, strict=True
    ):
        messages |= {item.message for item in items if isinstance(item, Notice)}
        if codes(items):
            assert codes(items)[0] == "slower"
            assert codes(items)[-1] == "full_rate"
        # The numbers have no gap, and skipped estimates are counted.
        assert [e.seq for e in got] == list(range(len(got)))
        assert len(got) + session.stats[Counter.SKIPPED_UPDATES] == got[-1].t
        # Every window is complete: each estimate equals the one at the full rate.
        pipeline = Pipeline(fast_engine, sample_rate_hz=RATE, clock=ManualClock())
        full_rate = pipeline.feed(signal[: int(got[-1].t) * RATE])
        expected = [full_rate[round(e.t) - 1] for e in got]
        np.testing.assert_allclose(values(got), values(expected), atol=1e-5)
    assert messages == {
        "the server is busy: for now, estimates come every 2 s instead of every 1 s",
        "estimates come every 1 s again",
    }


def test_audio_is_dropped_only_at_the_lowest_rates(fast_engine: Engine) -> None:
    simulation = Simulation(fast_engine, streams=12, cost_s=1.8, hop_s=1.0)
    while simulation.lost_at is None:
        simulation.play(0.5)
    assert simulation.lowest_at is not None
    assert simulation.lowest_at < simulation.lost_at
    for items in simulation.items():
        assert set(codes(items)) <= {"slower"}
    simulation.pool.close()


def test_many_due_sessions_are_computed_together(fast_engine: Engine) -> None:
    simulation = Simulation(fast_engine, streams=1, cost_s=0.0, hop_s=0.5)
    simulation.pool.close()
    injector = FaultInjector(simulation)
    with SessionPool(injector, config=HALF, workers=2, clock=ManualClock(), max_batch=8) as pool:
        sessions = [pool.open(MONO, "one of many") for _ in range(60)]
        queues = [session.hub.subscribe_lossless() for session in sessions]
        part = music(0.5, RATE)[:, 0]
        # The workers may be quicker than this thread on a busy machine: they wait for it.
        injector.hang()
        for session in sessions:
            pool.push(session, part)
        injector.release()
        got = [estimates(queue.wait(TIMEOUT_S)) for queue in queues]
    assert {len(session_estimates) for session_estimates in got} == {1}
    valences = [session_estimates[0].valence for session_estimates in got]
    np.testing.assert_allclose(valences, valences[0], atol=1e-5)
    assert sum(simulation.batches) == 60
    assert 2 < max(simulation.batches) <= 8


def test_a_turn_has_as_many_sessions_as_the_engine_computes_best(engine: Engine) -> None:
    class Card(BlockingEngine):
        largest_batch = 64

    card = Card(engine)
    with SessionPool(card, config=HALF, workers=1, clock=ManualClock()) as pool:
        sessions = [pool.open(MONO, f"stream {n}") for n in range(21)]
        queues = [session.hub.subscribe_lossless() for session in sessions]
        part = music(0.5, RATE)[:, 0]
        pool.push(sessions[0], part)
        assert card.entered.acquire(timeout=TIMEOUT_S)
        for session in sessions[1:]:
            pool.push(session, part)
        card.largest_batch = 12  # as when a smaller one takes over
        card.release_all()
        for queue in queues:
            assert estimates(queue.wait(TIMEOUT_S))
    assert card.batches == [1, 12, 8]


def test_small_blocks_wait_until_they_complete_an_estimate(engine: Engine) -> None:
    """A block alone is no work for a worker; the queue is processed once per estimate."""
    with SessionPool(engine, config=HALF, workers=1, clock=ManualClock()) as pool:
        session = pool.open(AudioFormat(48_000, 1), "client")
        queue = session.hub.subscribe_lossless()
        parts = list(blocks(music(0.6, 48_000), (960,)))
        for part in parts[:25]:
            pool.push(session, part)
        assert pool.due == 0
        assert session.queued_frames == 24_000
        # The resampler delays by 4.6 ms, so one more block is needed.
        pool.push(session, parts[25])
        (estimate,) = estimates(queue.wait(TIMEOUT_S))
        assert estimate.t == 0.5
        assert estimate.latency.buffer_ms == pytest.approx(20.0)


def test_a_long_block_is_processed_in_several_turns(engine: Engine) -> None:
    slow = BlockingEngine(engine)
    with SessionPool(slow, config=HALF, workers=1, clock=ManualClock()) as pool:
        long, short = pool.open(MONO, "long"), pool.open(MONO, "short")
        queue, short_queue = (s.hub.subscribe_lossless() for s in (long, short))
        pool.push(long, music(5.0, RATE))
        assert slow.entered.acquire(timeout=TIMEOUT_S)
        pool.push(short, music(0.5, RATE))
        slow.allowed.release(2)
        assert estimates(short_queue.wait(TIMEOUT_S))
        assert long.queued_frames >= 4 * RATE
        slow.release_all()
        pool.finish(long, "done")
        got = estimates(drain(queue))
    assert [e.t for e in got] == [0.5 * n for n in range(1, 11)]
    # All audio arrived together, so the first estimate's last sample waited for the rest.
    assert got[0].latency.buffer_ms == pytest.approx(4500.0)
    assert got[-1].latency.buffer_ms == pytest.approx(0.0)


def test_audio_before_a_stall_is_processed(engine: Engine) -> None:
    """In real time: audio that is too short for an estimate is processed before the stall."""
    with SessionPool(engine, config=HALF, workers=1) as pool:
        session = pool.open(MONO, "client")
        queue = session.hub.subscribe_lossless()
        pool.push(session, music(0.9, RATE))
        items: list[Item] = []
        while not codes(items):
            items += queue.wait(TIMEOUT_S)
        while not (stalled := [e for e in estimates(items) if e.state is State.STALLED]):
            items += queue.wait(TIMEOUT_S)
        assert stalled[0].t == 0.9


def test_a_stream_takes_little_memory(engine: Engine) -> None:
    """A stream with a full window, without its history and its queue."""
    with SessionPool(engine, max_sessions=40, workers=1, clock=ManualClock()) as pool:

        def play(streams: int) -> None:
            for n in range(streams):
                session = pool.open(MONO, f"stream {n}")
                queue = session.hub.subscribe_lossless()
                pool.push(session, np.tile(music(1.0, RATE), (10, 1)))
                assert queue.wait(TIMEOUT_S)
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
