"""An engine whose calls run on a thread of its own, so that one that hangs can be left behind."""

from __future__ import annotations

import math
import threading
import time
import weakref
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mer_engine.engine import Engine, EngineParts, Inference, PartSizes, largest_batch, parts_of
from mer_engine.errors import BackendError

# Calls of a card take milliseconds, and on a busy machine many times that: a call may take this
# multiple of the one before of its shape, and at least so long.
LIMIT_S, LIMIT_FACTOR = 0.5, 20.0
# The first call of a shape also chooses kernels and records them. No call may take longer.
FIRST_LIMIT_S = 4.0
# Time counts in steps that this thread waited: none passes while the process is stopped.
STEP_S = 0.05

Result = TypeVar("Result")

Shape = tuple[object, ...]
_Answer = tuple[Any, BaseException | None]
_Job = tuple[Callable[[], Any], "SimpleQueue[_Answer]"]


class OwnThreadEngine:
    """Opens an engine on a card and makes all calls of it, one at a time, on one thread.

    Libraries of cards keep recorded work and memory for each thread that calls them, and cannot
    record work while another thread allocates memory on the card. And a card that stops in the
    middle of a call never lets its thread go: the caller then gets an error, as with any other
    fault, and the thread is left behind.

    Args:
        open_engine: opens the engine; it runs on the thread, too.

    Attributes:
        impatient: whether a call may take a limited time, see `LIMIT_S` and `FIRST_LIMIT_S`. At the
            start calls take what they take.

    Raises:
        Exception: whatever `open_engine` raises.
    """

    def __init__(self, open_engine: Callable[[], Engine]) -> None:
        self.impatient = False
        self._hangs = ""  # what the caller of the call that hangs was told
        self._lock = threading.Lock()
        self._took_s: dict[Shape, float] = {}  # the newest call of each kind and shape
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        threading.Thread(target=_work, args=(self._jobs,), name="card calls", daemon=True).start()
        weakref.finalize(self, self._jobs.put, None)
        self._engine = self._run(open_engine)
        self._parts: EngineParts | None = None
        self.info = self._engine.info

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
        """Return the parts of the engine, whose calls run on the thread; None where it has none."""
        if self._parts is None:
            self._parts = self._run(partial(parts_of, self._engine))
        return None if self._parts is None else _OwnThreadParts(self, self._parts)

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
        return self.call("infer", self._engine.infer, frames, cached_maps, past)

    def call(
        self, kind: str, function: Callable[..., Result], *arrays: NDArray[np.float32]
    ) -> Result:
        """Call a function of the engine with arrays on the thread.

        Args:
            kind: which function it is; calls of a kind and a shape take about as long.
            function: returns the result.
            arrays: its arguments.

        Raises:
            BackendError: the call, or an earlier one, has not returned in time.
            Exception: whatever the function raises.
        """
        shape = (kind, *(array.shape for array in arrays))
        return self._run(partial(function, *arrays), shape)

    def _limit_s(self, shape: Shape | None) -> float:
        if shape is None:
            return math.inf
        took_s = self._took_s.get(shape)
        if took_s is None:
            return FIRST_LIMIT_S
        return min(max(LIMIT_S, LIMIT_FACTOR * took_s), FIRST_LIMIT_S)

    def _run(self, call: Callable[[], Result], shape: Shape | None = None) -> Result:
        """Run a call on the thread; without a shape it takes what it takes."""
        answers: SimpleQueue[_Answer] = SimpleQueue()
        with self._lock:
            if self._hangs:
                raise BackendError(self._hangs)
            began = time.monotonic()
            self._jobs.put((call, answers))
            result, error = self._wait(answers, self._limit_s(shape))
            if shape is not None:
                self._took_s[shape] = time.monotonic() - began
        if error is not None:
            raise error
        answer: Result = result
        return answer

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


class _OwnThreadParts:
    """The parts of an engine, called on its thread; see `EngineParts`."""

    def __init__(self, owner: OwnThreadEngine, parts: EngineParts) -> None:
        self.info = parts.info
        self._owner, self._parts = owner, parts

    @property
    def sizes(self) -> PartSizes:
        """See `EngineParts.sizes`."""
        return self._parts.sizes

    def maps(
        self, frames: NDArray[np.float32], cached_maps: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """See `EngineParts.maps`."""
        return self._owner.call("maps", self._parts.maps, frames, cached_maps)

    def describe(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `EngineParts.describe`."""
        return self._owner.call("describe", self._parts.describe, maps)

    def sound_logits(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `EngineParts.sound_logits`."""
        return self._owner.call("sound_logits", self._parts.sound_logits, maps)

    def head(
        self, windows: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32] | None]:
        """See `EngineParts.head`."""
        return self._owner.call("head", self._parts.head, windows)


def _work(jobs: SimpleQueue[_Job | None]) -> None:
    """Make the calls, until there is None. It holds no reference to what ends with its owner."""
    while (job := jobs.get()) is not None:
        call, answers = job
        try:
            answers.put((call(), None))
        except BaseException as error:  # for the caller, whatever it is
            answers.put((None, error))
        del job, call, answers
