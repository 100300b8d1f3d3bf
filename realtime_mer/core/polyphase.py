"""A resampling filter as a product of matrices."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

# Passed up to this share of the lower of both Nyquist frequencies, and stopped from there on by
# this much.
PASS_SHARE = 0.9125
STOP_DB = 100.0

# A rate is taken where its table is small: outputs after which the filter's phases repeat.
MOST_PHASES = 640
# Outputs of a stripe, more where a block would have more stripes than this: many multiply fewer
# zeros, but cost more calls.
_STRIPE, _MOST_STRIPES = 32, 5
# Blocks are copied out this much at a time: into the caches, and into memory that need not be
# mapped anew each time (glibc maps what is larger than 128 KiB).
_PIECE_BYTES = 100_000


class Polyphase:
    """Takes a signal from one rate to another by a windowed sinc, in blocks of outputs.

    The filter is designed after Kaiser (1974; Oppenheim and Schafer, Discrete-Time Signal
    Processing, 7.5): linear phase, so its delay is half of its length whatever the frequency. The
    rates are to each other as `up` to `down`, so `up` outputs on, and `down` inputs on, everything
    repeats: a block of outputs is a product of a stretch of the signal and a matrix whose columns
    are the filter, moved on from output to output. Most of that matrix is zero, so columns are
    taken in stripes with their own rows only.

    Output i is the signal at the time of input i * down / up.

    Attributes:
        up, down: output rate to input rate, without a common divisor.
        reach: inputs before and after its own time that an output depends on.
        block: outputs after which the matrix repeats.
        advance: inputs in that time.
    """

    def __init__(self, input_rate_hz: int, output_rate_hz: int) -> None:
        divisor = math.gcd(input_rate_hz, output_rate_hz)
        self.up, self.down = output_rate_hz // divisor, input_rate_hz // divisor
        stop_hz = min(input_rate_hz, output_rate_hz) / 2
        pass_hz = PASS_SHARE * stop_hz
        # Kaiser's estimate of the order, here as half a length in inputs; and of the window.
        radians = 2 * math.pi * (stop_hz - pass_hz) / input_rate_hz
        half = (STOP_DB - 7.95) / (2.285 * radians) / 2
        beta = 0.1102 * (STOP_DB - 8.7)
        self.reach = math.ceil(half)
        self.block = self.up * math.ceil(_STRIPE / self.up)
        self.advance = self.block * self.down // self.up
        self._width = self.advance + 2 * self.reach
        cutoff = (pass_hz + stop_hz) / input_rate_hz
        # Columns, rows and matrix of each stripe.
        self._stripes: list[tuple[slice, slice, NDArray[np.float32]]] = []
        stripe = max(_STRIPE, self.block // _MOST_STRIPES)
        for start in range(0, self.block, stripe):
            columns = np.arange(start, min(start + stripe, self.block))
            first = int(columns[0]) * self.down // self.up
            last = int(columns[-1]) * self.down // self.up + 2 * self.reach
            inputs = np.arange(first, last + 1) - self.reach
            away = inputs[:, None] - columns * (self.down / self.up)
            within = np.sqrt(np.maximum(1.0 - (away / half) ** 2, 0.0))
            window = np.where(np.abs(away) <= half, np.i0(beta * within), 0.0)
            taps = np.sinc(cutoff * away) * window
            # Each phase passes a constant as it is.
            taps /= taps.sum(0)
            self._stripes.append(
                (
                    slice(start, start + len(columns)),
                    slice(first, last + 1),
                    np.asarray(taps, dtype=np.float32),
                )
            )

    def ready(self, count: int) -> int:
        """How many outputs depend on nothing after the first `count` samples of a signal.

        Args:
            count: samples, the first `reach` of which precede the time of the first output.
        """
        room = count - 2 * self.reach
        return max(0, (room * self.up - 1) // self.down + 1)

    def outputs(self, signal: NDArray[np.float32], first: int, last: int) -> NDArray[np.float32]:
        """Outputs of a signal that begins `reach` samples before the time of output 0.

        Args:
            signal: float32 [n], contiguous.
            first: the first output wanted, of the first block.
            last: the one after the last, at most `ready(n)`.

        Returns:
            float32 [last - first].
        """
        blocks = -(-last // self.block)
        # Outputs that nobody wanted may reach further than the signal.
        missing = (blocks - 1) * self.advance + self._width - len(signal)
        if missing > 0:
            signal = np.concatenate((signal, np.zeros(missing, dtype=np.float32)))
        itemsize = signal.itemsize
        shape, strides = (blocks, self._width), (self.advance * itemsize, itemsize)
        stretches = np.ndarray(shape, np.float32, signal, 0, strides)
        out = np.empty((blocks, self.block), dtype=np.float32)
        piece = max(1, _PIECE_BYTES // (self._width * itemsize))
        for start in range(0, blocks, piece):
            # Copied, because BLAS takes no rows that overlap.
            part = stretches[start : start + piece].copy()
            for columns, rows, taps in self._stripes:
                # The first and the last block are wanted from and up to some column only.
                low = int(start == 0 and columns.stop <= first)
                high = min(len(part), -(-(last - columns.start) // self.block) - start)
                if low < high:
                    np.matmul(part[low:high, rows], taps, out=out[start:][low:high, columns])
        return out.reshape(-1)[first:last]


def has_polyphase(input_rate_hz: int, output_rate_hz: int) -> bool:
    """Whether the ratio of two rates is made of numbers small enough."""
    return output_rate_hz // math.gcd(input_rate_hz, output_rate_hz) <= MOST_PHASES


# Streams of the same rate share one.
polyphase = cache(Polyphase)
