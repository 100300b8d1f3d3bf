"""Watches the calls of an engine: which fail, which do not return, and who waits for them.

    watch = EngineWatch.of(engine, hop_s=1.0, stats=stats)
    with watch.running(), watch.turn([stream]):
        run(watch, stream.feed_requests(...))

A call that does not return holds its thread. The streams that wait for it are then continued from
the thread of the watch: it repeats their last values. It works only while it holds the lock that
the call needs to return, so that two threads never work on a stream.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import Counter as Counters
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from mer_engine import Engine, Inference
from mer_engine.engine import backend_of, backend_warning, finite_inference, largest_batch
from numpy.typing import NDArray

from realtime_mer.live.stats import Counter, Stats, Timing

logger = logging.getLogger(__name__)

# A call hangs after this many hops, and at least this time.
HANG_HOPS, HANG_S = 5, 5.0
# The engine does not work if all calls failed for this time.
FAILING_S = 5.0
TICK_S = 0.25
# An error of the same type is logged at most once in this time.
LOG_PERIOD_S = 60.0


class Waiting(Protocol):
    """A stream that waits for the engine."""

    def wait_for_engine(self, waited_s: float) -> None:
        """Repeat the last values once per hop; the first time, say why.

        Args:
            waited_s: for how long the call has not returned.
        """
        ...


@dataclass(slots=True, eq=False)
class _Turn:
    """The work of one thread. `calling` is true inside a call, which has taken `waited_s`."""

    streams: Sequence[Waiting]
    calling: bool = False
    waited_s: float = 0.0
    hangs: bool = False


class EngineWatch:
    """An engine whose calls are counted, timed and watched. Callable from any thread.

    Time counts in ticks of the watch's own thread, each with at most twice its length. So nothing
    hangs because the process was stopped, or the machine slept.

    Args:
        engine: the engine.
        hop_s: hop of the streams in seconds, for how long a call may take.
        stats: receives the counts.
    """

    def __init__(self, engine: Engine, *, hop_s: float, stats: Stats) -> None:
        self.info = engine.info
        self._engine = engine
        self._stats = stats
        self._hang_s = max(HANG_HOPS * hop_s, HANG_S)
        self._lock = threading.Lock()
        self._turns: dict[threading.Thread, _Turn] = {}
        self._runs = 0
        self._waiting: list[Callable[[], None]] = []
        self._failed_at: float | None = None  # the first failure since a call that worked
        self._failing = False
        self._logged_at: dict[type[Exception], float] = {}
        self._warning = backend_warning(engine)
        self._windows: Counters[str] = Counters()

    @classmethod
    def of(cls, engine: Engine, *, hop_s: float, stats: Stats) -> EngineWatch:
        """Return the watch of an engine: itself if it is one, so that all streams share it."""
        return engine if isinstance(engine, EngineWatch) else cls(engine, hop_s=hop_s, stats=stats)

    @property
    def backend(self) -> str:
        """The backend that runs now."""
        return self._engine.backend

    @property
    def largest_batch(self) -> int:
        """See `mer_engine.engine.largest_batch`."""
        return largest_batch(self._engine)

    @property
    def windows(self) -> dict[str, int]:
        """Windows computed so far, by the backend that computed them."""
        with self._lock:
            return dict(self._windows)

    @property
    def warning(self) -> str:
        """See `mer_engine.engine.backend_warning`."""
        return backend_warning(self._engine)

    @property
    def works(self) -> bool:
        """Whether no call hangs, and not all calls have failed for some seconds."""
        with self._lock:
            return not self._failing and not any(turn.hangs for turn in self._turns.values())

    def waited_s(self, thread: threading.Thread) -> float:
        """Return for how long a call of a thread has not returned; 0 outside a call."""
        with self._lock:
            turn = self._turns.get(thread)
            return turn.waited_s if turn is not None and turn.calling else 0.0

    def hangs(self, thread: threading.Thread) -> bool:
        """Return whether a call of a thread does not return."""
        with self._lock:
            turn = self._turns.get(thread)
            return turn is not None and turn.hangs

    def join(self, threads: Sequence[threading.Thread], timeout_s: float) -> str:
        """Wait for threads to end, for those in a call that hangs only briefly.

        Returns:
            What to tell the user if a call of the engine keeps a thread from ending; mostly empty.
        """
        deadline = time.monotonic() + timeout_s
        for thread in threads:
            while thread.is_alive() and not self.hangs(thread):
                left_s = deadline - time.monotonic()
                if left_s <= 0.0:
                    break
                thread.join(min(TICK_S, left_s))
        stuck = [self.waited_s(thread) for thread in threads if thread.is_alive()]
        if not stuck or max(stuck) <= 0.0:
            return ""
        return (
            f"the backend {self.backend} has not returned from a call for {max(stuck):.0f} s; "
            "stopped without waiting for it; if it happens again, choose another --backend"
        )

    @contextlib.contextmanager
    def running(self, waiting: Callable[[], None] | None = None) -> Iterator[None]:
        """Watch the calls while the body runs. The watch's thread exists only then.

        Args:
            waiting: called at every tick in which a call hangs, for streams that wait for a thread.
        """
        with self._lock:
            self._runs += 1
            if waiting is not None:
                self._waiting.append(waiting)
            if self._runs == 1:
                self._stopped = threading.Event()
                self._thread = threading.Thread(
                    target=self._watch, args=(self._stopped,), name="engine watch", daemon=True
                )
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._runs -= 1
                if waiting is not None:
                    self._waiting.remove(waiting)
                last = self._thread if self._runs == 0 else None
                if last is not None:
                    self._stopped.set()
            if last is not None:
                last.join()

    @contextlib.contextmanager
    def turn(self, streams: Sequence[Waiting]) -> Iterator[None]:
        """Name the streams that wait for the calls of this thread in the body."""
        thread = threading.current_thread()
        with self._lock:
            self._turns[thread] = _Turn(streams)
        try:
            yield
        finally:
            with self._lock:
                del self._turns[thread]

    def infer(
        self,
        frames: NDArray[np.float32],
        cached_maps: NDArray[np.float32],
        past: NDArray[np.float32],
    ) -> Inference:
        """See `mer_engine.engine.Engine.infer`.

        Raises:
            NotFiniteError: the engine returned numbers that are not finite.
        """
        with self._lock:
            turn = self._turns.get(threading.current_thread())
            if turn is not None:
                turn.calling, turn.waited_s = True, 0.0
        began = time.monotonic()
        failure: Exception | None = None
        try:
            return finite_inference(self._engine, frames, cached_maps, past)
        except Exception as error:
            failure = error
            raise
        finally:
            now = time.monotonic()
            with self._lock:
                if turn is not None:
                    turn.calling = turn.hangs = False
                log = self._note(failure, now)
                if failure is None:
                    self._windows[backend_of(self._engine, len(frames))] += len(frames)
                # A call that failed on a card was repeated below this: the processor runs now.
                replaced, self._warning = self.warning != self._warning, self.warning
            self._stats.observe(Timing.ENGINE, now - began)
            if failure is not None or replaced:
                self._stats.add(Counter.ENGINE_FAILURES)
            if failure is not None and log:
                logger.error("a call of the engine failed", exc_info=failure)

    def tick(self, elapsed_s: float) -> None:
        """Add to the time of every call, and continue the streams of those that hang."""
        with self._lock:
            for turn in self._turns.values():
                if not turn.calling:
                    continue
                turn.waited_s += elapsed_s
                if turn.waited_s < self._hang_s:
                    continue
                if not turn.hangs:
                    turn.hangs = True
                    self._stats.add(Counter.ENGINE_STALLS)
                    logger.error("a call of the engine has not returned for %.1f s", turn.waited_s)
                for stream in turn.streams:
                    stream.wait_for_engine(turn.waited_s)
            hang = any(turn.hangs for turn in self._turns.values())
            waiting = list(dict.fromkeys(self._waiting)) if hang else []
        for continue_streams in waiting:
            continue_streams()

    def _watch(self, stopped: threading.Event) -> None:
        before = time.monotonic()
        while not stopped.wait(TICK_S):
            now = time.monotonic()
            self.tick(min(now - before, 2.0 * TICK_S))
            before = now

    def _note(self, failure: Exception | None, now: float) -> bool:
        """Note how a call ended; return whether to log it."""
        if failure is None:
            self._failed_at, self._failing = None, False
            return False
        if self._failed_at is None:
            self._failed_at = now
        self._failing = now - self._failed_at >= FAILING_S
        kind = type(failure)
        if now - self._logged_at.get(kind, -LOG_PERIOD_S) < LOG_PERIOD_S:
            return False
        self._logged_at[kind] = now
        return True
