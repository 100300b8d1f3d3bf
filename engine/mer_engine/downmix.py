"""Down-mix of a stream to one channel, also where its channels cancel."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from operator import add

import numpy as np
from numpy.typing import NDArray

# The power is measured, and the weights change, in segments of this length.
SEGMENT_S = 0.1
# Segments that a decision looks back on. A shorter look would see wide stereo as cancelled for
# moments; while the decision takes, the input sounds like a second of silence.
SEGMENTS = 10
# Power of the sum of the channels over the sum of their powers: 1 for unrelated channels, the
# number of channels for equal ones, 0 where they cancel. For stereo of equal levels it is 1 plus
# the correlation: records are at 1 or above, wide ones a little below, and a correlation of -0.9
# over a whole second is a wrong polarity. The distance of the limits keeps the weights from
# changing often.
CANCELLED = 0.1
RESTORED = 0.3


class Downmix:
    """Mixes the channels of a stream to their mean, and takes one of them where they cancel.

    Anti-phase stereo (one channel with the wrong polarity) has a mean of nearly zero. After a
    second of it, the loudest channel alone is used, until the mean has a usual power again. The
    weights change linearly over a segment, so there is no click. The decisions use earlier
    segments only, and the segments are counted from the start of the stream, so the result does not
    depend on how the stream is cut into blocks.

    Args:
        channels: number of channels.
        sample_rate_hz: rate of the stream.
    """

    def __init__(self, channels: int, sample_rate_hz: int) -> None:
        self._mean = np.full(channels, 1.0 / channels, dtype=np.float32)
        self._length = round(sample_rate_hz * SEGMENT_S)
        self.reset()

    def reset(self) -> None:
        """Start a new stream."""
        channels = len(self._mean)
        self._position = 0  # in the current segment
        # Energy of the mean and of each channel, in the current segment and in those before.
        self._energies = [0.0] * (1 + channels)
        self._earlier: deque[list[float]] = deque(maxlen=SEGMENTS)
        self._usual = 0  # newest segments in a row whose channels do not cancel
        self._before = self._weights = self._mean

    def mix(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mix the next block.

        Args:
            samples: float32 [n, channels], finite.

        Returns:
            float32 [n]: exactly the mean of the channels, unless they cancel.
        """
        if samples.shape[1] == 1:
            return samples[:, 0]
        # The mean, then the channels: sums over samples that lie apart take three times as long.
        signals = np.empty((1 + samples.shape[1], len(samples)), dtype=np.float32)
        signals[1:] = samples.T
        mean: NDArray[np.float32] = signals[0]
        mixed = mean
        np.matmul(self._mean, signals[1:], out=mean)
        start = 0
        while start < len(samples):
            # All complete segments together, or the next samples of one.
            count = (len(samples) - start) // self._length if self._position == 0 else 0
            length = min(self._length - self._position, len(samples) - start)
            segments = signals[:, start : start + max(count, 1) * length]
            segments = segments.reshape(len(signals), -1, length)
            for energies in np.vecdot(segments, segments).T.tolist():
                self._energies = list(map(add, self._energies, energies))
                stop = start + length
                if self._weights is not self._mean or self._before is not self._mean:
                    if mixed is mean:
                        mixed = mean.copy()
                    mixed[start:stop] = self._weighted(samples[start:stop])
                self._position += length
                if self._position == self._length:
                    self._end_segment()
                start = stop
        return mixed

    def _weighted(self, part: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._before is self._weights:
            return part @ self._weights
        steps = np.arange(self._position + 1, self._position + len(part) + 1, dtype=np.float32)
        share = (steps / np.float32(self._length))[:, None]
        weights = self._before + share * (self._weights - self._before)
        return np.asarray(np.einsum("sc,sc->s", part, weights), dtype=np.float32)

    def _end_segment(self) -> None:
        """Choose the weights of the next segment."""
        self._earlier.append(self._energies)
        self._usual = 0 if _share(self._energies) < CANCELLED else self._usual + 1
        self._energies, self._position = [0.0] * len(self._energies), 0
        self._before = self._weights
        if len(self._earlier) < SEGMENTS:
            return
        # What holds for each of the segments holds for all together.
        if self._usual >= SEGMENTS and self._weights is self._mean:
            return
        energies = list(map(sum, zip(*self._earlier, strict=True)))
        if self._weights is self._mean:
            if _share(energies) < CANCELLED:
                loudest = energies.index(max(energies[1:]), 1) - 1
                self._weights = np.eye(len(self._mean), dtype=np.float32)[loudest]
        elif _share(energies) > RESTORED:
            self._weights = self._mean


def _share(energies: Sequence[float]) -> float:
    """Return the power of the sum of the channels over the sum of their powers.

    Args:
        energies: of the mean of the channels, and of each.

    Returns:
        The share; NaN in silence, which neither cancels nor restores.
    """
    of_mean, *each = energies
    total = sum(each)
    return of_mean * len(each) ** 2 / total if total else math.nan
