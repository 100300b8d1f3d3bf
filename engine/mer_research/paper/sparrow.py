"""Sparrow search (Xue and Shen, Systems Science & Control Engineering 2020), and random search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# The original's settings.
PRODUCERS = 0.2
WATCHERS = 0.2
SAFETY = 0.8
_TINY = 1e-12

# float64 [n, d] in the unit cube -> float64 [n]; less is better.
Evaluate = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Search:
    """What a search found.

    Attributes:
        points: float64 [evaluations, d], in the order in which they were tried.
        values: float64 [evaluations].
    """

    points: NDArray[np.float64]
    values: NDArray[np.float64]

    @property
    def best(self) -> int:
        """The place of the least value."""
        return int(np.argmin(self.values))

    @property
    def course(self) -> NDArray[np.float64]:
        """float64 [evaluations], the least value so far."""
        return np.minimum.accumulate(self.values)


def sparrow_search(
    evaluate: Evaluate, dimensions: int, population: int, rounds: int, seed: int
) -> Search:
    """Look for the least value in the unit cube.

    From the original: the best fifth are producers, which search widely while no alarm is raised
    and flee at random when one is; the rest scrounge, the better half of the flock around the best
    producer, the worse half elsewhere; a fifth, chosen at random, watch for danger and move towards
    the best, or away from the worst. Positions beyond the cube are set on its border. A sparrow
    moves only where it is better off.

    Args:
        evaluate: is given all sparrows at once.
        dimensions: of the cube.
        population: sparrows, 2 or more.
        rounds: moves of the flock; (rounds + 1) * population points are tried.
        seed: of everything left to chance.
    """
    chance = np.random.default_rng(seed)
    places = chance.random((population, dimensions))
    values = evaluate(places)
    tried, found = [places.copy()], [values.copy()]
    producers = max(1, round(PRODUCERS * population))
    watchers = max(1, round(WATCHERS * population))
    for _ in range(rounds):
        order = np.argsort(values, kind="stable")
        places, values = places[order], values[order]
        best, worst = places[0].copy(), places[-1].copy()
        moved = places.copy()
        alarm = chance.random()
        for i in range(producers):
            if alarm < SAFETY:
                moved[i] = places[i] * np.exp(-(i + 1) / (max(chance.random(), _TINY) * rounds))
            else:
                moved[i] = places[i] + chance.standard_normal()
        leader = moved[0].copy()
        for i in range(producers, population):
            if i + 1 > population / 2:
                moved[i] = chance.standard_normal() * np.exp((worst - places[i]) / (i + 1) ** 2)
            else:
                signs = chance.choice((-1.0, 1.0), dimensions)
                moved[i] = leader + np.mean(np.abs(places[i] - leader) * signs)
        for i in chance.choice(population, watchers, replace=False):
            if values[i] > values[0]:
                moved[i] = best + chance.standard_normal() * np.abs(places[i] - best)
            else:
                away = np.abs(places[i] - worst) / (values[i] - values[-1] - _TINY)
                moved[i] = places[i] + chance.uniform(-1, 1) * away
        moved = np.clip(moved, 0.0, 1.0)
        after = evaluate(moved)
        tried.append(moved)
        found.append(after)
        better = after < values
        places[better], values[better] = moved[better], after[better]
    return Search(np.concatenate(tried), np.concatenate(found))


def random_search(evaluate: Evaluate, dimensions: int, evaluations: int, seed: int) -> Search:
    """Try points drawn evenly from the unit cube."""
    points = np.random.default_rng(seed).random((evaluations, dimensions))
    return Search(points, evaluate(points))
