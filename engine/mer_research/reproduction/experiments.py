"""The experiments: which units of work each needs, and what it makes of their results."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from functools import cache
from typing import Any

import numpy as np
from mer_engine.datasets.problems import DataError
from mer_engine.datasets.types import SPLITS, STEP_S
from numpy.typing import NDArray

from mer_research.paper.entropy_weights import entropy_weights
from mer_research.paper.fitting import Budget
from mer_research.paper.methods import ABLATIONS, BASELINES, CODE, DESCRIBED
from mer_research.paper.protocols import PROTOCOLS, TITLES, longest_lag
from mer_research.paper.scaling import PAPER, TRAINING
from mer_research.paper.selection import THRESHOLD, select
from mer_research.paper.sparrow import random_search, sparrow_search
from mer_research.paper.task import FitTask, ImportanceTask
from mer_research.paper.words import INPUTS
from mer_research.reproduction.effort import Effort
from mer_research.reproduction.runner import Runner

DIMENSIONS = ("arousal", "valence")
# The public code's windows; of short songs, half of a song, so that there are windows to deal out.
CODE_LAG = 26
# The paper's sweep ended here.
LONGEST_LAG = 29
# What the comprehensive score is made of: four measures of each part; more R2 is better.
INDICATORS = tuple((part, measure) for part in SPLITS for measure in ("r2", "mae", "rmse", "mape"))
SPARROW, RANDOM = "sparrow search", "random search"
_TUNED = ("rate", "hidden", "channels", "dropout")

Result = dict[str, Any]


class Experiments:
    """All experiments on one table.

    Args:
        runner: does the units of work.
        effort: what may be spent.
        seed: of everything left to chance.
        lag: lag order of all but the sweep, and the longest of the sweep; None for what suits.

    Raises:
        DataError: the songs are too short for the lag order.
    """

    def __init__(self, runner: Runner, effort: Effort, seed: int, lag: int | None) -> None:
        self.runner, self.effort, self.seed = runner, effort, seed
        table = runner.table
        longest = min(longest_lag(table, protocol) for protocol in PROTOCOLS)
        self.lag = lag or max(1, min(CODE_LAG, table.longest // 2))
        self.longest = lag or LONGEST_LAG
        if self.lag > longest:
            raise DataError(
                f"a lag order of {self.lag} ({self.lag * STEP_S:g} s) is too long to deal windows "
                f"out within songs: the longest of the {len(table.songs)} songs has "
                f"{table.longest * STEP_S:g} s, which allows {max(longest, 0)} at most"
            )
        self._columns = cache(self._select)

    def table1(self) -> Result:
        """Arousal: the networks and the baselines."""
        return self._comparison("table1", "arousal")

    def table2(self) -> Result:
        """Valence: the networks and the baselines."""
        return self._comparison("table2", "valence")

    def ablation(self) -> Result:
        """The network of the public code without its parts."""
        cells = [
            {"protocol": protocol, "dimension": dimension, "method": name}
            for protocol in PROTOCOLS for dimension in DIMENSIONS for name in ABLATIONS
        ]  # fmt: skip
        tasks = [
            self._fit(c["protocol"], c["dimension"], CODE, options=dict(ABLATIONS[c["method"]]))
            for c in cells
        ]
        return self._result("ablation", rows=self._rows("ablation", cells, tasks))

    def lag_order(self) -> Result:
        """The network of the public code with windows of all lengths."""
        rows = self._sweep("lag-order")
        return self._result("lag-order", rows=rows, scores=weigh(rows)["scores"])

    def entropy_weights(self) -> Result:
        """Weights of twelve indicators over the lag orders, and the best lag order by them."""
        return self._result("entropy-weights", **weigh(self._sweep("entropy-weights")))

    def feature_importance(self) -> Result:
        """Which of the features matter."""
        names = self.runner.table.columns
        tasks = [self._importance(p, d) for p in PROTOCOLS for d in DIMENSIONS]
        found = self.runner.run("feature-importance", tasks)
        rows = [
            {
                "protocol": task.protocol,
                "dimension": task.dimension,
                "kept": len(select(np.array(result["importances"]))),
                "importances": dict(zip(names, result["importances"], strict=True)),
            }
            for task, result in zip(tasks, found, strict=True)
        ]
        return self._result("feature-importance", threshold=THRESHOLD, rows=rows)

    def tuning(self) -> Result:
        """Sparrow search against random search with the same number of tries."""
        rows = [
            self._searched(protocol, dimension, search)
            for protocol in PROTOCOLS
            for dimension in DIMENSIONS
            for search in (SPARROW, RANDOM)
        ]
        every = self.effort.tuning_every
        return self._result("tuning", tries=self._tries, songs_every=every, rows=rows)

    def words(self) -> Result:
        """Whether words of audio help: descriptors, words, and both."""
        cells = [
            {"protocol": protocol, "dimension": dimension, "method": inputs}
            for protocol in PROTOCOLS for dimension in DIMENSIONS for inputs in INPUTS
        ]  # fmt: skip
        tasks = [
            self._fit(
                c["protocol"], c["dimension"], CODE, self.effort.sweep,
                inputs=c["method"], words=self.effort.words,
            )
            for c in cells
        ]  # fmt: skip
        rows = self._rows("words", cells, tasks)
        return self._result("words", vocabulary=asdict(self.effort.words), rows=rows)

    @property
    def _tries(self) -> int:
        return self.effort.population * (self.effort.rounds + 1)

    def _searched(self, protocol: str, dimension: str, name: str) -> Result:
        """A search's course, and the best that it found, measured on the test part."""
        tried: list[Result] = []

        def evaluate(points: NDArray[np.float64]) -> NDArray[np.float64]:
            tasks = [self._try(protocol, dimension, point) for point in points]
            found = self.runner.run(f"{name}, {protocol} songs, {dimension}", tasks)
            tried.extend(found)
            return np.array([result["validation"]["rmse"] for result in found])

        count, effort = len(_TUNED), self.effort
        if name == SPARROW:
            search = sparrow_search(evaluate, count, effort.population, effort.rounds, self.seed)
        else:
            search = random_search(evaluate, count, self._tries, self.seed + 1)
        return {
            "protocol": protocol,
            "dimension": dimension,
            "search": name,
            "course": [round(float(value), 5) for value in search.course],
            "best": tuned(search.points[search.best]),
            "validation": tried[search.best]["validation"],
            "test": tried[search.best]["test"],
        }

    def _comparison(self, name: str, dimension: str) -> Result:
        variants: list[tuple[str, str, Budget, str]] = [
            (CODE, CODE, self.effort.table, TRAINING),
            ("code, paper's scaling", CODE, self.effort.table, PAPER),
            (DESCRIBED, DESCRIBED, self.effort.described, TRAINING),
            *((b, b, self.effort.table, TRAINING) for b in BASELINES),
        ]
        cells, tasks = [], []
        for protocol in PROTOCOLS:
            for label, method, budget, scaling in variants:
                cells.append({"protocol": protocol, "dimension": dimension, "method": label})
                tasks.append(self._fit(protocol, dimension, method, budget, scaling=scaling))
        return self._result(name, dimension=dimension, rows=self._rows(name, cells, tasks))

    def _sweep(self, title: str) -> list[Result]:
        cells, tasks = [], []
        for protocol in PROTOCOLS:
            end = min(self.longest, longest_lag(self.runner.table, protocol))
            for lag in sorted({*range(1, end + 1, self.effort.lag_step), end}):
                for dimension in DIMENSIONS:
                    cells.append({"protocol": protocol, "dimension": dimension, "lag": lag})
                    fit = self._fit(protocol, dimension, CODE, self.effort.sweep)
                    tasks.append(replace(fit, lag=lag))
        return self._rows(title, cells, tasks)

    def _rows(self, title: str, cells: list[Result], tasks: list[FitTask]) -> list[Result]:
        found = self.runner.run(title, tasks)
        return [{**cell, **result} for cell, result in zip(cells, found, strict=True)]

    def _fit(
        self,
        protocol: str,
        dimension: str,
        method: str,
        budget: Budget | None = None,
        **more: Any,
    ) -> FitTask:
        return FitTask(
            protocol, dimension, method, self.lag, budget or self.effort.table,
            self._columns(protocol, dimension), seed=self.seed, **more,
        )  # fmt: skip

    def _importance(self, protocol: str, dimension: str) -> ImportanceTask:
        return ImportanceTask(
            protocol, dimension, self.lag, self.effort.trees, self.effort.rows, self.seed
        )

    def _select(self, protocol: str, dimension: str) -> tuple[int, ...]:
        # All at once the first time: they are needed anyway, and can be done side by side.
        tasks = [self._importance(p, d) for p in PROTOCOLS for d in DIMENSIONS]
        found = self.runner.run("feature importance", tasks)
        place = tasks.index(self._importance(protocol, dimension))
        return select(np.array(found[place]["importances"]))

    def _try(self, protocol: str, dimension: str, point: NDArray[np.float64]) -> FitTask:
        setting = tuned(point)
        budget = replace(self.effort.tuning, rate=setting.pop("rate"))
        fit = self._fit(protocol, dimension, CODE, budget, options=setting)
        return replace(fit, every=self.effort.tuning_every)

    def _result(self, name: str, **content: Any) -> Result:
        return {"experiment": name, "titles": TITLES, "lag": self.lag, **content}


