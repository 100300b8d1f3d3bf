"""The samples between the resampler and the front-end."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from realtime_mer.core.level import audible_powers


class TickBuffer:
    """Collects samples until the front-end takes them, and divides them into ticks.

    The front-end is called once for many small blocks.

    Args:
        samples_per_tick: length of a tick in samples.
    """

    def __init__(self, samples_per_tick: int) -> None:
        self._size = samples_per_tick
        self.reset()

    def reset(self) -> None:
        """Discard all samples."""
        self._parts: list[NDArray[np.float32]] = []
        # The end of the parts that is not a complete tick yet.
        self._partial: NDArray[np.float32] = np.empty(0, dtype=np.float32)

    def ticks_after(self, samples: int) -> int:
        """Return the number of ticks that `samples` further samples would complete."""
        return (len(self._partial) + samples) // self._size

    def samples_until(self, ticks: int) -> int:
        """Return the number of further samples that complete `ticks` ticks."""
        return ticks * self._size - len(self._partial)

    def append(self, samples: NDArray[np.float32]) -> list[float]:
        """Append samples and return the audible power of each tick that they complete.

        Args:
            samples: float32 [n]; kept without a copy.

        Returns:
            For each tick, the mean square of what is above mains hum (see `audible_powers`).
        """
        self._parts.append(samples)
        signal = np.concatenate((self._partial, samples)) if len(self._partial) else samples
        ticks = len(signal) // self._size
        self._partial = signal[ticks * self._size :]
        if ticks == 0:
            return []
        rows = signal[: ticks * self._size].reshape(ticks, self._size)
        powers: list[float] = audible_powers(rows).tolist()
        return powers

    def take(self) -> NDArray[np.float32] | None:
        """Remove and return the samples up to the last complete tick; None if there are none."""
        if not self._parts:
            return None
        signal = self._parts[0] if len(self._parts) == 1 else np.concatenate(self._parts)
        end = len(signal) - len(self._partial)
        if end == 0:
            return None
        self._partial = self._partial.copy()  # does not keep `signal` in memory
        self._parts = [self._partial] if len(self._partial) else []
        return signal[:end]
