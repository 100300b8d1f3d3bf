"""Measure on held-out songs what a model file says of its own certainty."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mer_engine.model_file import DIMENSIONS, Prior
from mer_engine.network import SCORES
from mer_engine.training.export import LAG_MAX, Calibration

COVERAGE = 0.8
# Fewer clips than this tell no line: the moments of one clip are all but the same.
_FEWEST = 30


def calibrate(
    probabilities: NDArray[np.float32],
    centres: NDArray[np.float32],
    held_out: NDArray[np.float32],
    training_labels: NDArray[np.float32],
    whole: NDArray[np.float32] | None = None,
) -> Calibration:
    """Fit intervals, prior, and the line from a distribution's expectation to the value.

    A reader tells songs that it does not know as far from the middle as those it learnt from; the
    line takes that back.

    Args:
        probabilities: float32 [n, 20, 2 or more, bins], predictions for songs the network never
            saw, after each step; valence and arousal first.
        centres: float32 [bins].
        held_out: float32 [n, 20, 2], the labels of those songs; NaN where unknown.
        training_labels: float32 [m, 20, 2], for the prior; NaN where unknown.
        whole: float32 [n, 2], the labels of those songs as wholes, for the scores after the first
            two; NaN where unknown.
    """
    lines = {}
    if whole is not None:
        told = probabilities[:, :, len(DIMENSIONS) :] @ centres
        for column, name in enumerate(SCORES[len(DIMENSIONS) :]):
            truth = np.repeat(whole[:, None, column], told.shape[1], axis=1)
            lines[name] = tuple(_line(told[..., column], truth, s) for s in range(LAG_MAX))
    probabilities = probabilities[:, :, : len(DIMENSIONS)]
    mean = probabilities @ centres
    spread = np.sqrt(np.maximum(probabilities @ centres**2 - mean**2, 1e-12))
    priors, scales = {}, {}
    for column, name in enumerate(DIMENSIONS):
        rows = [_line(mean[..., column], held_out[..., column], s) for s in range(LAG_MAX)]
        lines[name] = tuple(rows)
        intercept, slope = np.array(rows).T
        value = intercept + slope * mean[..., column]
        miss = np.abs(held_out[..., column] - value) / spread[..., column]
        scales[name] = tuple(_scale(miss, step) for step in range(LAG_MAX))
        known = training_labels[..., column]
        known = known[np.isfinite(known)]
        low, high = np.quantile(known, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
        priors[name] = Prior(float(known.mean()), float(low), float(high))
    return Calibration(coverage=COVERAGE, interval_scale=scales, prior=priors, line=lines)


def _line(
    told: NDArray[np.floating], truth: NDArray[np.floating], step: int
) -> tuple[float, float]:
    """Intercept and slope of the truth over what was told, after one more or less step too."""
    near = slice(max(0, step - 1), step + 2)
    x, y = told[:, near], truth[:, near]
    known = np.isfinite(x) & np.isfinite(y)
    if known.any(axis=1).sum() < _FEWEST or np.var(x[known]) < 1e-6:
        return 0.0, 1.0
    slope, intercept = np.polyfit(x[known], y[known], 1)
    if slope < 0:  # a reader that knows nothing of new songs; its opposite knows no more
        slope, intercept = 0.0, y[known].mean()
    return round(float(intercept), 5), round(float(slope), 5)


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
