"""The lag window: the embeddings of the steps that lie behind a moment."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TICKS_PER_STEP = 5  # a tick is 0.1 s, a model step 0.5 s


class LagWindow:
    """Keeps step embeddings by the tick at which each step ends.

    The window at tick T consists of the steps that end at T, T - 5, T - 10 ...; with a hop that is
    no multiple of the step several such combs interleave, so all of them are kept.

    Args:
        lag_order: most steps of a window.
        embedding_size: numbers of an embedding (E).
        comb_ticks: windows end on multiples of this, 1 or a step.

    Attributes:
        nothing: float32 [0, E], the past of a window of new steps only.
    """

    def __init__(self, lag_order: int, embedding_size: int, comb_ticks: int = 1) -> None:
        self.lag_order = lag_order
        self._comb = comb_ticks
        self._slots = lag_order * TICKS_PER_STEP // comb_ticks + 1
        self._memory = np.zeros((self._slots, embedding_size), dtype=np.float32)
        self._ticks = np.full(self._slots, -1, dtype=np.int64)
        self.nothing = self._memory[:0]

    def clear(self) -> None:
        """Forgets every embedding."""
        self._ticks[:] = -1

    def put(self, last_tick: int, embeddings: NDArray[np.float32]) -> None:
        """Keeps the embeddings of consecutive steps, the last of which ends at `last_tick`.

        Args:
            embeddings: float32 [k, E], oldest first.
        """
        count = len(embeddings)
        ticks = last_tick - TICKS_PER_STEP * np.arange(count - 1, -1, -1)
        slots = ticks // self._comb % self._slots
        self._memory[slots] = embeddings
        self._ticks[slots] = ticks

    def past(self, tick: int, steps: int) -> tuple[NDArray[np.float32], int]:
        """What is known of a window of `steps` steps that ends at `tick`.

        Returns:
            The embeddings float32 [P, E], oldest first, of its P oldest steps that are known
            without a hole, and the number of newest steps that must be encoded: steps - P. The
            step that ends at `tick` always counts as new.
        """
        ticks = tick - TICKS_PER_STEP * np.arange(steps - 1, -1, -1)
        slots = ticks // self._comb % self._slots
        known = self._ticks[slots] == ticks
        known[-1] = False
        run = int(np.argmin(known))
        return self._memory[slots[:run]], steps - run
