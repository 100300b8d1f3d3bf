"""Filter banks: matrices of which only a band is not zero. No torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Columns that are multiplied at once: fewer waste less on zeros, but cost more calls.
_STRIPE = 32


class BandedMatrix:
    """A matrix whose columns are zero but for a few rows, further down with every column.

    Products take the columns in stripes, and of each stripe only the rows that are not zero.

    Args:
        matrix: float32 [rows, columns].
    """

    def __init__(self, matrix: NDArray[np.float32]) -> None:
        self._stripes = []
        for start in range(0, matrix.shape[1], _STRIPE):
            stripe = matrix[:, start : start + _STRIPE]
            used = np.flatnonzero(stripe.any(1))
            rows = slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 0)
            columns = slice(start, start + stripe.shape[1])
            self._stripes.append((rows, columns, np.ascontiguousarray(stripe[rows])))

    def product(self, x: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """Writes x float32 [n, rows] times the matrix into `out`, float32 [n, columns]."""
        for rows, columns, part in self._stripes:
            np.matmul(x[:, rows], part, out=out[:, columns])
