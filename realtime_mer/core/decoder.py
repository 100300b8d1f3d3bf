"""From the network's distributions to the numbers of one estimate."""

from __future__ import annotations

import numpy as np
from mer_engine.model_file import DIMENSIONS, WHOLE, ModelInfo
from numpy.typing import NDArray

# Value and interval ends of valence and of arousal.
Held = tuple[tuple[float, float, float], ...]


class Decoder:
    """`ModelInfo.values` of a single window and the values of the whole piece, in plain numbers.

    An estimate needs six of them, for which a dozen calls of numpy cost more than the arithmetic:
    with many streams in one process a twentieth of all there is to do.

    Args:
        info: of the model.
    """

    def __init__(self, info: ModelInfo) -> None:
        bins = np.asarray(info.bins)
        self._moments = np.stack([bins, bins**2], axis=1)
        self._scale = [info.interval_scale[name] for name in DIMENSIONS]
        straight = ((0.0, 1.0),) * info.lag_order_max
        self._lines = [info.line.get(name, straight) for name in info.scores]
        self._has_whole = info.scores[len(DIMENSIONS) :] == WHOLE

    def read(
        self, probabilities: NDArray[np.float32], steps: int
    ) -> tuple[Held, tuple[float, float] | None]:
        """What one window tells.

        Args:
            probabilities: float32 [1, scores, bins], each row summing to 1.
            steps: length of the window in steps, 1 to `lag_order_max`.

        Returns:
            Value and interval ends of valence and of arousal, and both of the piece as a whole
            where the model tells them; all in [-1, 1].
        """
        rows = (probabilities[0].astype(np.float64) @ self._moments).tolist()
        values: list[float] = []
        for (mean, _), line in zip(rows, self._lines, strict=True):
            intercept, slope = line[steps - 1]
            values.append(intercept + slope * mean)
        held: list[tuple[float, float, float]] = []
        for (mean, square), scale, value in zip(rows, self._scale, values, strict=False):
            half = scale[steps - 1] * max(square - mean * mean, 0.0) ** 0.5
            held.append((_clip(value), _clip(value - half), _clip(value + half)))
        whole = (_clip(values[2]), _clip(values[3])) if self._has_whole else None
        return tuple(held), whole


def _clip(value: float) -> float:
    return min(max(value, -1.0), 1.0)
