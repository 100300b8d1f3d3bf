"""Calibrate a model: its intervals, its prior, and the distribution of its values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mer_engine.datasets.types import DIMENSIONS
from mer_engine.model_file import Prior
from mer_engine.training.export import LAG_MAX, Calibration
from mer_engine.training.predict import LENGTHS, moments

COVERAGE = 0.8
# Half-width of an interval of `COVERAGE` of a normal distribution, in standard deviations.
NORMAL_HALF_WIDTH = 1.2816
# Levels of the quantiles that describe the distribution of the values.
QUANTILES = np.linspace(0.0, 1.0, 41)
# What the level of the last seconds adds to a value, per decibel above the level so far. Chosen on
# DEAM's training and validation songs: more follows the labels of songs that move better, and costs
# accuracy in others.
MOVEMENT = {"valence": 0.012, "arousal": 0.02}


def interval_scale(
    probabilities: NDArray[np.float32],
    centres: NDArray[np.float32],
    labels: NDArray[np.float32],
    weights: NDArray[np.float64],
) -> dict[str, tuple[float, ...]]:
    """Fit the half-width of intervals, in standard deviations of the predicted distributions.

    Args:
        probabilities: float32 [n, lengths, 2, bins], predictions for clips of collections that the
            head was not fitted to.
        centres: float32 [bins].
        labels: float32 [n, 20, 2], NaN where unknown.
        weights: float64 [n], weight of each clip.

    Returns:
        By dimension, the factor for each window length from 1 to `LAG_MAX`.
    """
    mean, spread = moments(probabilities, centres)
    truth = labels[:, np.array(LENGTHS) - 1]
    errors = np.abs(truth - mean) / spread
    scales = {}
    for column, name in enumerate(DIMENSIONS):
        rows = [_weighted_quantile(errors[:, n, column], weights) for n in range(len(LENGTHS))]
        factors = np.interp(np.arange(1, LAG_MAX + 1), LENGTHS, rows)
        scales[name] = tuple(round(float(factor), 4) for factor in factors)
    return scales


def calibration(
    scales: dict[str, tuple[float, ...]],
    values: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> Calibration:
    """Put a calibration together.

    Args:
        scales: from `interval_scale`.
        values: float64 [n, 2], predictions of clips of all collections, each made without the
            clip's artist.
        weights: float64 [n], weight of each clip.
    """
    priors, distribution = {}, {}
    for column, name in enumerate(DIMENSIONS):
        order = np.argsort(values[:, column])
        position = np.cumsum(weights[order]) / weights.sum()
        quantiles = np.interp(QUANTILES, position, values[order, column])
        distribution[name] = tuple(round(float(q), 4) for q in quantiles)
        low, middle, high = np.interp([0.1, 0.5, 0.9], QUANTILES, quantiles)
        priors[name] = Prior(float(middle), float(low), float(high))
    return Calibration(
        coverage=COVERAGE,
        interval_scale=scales,
        prior=priors,
        distribution=distribution,
        movement=dict(MOVEMENT),
    )


def _weighted_quantile(errors: NDArray[np.floating], weights: NDArray[np.float64]) -> float:
    """Return the error that `COVERAGE` of the weight does not exceed; NaN is left out."""
    known = np.isfinite(errors)
    if not known.any():
        return NORMAL_HALF_WIDTH
    order = np.argsort(errors[known])
    position = np.cumsum(weights[known][order])
    return float(np.interp(COVERAGE, position / position[-1], errors[known][order]))
