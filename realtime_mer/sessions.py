"""Streams that clients send: one isolated session each, a few fair workers for all of them."""

from __future__ import annotations

import logging
import os
import secrets
import threading
from collections import deque
from dataclasses import dataclass

import numpy as np
from mer_engine import Engine
from numpy.typing import NDArray

from realtime_mer.audio.source import InputInfo, InputKind
from realtime_mer.clock import Clock, SystemClock
from realtime_mer.config import PipelineConfig
from realtime_mer.hub import End, Hub
from realtime_mer.pipeline import Pipeline
from realtime_mer.stats import Counter, Stats
from realtime_mer.stream import LiveStream
from realtime_mer.wire import StreamFormat

logger = logging.getLogger(__name__)

QUEUE_S = 10.0
QUEUE_BYTES = 4 * 2**20
IDLE_TIMEOUT_S = 60.0
MAX_SESSIONS = 16
MAX_WORKERS = 4


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
        stream_format: StreamFormat,
        name: str,
        *,
        config: PipelineConfig,
        clock: Clock,
        stats: Stats,
    ) -> None:
        self.session = secrets.token_urlsafe(9)
        self.format = stream_format
        rate, channels = stream_format.sample_rate_hz, stream_format.channels
        self.info = InputInfo(InputKind.BROWSER, name, rate, channels, paced=False, live=True)
        self.hub = Hub(hop_s=config.hop_s)
        self.stats = stats
        self.pipeline = Pipeline(
            engine, sample_rate_hz=rate, channels=channels, config=config, clock=clock
        )
        # Everything below belongs to the pool and is touched under its lock only, except the
        # stream, which belongs to the one worker that holds the session.
        self.stream = LiveStream(self.pipeline, self.hub, stats, sample_rate_hz=rate, clock=clock)
        self.queue: deque[_Block] = deque()
        self.queued_frames = 0
        self.dropped_frames = 0
        self.heard_at = clock.monotonic()
        self.busy = False
        self.ready = False
        self.closing: str | None = None
        self.gone = False
        self.max_frames = max(1, int(min(QUEUE_S * rate, QUEUE_BYTES / (4 * channels))))


