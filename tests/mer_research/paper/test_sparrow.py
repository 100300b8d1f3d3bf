"""Both searches find the bottom of a bowl; the flock is counted and stays in its cube."""

from __future__ import annotations

import numpy as np
import pytest
from mer_research.paper.sparrow import random_search, sparrow_search
from numpy.typing import NDArray

BOTTOM = np.array([0.2, 0.6])


def bowl(points: NDArray[np.float64]) -> NDArray[np.float64]:
    assert points.min() >= 0
    assert points.max() <= 1
    return np.asarray(((points - BOTTOM) ** 2).sum(axis=1))


def test_the_flock_comes_near_the_bottom() -> None:
    found = sparrow_search(bowl, 2, population=20, rounds=30, seed=0)
    assert found.values.shape == (31 * 20,)
    assert found.values[found.best] < 1e-3
    assert bowl(found.points) == pytest.approx(found.values)
    assert (np.diff(found.course) <= 0).all()
    assert found.course[-1] == found.values[found.best]


def test_it_is_deterministic() -> None:
    first, again, other = (sparrow_search(bowl, 2, 5, 3, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.points, again.points)
    assert not np.array_equal(first.points, other.points)


def test_a_flock_of_two_that_are_alike() -> None:
    found = sparrow_search(lambda points: np.zeros(len(points)), 3, 2, 4, seed=0)
    assert np.isfinite(found.points).all()
    assert len(found.values) == 10


def test_random_search_tries_as_often_as_it_may() -> None:
    found = random_search(bowl, 2, 200, seed=0)
    assert len(found.values) == 200
    assert found.values[found.best] < 0.02
