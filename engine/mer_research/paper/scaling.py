"""Features on one scale: as an honest test needs it, and as the paper's public code does it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# z-scores over the training steps alone, cut off far out; what a test song holds is not looked at.
TRAINING = "z-score of the training part"
# 0 to 1 over all data, test included, before anything is split: the public code.
PAPER = "0 to 1 over all data (the paper's code)"
SCALINGS = (TRAINING, PAPER)
_FAR_OUT = 6.0
_TINY = 1e-8


def scale(
    features: NDArray[np.float32], training: NDArray[np.bool_], scaling: str
) -> NDArray[np.float32]:
    """Scale features.

    Args:
        features: float32 [steps, columns]; what is missing becomes the middle of the scale.
        training: bool [steps], the steps of the training part.
        scaling: one of `SCALINGS`.

    Returns:
        float32 of the same shape.
    """
    values = features.astype(np.float64)
    if scaling == PAPER:
        low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
        scaled = (values - low) / (high - low + _TINY)
        return np.nan_to_num(scaled, nan=0.5).astype(np.float32)
    learnt = values[training]
    mean, deviation = np.nanmean(learnt, axis=0), np.nanstd(learnt, axis=0)
    # A column that does not vary tells nothing, whatever its value elsewhere.
    factor = np.where(deviation > _TINY, 1 / np.maximum(deviation, _TINY), 0.0)
    scaled = np.clip((values - mean) * factor, -_FAR_OUT, _FAR_OUT)
    return np.nan_to_num(scaled, nan=0.0).astype(np.float32)
