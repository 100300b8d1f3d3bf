"""The lag window: the embeddings of the steps before a moment."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from realtime_mer.core.ticks import TICKS_PER_STEP


class LagWindow:
    """Keeps step embeddings by the tick at which each step ends.

    The window at tick T consists of the steps that end at T, T - 5, T - 10 ... If the hop is not a
    multiple of a step, the windows of successive estimates interleave; the embeddings of all of
    them are kept.

    Args:
        lag_order: maximum number of steps of a window.
        embedding_size: numbers per embedding (E).
        spacing_ticks: windows end at multiples of this, 1 or a step.

    Attributes:
        empty: float32 [0, E], the past of a window that has new steps only.
    """

    def __init__(self, lag_order: int, embedding_size: int, spacing_ticks: int = 1) -> None:
        self._spacing = spacing_ticks
        self._slots = lag_order * TICKS_PER_STEP // spacing_ticks + 1
        self._embeddings = np.zeros((self._slots, embedding_size), dtype=np.float32)
        self._ticks = np.full(self._slots, -1, dtype=np.int64)
        self.empty = self._embeddings[:0]

    def clear(self) -> None:
        """Discard all embeddings."""
        self._ticks[:] = -1

    def put(self, last_tick: int, embeddings: NDArray[np.float32]) -> None:
        """Store the embeddings of consecutive steps, the last of which ends at `last_tick`.

        Args:
            embeddings: float32 [k, E], oldest first.
        """
        count = len(embeddings)
        ticks = last_tick - TICKS_PER_STEP * np.arange(count - 1, -1, -1)
        slots = ticks // self._spacing % self._slots
        self._embeddings[slots] = embeddings
        self._ticks[slots] = ticks

    def past(self, tick: int, steps: int) -> tuple[NDArray[np.float32], int]:
        """Return the stored part of a window of `steps` steps that ends at `tick`.

        Returns:
            The embeddings float32 [P, E] of the P oldest steps of the window up to the first gap,
            oldest first, and the number of newer steps to encode, steps - P. The step that ends
            at `tick` always counts as new.
        """
        ticks = tick - TICKS_PER_STEP * np.arange(steps - 1, -1, -1)
        slots = ticks // self._spacing % self._slots
        stored = self._ticks[slots] == ticks
        stored[-1] = False
        count = int(np.argmin(stored))
        return self._embeddings[slots[:count]], steps - count
