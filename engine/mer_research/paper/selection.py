"""Feature selection by importance in a random forest, with the paper's threshold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

THRESHOLD = 0.0015


def importances(
    features: NDArray[np.float32],
    labels: NDArray[np.float32],
    *,
    trees: int,
    max_rows: int,
    seed: int,
) -> NDArray[np.float64]:
    """Compute the importance of each column in a random forest; the sum is 1.

    From the paper: a random forest, and its threshold. Guessed: scikit-learn's default settings
    (all columns at each split, fully grown trees), and the number of trees.

    Args:
        features: float32 [n, columns], of the training part only.
        labels: float32 [n].
        trees: number of trees.
        max_rows: maximum number of rows to fit on; more are sampled at random.
        seed: of the forest and of the sampling.

    Returns:
        float64 [columns].
    """
    from sklearn.ensemble import RandomForestRegressor

    rows = np.arange(len(features))
    if len(rows) > max_rows:
        rows = np.sort(np.random.default_rng(seed).choice(rows, max_rows, replace=False))
    forest = RandomForestRegressor(n_estimators=trees, random_state=seed, n_jobs=1)
    forest.fit(np.nan_to_num(features[rows]), labels[rows])
    return np.asarray(forest.feature_importances_, dtype=np.float64)


def select(importance: NDArray[np.float64], threshold: float = THRESHOLD) -> tuple[int, ...]:
    """Return the columns that reach the threshold, or the most important one if none does."""
    selected = np.flatnonzero(importance >= threshold)
    return tuple(int(c) for c in selected) if len(selected) else (int(np.argmax(importance)),)
