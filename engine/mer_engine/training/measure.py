"""Figures of predictions for music that a fit did not know."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mer_engine.datasets.types import DIMENSIONS, FIRST_SCORED_STEP
from mer_engine.metrics import coverage, fit, sign_auc
from mer_engine.training.examples import Labels
from mer_engine.training.predict import LENGTHS, moments

# Predictions that count: of windows of five seconds and more.
SCORED = np.array(LENGTHS) >= FIRST_SCORED_STEP


def song_values(
    labels: Labels, values: NDArray[np.float64]
) -> tuple[NDArray[np.str_], NDArray[np.int64], NDArray[np.float64]]:
    """Average values [n, 2] of clips by song.

    Returns:
        The songs, the index of a clip of each, and the mean values [songs, 2].
    """
    songs, first, index = np.unique(labels.songs, return_index=True, return_inverse=True)
    total = np.zeros((len(songs), values.shape[1]))
    np.add.at(total, index, values)
    return songs, first, total / np.bincount(index)[:, None]


def measure(
    labels: Labels,
    probabilities: NDArray[np.float32],
    centres: NDArray[np.float32],
    scales: dict[str, tuple[float, ...]] | None = None,
) -> dict[str, Any]:
    """Measure predictions of one collection, as means of songs.

    Args:
        labels: of its clips.
        probabilities: float32 [n, lengths, 2, bins], predictions for them.
        centres: float32 [bins].
        scales: from `interval_scale`, to measure the intervals.

    Returns:
        `songs`; by dimension `r2`, `rmse`, `ccc`, `r`, `bias` and with scales `coverage` and
        `width`, of labels that are numbers; `quadrants` and `auc` of labels that are signs; no area
        where all signs are equal.
    """
    mean = (probabilities[:, SCORED] @ centres).astype(np.float64)
    songs, first, values = song_values(labels, mean.mean(1))
    result: dict[str, Any] = {"songs": len(songs)}
    signs = labels.signs[first]
    if (signs != 0).all():
        result["quadrants"] = float(((values > 0) == (signs > 0)).all(1).mean())
        calm = signs[:, 1] < 0
        areas = {
            "arousal": sign_auc(values[:, 1], signs[:, 1]),
            "valence": sign_auc(values[:, 0], signs[:, 0]),
            "valence_calm": sign_auc(values[calm, 0], signs[calm, 0]),
            "valence_excited": sign_auc(values[~calm, 0], signs[~calm, 0]),
        }
        result["auc"] = {name: area for name, area in areas.items() if area is not None}
    steps = np.array(LENGTHS)[SCORED] - 1
    truth = labels.values[:, steps]
    for column, name in enumerate(DIMENSIONS):
        known = np.isfinite(truth[..., column]).all(1)
        if not known.any():
            continue
        chosen = labels.select(np.flatnonzero(known))
        _, _, predicted = song_values(chosen, mean[known].mean(1))
        _, _, rated = song_values(chosen, truth[known].mean(1).astype(np.float64))
        figures = fit(rated[:, column], predicted[:, column]).to_dict()
        figures["bias"] = float((predicted - rated)[:, column].mean())
        if scales is not None:
            value, spread = moments(probabilities[known][:, SCORED, column], centres)
            half = spread * np.array(scales[name])[steps]
            low, high = np.clip(value - half, -1, 1), np.clip(value + half, -1, 1)
            figures["coverage"] = coverage(truth[known][..., column], low, high)
            figures["width"] = float((high - low).mean())
        result[name] = {key: round(value, 4) for key, value in figures.items()}
    return result


def collection_weights(labels: Labels) -> NDArray[np.float64]:
    """Return weights [n] that sum to 1 in each collection."""
    _, index, count = np.unique(labels.collections, return_inverse=True, return_counts=True)
    return np.asarray(1.0 / count[index])
