"""Power spectra, computed in reused working memory. No torch."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray


class Scratch(threading.local):
    """Reused arrays for intermediate results, one per name and thread.

    Memory that each call allocates and frees goes back to the operating system and is mapped again,
    page by page. This can take longer than the arithmetic.
    """

    def __init__(self) -> None:
        self._arrays: dict[tuple[str, int], NDArray[np.float32]] = {}

    def array(self, name: str, rows: int, columns: int) -> NDArray[np.float32]:
        """Return float32 [rows, columns], uninitialised, valid until this name is used again."""
        found = self._arrays.get((name, columns))
        if found is None or len(found) < rows:
            found = self._arrays[name, columns] = np.empty((rows, columns), dtype=np.float32)
        return found[:rows]


def power_spectrum(
    windows: NDArray[np.float32], bins: slice, scratch: Scratch
) -> NDArray[np.float32]:
    """Return the squared magnitudes of the real FFT.

    Args:
        windows: float32 [n, size].
        bins: the bins to return, with start and stop.
        scratch: working memory; it owns the result.

    Returns:
        float32 [n, bins].
    """
    count, size = windows.shape
    parts = scratch.array("spectrum", count, size + 2)  # real and imaginary parts, interleaved
    np.fft.rfft(windows, axis=1, out=parts.view(np.complex64))
    selected = parts[:, 2 * bins.start : 2 * bins.stop]
    np.multiply(selected, selected, out=selected)
    power = scratch.array("power", count, bins.stop - bins.start)
    return np.add(selected[:, ::2], selected[:, 1::2], out=power)
