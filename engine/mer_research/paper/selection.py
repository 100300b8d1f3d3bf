"""Which features matter: importance in a random forest, and the paper's threshold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

THRESHOLD = 0.0015


def importances(
    features: NDArray[np.float32],
    labels: NDArray[np.float32],
    *,
    trees: int,
    most: int,
    seed: int,
) -> NDArray[np.float64]:
    """How much of a random forest's gain comes from each column; the sum is 1.

    From the paper: a random forest, and its threshold. Guessed: scikit-learn's own settings (all
    columns at each split, trees grown to the end), and the number of trees.

    Args:
        features: float32 [n, columns], of the training part alone.
        labels: float32 [n].
        trees: of the forest.
        most: rows to fit on; more are thinned out at random.
        seed: of the forest and of the rows.

    Returns:
        float64 [columns].
    """
    from sklearn.ensemble import RandomForestRegressor

    rows = np.arange(len(features))
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
    forest = RandomForestRegressor(n_estimators=trees, random_state=seed, n_jobs=1)
    forest.fit(np.nan_to_num(features[rows]), labels[rows])
    return np.asarray(forest.feature_importances_, dtype=np.float64)


def select(importance: NDArray[np.float64], threshold: float = THRESHOLD) -> tuple[int, ...]:
    """Columns whose importance reaches the threshold; the most important one where none does."""
    chosen = np.flatnonzero(importance >= threshold)
    return tuple(int(c) for c in chosen) if len(chosen) else (int(np.argmax(importance)),)
