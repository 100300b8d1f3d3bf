"""Sparrow search (Xue and Shen, Systems Science & Control Engineering 2020), and random search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Settings of the original publication.
PRODUCERS = 0.2
WATCHERS = 0.2
SAFETY = 0.8
_EPSILON = 1e-12

# float64 [n, d] in the unit cube -> float64 [n]; lower is better.
Evaluate = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Search:
    """Result of a search.

    Attributes:
        points: float64 [evaluations, d], in the order of evaluation.
        values: float64 [evaluations].
    """

    points: NDArray[np.float64]
    values: NDArray[np.float64]

    @property
    def best(self) -> int:
        """Index of the lowest value."""
        return int(np.argmin(self.values))

    @property
    def best_so_far(self) -> NDArray[np.float64]:
        """float64 [evaluations], the lowest value up to each evaluation."""
        return np.minimum.accumulate(self.values)


def sparrow_search(
    evaluate: Evaluate, dimensions: int, population: int, rounds: int, seed: int
) -> Search:
    """Minimise a function over the unit cube.

    From the original: the best fifth are producers; they search widely without an alarm and move at
    random with one. The others follow: those of the better half of the flock search around the best
    producer, those of the worse half at random. A random fifth are watchers; they move towards the
    best position, or away from the worst. Positions outside the cube are clipped. A sparrow keeps a
    new position only if it is better.

    Args:
        evaluate: the function; called with all sparrows at once.
        dimensions: dimensions of the cube.
        population: number of sparrows, 2 or more.
        rounds: moves of the flock; the search evaluates (rounds + 1) * population points.
        seed: random seed.
    """
    rng = np.random.default_rng(seed)
    positions = rng.random((population, dimensions))
    values = evaluate(positions)
    all_points, all_values = [positions.copy()], [values.copy()]
    producers = max(1, round(PRODUCERS * population))
    watchers = max(1, round(WATCHERS * population))
    for _ in range(rounds):
        order = np.argsort(values, kind="stable")
        positions, values = positions[order], values[order]
        best, worst = positions[0].copy(), positions[-1].copy()
        moved = positions.copy()
        alarm = rng.random()
        for i in range(producers):
            if alarm < SAFETY:
                moved[i] = positions[i] * np.exp(-(i + 1) / (max(rng.random(), _EPSILON) * rounds))
            else:
                moved[i] = positions[i] + rng.standard_normal()
        leader = moved[0].copy()
        for i in range(producers, population):
            if i + 1 > population / 2:
                moved[i] = rng.standard_normal() * np.exp((worst - positions[i]) / (i + 1) ** 2)
            else:
                signs = rng.choice((-1.0, 1.0), dimensions)
                moved[i] = leader + np.mean(np.abs(positions[i] - leader) * signs)
        for i in rng.choice(population, watchers, replace=False):
            if values[i] > values[0]:
                moved[i] = best + rng.standard_normal() * np.abs(positions[i] - best)
            else:
                away = np.abs(positions[i] - worst) / (values[i] - values[-1] - _EPSILON)
                moved[i] = positions[i] + rng.uniform(-1, 1) * away
        moved = np.clip(moved, 0.0, 1.0)
        moved_values = evaluate(moved)
        all_points.append(moved)
        all_values.append(moved_values)
        better = moved_values < values
        positions[better], values[better] = moved[better], moved_values[better]
    return Search(np.concatenate(all_points), np.concatenate(all_values))


def random_search(evaluate: Evaluate, dimensions: int, evaluations: int, seed: int) -> Search:
    """Evaluate points drawn uniformly from the unit cube."""
    points = np.random.default_rng(seed).random((evaluations, dimensions))
    return Search(points, evaluate(points))