class SessionPool:
    """Runs the sessions of all clients on a few threads.

    A session is worked on by one thread at a time, a hop of audio each turn, and then goes to the
    back of the line, so that a client with much queued audio never starves another. Threads exist
    only while there are sessions.

    Args:
        engine: shared by all sessions.
        config: of every session's pipeline.
        max_sessions: how many streams may run at once.
        workers: threads at most; one less than the machine's processors where None.
        idle_timeout_s: a stream that sends nothing for so long is ended.
        clock: tells the time.
        stats: the server's; every session counts there too.
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
    ) -> None:
        self.max_sessions = max_sessions
        self._engine = engine
        self._config = config or PipelineConfig()
        self._clock = clock or SystemClock()
        self._stats = stats or Stats()
        self._idle_timeout_s = idle_timeout_s
        self._max_workers = workers or max(1, min(MAX_WORKERS, (os.cpu_count() or 2) - 1))
        self._changed = threading.Condition()
        self._sessions: dict[str, ClientSession] = {}
        self._ready: deque[ClientSession] = deque()
        self._workers: set[threading.Thread] = set()

    def __len__(self) -> int:
        return len(self._sessions)

    def get(self, session: str) -> ClientSession | None:
        """A running session by its name."""
        return self._sessions.get(session)

    def open(self, stream_format: StreamFormat, name: str) -> ClientSession:
        """Begins a session.

        Raises:
            TooManySessionsError: as many run as may.
            UserError: a format that no pipeline takes.
        """
        # Made outside the lock: building a pipeline takes milliseconds and nobody should wait.
        if len(self._sessions) >= self.max_sessions:
            raise TooManySessionsError(self._full())
        session = ClientSession(
            self._engine,
            stream_format,
            name,
            config=self._config,
            clock=self._clock,
            stats=Stats(parent=self._stats),
        )
        with self._changed:
            if len(self._sessions) >= self.max_sessions:
                raise TooManySessionsError(self._full())
            self._sessions[session.session] = session
            if len(self._workers) < min(self._max_workers, len(self._sessions)):
                worker = threading.Thread(target=self._work, name="session-worker", daemon=True)
                self._workers.add(worker)
                worker.start()
            self._changed.notify()
        self._stats.add(Counter.STREAMS)
        return session

    def push(self, session: ClientSession, samples: NDArray[np.float32]) -> None:
        """Queues audio; the oldest is dropped, and counted, where more than 10 s would wait.

        Args:
            samples: float32 [n, channels].
        """
        now = self._clock.monotonic()
        with self._changed:
            if session.closing is not None or session.gone:
                return
            session.heard_at = now
            session.queue.append(_Block(samples, now))
            session.queued_frames += len(samples)
            while session.queued_frames > session.max_frames and len(session.queue) > 1:
                oldest = session.queue.popleft()
                session.queued_frames -= len(oldest.samples)
                session.dropped_frames += len(oldest.samples)
            self._make_ready(session)

    def finish(self, session: ClientSession, reason: str) -> None:
        """Ends a session once what is queued has been heard; its hub then carries the end."""
        with self._changed:
            if session.closing is None:
                session.closing = reason
                self._make_ready(session)

    def drop(self, session: ClientSession) -> None:
        """Forgets a session at once: its client is gone."""
        with self._changed:
            self._forget(session)
            self._changed.notify_all()

    def close(self, timeout_s: float = 5.0) -> None:
        """Forgets all sessions and waits for the threads."""
        with self._changed:
            for session in list(self._sessions.values()):
                self._forget(session)
            workers = list(self._workers)
            self._changed.notify_all()
        for worker in workers:
            worker.join(timeout_s)

    @property
    def workers(self) -> int:
        """Threads that exist at present."""
        return len(self._workers)

    def _full(self) -> str:
        return (
            f"{self.max_sessions} streams are running, which is the most this server takes; "
            "try again later or start it with a larger --max-sessions"
        )

    def _make_ready(self, session: ClientSession) -> None:
        if not session.busy and not session.ready and not session.gone:
            session.ready = True
            self._ready.append(session)
            self._changed.notify()

    def _forget(self, session: ClientSession) -> None:
        session.gone = True
        session.queue.clear()
        session.queued_frames = 0
        self._sessions.pop(session.session, None)
        if session.ready:
            session.ready = False
            self._ready.remove(session)

    def _work(self) -> None:
        try:
            while (session := self._next()) is not None:
                try:
                    self._turn(session)
                except Exception:
                    # A fault in one stream must not take the others' worker with it.
                    logger.exception("a client's stream failed")
                    self.drop(session)
                    session.hub.publish(End("internal error, see the server's log"))
        finally:
            with self._changed:
                self._workers.discard(threading.current_thread())

    def _next(self) -> ClientSession | None:
        """The session whose turn it is, now `busy`; None where no sessions are left."""
        with self._changed:
            while True:
                if not self._sessions:
                    # Left under the lock, so that `open` sees either a worker or none.
                    self._workers.discard(threading.current_thread())
                    return None
                now = self._clock.monotonic()
                for session in self._sessions.values():
                    if not session.busy and now >= self._due(session):
                        self._make_ready(session)
                if self._ready:
                    session = self._ready.popleft()
                    session.ready, session.busy = False, True
                    return session
                idle = [s for s in self._sessions.values() if not s.busy]
                due = min((self._due(s) for s in idle), default=None)
                self._changed.wait(None if due is None else max(0.0, due - now))

    def _due(self, session: ClientSession) -> float:
        return min(session.stream.due, session.heard_at + self._idle_timeout_s)

    def _turn(self, session: ClientSession) -> None:
        """Works on one session for a hop of audio."""
        blocks, dropped, behind = self._take(session)
        if blocks:
            session.stream.feed(
                np.concatenate([block.samples for block in blocks]),
                arrived_at=blocks[-1].arrived_at,
                dropped_before=dropped,
                behind=behind,
            )
        else:
            session.stream.tick()
        with self._changed:
            session.busy = False
            if session.gone:
                return
            if session.queue:
                self._make_ready(session)
                return
            if (
                session.closing is None
                and self._clock.monotonic() >= session.heard_at + self._idle_timeout_s
            ):
                session.closing = f"no audio came for {self._idle_timeout_s:g} s"
            reason = session.closing
            if reason is None:
                self._changed.notify()
                return
            # Out of reach of other workers before the end is told, so that nothing follows it.
            self._forget(session)
            self._changed.notify_all()
        session.stream.finish(reason)

    def _take(self, session: ClientSession) -> tuple[list[_Block], int, bool]:
        """A hop of audio from the queue; all of it where it has waited for longer than a hop."""
        now = self._clock.monotonic()
        rate, hop_s = session.format.sample_rate_hz, session.stream.hop_s
        with self._changed:
            behind = bool(session.queue) and now - session.queue[0].arrived_at > hop_s
            wanted = session.queued_frames if behind else int(hop_s * rate)
            blocks: list[_Block] = []
            taken = 0
            while session.queue and taken < wanted:
                block = session.queue.popleft()
                blocks.append(block)
                taken += len(block.samples)
            session.queued_frames -= taken
            dropped, session.dropped_frames = session.dropped_frames, 0
        return blocks, dropped, behind