EXPERIMENTS: dict[str, Callable[[Experiments], Result]] = {
    "table1": Experiments.table1,
    "table2": Experiments.table2,
    "ablation": Experiments.ablation,
    "lag-order": Experiments.lag_order,
    "entropy-weights": Experiments.entropy_weights,
    "feature-importance": Experiments.feature_importance,
    "tuning": Experiments.tuning,
    "words": Experiments.words,
}


def tuned(point: NDArray[np.float64]) -> dict[str, Any]:
    """What a point of the unit cube means: learning rate, units, channels and dropout."""
    rate, hidden, channels, dropout = (float(value) for value in point)
    return {
        "rate": float(f"{5e-4 * 20**rate:.4g}"),
        "hidden": round(32 + 96 * hidden),
        "channels": round(8 + 24 * channels),
        "dropout": round(0.6 * dropout, 3),
    }


def weigh(rows: Iterable[Result]) -> Result:
    """Entropy weights by protocol and dimension, and the score of each lag order."""
    by_cell: dict[tuple[str, str], list[Result]] = {}
    for row in rows:
        by_cell.setdefault((row["protocol"], row["dimension"]), []).append(row)
    weights, scores = [], []
    for (protocol, dimension), cell in by_cell.items():
        values = [[row[part][measure] for part, measure in INDICATORS] for row in cell]
        if len(values) < 2:
            raise DataError(
                f"one lag order alone (lag order {cell[0]['lag']}) cannot be weighed; give longer "
                "songs, or a longer --lag-order"
            )
        found = entropy_weights(values, [measure == "r2" for _, measure in INDICATORS])
        best = int(np.argmax(found.scores))
        weights.append({
            "protocol": protocol, "dimension": dimension,
            "weights": {
                f"{part}_{measure}": round(float(weight), 5)
                for (part, measure), weight in zip(INDICATORS, found.weights, strict=True)
            },
            "best_lag": cell[best]["lag"], "best_score": round(float(found.scores[best]), 4),
        })  # fmt: skip
        scores += [
            {"protocol": protocol, "dimension": dimension, "lag": row["lag"],
             "score": round(float(value), 4)}
            for row, value in zip(cell, found.scores, strict=True)
        ]  # fmt: skip
    return {"weights": weights, "scores": scores}
