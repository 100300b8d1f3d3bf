"""Folds keep the songs of an artist together."""

from __future__ import annotations

import numpy as np
import pytest
from mer_engine.datasets.problems import DataError
from mer_engine.training.examples import Labels
from mer_engine.training.folds import clip_folds, group_folds


def test_folds_keep_groups_together() -> None:
    groups = np.array([f"artist {n}" for n in np.random.default_rng(0).integers(0, 23, 200)])
    folds = group_folds(groups, 5, seed=1)
    assert set(folds) == set(range(5))
    for group in np.unique(groups):
        assert len(set(folds[groups == group])) == 1
    sizes = [len(set(groups[folds == fold])) for fold in range(5)]
    assert max(sizes) - min(sizes) <= 1
    np.testing.assert_array_equal(group_folds(groups, 5, seed=1), folds)
    assert (group_folds(groups, 5, seed=2) != folds).any()
    assert set(group_folds(np.array(["a", "b", "a"]), 5, seed=0)) == {0, 1}


def test_auxiliary_clips_are_in_no_fold() -> None:
    groups = np.array([f"song {n // 2}" for n in range(40)])
    auxiliary = np.zeros(40, bool)
    auxiliary[10:16] = True
    values = np.zeros((40, 20, 2), np.float32)
    folds = clip_folds(Labels(values, values[:, 0], groups, groups, auxiliary), 4, seed=0)
    assert (folds[auxiliary] == -1).all()
    assert set(folds[~auxiliary]) == set(range(4))
    np.testing.assert_array_equal(folds[~auxiliary], group_folds(groups[~auxiliary], 4, seed=0))


def test_songs_by_one_artist_cannot_be_held_out() -> None:
    with pytest.raises(DataError, match="so nothing can be held out"):
        group_folds(np.array(["artist a"] * 9), 5, seed=0)
