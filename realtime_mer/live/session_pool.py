"""Many streams in one process: one isolated session each, and a few worker threads for all.

A session is due once the audio for its next estimate has arrived. A worker takes the due sessions,
oldest first, and computes them together (`realtime_mer.core.batching`). The audio can come from
anywhere:

    with SessionPool(load_engine(), max_sessions=1000) as pool:
        session = pool.open(AudioFormat(16_000, 1), "stage left")
        slot = session.hub.subscribe_latest()
        pool.push(session, samples)  # float32 [n], any n
        items = slot.wait()  # estimates, notices, the end
        pool.finish(session, "the show is over")
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import secrets
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from mer_engine import Engine
from mer_engine.engine import largest_batch
from numpy.typing import NDArray

from realtime_mer.audio.format import AudioFormat
from realtime_mer.audio.source import Input, InputKind
from realtime_mer.clock import Clock, SystemClock
from realtime_mer.closable import Closable
from realtime_mer.core.batching import run_batch
from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.pipeline import Pipeline
from realtime_mer.core.requests import Computation
from realtime_mer.live import freed_memory
from realtime_mer.live.engine_watch import EngineWatch
from realtime_mer.live.hub import End, Hub
from realtime_mer.live.load_shedding import LoadShedding, rates
from realtime_mer.live.stats import Counter, Stats
from realtime_mer.live.stream import PULSE_BLOCK_S, LiveStream

logger = logging.getLogger(__name__)

# A burst, for example after a client's computer was busy, fits beside what is queued anyway.
QUEUE_S = 20.0
QUEUE_BYTES = 8 * 2**20
# All sessions together may queue this much beyond what their next turns need.
BACKLOG_BYTES = 64 * 2**20
# After a larger backlog, memory is given back to the operating system.
BURST_BYTES = 8 * 2**20
# With more blocks, this many neighbours become one: a block of one sample takes 300 bytes.
MAX_BLOCKS, JOINED_BLOCKS = 4096, 64
# The audio of a burst counts as arriving one block after another, at most this much later than it
# did: a burst alone is no reason to skip updates. The difference to the true time shrinks by a
# tenth of the audio that follows.
MAX_BURST_S = 10.0
BURST_PACE = 0.9
# Audio that is no burst may have waited this long with whoever pushes it.
MAX_UNREAD_S = 0.25
IDLE_TIMEOUT_S = 60.0
MAX_SESSIONS = 64
MAX_WORKERS = 8
# Longest time that a worker waits for more due sessions, as a share of the hop. It waits only if
# at least one more can be expected in that time; with few sessions each is computed at once.
MAX_BATCH_WAIT_SHARE = 0.02
# Fewer due sessions than this are not divided among workers.
MIN_SHARED_BATCH = 8
# Longest audio per turn while no estimate is near, and nobody is shown the pulses.
MAX_TURN_S = 2.0


class TooManySessionsError(Exception):
    """The maximum number of sessions is running."""


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    samples: NDArray[np.float32]
    arrived_at: float


class ClientSession:
    """One client's stream: its own pipeline, hub, counts and bounded queue.

    Attributes:
        session: its identifier on the wire, random and unguessable.
        info: description of its input.
        hub: publishes its estimates.
        stats: its own counts.
        private: whether it is left out of lists of the streams.
        opened_at: time of the pool's clock.
    """

    def __init__(
        self,
        engine: Engine,
        audio_format: AudioFormat,
        name: str,
        *,
        config: PipelineConfig,
        clock: Clock,
        stats: Stats,
        private: bool,
    ) -> None:
        self.session = secrets.token_urlsafe(9)
        self.private = private
        self.format = audio_format
        rate, channels = audio_format.sample_rate_hz, audio_format.channels
        self.info = Input(InputKind.BROWSER, name, rate, channels, paced=False, live=True)
        self.hub = Hub(hop_s=config.hop_s)
        self.stats = stats
        self.pipeline = Pipeline(
            engine, sample_rate_hz=rate, channels=channels, config=config, clock=clock
        )
        self.stream = LiveStream(self.pipeline, self.hub, stats)
        # Everything below belongs to the pool and is accessed under its lock only. The stream
        # belongs to the one worker that computes the session.
        self.queue: deque[_Block] = deque()
        self.queued_frames = 0
        self.counted_backlog = 0
        self.dropped_frames = 0
        self.frame_bytes = 4 * channels
        self.max_frames = max(1, int(min(QUEUE_S * rate, QUEUE_BYTES / self.frame_bytes)))
        self.needed_frames = self.frames_for_turn()
        self.last_audio_at = self.opened_at = clock.monotonic()
        # When the audio so far would have arrived in real time.
        self.paced_until = self.last_audio_at
        self.ready_at = self.last_audio_at
        self.busy = False
        self.ready = False
        self.has_timer = False
        self.closing: str | None = None
        self.removed = False
        # Changed by `LoadShedding`.
        self.level = 0
        self.last_change = 0

    @property
    def backlog_bytes(self) -> int:
        """Queued bytes beyond what the longest turn needs."""
        turn_frames = min(int(MAX_TURN_S * self.format.sample_rate_hz), self.max_frames)
        return max(0, self.queued_frames - turn_frames) * self.frame_bytes

    def frames_for_turn(self) -> int:
        """Return the sample frames of the next turn: up to the next estimate, or fewer."""
        # A machine that is too busy for all estimates has no time for short turns.
        turn_s = PULSE_BLOCK_S if self.hub.wants_pulses and self.level == 0 else MAX_TURN_S
        limit = min(int(turn_s * self.format.sample_rate_hz), (self.max_frames + 1) // 2)
        return min(self.pipeline.samples_until_estimate, limit)


@dataclass(slots=True, eq=False)
class _Turn:
    """The work of one worker for one session.

    Attributes:
        blocks: the audio to process; empty if only a timer has expired.
        arrived_at: when the last block arrived.
        dropped: sample frames that were dropped before the blocks.
        only_latest: as for `Pipeline.feed`.
        samples_behind: sample frames that arrived with the blocks and stay in the queue.
        hops_per_estimate: the current rate of the session.
        stalls: whether the blocks are all there is, fewer than an estimate needs, and nothing
            has followed them for so long that a stall may be reported.
    """

    session: ClientSession
    blocks: list[NDArray[np.float32]]
    arrived_at: float
    dropped: int
    only_latest: bool
    samples_behind: int
    hops_per_estimate: int
    stalls: bool


class SessionPool(Closable):
    """Runs the sessions of all clients on a few threads.

    Only one thread at a time works on a session. Each turn processes its audio up to its next
    estimate; then the session goes to the back of the line, so that a client with much queued audio
    does not delay the others. Threads exist only while there are sessions.

    Under overload the rates of sessions are lowered first (`realtime_mer.live.load_shedding`), then
    updates are skipped, and finally audio is dropped.

    Callable from any thread. The context manager closes the pool.

    Args:
        engine: shared by all sessions.
        config: settings of every session's pipeline.
        max_sessions: maximum number of sessions at once.
        workers: maximum number of threads; None for one per processor, up to 8.
        idle_timeout_s: a session without audio ends after this time.
        clock: the source of time.
        stats: the server's counts; every session counts there too.
        max_batch: maximum number of sessions per turn of a worker; None for as many as the engine
            computes best in one call, see `mer_engine.engine.largest_batch`.

    Attributes:
        watch: the engine of all sessions, watched.
        stuck: after `close`: what to tell the user if the engine keeps a thread; mostly empty.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        config: PipelineConfig | None = None,
        max_sessions: int = MAX_SESSIONS,
        workers: int | None = None,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
        clock: Clock | None = None,
        stats: Stats | None = None,
        max_batch: int | None = None,
    ) -> None:
        self.max_sessions = max_sessions
        self._config = config or PipelineConfig()
        self._clock = clock or SystemClock()
        self._stats = stats or Stats()
        self.watch = EngineWatch.of(engine, hop_s=self._config.hop_s, stats=self._stats)
        self.stuck = ""
        self._idle_timeout_s = idle_timeout_s
        self._max_workers = workers or min(MAX_WORKERS, os.cpu_count() or 1)
        self._chosen_max_batch = max_batch
        self._hop_s = self._config.hop_s
        self._rates = rates(self._hop_s)
        self._shedding = LoadShedding(self._hop_s, self._clock.monotonic())
        self._lock = threading.Lock()
        # Idle workers wait for work; the worker that fills its batch waits for it to be full.
        self._changed = threading.Condition(self._lock)
        self._batch_full = threading.Condition(self._lock)
        self._filling_batch = False
        self._idle = 0
        self._sessions: dict[str, ClientSession] = {}
        self._backlog = 0  # bytes, the sum of the sessions' `backlog_bytes`
        self._is_burst = False  # whether it was large since memory was given back
        self._ready: deque[ClientSession] = deque()
        # When to check a session although no audio arrives: time, number, session identifier.
        self._timers: list[tuple[float, int, str]] = []
        self._timer_numbers = itertools.count()
        self._workers: set[threading.Thread] = set()

    def __len__(self) -> int:
        return len(self._sessions)

    def get(self, session: str) -> ClientSession | None:
        """Return a running session by its identifier, None if there is none."""
        return self._sessions.get(session)

    def listed(self) -> list[ClientSession]:
        """Return the running sessions that are not private, in the order in which they began."""
        with self._lock:
            return [session for session in self._sessions.values() if not session.private]

    def open(self, audio_format: AudioFormat, name: str, *, private: bool = False) -> ClientSession:
        """Start a session.

        Args:
            audio_format: sample rate and channels of the audio.
            name: for display.
            private: whether `listed` leaves it out.

        Raises:
            TooManySessionsError: the maximum number of sessions is running.
            UserError: the format is out of range.
        """
        # Created outside the lock, because building a pipeline takes milliseconds.
        if len(self._sessions) >= self.max_sessions:
            raise TooManySessionsError(self._refusal())
        session = ClientSession(
            self.watch,
            audio_format,
            name,
            config=self._config,
            clock=self._clock,
            stats=Stats(parent=self._stats),
            private=private,
        )
        with self._lock:
            if len(self._sessions) >= self.max_sessions:
                raise TooManySessionsError(self._refusal())
            # If all other sessions have a lower rate, a new one starts with it too.
            session.level = min((other.level for other in self._sessions.values()), default=0)
            self._sessions[session.session] = session
            self._set_timer(session)
            if len(self._workers) < min(self._max_workers, len(self._sessions)):
                worker = threading.Thread(target=self._work, name="session-worker", daemon=True)
                self._workers.add(worker)
                worker.start()
            self._changed.notify()
        self._stats.add(Counter.STREAMS)
        return session

    def push(self, session: ClientSession, samples: NDArray[np.float32]) -> float:
        """Queue audio. If more than 20 s would wait, the oldest is dropped and counted.

        The same holds for the session with the most audio if 64 MiB of all sessions would wait.

        A call takes a few microseconds and never waits for a computation. It has no effect after
        the end of the session.

        Args:
            session: from `open`.
            samples: float32 [n, channels], or [n] for one channel; full scale 1.0. They are kept
                without a copy: do not change them afterwards.

        Returns:
            In how many seconds of real time the session has the audio of its next turn: audio that
            comes before may be pushed as late. 0 where it comes faster than real time, or where the
            time is not known yet.
        """
        if samples.ndim == 1:
            samples = samples[:, None]
        now = self._clock.monotonic()
        with self._lock:
            if session.closing is not None or session.removed:
                return 0.0
            session.last_audio_at = now
            session.stream.audio_arrived(now)
            arrived_at = min(max(session.paced_until, now), now + MAX_BURST_S)
            duration_s = len(samples) / session.format.sample_rate_hz
            began_at = max(session.paced_until, now - min(duration_s, MAX_UNREAD_S))
            session.paced_until = min(began_at, now + MAX_BURST_S) + BURST_PACE * duration_s
            session.queue.append(_Block(samples, arrived_at))
            session.queued_frames += len(samples)
            if len(session.queue) > MAX_BLOCKS:
                session.queue = _join(session.queue)
            while session.queued_frames > session.max_frames and len(session.queue) > 1:
                _drop_oldest(session)
            self._count_backlog(session)
            self._limit_backlog()
            if self._has_enough(session):
                self._make_ready(session, now)
            return self._seconds_until_turn(session, now)

    def finish(self, session: ClientSession, reason: str) -> None:
        """End a session after its queued audio is processed; its hub then publishes the end."""
        with self._lock:
            if session.closing is None:
                session.closing = reason
                self._make_ready(session, self._clock.monotonic())

    def drop(self, session: ClientSession) -> None:
        """Remove a session at once, because its client has disconnected."""
        with self._lock:
            self._remove([session])

    def close(self, timeout_s: float = 5.0) -> None:
        """Remove all sessions and wait for the threads to end.

        Threads that hang in the engine are left behind; `stuck` then says so.
        """
        with self._lock:
            self._remove(list(self._sessions.values()))
            workers = list(self._workers)
        self.stuck = self.watch.join(workers, timeout_s)

    def give_way(self, share: float) -> bool:
        """Lower the rates of a share of the sessions; return False if all have the lowest one."""
        with self._lock:
            return self._shedding.give_way(self._sessions.values(), share)

    @property
    def _max_batch(self) -> int:
        """Maximum number of sessions per turn; it changes when a card is replaced."""
        return self._chosen_max_batch or largest_batch(self.watch)

    @property
    def workers(self) -> int:
        """Number of threads at present."""
        return len(self._workers)

    @property
    def slowed(self) -> int:
        """Number of sessions below the full rate, because of overload."""
        with self._lock:
            return sum(session.level > 0 for session in self._sessions.values())

    @property
    def due(self) -> int:
        """Number of sessions that are computed at present or wait for a worker."""
        with self._lock:
            return sum(session.busy or session.ready for session in self._sessions.values())

    def _refusal(self) -> str:
        if self.max_sessions == 0:
            return "this server takes no audio of clients: it was started with --max-sessions 0"
        streams = "audio stream" if self.max_sessions == 1 else "audio streams"
        return (
            f"this server takes at most {self.max_sessions} {streams} at once; "
            "try again later or start it with a larger --max-sessions"
        )

    # The methods from here to the workers are called under the lock.

    def _has_enough(self, session: ClientSession) -> bool:
        return session.queued_frames + session.dropped_frames >= session.needed_frames

    def _seconds_until_turn(self, session: ClientSession, now: float) -> float:
        """Return what `push` returns."""
        if session.paced_until > now + MAX_UNREAD_S:
            return 0.0
        missing = session.needed_frames - session.queued_frames - session.dropped_frames
        missing_s = missing / session.format.sample_rate_hz
        if missing > 0:
            return missing_s
        # The turn after the one that begins now. With pulses, its length is known only when that
        # one has ended: an estimate may come sooner than a message of them.
        return 0.0 if session.hub.wants_pulses else max(0.0, missing_s + self._hop_s)

    def _make_ready(self, session: ClientSession, now: float) -> None:
        if session.busy or session.ready or session.removed:
            return
        session.ready, session.ready_at = True, now
        self._ready.append(session)
        if not self._filling_batch:
            self._changed.notify()
        elif len(self._ready) >= self._max_batch:
            self._batch_full.notify()

    def _count_backlog(self, session: ClientSession) -> None:
        """Update the sum of the backlogs after a change of a session's queue."""
        backlog = session.backlog_bytes
        self._backlog += backlog - session.counted_backlog
        session.counted_backlog = backlog
        self._is_burst = self._is_burst or self._backlog > BURST_BYTES

    def _limit_backlog(self) -> None:
        """While too much is queued in all, drop the oldest block of the largest backlog."""
        while self._backlog > BACKLOG_BYTES:
            largest = max(self._sessions.values(), key=lambda session: session.counted_backlog)
            if len(largest.queue) <= 1:
                return
            _drop_oldest(largest)
            self._count_backlog(largest)

    def _remove(self, sessions: Iterable[ClientSession]) -> None:
        for session in sessions:
            session.removed = True
            session.queue.clear()
            session.queued_frames = 0
            self._count_backlog(session)
            self._sessions.pop(session.session, None)
            if session.ready:
                session.ready = False
                self._ready.remove(session)
        self._changed.notify_all()
        self._batch_full.notify_all()

    def _due(self, session: ClientSession) -> float:
        """Return when a session must be checked although no audio arrives."""
        return min(session.stream.due, session.last_audio_at + self._idle_timeout_s)

    def _set_timer(self, session: ClientSession) -> None:
        if not session.has_timer:
            session.has_timer = True
            timer = (self._due(session), next(self._timer_numbers), session.session)
            heapq.heappush(self._timers, timer)

    def _expire_timers(self, now: float) -> None:
        """Make the sessions ready whose timers have expired, unless audio has arrived since."""
        while self._timers and self._timers[0][0] <= now:
            session = self._sessions.get(heapq.heappop(self._timers)[2])
            if session is None:
                continue
            session.has_timer = False
            # A session that is computed, or will be, gets a new timer afterwards.
            if session.busy or session.ready:
                continue
            if self._due(session) <= now:
                self._make_ready(session, now)
            else:
                self._set_timer(session)

    def _start_turn(self, session: ClientSession, now: float) -> _Turn:
        """Take the audio up to the next estimate; all of it if the session is late."""
        needed = session.needed_frames - session.dropped_frames
        stalls = session.queued_frames < needed and session.closing is None
        blocks, arrived_at = _first_blocks(session, needed)
        hops = self._rates[session.level]
        late = bool(blocks) and now - arrived_at > hops * self._hop_s
        if late and now - session.ready_at > self._hop_s and self._shedding.lower(session):
            # The pool is overloaded: lower the rate before skipping updates.
            hops = self._rates[session.level]
            late = False
        if late:
            more, last_at = _first_blocks(session, session.queued_frames)
            blocks, arrived_at = blocks + more, max(arrived_at, last_at)
        # A block of more than a hop is processed in parts, with turns of other sessions between.
        excess = sum(map(len, blocks)) - max(needed, 1)
        if late or excess < self._hop_s * session.format.sample_rate_hz:
            excess = 0
        else:
            last = blocks[-1]
            blocks[-1] = last[: len(last) - excess]
            session.queue.appendleft(_Block(last[len(last) - excess :], arrived_at))
            session.queued_frames += excess
        self._count_backlog(session)
        dropped, session.dropped_frames = session.dropped_frames, 0
        return _Turn(session, blocks, arrived_at, dropped, late, excess, hops, stalls)

    def _end_turn(self, session: ClientSession, now: float) -> str | None:
        """End a turn; return the reason if the session ends."""
        session.busy = False
        if session.removed:
            return None
        session.needed_frames = session.frames_for_turn()
        if self._has_enough(session) or (session.queue and session.closing is not None):
            self._make_ready(session, now)
            return None
        if session.closing is None and now >= session.last_audio_at + self._idle_timeout_s:
            session.closing = f"no audio came for {self._idle_timeout_s:g} s"
        if session.closing is None:
            self._set_timer(session)
            return None
        # Removed before the end is published, so that no other worker publishes after it.
        self._remove([session])
        return session.closing

    def _continue_waiting(self) -> None:
        """Repeat the last values of the sessions that are due while every worker hangs."""
        with self._lock:
            waited_s = [self.watch.waited_s(w) for w in self._workers if self.watch.hangs(w)]
            if len(waited_s) == len(self._workers) > 0:
                for session in self._ready:
                    session.stream.wait_for_engine(min(waited_s))

    # The workers.

    def _work(self) -> None:
        try:
            with self.watch.running(self._continue_waiting):
                while batch := self._next_batch():
                    self._run(batch)
        finally:
            with self._lock:
                self._workers.discard(threading.current_thread())

    def _next_batch(self) -> list[ClientSession]:
        """Wait for due sessions and return them, now `busy`; empty if no sessions are left."""
        waited = False
        with self._lock:
            while self._sessions:
                now = self._clock.monotonic()
                self._expire_timers(now)
                if self._ready and not self._filling_batch:
                    wait_s = 0.0 if waited else self._batch_wait_s(now)
                    if wait_s > 0.0:
                        self._filling_batch = waited = True
                        self._batch_full.wait(wait_s)
                        self._filling_batch = False
                        continue
                    return self._take_batch()
                waited = False
                self._idle += 1
                self._changed.wait(max(0.0, self._timers[0][0] - now) if self._timers else None)
                self._idle -= 1
            # Removed under the lock, so that `open` counts only workers that will go on.
            self._workers.discard(threading.current_thread())
            return []

    def _batch_wait_s(self, now: float) -> float:
        """Return how long to wait for more sessions to become due; at most 0 for not at all."""
        if len(self._sessions) * MAX_BATCH_WAIT_SHARE < 1.0 or len(self._ready) >= self._max_batch:
            return 0.0
        return self._ready[0].ready_at + MAX_BATCH_WAIT_SHARE * self._hop_s - now

    def _take_batch(self) -> list[ClientSession]:
        # Leave a share to idle workers, but not below the size at which batches cost more.
        share = max(-(-len(self._ready) // (1 + self._idle)), MIN_SHARED_BATCH)
        count = min(len(self._ready), share, self._max_batch)
        batch = [self._ready.popleft() for _ in range(count)]
        for session in batch:
            session.ready, session.busy = False, True
        if self._ready:
            self._changed.notify()
        return batch

    def _run(self, batch: list[ClientSession]) -> None:
        """Compute one turn of each of these sessions together."""
        began = self._clock.monotonic()
        with self._lock:
            wait_s = min(began - session.ready_at for session in batch)
            turns = [self._start_turn(session, began) for session in batch]
        with self.watch.turn([session.stream for session in batch]):
            results = run_batch(self.watch, map(_turn_requests, turns), self._max_batch)
        failed: list[tuple[ClientSession, Exception]] = []
        ending: list[tuple[ClientSession, str]] = []
        now = self._clock.monotonic()
        with self._lock:
            for session, result in zip(batch, results, strict=True):
                if isinstance(result, Exception):
                    failed.append((session, result))
                elif (reason := self._end_turn(session, now)) is not None:
                    ending.append((session, reason))
            if failed:
                self._remove([session for session, _ in failed])
            self._shedding.observe(wait_s, now - began)
            self._shedding.adjust(self._sessions.values(), len(self._workers), now)
            burst_ended = self._is_burst and not self._backlog
            if burst_ended:
                self._is_burst = False
        if burst_ended:
            del turns, results
            freed_memory.give_back()
        with self.watch.turn([session.stream for session, _ in ending]):
            ends = run_batch(
                self.watch,
                [session.stream.finish_requests(reason) for session, reason in ending],
                self._max_batch,
            )
        for (session, _), result in zip(ending, ends, strict=True):
            if isinstance(result, Exception):
                failed.append((session, result))
        for session, error in failed:
            # An error in one session must not stop the worker of the others.
            logger.error("a client's stream failed", exc_info=error)
            session.hub.publish(End("internal error, see the server's log"))


def _turn_requests(turn: _Turn) -> Computation[None]:
    """Process one turn, as a generator of what must be computed."""
    session, stream = turn.session, turn.session.stream
    stream.slow_down(turn.hops_per_estimate)
    if turn.blocks:
        yield from stream.feed_requests(
            turn.blocks[0] if len(turn.blocks) == 1 else np.concatenate(turn.blocks),
            arrived_at=turn.arrived_at,
            dropped_before=turn.dropped,
            only_latest=turn.only_latest,
            samples_behind=turn.samples_behind,
        )
        if turn.stalls:
            stream.audio_arrived(session.last_audio_at)
    if not session.queue:
        stream.tick()


def _drop_oldest(session: ClientSession) -> None:
    """Drop the oldest block of a session's queue and count it."""
    oldest = session.queue.popleft()
    session.queued_frames -= len(oldest.samples)
    session.dropped_frames += len(oldest.samples)


def _join(queue: deque[_Block]) -> deque[_Block]:
    """Return the same audio in fewer blocks; each counts as arriving with its last part."""
    blocks = list(queue)
    groups = [blocks[k : k + JOINED_BLOCKS] for k in range(0, len(blocks), JOINED_BLOCKS)]
    return deque(
        _Block(np.concatenate([block.samples for block in group]), group[-1].arrived_at)
        for group in groups
    )


def _first_blocks(session: ClientSession, frames: int) -> tuple[list[NDArray[np.float32]], float]:
    """Take blocks from a session's queue until they have `frames` frames, at least one block.

    Returns:
        The blocks, and when the last of them arrived (0 without blocks).
    """
    blocks: list[NDArray[np.float32]] = []
    taken, arrived_at = 0, 0.0
    while session.queue and (not blocks or taken < frames):
        block = session.queue.popleft()
        blocks.append(block.samples)
        taken += len(block.samples)
        arrived_at = block.arrived_at
    session.queued_frames -= taken
    return blocks, arrived_at
