"""Power spectra, in working memory that is used again. No torch."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray


class Scratch(threading.local):
    """Arrays for what lies between input and output, one of each name for each thread.

    Memory that is allocated and freed with every call goes back to the system and is mapped
    anew, page by page, which can cost more than the arithmetic does.
    """

    def __init__(self) -> None:
        self._arrays: dict[tuple[str, int], NDArray[np.float32]] = {}

    def array(self, name: str, rows: int, columns: int) -> NDArray[np.float32]:
        """float32 [rows, columns] with anything in it, good until the name is asked for again."""
        found = self._arrays.get((name, columns))
        if found is None or len(found) < rows:
            found = self._arrays[name, columns] = np.empty((rows, columns), dtype=np.float32)
        return found[:rows]


def power_spectrum(
    windows: NDArray[np.float32], bins: slice, scratch: Scratch
) -> NDArray[np.float32]:
    """What `numpy.fft.rfft` says of windows float32 [n, size], squared: float32 [n, bins].

    The result is of `scratch`.
    """
    count, size = windows.shape
    parts = scratch.array("spectrum", count, size + 2)  # real and imaginary
    np.fft.rfft(windows, axis=1, out=parts.view(np.complex64))
    wanted = parts[:, 2 * bins.start : 2 * bins.stop]
    np.multiply(wanted, wanted, out=wanted)
    power = scratch.array("power", count, bins.stop - bins.start)
    return np.add(wanted[:, ::2], wanted[:, 1::2], out=power)
