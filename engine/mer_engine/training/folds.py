"""Cross-validation folds that keep the songs of an artist together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mer_engine.datasets.problems import DataError
from mer_engine.training.examples import Labels

# Folds of the studies of accuracy.
FOLDS = 5


def group_folds(groups: NDArray[np.str_], folds: int, seed: int) -> NDArray[np.int64]:
    """Assign groups to folds at random. Return the fold of each clip, int [n].

    Raises:
        DataError: there are fewer than two groups.
    """
    names = np.unique(groups)
    count = min(folds, len(names))
    if count < 2:
        raise DataError(
            "all songs are by one artist, or there is only one song, so nothing can be held out "
            "to measure the model; add songs"
        )
    order = np.random.default_rng(seed).permutation(len(names))
    fold = dict(zip(names[order].tolist(), (np.arange(len(names)) % count).tolist(), strict=True))
    return np.array([fold[group] for group in groups.tolist()])


def clip_folds(labels: Labels, folds: int, seed: int) -> NDArray[np.int64]:
    """Assign clips to folds, each group to one. Return int [n]; -1 for auxiliary clips.

    Raises:
        DataError: there are fewer than two groups.
    """
    fold = np.full(len(labels), -1)
    primary = ~labels.auxiliary
    fold[primary] = group_folds(labels.groups[primary], folds, seed)
    return fold
