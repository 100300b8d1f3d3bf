"""Both searches approach the minimum of a paraboloid and stay in the unit cube."""

from __future__ import annotations

import numpy as np
import pytest
from mer_research.paper.sparrow import random_search, sparrow_search
from numpy.typing import NDArray

MINIMUM = np.array([0.2, 0.6])


def paraboloid(points: NDArray[np.float64]) -> NDArray[np.float64]:
    assert points.min() >= 0
    assert points.max() <= 1
    return np.asarray(((points - MINIMUM) ** 2).sum(axis=1))


def test_sparrow_search_approaches_the_minimum() -> None:
    search = sparrow_search(paraboloid, 2, population=20, rounds=30, seed=0)
    assert search.values.shape == (31 * 20,)
    assert search.values[search.best] < 1e-3
    assert paraboloid(search.points) == pytest.approx(search.values)
    assert (np.diff(search.best_so_far) <= 0).all()
    assert search.best_so_far[-1] == search.values[search.best]


def test_sparrow_search_is_deterministic() -> None:
    first, repeated, other = (sparrow_search(paraboloid, 2, 5, 3, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.points, repeated.points)
    assert not np.array_equal(first.points, other.points)


def test_two_sparrows_with_equal_values() -> None:
    search = sparrow_search(lambda points: np.zeros(len(points)), 3, 2, 4, seed=0)
    assert np.isfinite(search.points).all()
    assert len(search.values) == 10


def test_random_search_uses_its_evaluations() -> None:
    search = random_search(paraboloid, 2, 200, seed=0)
    assert len(search.values) == 200
    assert search.values[search.best] < 0.02
