"""An engine whose calls run on a thread of its own, so that one that hangs can be left behind."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mer_engine.engine import Engine, EngineParts, Inference, largest_batch, parts_of
from mer_engine.errors import BackendError

# Calls of a card take milliseconds, and on a busy machine many times that: a call may take this
# multiple of the one before of its shape, and at least so long.
LIMIT_S, LIMIT_FACTOR = 0.5, 20.0
# The first call of a shape also chooses kernels and records them. No call may take longer.
FIRST_LIMIT_S = 4.0
# Time counts in steps that this thread waited: none passes while the process is stopped.
STEP_S = 0.05

Shape = tuple[int, ...]
_Answer = tuple[Inference | None, BaseException | None]
_Job = tuple[Callable[[], Inference], "SimpleQueue[_Answer]"]


class OwnThreadEngine:
    """Makes all calls of an engine on a card, one at a time, on one thread.

    Libraries of cards keep recorded work and memory for each thread that calls them. And a card
    that stops in the middle of a call never lets its thread go: the caller then gets an error, as
    with any other fault, and the thread is left behind.

    Args:
        engine: the engine on the card.

    Attributes:
        impatient: whether a call may take a limited time, see `LIMIT_S` and `FIRST_LIMIT_S`. At the
            start calls take what they take.
    """

    def __init__(self, engine: Engine) -> None:
        self.info = engine.info
        self.impatient = False
        self._engine = engine
        self._hangs = ""  # what the caller of the call that hangs was told
        self._lock = threading.Lock()
        self._took_s: dict[Shape, float] = {}  # the newest call of each shape
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        name = f"{engine.backend} calls"
        threading.Thread(target=_work, args=(self._jobs,), name=name, daemon=True).start()
        weakref.finalize(self, self._jobs.put, None)

    def __getattr__(self, name: str) -> Any:
        """Return what only some engines have, such as `precision` or `device`."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._engine, name)

    @property
    def backend(self) -> str:
        """Name of the engine's backend."""
        return self._engine.backend

    @property
    def largest_batch(self) -> int:
        """See `mer_engine.engine.largest_batch`."""
        return largest_batch(self._engine)

    def parts(self) -> EngineParts | None:
        """Return the parts of the engine, whose calls run on their callers' threads."""
        return parts_of(self._engine)

    def infer(
        self,
        frames: NDArray[np.float32],
        cached_maps: NDArray[np.float32],
        past: NDArray[np.float32],
    ) -> Inference:
        """See `mer_engine.engine.Engine.infer`.

        Raises:
            BackendError: the call, or an earlier one, has not returned in time.
        """
        shape = (*frames.shape[:2], cached_maps.shape[1], past.shape[1])
        call = partial(self._engine.infer, frames, cached_maps, past)
        answers: SimpleQueue[_Answer] = SimpleQueue()
        with self._lock:
            if self._hangs:
                raise BackendError(self._hangs)
            began = time.monotonic()
            self._jobs.put((call, answers))
            inference, error = self._wait(answers, self._limit_s(shape))
            self._took_s[shape] = time.monotonic() - began
        if error is not None:
            raise error
        assert inference is not None
        return inference

    def _limit_s(self, shape: Shape) -> float:
        took_s = self._took_s.get(shape)
        if took_s is None:
            return FIRST_LIMIT_S
        return min(max(LIMIT_S, LIMIT_FACTOR * took_s), FIRST_LIMIT_S)

    def _wait(self, answers: SimpleQueue[_Answer], limit_s: float) -> _Answer:
        waited_s = 0.0
        while True:
            try:
                return answers.get(timeout=STEP_S)
            except Empty:
                waited_s += STEP_S
            if self.impatient and waited_s >= limit_s:
                self._hangs = f"a call has not returned for {waited_s:.1f} s"
                raise BackendError(self._hangs)


def _work(jobs: SimpleQueue[_Job | None]) -> None:
    """Make the calls, until there is None. It holds no reference to what ends with its owner."""
    while (job := jobs.get()) is not None:
        call, answers = job
        try:
            answers.put((call(), None))
        except BaseException as error:  # for the caller, whatever it is
            answers.put((None, error))
        del job, call, answers
