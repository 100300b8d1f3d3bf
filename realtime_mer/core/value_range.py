"""From the model's values to their place among music, on the same scale of -1 to 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from mer_engine.model_file import DIMENSIONS, ModelInfo
from numpy.typing import NDArray

from realtime_mer.core.decoder import Intervals, clip

# The shares of music below the values that map to -1 and 1: the calmest and the most excited
# twentieth lie at the rim.
RIM = (0.05, 0.95)
# The raw value 0 stays 0 unless it is nearer to an end of the range than this share of it.
MIN_SIDE = 0.1
MIN_HALF_WIDTH = 0.01

# An adapted range keeps at least half of its own centre, and its width within a factor of two.
MAX_SHARE = 0.5
MAX_RATIO = 4.0
# Seconds of music before a range adapts, and the time constant of its memory and of its change.
ADAPT_AFTER_S = 60.0
ADAPT_S = 300.0
# Raw values are counted at points of this distance.
_GRID = np.linspace(-1.0, 1.0, 201)
# Seconds at each point from the start; keeps quantiles continuous between separate values.
_EVERYWHERE_S = 1e-3


@dataclass(frozen=True, slots=True)
class AxisRange:
    """A map of one dimension, linear on each side of its centre: continuous and monotone.

    Attributes:
        centre: raw value that maps to 0.
        below, above: distances from it, above 0, that map to -1 and 1.
    """

    centre: float
    below: float
    above: float

    def place(self, value: float) -> float:
        """Map a raw value; beyond the rim the result lies outside [-1, 1]."""
        offset = value - self.centre
        return offset / (self.above if offset > 0.0 else self.below)


def axis_range(quantiles: Sequence[float]) -> AxisRange:
    """Return the range of music at large.

    Args:
        quantiles: ascending raw values at evenly spaced shares of music from 0 to 1, at least two.
    """
    low, high = np.interp(RIM, np.linspace(0.0, 1.0, len(quantiles)), quantiles).tolist()
    side = MIN_SIDE * (high - low)
    centre = min(max(0.0, low + side), high - side)
    return AxisRange(centre, max(centre - low, MIN_HALF_WIDTH), max(high - centre, MIN_HALF_WIDTH))


class ValueRange:
    """Maps the values of one stream to their place among music at large, or nearer to its own.

    Args:
        info: description of a model with a distribution.
        adapt: let the map move slowly towards the middle and the spread of the stream.
    """

    def __init__(self, info: ModelInfo, *, adapt: bool) -> None:
        self._at_large = tuple(axis_range(info.distribution[name]) for name in DIMENSIONS)
        self._adapt = adapt
        self.reset()

    def reset(self) -> None:
        """Start a new stream."""
        self._axes = self._at_large
        self._music_s = 0.0
        self._counts = np.zeros((len(DIMENSIONS), len(_GRID)))

    def update(self, raw: Intervals, seconds: float) -> None:
        """Adapt to an estimate that stands for some seconds of music."""
        if not self._adapt or seconds <= 0.0:
            return
        self._music_s += seconds
        self._counts *= math.exp(-seconds / ADAPT_S)
        for counts, (value, *_) in zip(self._counts, raw, strict=True):
            _count(counts, value, seconds)
        after_s = self._music_s - ADAPT_AFTER_S
        if after_s <= 0.0:
            return
        share = MAX_SHARE * (1.0 - math.exp(-after_s / ADAPT_S))
        self._axes = tuple(
            _towards(axis, counts, share)
            for axis, counts in zip(self._at_large, self._counts, strict=True)
        )

    def place(self, raw: Intervals) -> Intervals:
        """Map value and interval bounds of valence and of arousal; see `AxisRange.place`."""
        return tuple(
            (axis.place(value), axis.place(low), axis.place(high))
            for axis, (value, low, high) in zip(self._axes, raw, strict=True)
        )


def clipped(intervals: Intervals) -> Intervals:
    """Return values and bounds with those beyond the rim at the rim, in [-1, 1]."""
    return tuple((clip(value), clip(low), clip(high)) for value, low, high in intervals)


def _count(counts: NDArray[np.float64], value: float, s: float) -> None:
    """Count a value for `s` seconds, shared between the two nearest points of the grid."""
    position = (value + 1.0) / 2.0 * (len(_GRID) - 1)
    index = min(int(position), len(_GRID) - 2)
    counts[index] += s * (index + 1 - position)
    counts[index + 1] += s * (position - index)


def _towards(axis: AxisRange, counts: NDArray[np.float64], share: float) -> AxisRange:
    """Move a range by a share of the way to the distribution that was counted."""
    mass = counts + _EVERYWHERE_S
    shares = (np.cumsum(mass) - mass / 2.0) / mass.sum()
    low, median, high = np.interp((RIM[0], 0.5, RIM[1]), shares, _GRID).tolist()
    ratio = (high - low) / (axis.below + axis.above)
    scale = min(max(ratio, 1.0 / MAX_RATIO), MAX_RATIO) ** share
    return AxisRange(
        axis.centre + share * (median - axis.centre), axis.below * scale, axis.above * scale
    )
