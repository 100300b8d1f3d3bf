"""Filter banks as banded matrices. No torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Columns per product: fewer columns multiply fewer zeros, but need more calls.
_STRIPE = 32


class BandedMatrix:
    """A matrix whose non-zero rows move down from column to column.

    A product takes the columns in stripes, and only the non-zero rows of each stripe.

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
        """Write x float32 [n, rows] times the matrix into `out`, float32 [n, columns]."""
        for rows, columns, part in self._stripes:
            np.matmul(x[:, rows], part, out=out[:, columns])
