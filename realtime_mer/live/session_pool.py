"""Many streams in one process: one isolated session each, a few workers for all of them.

A session is due when the audio of its next estimate is there. A worker takes all sessions that are
due, oldest first, and computes them together (`realtime_mer.core.batching`). Streams need
not come from browsers:

    with SessionPool(load_engine(), max_sessions=1000) as pool:
        session = pool.open(AudioFormat(16_000, 1), "stage left")
        slot = session.hub.subscribe_latest()
        pool.push(session, samples)  # float32 [n], any n, whenever there are some
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
from types import TracebackType
from typing import Self

import numpy as np
from mer_engine import Engine
from numpy.typing import NDArray

from realtime_mer.audio.format import AudioFormat
from realtime_mer.audio.source import InputInfo, InputKind
from realtime_mer.clock import Clock, SystemClock
from realtime_mer.core.batching import MAX_BATCH, run_batch
from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.pipeline import Pipeline
from realtime_mer.core.requests import Computation
from realtime_mer.live.hub import End, Hub
from realtime_mer.live.load_shedding import LoadShedding, rates
from realtime_mer.live.stats import Counter, Stats
from realtime_mer.live.stream import LiveStream

logger = logging.getLogger(__name__)

QUEUE_S = 10.0
QUEUE_BYTES = 4 * 2**20
IDLE_TIMEOUT_S = 60.0
MAX_SESSIONS = 64
MAX_WORKERS = 8
# A worker waits this share of the hop for more sessions to become due, where at least one can be
# expected to: a session among few is served at once.
GATHER_SHARE = 0.02
# Fewer sessions than this are not spread over several workers.
SHARED_BATCH = 8
# Audio that need not wait for an estimate is taken in portions of so many seconds.
PORTION_S = 2.0


class TooManySessionsError(Exception):
    """No further stream can be taken now."""


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    samples: NDArray[np.float32]
    arrived_at: float


class ClientSession:
    """One client's stream: its own pipeline, hub, counts and bounded queue.

    Attributes:
        session: its name on the wire, which cannot be guessed.
        info: what it listens to.
        hub: where its estimates are.
        stats: its own counts.
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
    ) -> None:
        self.session = secrets.token_urlsafe(9)
        self.format = audio_format
        rate, channels = audio_format.sample_rate_hz, audio_format.channels
        self.info = InputInfo(InputKind.BROWSER, name, rate, channels, paced=False, live=True)
        self.hub = Hub(hop_s=config.hop_s)
        self.stats = stats
        self.pipeline = Pipeline(
            engine, sample_rate_hz=rate, channels=channels, config=config, clock=clock
        )
        self.stream = LiveStream(self.pipeline, self.hub, stats, sample_rate_hz=rate, clock=clock)
        # Everything below belongs to the pool and is touched under its lock only, except the
        # stream, which belongs to the one worker that holds the session.
        self.queue: deque[_Block] = deque()
        self.queued_frames = 0
        self.dropped_frames = 0
        self.max_frames = max(1, int(min(QUEUE_S * rate, QUEUE_BYTES / (4 * channels))))
        self.wanted_frames = self.portion()
        self.heard_at = clock.monotonic()
        self.ready_at = self.heard_at
        self.busy = False
        self.ready = False
        self.timed = False
        self.closing: str | None = None
        self.gone = False
        # What `LoadShedding` changes.
        self.level = 0
        self.turn = 0

    def portion(self) -> int:
        """Sample frames to take at the next turn: up to the next estimate, where that is near."""
        most = min(int(PORTION_S * self.format.sample_rate_hz), (self.max_frames + 1) // 2)
        return min(self.pipeline.wanted, most)


@dataclass(slots=True, eq=False)
class _Turn:
    """What a worker does for one session: some of its audio, or none where time has run out.

    `late` is audio after which nothing came for so long that it may be told as stalled.
    """

    session: ClientSession
    blocks: list[NDArray[np.float32]]
    arrived_at: float
    dropped: int
    behind: bool
    ahead: int
    every: int
    late: bool


class SessionPool:
    """Runs the sessions of all clients on a few threads.

    A session is worked on by one thread at a time, up to its next estimate each turn, and then goes
    to the back of the line, so that a client with much queued audio never starves another. Threads
    exist only while there are sessions.

    Where the sessions need more than the machine has, their rates go down first
    (`realtime_mer.live.load_shedding`); only then updates are left out, and at last audio.

    Callable from any thread. As a context manager it closes itself.

    Args:
        engine: shared by all sessions.
        config: of every session's pipeline.
        max_sessions: how many streams may run at once.
        workers: threads at most; one for each of the machine's processors, up to 8, where None.
        idle_timeout_s: a stream that sends nothing for so long is ended.
        clock: tells the time.
        stats: the server's; every session counts there too.
        max_batch: sessions in a worker's turn at most.
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
        max_batch: int = MAX_BATCH,
    ) -> None:
        self.max_sessions = max_sessions
        self._engine = engine
        self._config = config or PipelineConfig()
        self._clock = clock or SystemClock()
        self._stats = stats or Stats()
        self._idle_timeout_s = idle_timeout_s
        self._max_workers = workers or min(MAX_WORKERS, os.cpu_count() or 1)
        self._max_batch = max_batch
        self._hop_s = self._config.hop_s
        self._rates = rates(self._hop_s)
        self._shedding = LoadShedding(self._hop_s, self._clock.monotonic())
        self._lock = threading.Lock()
        # Idle workers wait for something to do, the one that gathers for its batch to be full.
        self._changed = threading.Condition(self._lock)
        self._full = threading.Condition(self._lock)
        self._gathering = False
        self._idle = 0
        self._sessions: dict[str, ClientSession] = {}
        self._ready: deque[ClientSession] = deque()
        # When to look at a session though no audio comes: time, number, name.
        self._timers: list[tuple[float, int, str]] = []
        self._numbers = itertools.count()
        self._workers: set[threading.Thread] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._sessions)

    def get(self, session: str) -> ClientSession | None:
        """A running session by its name."""
        return self._sessions.get(session)

    def open(self, audio_format: AudioFormat, name: str) -> ClientSession:
        """Begins a session.

        Args:
            audio_format: rate and channels of the audio; its encoding matters only to who decodes.
            name: what people call it.

        Raises:
            TooManySessionsError: as many run as may.
            UserError: a format that no pipeline takes.
        """
        # Made outside the lock: building a pipeline takes milliseconds and nobody should wait.
        if len(self._sessions) >= self.max_sessions:
            raise TooManySessionsError(self._refusal())
        session = ClientSession(
            self._engine,
            audio_format,
            name,
            config=self._config,
            clock=self._clock,
            stats=Stats(parent=self._stats),
        )
        with self._lock:
            if len(self._sessions) >= self.max_sessions:
                raise TooManySessionsError(self._refusal())
            # Where all others come less often it is not fair to come at the full rate.
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

    def push(self, session: ClientSession, samples: NDArray[np.float32]) -> None:
        """Queues audio; the oldest is dropped, and counted, where more than 10 s would wait.

        Costs a few microseconds and never waits for a computation. Nothing happens where the
        session has ended.

        Args:
            session: from `open`.
            samples: float32 [n, channels], or [n] where there is one; full scale 1.0. They are
                kept, not copied: do not change them afterwards.
        """
        if samples.ndim == 1:
            samples = samples[:, None]
        now = self._clock.monotonic()
        with self._lock:
            if session.closing is not None or session.gone:
                return
            session.heard_at = now
            session.stream.heard(now)
            session.queue.append(_Block(samples, now))
            session.queued_frames += len(samples)
            while session.queued_frames > session.max_frames and len(session.queue) > 1:
                oldest = session.queue.popleft()
                session.queued_frames -= len(oldest.samples)
                session.dropped_frames += len(oldest.samples)
            if self._has_enough(session):
                self._make_ready(session, now)

    def finish(self, session: ClientSession, reason: str) -> None:
        """Ends a session once what is queued has been heard; its hub then carries the end."""
        with self._lock:
            if session.closing is None:
                session.closing = reason
                self._make_ready(session, self._clock.monotonic())

    def drop(self, session: ClientSession) -> None:
        """Forgets a session at once: its client is gone."""
        with self._lock:
            self._forget([session])

    def close(self, timeout_s: float = 5.0) -> None:
        """Forgets all sessions and waits for the threads."""
        with self._lock:
            self._forget(list(self._sessions.values()))
            workers = list(self._workers)
        for worker in workers:
            worker.join(timeout_s)

    @property
    def workers(self) -> int:
        """Threads that exist at present."""
        return len(self._workers)

    @property
    def slowed(self) -> int:
        """Sessions whose estimates come less often than every hop, because there are too many."""
        with self._lock:
            return sum(session.level > 0 for session in self._sessions.values())

    @property
    def due(self) -> int:
        """Sessions that a worker has, or that wait for one."""
        with self._lock:
            return sum(session.busy or session.ready for session in self._sessions.values())

    def _refusal(self) -> str:
        return (
            f"{self.max_sessions} streams are running, which is the most this server takes; "
            "try again later or start it with a larger --max-sessions"
        )

    # What follows, up to the workers, is called under the lock.

    def _has_enough(self, session: ClientSession) -> bool:
        return session.queued_frames + session.dropped_frames >= session.wanted_frames

    def _make_ready(self, session: ClientSession, now: float) -> None:
        if session.busy or session.ready or session.gone:
            return
        session.ready, session.ready_at = True, now
        self._ready.append(session)
        if not self._gathering:
            self._changed.notify()
        elif len(self._ready) >= self._max_batch:
            self._full.notify()

    def _forget(self, sessions: Iterable[ClientSession]) -> None:
        for session in sessions:
            session.gone = True
            session.queue.clear()
            session.queued_frames = 0
            self._sessions.pop(session.session, None)
            if session.ready:
                session.ready = False
                self._ready.remove(session)
        self._changed.notify_all()
        self._full.notify_all()

    def _due(self, session: ClientSession) -> float:
        """When something is to be done for a session though no audio comes."""
        return min(session.stream.due, session.heard_at + self._idle_timeout_s)

    def _set_timer(self, session: ClientSession) -> None:
        if not session.timed:
            session.timed = True
            timer = (self._due(session), next(self._numbers), session.session)
            heapq.heappush(self._timers, timer)

    def _ring_timers(self, now: float) -> None:
        """Makes sessions ready whose time has come; audio since then may have put it off."""
        while self._timers and self._timers[0][0] <= now:
            session = self._sessions.get(heapq.heappop(self._timers)[2])
            if session is None:
                continue
            session.timed = False
            # One that a worker has, or will, gets its timer again after that.
            if session.busy or session.ready:
                continue
            if self._due(session) <= now:
                self._make_ready(session, now)
            else:
                self._set_timer(session)

    def _take(self, session: ClientSession, now: float) -> _Turn:
        """The audio up to the next estimate; all of it where it has waited for too long."""
        wanted = session.wanted_frames - session.dropped_frames
        # Less than was wanted comes out where nothing followed it for too long.
        late = session.queued_frames < wanted and session.closing is None
        blocks, arrived_at = _first_blocks(session, wanted)
        every = self._rates[session.level]
        behind = bool(blocks) and now - arrived_at > every * self._hop_s
        if behind and now - session.ready_at > self._hop_s and self._shedding.lower(session):
            # The fault is ours, not the client's: less often comes before leaving out.
            every = self._rates[session.level]
            behind = False
        if behind:
            more, last_at = _first_blocks(session, session.queued_frames)
            blocks, arrived_at = blocks + more, max(arrived_at, last_at)
        # A block that goes on for longer than a hop is heard in parts: other sessions have a turn.
        ahead = sum(map(len, blocks)) - max(wanted, 1)
        if behind or ahead < self._hop_s * session.format.sample_rate_hz:
            ahead = 0
        else:
            last = blocks[-1]
            blocks[-1] = last[: len(last) - ahead]
            session.queue.appendleft(_Block(last[len(last) - ahead :], arrived_at))
            session.queued_frames += ahead
        dropped, session.dropped_frames = session.dropped_frames, 0
        return _Turn(session, blocks, arrived_at, dropped, behind, ahead, every, late)

    def _give_back(self, session: ClientSession, now: float) -> str | None:
        """Ends a turn; returns the reason where the session is over."""
        session.busy = False
        if session.gone:
            return None
        session.wanted_frames = session.portion()
        if self._has_enough(session) or (session.queue and session.closing is not None):
            self._make_ready(session, now)
            return None
        if session.closing is None and now >= session.heard_at + self._idle_timeout_s:
            session.closing = f"no audio came for {self._idle_timeout_s:g} s"
        if session.closing is None:
            self._set_timer(session)
            return None
        # Out of reach of other workers before the end is told, so that nothing follows it.
        self._forget([session])
        return session.closing

    # The workers.

    def _work(self) -> None:
        try:
            while batch := self._next():
                self._run(batch)
        finally:
            with self._lock:
                self._workers.discard(threading.current_thread())

    def _next(self) -> list[ClientSession]:
        """The sessions whose turn it is, now `busy`; none where no sessions are left."""
        gathered = False
        with self._lock:
            while self._sessions:
                now = self._clock.monotonic()
                self._ring_timers(now)
                if self._ready and not self._gathering:
                    wait_s = 0.0 if gathered else self._worth_waiting_s(now)
                    if wait_s > 0.0:
                        self._gathering = gathered = True
                        self._full.wait(wait_s)
                        self._gathering = False
                        continue
                    return self._pick()
                gathered = False
                self._idle += 1
                self._changed.wait(max(0.0, self._timers[0][0] - now) if self._timers else None)
                self._idle -= 1
            # Left under the lock, so that `open` sees either a worker or none.
            self._workers.discard(threading.current_thread())
            return []

    def _worth_waiting_s(self, now: float) -> float:
        """How long to wait for others to become due with those that are."""
        if len(self._sessions) * GATHER_SHARE < 1.0 or len(self._ready) >= self._max_batch:
            return 0.0
        return self._ready[0].ready_at + GATHER_SHARE * self._hop_s - now

    def _pick(self) -> list[ClientSession]:
        # Idle workers get their share; a batch smaller than this would cost more altogether.
        share = max(-(-len(self._ready) // (1 + self._idle)), SHARED_BATCH)
        count = min(len(self._ready), share, self._max_batch)
        batch = [self._ready.popleft() for _ in range(count)]
        for session in batch:
            session.ready, session.busy = False, True
        if self._ready:
            self._changed.notify()
        return batch

    def _run(self, batch: list[ClientSession]) -> None:
        """Gives each of these sessions a turn, all at once."""
        began = self._clock.monotonic()
        with self._lock:
            wait_s = min(began - session.ready_at for session in batch)
            turns = [self._take(session, began) for session in batch]
        results = run_batch(self._engine, [self._asking(turn) for turn in turns], self._max_batch)
        failed: list[tuple[ClientSession, Exception]] = []
        over: list[tuple[ClientSession, str]] = []
        now = self._clock.monotonic()
        with self._lock:
            for session, result in zip(batch, results, strict=True):
                if isinstance(result, Exception):
                    failed.append((session, result))
                elif (reason := self._give_back(session, now)) is not None:
                    over.append((session, reason))
            if failed:
                self._forget([session for session, _ in failed])
            self._shedding.observe(wait_s, now - began)
            self._shedding.adjust(self._sessions.values(), len(self._workers), now)
        ends = run_batch(
            self._engine, [s.stream.finish_requests(reason) for s, reason in over], self._max_batch
        )
        for (session, _), result in zip(over, ends, strict=True):
            if isinstance(result, Exception):
                failed.append((session, result))
        for session, error in failed:
            # A fault in one stream must not take the others' worker with it.
            logger.error("a client's stream failed", exc_info=error)
            session.hub.publish(End("internal error, see the server's log"))

    def _asking(self, turn: _Turn) -> Computation[None]:
        """One session's turn, as a generator of what must be computed."""
        session, stream = turn.session, turn.session.stream
        stream.slow_down(turn.every)
        if turn.blocks:
            yield from stream.feed_requests(
                turn.blocks[0] if len(turn.blocks) == 1 else np.concatenate(turn.blocks),
                arrived_at=turn.arrived_at,
                dropped_before=turn.dropped,
                behind=turn.behind,
                ahead=turn.ahead,
            )
            if turn.late:
                stream.heard(session.heard_at)
        if not session.queue:
            stream.tick()


def _first_blocks(session: ClientSession, frames: int) -> tuple[list[NDArray[np.float32]], float]:
    """Takes blocks from a session's queue until they hold so many frames, at least one block.

    Returns:
        The blocks, and when the last of them arrived (0 where there are none).
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
