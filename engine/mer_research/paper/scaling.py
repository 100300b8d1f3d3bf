"""Feature scaling: by the training part only, and as the paper's public code does it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Clipped z-scores with statistics of the training steps only.
TRAINING = "z-score of the training part"
# 0 to 1 over all data, including the test part, as in the public code.
PAPER = "0 to 1 over all data (the paper's code)"
_MAX_Z_SCORE = 6.0
_EPSILON = 1e-8


def scale(
    features: NDArray[np.float32], training: NDArray[np.bool_], scaling: str
) -> NDArray[np.float32]:
    """Scale features.

    Args:
        features: float32 [steps, columns]; NaN becomes the middle of the scale.
        training: bool [steps], True for steps of the training part.
        scaling: `TRAINING` or `PAPER`.

    Returns:
        float32 [steps, columns].
    """
    values = features.astype(np.float64)
    if scaling == PAPER:
        low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
        scaled = (values - low) / (high - low + _EPSILON)
        return np.nan_to_num(scaled, nan=0.5).astype(np.float32)
    known = values[training]
    mean, deviation = np.nanmean(known, axis=0), np.nanstd(known, axis=0)
    # A column that is constant in training becomes 0 everywhere.
    factor = np.where(deviation > _EPSILON, 1 / np.maximum(deviation, _EPSILON), 0.0)
    scaled = np.clip((values - mean) * factor, -_MAX_Z_SCORE, _MAX_Z_SCORE)
    return np.nan_to_num(scaled, nan=0.0).astype(np.float32)
