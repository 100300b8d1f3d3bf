"""A thread that does the work of one output, or of several that never wait."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
from typing import Protocol

from realtime_mer.clock import Clock, SystemClock

logger = logging.getLogger(__name__)

TOGETHER_S = 0.001
"""What is due within this time is done at once: waking up takes longer than the work."""


class Worker(Protocol):
    """What a thread needs of the work for one output; see `OutputWorker`."""

    @property
    def due_s(self) -> float: ...
    @property
    def has_news(self) -> bool: ...
    def turn(self, now_s: float) -> bool: ...


class OutputThread:
    """Gives its workers their turns. It runs while there are any.

    Args:
        name: of the thread.
        clock: the time source.
    """

    def __init__(self, name: str, *, clock: Clock | None = None) -> None:
        self._name = name
        self._clock = clock or SystemClock()
        self._changing = threading.Lock()
        # Replaced and never changed, so that the thread reads it without the lock.
        self._workers: tuple[Worker, ...] = ()
        # Held while there is nothing to do. Of all ways to wait, this takes the least time.
        self._idle = threading.Lock()
        self._idle.acquire()

    def add(self, worker: Worker) -> None:
        """Do the work of one more output, until its turn says that it was the last."""
        with self._changing:
            starts = not self._workers
            self._workers = (*self._workers, worker)
            if starts:
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
        self.wake()

    def wake(self) -> None:
        """Look for work at once, now or after the present turn. Callable from any thread."""
        with contextlib.suppress(RuntimeError):  # it was woken before
            self._idle.release()

    def _run(self) -> None:
        going_on = True
        while going_on:
            self._wait()
            now_s = self._clock.monotonic()
            for worker in self._workers:
                due_s = worker.due_s
                is_due = due_s <= now_s + TOGETHER_S
                # What is due within that time is due now.
                if (is_due or worker.has_news) and self._turn(
                    worker, max(now_s, due_s) if is_due else now_s
                ):
                    going_on = self._remove(worker)

    def _turn(self, worker: Worker, now_s: float) -> bool:
        try:
            return worker.turn(now_s)
        except Exception:
            # The other outputs go on.
            logger.exception("the work for an output ended with a fault")
            return True

    def _remove(self, worker: Worker) -> bool:
        """Forget a worker; return whether others are left."""
        with self._changing:
            self._workers = tuple(each for each in self._workers if each is not worker)
            return bool(self._workers)

    def _wait(self) -> None:
        """Wait until something is published, asked for, or due."""
        due_s = min((worker.due_s for worker in self._workers), default=math.inf)
        if due_s == math.inf:
            self._idle.acquire()
        elif (pause_s := due_s - self._clock.monotonic()) > 0.0:
            self._idle.acquire(timeout=pause_s)
