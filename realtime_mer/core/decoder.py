"""From the network's output distributions to the values of one estimate."""

from __future__ import annotations

import numpy as np
from mer_engine.model_file import DIMENSIONS, WHOLE, ModelInfo
from numpy.typing import NDArray

# (value, lower bound, upper bound) of valence and of arousal.
Intervals = tuple[tuple[float, float, float], ...]


class Decoder:
    """`ModelInfo.values` of a single window and the values of the whole piece, in plain floats.

    For six numbers a dozen numpy calls cost more than the arithmetic. With many streams in one
    process they would be a twentieth of the total work.

    Args:
        info: description of the model.
    """

    def __init__(self, info: ModelInfo) -> None:
        bins = np.asarray(info.bins)
        self._moments = np.stack([bins, bins**2], axis=1)
        self._scale = [info.interval_scale[name] for name in DIMENSIONS]
        identity = ((0.0, 1.0),) * info.lag_order_max
        self._movement = [info.movement.get(name, 0.0) for name in DIMENSIONS]
        self._lines = [info.line.get(name, identity) for name in info.scores]
        self._has_whole = info.scores[len(DIMENSIONS) :] == WHOLE

    def decode(
        self, probabilities: NDArray[np.float32], steps: int, rise_db: float = 0.0
    ) -> tuple[Intervals, tuple[float, float] | None]:
        """Decode one window.

        Args:
            probabilities: float32 [1, scores, bins], each row summing to 1.
            steps: length of the window in steps, 1 to `lag_order_max`.
            rise_db: see `Movement`; moves valence and arousal with their intervals.

        Returns:
            Value and interval bounds of valence and of arousal; and valence and arousal of the
            whole piece, None if the model has no such output. All are in [-1, 1].
        """
        rows = (probabilities[0].astype(np.float64) @ self._moments).tolist()
        values: list[float] = []
        for (mean, _), line in zip(rows, self._lines, strict=True):
            intercept, slope = line[steps - 1]
            values.append(intercept + slope * mean)
        intervals: list[tuple[float, float, float]] = []
        for (mean, square), scale, settled, movement in zip(
            rows, self._scale, values, self._movement, strict=False
        ):
            value = settled + movement * rise_db
            half = scale[steps - 1] * max(square - mean * mean, 0.0) ** 0.5
            intervals.append((clip(value), clip(value - half), clip(value + half)))
        whole = (clip(values[2]), clip(values[3])) if self._has_whole else None
        return tuple(intervals), whole


def clip(value: float) -> float:
    """Return a value with one beyond the scale at its end, -1 or 1."""
    return min(max(value, -1.0), 1.0)
