"""Metrics against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from mer_engine.metrics import auc, coverage, fit


def test_fit_by_hand() -> None:
    # Labels 0 1 2 3: mean 1.5, variance 1.25. Guesses 0 1 1 2: mean 1, variance 0.5,
    # squared errors 0 0 1 1, covariance (1.5 * 1 + 0 + 0 + 1.5 * 1) / 4 = 0.75.
    figures = fit([0, 1, 2, 3], [0, 1, 1, 2])
    assert figures.rmse == pytest.approx(math.sqrt(0.5))
    assert figures.r2 == pytest.approx(1 - 0.5 / 1.25)
    assert figures.r == pytest.approx(0.75 / math.sqrt(1.25 * 0.5))
    assert figures.ccc == pytest.approx(2 * 0.75 / (1.25 + 0.5 + 0.25))


def test_the_mean_explains_nothing() -> None:
    figures = fit([[1.0, 2.0], [3.0, 4.0]], [[2.5, 2.5], [2.5, 2.5]])
    assert (figures.r2, figures.r, figures.ccc) == (0, 0, 0)


def test_labels_without_variance_and_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        fit([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="2 labels without variance"):
        fit([1.0, 1.0], [1.0, 2.0])


def test_coverage_includes_the_ends() -> None:
    assert coverage([0.0, 0.5, 1.0, 2.0], [0.0, 0.6, 0.0, 0.0], [1.0, 0.7, 1.0, 1.0]) == 0.5


def test_auc_is_the_share_of_ordered_pairs() -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 8, 60).astype(float)  # with ties
    positive = rng.random(60) < 0.4
    pairs = scores[positive][:, None] - scores[~positive]
    assert auc(scores, positive) == pytest.approx(np.mean((pairs > 0) + 0.5 * (pairs == 0)))
    assert auc([1, 2, 3], [False, True, True]) == 1.0
    assert auc([0, 0], [False, True]) == 0.5
    with pytest.raises(ValueError, match="2 positive and 0 negative"):
        auc([0, 1], [True, True])
    with pytest.raises(ValueError, match="differ in shape"):
        auc([0, 1], [True])
