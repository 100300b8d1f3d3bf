"""A label over time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Labels further apart than this are not interpolated.
MAX_GAP_S = 2.0


@dataclass(frozen=True, eq=False)
class Curve:
    """Values at given times.

    Attributes:
        times_s: float64 [n], ascending, seconds.
        values: float64 [n].
    """

    times_s: NDArray[np.float64]
    values: NDArray[np.float64]

    @classmethod
    def of(cls, points: Iterable[tuple[float, float]]) -> Curve:
        """Make a curve from (time in seconds, value) in any order; NaN values are dropped."""
        known = sorted((t, v) for t, v in points if not np.isnan(v))
        table = np.array(known, np.float64).reshape(-1, 2)
        return cls(table[:, 0].round(6), table[:, 1])

    def __len__(self) -> int:
        return len(self.times_s)

    def at(self, times_s: NDArray[np.floating]) -> NDArray[np.float64]:
        """Interpolate the values linearly at given times.

        Returns:
            float64, NaN before the first label, after the last and within gaps above `MAX_GAP_S`.
        """
        wanted = np.asarray(times_s, np.float64).round(6)
        if not len(self):
            return np.full(wanted.shape, np.nan)
        found = np.interp(wanted, self.times_s, self.values, left=np.nan, right=np.nan)
        after = np.clip(np.searchsorted(self.times_s, wanted), 0, len(self) - 1)
        before = np.maximum(after - 1, 0)
        gap = self.times_s[after] - self.times_s[before] > MAX_GAP_S
        found[gap & (self.times_s[after] != wanted)] = np.nan
        return found
