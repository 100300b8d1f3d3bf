"""Calibrate a model on held-out songs: intervals, prior and linear corrections."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mer_engine.model_file import DIMENSIONS, Prior
from mer_engine.network import SCORES
from mer_engine.training.export import LAG_MAX, Calibration

COVERAGE = 0.8
# Half-width of an interval of `COVERAGE` of a normal distribution, in standard deviations.
NORMAL_HALF_WIDTH = 1.2816
# No line is fitted to fewer clips, because the moments of one clip are nearly the same.
_MIN_CLIPS = 30


def calibrate(
    probabilities: NDArray[np.float32],
    centres: NDArray[np.float32],
    held_out: NDArray[np.float32],
    training_labels: NDArray[np.float32],
    static: NDArray[np.float32] | None = None,
) -> Calibration:
    """Fit intervals, prior, and the line from a distribution's expectation to the value.

    A head predicts held-out songs as far from the mean as training songs, which is too far. The
    line corrects this.

    Args:
        probabilities: float32 [n, 20, 2 or more, bins], predictions for held-out clips after each
            step; valence and arousal first.
        centres: float32 [bins].
        held_out: float32 [n, 20, 2], the labels of those clips; NaN where unknown.
        training_labels: float32 [m, 20, 2], for the prior; NaN where unknown.
        static: float32 [n, 2], the labels of the whole songs, for the scores after the first two;
            NaN where unknown.
    """
    lines = {}
    if static is not None:
        expectation = probabilities[:, :, len(DIMENSIONS) :] @ centres
        for column, name in enumerate(SCORES[len(DIMENSIONS) :]):
            truth = np.repeat(static[:, None, column], expectation.shape[1], axis=1)
            lines[name] = tuple(_line(expectation[..., column], truth, s) for s in range(LAG_MAX))
    probabilities = probabilities[:, :, : len(DIMENSIONS)]
    mean = probabilities @ centres
    spread = np.sqrt(np.maximum(probabilities @ centres**2 - mean**2, 1e-12))
    priors, scales = {}, {}
    for column, name in enumerate(DIMENSIONS):
        rows = [_line(mean[..., column], held_out[..., column], s) for s in range(LAG_MAX)]
        lines[name] = tuple(rows)
        intercept, slope = np.array(rows).T
        value = intercept + slope * mean[..., column]
        errors = np.abs(held_out[..., column] - value) / spread[..., column]
        scales[name] = tuple(_scale(errors, step) for step in range(LAG_MAX))
        known = training_labels[..., column]
        known = known[np.isfinite(known)]
        low, high = np.quantile(known, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
        priors[name] = Prior(float(known.mean()), float(low), float(high))
    return Calibration(coverage=COVERAGE, interval_scale=scales, prior=priors, line=lines)


def _line(
    predicted: NDArray[np.floating], truth: NDArray[np.floating], step: int
) -> tuple[float, float]:
    """Fit intercept and slope of the truth over the prediction, at this step and its neighbours."""
    near = slice(max(0, step - 1), step + 2)
    x, y = predicted[:, near], truth[:, near]
    known = np.isfinite(x) & np.isfinite(y)
    if known.any(axis=1).sum() < _MIN_CLIPS or np.var(x[known]) < 1e-6:
        return 0.0, 1.0
    slope, intercept = np.polyfit(x[known], y[known], 1)
    if slope < 0:  # the prediction is useless for new songs, so predict the mean
        slope, intercept = 0.0, y[known].mean()
    return round(float(intercept), 5), round(float(slope), 5)


def _scale(errors: NDArray[np.floating], step: int) -> float:
    """Return the half-width, in predicted standard deviations, with the wanted coverage.

    Neighbouring window lengths are pooled: their errors are nearly the same, so the factor is
    steadier and changes smoothly.
    """
    near = errors[:, max(0, step - 1) : step + 2]
    near = near[np.isfinite(near)]
    if not len(near):
        return NORMAL_HALF_WIDTH
    songs = len(errors)
    level = min(1.0, COVERAGE * (songs + 1) / songs)
    return float(round(float(np.quantile(near, level)), 4))
