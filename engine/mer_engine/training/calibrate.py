"""Measure on held-out songs what a model file says of its own certainty."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mer_engine.model_file import DIMENSIONS, Prior
from mer_engine.training.export import LAG_MAX, Calibration

COVERAGE = 0.8


def calibrate(
    probabilities: NDArray[np.float32],
    centres: NDArray[np.float32],
    held_out: NDArray[np.float32],
    training_labels: NDArray[np.float32],
) -> Calibration:
    """Fit intervals and prior.

    Args:
        probabilities: float32 [n, 20, 2 or more, bins], predictions for songs the network never
            saw, after each step; valence and arousal first.
        centres: float32 [bins].
        held_out: float32 [n, 20, 2], the labels of those songs; NaN where unknown.
        training_labels: float32 [m, 20, 2], for the prior; NaN where unknown.
    """
    probabilities = probabilities[:, :, : len(DIMENSIONS)]
    mean = probabilities @ centres
    spread = np.sqrt(np.maximum(probabilities @ centres**2 - mean**2, 1e-12))
    priors, scales = {}, {}
    for column, name in enumerate(DIMENSIONS):
        miss = np.abs(held_out[..., column] - mean[..., column]) / spread[..., column]
        scales[name] = tuple(_scale(miss, step) for step in range(LAG_MAX))
        known = training_labels[..., column]
        known = known[np.isfinite(known)]
        low, high = np.quantile(known, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
        priors[name] = Prior(float(known.mean()), float(low), float(high))
    return Calibration(coverage=COVERAGE, interval_scale=scales, prior=priors)


def _scale(miss: NDArray[np.floating], step: int) -> float:
    """Half-width, in predicted standard deviations, that held the wanted share of songs.

    Neighbouring window lengths are taken together: their misses are nearly the same, so the factor
    is steadier and changes smoothly.
    """
    near = miss[:, max(0, step - 1) : step + 2]
    near = near[np.isfinite(near)]
    if not len(near):
        return 1.2816  # of a normal distribution
    songs = len(miss)
    level = min(1.0, COVERAGE * (songs + 1) / songs)
    return float(round(float(np.quantile(near, level)), 4))
