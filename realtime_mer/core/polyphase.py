"""A polyphase resampling filter, computed as matrix products."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

# End of the pass band, as a share of the lower of both Nyquist frequencies; from that frequency on
# the attenuation is `STOP_DB`.
PASS_SHARE = 0.9125
STOP_DB = 100.0

# Maximum number of filter phases: the table must be small.
MAX_PHASES = 640
# Outputs per stripe of the matrix, and the maximum number of stripes per block, which then have
# more outputs. More stripes multiply fewer zeros but need more calls.
_STRIPE, _MAX_STRIPES = 32, 5
# Bytes of input copied at a time: small enough for the caches, and enough rows for the products.
_CHUNK_BYTES = 200_000


class Polyphase:
    """Resamples a signal with a windowed sinc, in blocks of outputs.

    The filter follows Kaiser (1974; Oppenheim and Schafer, Discrete-Time Signal Processing, 7.5):
    linear phase, so the delay is half its length at all frequencies. With rates in the ratio
    `up` : `down`, the filter coefficients repeat after `up` outputs and `down` inputs. A block of
    outputs is therefore the product of a section of the signal and a matrix whose columns are the
    filter, shifted from output to output. Most of that matrix is zero, so the columns are divided
    into stripes that contain only their own rows.

    Output i is the signal at the time of input i * down / up.

    Attributes:
        up, down: output rate and input rate, divided by their greatest common divisor.
        reach: number of inputs before and after its own time that an output depends on.
        block: number of outputs after which the matrix repeats.
        advance: number of inputs in that time.
    """

    def __init__(self, input_rate_hz: int, output_rate_hz: int) -> None:
        divisor = math.gcd(input_rate_hz, output_rate_hz)
        self.up, self.down = output_rate_hz // divisor, input_rate_hz // divisor
        stop_hz = min(input_rate_hz, output_rate_hz) / 2
        pass_hz = PASS_SHARE * stop_hz
        # Kaiser's formulas for the order (here half the length in inputs) and for the window.
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
        stripe = max(_STRIPE, self.block // _MAX_STRIPES)
        for start in range(0, self.block, stripe):
            columns = np.arange(start, min(start + stripe, self.block))
            first = int(columns[0]) * self.down // self.up
            last = int(columns[-1]) * self.down // self.up + 2 * self.reach
            inputs = np.arange(first, last + 1) - self.reach
            offsets = inputs[:, None] - columns * (self.down / self.up)
            arguments = np.sqrt(np.maximum(1.0 - (offsets / half) ** 2, 0.0))
            window = np.where(np.abs(offsets) <= half, np.i0(beta * arguments), 0.0)
            taps = np.sinc(cutoff * offsets) * window
            # Unit gain at 0 Hz for each phase.
            taps /= taps.sum(0)
            self._stripes.append(
                (
                    slice(start, start + len(columns)),
                    slice(first, last + 1),
                    np.asarray(taps, dtype=np.float32),
                )
            )

    def ready(self, count: int) -> int:
        """Return the number of outputs that depend only on the first `count` samples of a signal.

        Args:
            count: samples, of which the first `reach` precede the time of the first output.
        """
        return max(0, ((count - 2 * self.reach) * self.up - 1) // self.down + 1)

    def outputs(self, signal: NDArray[np.float32], first: int, last: int) -> NDArray[np.float32]:
        """Compute outputs of a signal that starts `reach` samples before the time of output 0.

        Args:
            signal: float32 [n], contiguous.
            first: index of the first output, within the first block.
            last: index after the last output, at most `ready(n)`.

        Returns:
            float32 [last - first].
        """
        blocks = -(-last // self.block)
        # The last block may extend beyond the signal; its outputs there are not returned.
        missing = (blocks - 1) * self.advance + self._width - len(signal)
        if missing > 0:
            signal = np.concatenate((signal, np.zeros(missing, dtype=np.float32)))
        itemsize = signal.itemsize
        shape, strides = (blocks, self._width), (self.advance * itemsize, itemsize)
        sections = np.ndarray(shape, np.float32, signal, 0, strides)
        out = np.empty((blocks, self.block), dtype=np.float32)
        chunk = max(1, _CHUNK_BYTES // (self._width * itemsize))
        for start in range(0, blocks, chunk):
            # Copied, because BLAS does not take overlapping rows.
            rows = sections[start : start + chunk].copy()
            for columns, inputs, taps in self._stripes:
                # The first block starts at output `first`, the last block ends at `last`.
                low = int(start == 0 and columns.stop <= first)
                high = min(len(rows), -(-(last - columns.start) // self.block) - start)
                if low < high:
                    np.matmul(rows[low:high, inputs], taps, out=out[start:][low:high, columns])
        return out.reshape(-1)[first:last]


def has_polyphase(input_rate_hz: int, output_rate_hz: int) -> bool:
    """Return whether the filter for two rates has at most `MAX_PHASES` phases."""
    return output_rate_hz // math.gcd(input_rate_hz, output_rate_hz) <= MAX_PHASES


# Streams of the same rates share one filter.
polyphase = cache(Polyphase)
