"""An engine that runs small calls on one backend and large ones on another."""

from __future__ import annotations

import threading
import time

import numpy as np
from numpy.typing import NDArray

from mer_engine.engine import (
    Announce,
    Engine,
    EngineParts,
    Inference,
    backend_warning,
    infer_in_batches,
    largest_batch,
    parts_of,
)

# The load has moved when this share of the newest windows, about so many, was computed there.
MOVED_SHARE = 0.7
NEWEST_WINDOWS = 128
# A move is told at most once in this time.
TELL_S = 60.0


class ByBatchEngine:
    """Runs each call on the backend that is faster for its number of windows.

    The state of a stream lies in arrays of the caller, so its next window may run anywhere. Only
    what is said of the load is slow to change: `backend` names the backend that computed most of
    the newest windows, and a move is announced at most once a minute.

    Args:
        small: the engine for small calls.
        large: the engine for large ones. It may come to run the backend of `small` itself, where it
            failed (see `mer_engine.backends.fallback`); large calls are then those of `small`.
        from_size: the windows of the smallest call for `large`, at least 2.
        announce: receives one sentence when the load moves.

    Attributes:
        from_size: as above.
    """

    def __init__(self, small: Engine, large: Engine, from_size: int, announce: Announce) -> None:
        self.info = small.info
        self.from_size = from_size
        self._small, self._large = small, large
        self._announce = announce
        self._lock = threading.Lock()
        self._share = 0.0  # of the newest windows, how many `large` computed
        self._is_large = False  # whether the load was said to be there
        self._told_at = -TELL_S

    @property
    def backend(self) -> str:
        """The backend that computes most windows now."""
        return (self._large if self._is_large else self._small).backend

    @property
    def warning(self) -> str:
        """The warnings of both engines, see `mer_engine.engine.backend_warning`."""
        warnings = (backend_warning(self._large), backend_warning(self._small))
        return "; ".join(dict.fromkeys(filter(None, warnings)))

    @property
    def largest_batch(self) -> int:
        """See `mer_engine.engine.largest_batch`."""
        return largest_batch(self._large)

    def backend_of(self, windows: int) -> str:
        """See `mer_engine.engine.backend_of`."""
        return self._engine(windows).backend

    def parts(self) -> EngineParts | None:
        """Return the parts of the engine for large calls, or of the other where it has none."""
        return parts_of(self._large) or parts_of(self._small)

    def infer(
        self,
        frames: NDArray[np.float32],
        cached_maps: NDArray[np.float32],
        past: NDArray[np.float32],
    ) -> Inference:
        """See `mer_engine.engine.Engine.infer`."""
        engine = self._engine(len(frames))
        inference = infer_in_batches(engine, frames, cached_maps, past)
        self._count(len(frames), engine is self._large)
        return inference

    def _engine(self, windows: int) -> Engine:
        one_left = self._large.backend == self._small.backend
        return self._small if windows < self.from_size or one_left else self._large

    def _count(self, windows: int, is_large: bool) -> None:
        with self._lock:
            weight = min(1.0, windows / NEWEST_WINDOWS)
            self._share += weight * (is_large - self._share)
            moved = (1.0 - self._share if self._is_large else self._share) > MOVED_SHARE
            now = time.monotonic()
            if not moved or now < self._told_at + TELL_S:
                return
            self._is_large, self._told_at = not self._is_large, now
        # A failure has its own sentence.
        if self._large.backend == self._small.backend:
            return
        if self._is_large:
            self._announce(
                f"most windows come {self.from_size} or more at a time: "
                f"{self._large.backend} computes them now"
            )
        else:
            self._announce(
                f"most windows come fewer than {self.from_size} at a time again: "
                f"{self._small.backend} computes them now"
            )
