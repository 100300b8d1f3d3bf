"""How different the newest seconds of a piece sound from those before."""

from __future__ import annotations

import math

import numpy as np
from mer_engine import ModelInfo
from numpy.typing import NDArray

# Steps of half a second: what counts as the newest, what as before, and the fewest of the latter.
NEW_STEPS = 4
BEFORE_STEPS = 12
LEAST_BEFORE_STEPS = 6


def _means(count: int) -> NDArray[np.float32]:
    """Return the matrix [2, count] that takes the means of the steps before and of the newest."""
    means = np.zeros((2, count), np.float32)
    means[0, :-NEW_STEPS] = 1 / (count - NEW_STEPS)
    means[1, -NEW_STEPS:] = 1 / NEW_STEPS
    return means


_MEANS = {
    count: _means(count)
    for count in range(NEW_STEPS + LEAST_BEFORE_STEPS, NEW_STEPS + BEFORE_STEPS + 1)
}


class Novelty:
    """Compares the means of the encoder's pooled outputs before and after a moment two seconds ago.

    Only these outputs are compared: the encoder standardises them, so that the angle between two
    sounds that have nothing in common is wide. The mel bands in an embedding are all positive.

    Args:
        info: description of the model.
    """

    def __init__(self, info: ModelInfo) -> None:
        frontend = info.frontend
        # An embedding ends with a frame's features, the loudness beside the peak, and the sounds.
        self._size = info.embedding_size - frontend.width - int(frontend.peaks) - len(info.sounds)

    def of(self, steps: NDArray[np.float32]) -> float | None:
        """Return the novelty of a window.

        Args:
            steps: float32 [steps, E], the embeddings of the window, oldest first.

        Returns:
            Half of one minus the cosine of the two means: 0 for the same sound, 1 for the opposite;
            None if the window is shorter than 5 s.
        """
        count = min(len(steps), NEW_STEPS + BEFORE_STEPS)
        if count not in _MEANS:
            return None
        before, new = _MEANS[count] @ steps[-count:, : self._size]
        lengths = math.sqrt(float(before @ before) * float(new @ new))
        if lengths == 0.0:
            return None
        return min(max(0.5 - 0.5 * float(before @ new) / lengths, 0.0), 1.0)
