"""The experiments: the tasks of each, and the result it computes from them."""

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
# Window length of the public code. For short songs: half of a song, so that windows can be split.
CODE_LAG = 26
# End of the paper's sweep.
LONGEST_LAG = 29
# Indicators of the comprehensive score: four measures of each part. Only for R2, more is better.
INDICATORS = tuple((part, measure) for part in SPLITS for measure in ("r2", "mae", "rmse", "mape"))
SPARROW, RANDOM = "sparrow search", "random search"
_TUNED = ("rate", "hidden", "channels", "dropout")

Result = dict[str, Any]


class Experiments:
    """All experiments on one table.

    Args:
        runner: runs the tasks.
        effort: training budgets.
        seed: random seed.
        lag: lag order of all experiments, and the longest of the sweep; None to derive it from the
            data.

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
                f"a lag order of {self.lag} ({self.lag * STEP_S:g} s) is too long to split windows "
                f"within songs: the longest of the {len(table.songs)} songs has "
                f"{table.longest * STEP_S:g} s, which allows {max(longest, 0)} at most"
            )
        self._columns = cache(self._select)

    def table1(self) -> Result:
        """Compare the networks and the baselines on arousal."""
        return self._comparison("table1", "arousal")

    def table2(self) -> Result:
        """Compare the networks and the baselines on valence."""
        return self._comparison("table2", "valence")

    def ablation(self) -> Result:
        """Remove parts of the network of the public code."""
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
        """Train the network of the public code with windows of all lengths."""
        rows = self._sweep("lag-order")
        return self._result("lag-order", rows=rows, scores=weigh_lag_orders(rows)["scores"])

    def entropy_weights(self) -> Result:
        """Compute entropy weights of twelve indicators, and the best lag order by them."""
        return self._result("entropy-weights", **weigh_lag_orders(self._sweep("entropy-weights")))

    def feature_importance(self) -> Result:
        """Compute the importance of each feature."""
        names = self.runner.table.columns
        tasks = [self._importance(p, d) for p in PROTOCOLS for d in DIMENSIONS]
        results = self.runner.run("feature-importance", tasks)
        rows = [
            {
                "protocol": task.protocol,
                "dimension": task.dimension,
                "kept": len(select(np.array(result["importances"]))),
                "importances": dict(zip(names, result["importances"], strict=True)),
            }
            for task, result in zip(tasks, results, strict=True)
        ]
        return self._result("feature-importance", threshold=THRESHOLD, rows=rows)

    def tuning(self) -> Result:
        """Compare sparrow search with random search at the same number of trials."""
        rows = [
            self._run_search(protocol, dimension, search)
            for protocol in PROTOCOLS
            for dimension in DIMENSIONS
            for search in (SPARROW, RANDOM)
        ]
        every = self.effort.tuning_every
        return self._result("tuning", tries=self._trials, songs_every=every, rows=rows)

    def words(self) -> Result:
        """Compare descriptors, audio words, and both as input."""
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
    def _trials(self) -> int:
        return self.effort.population * (self.effort.rounds + 1)

    def _run_search(self, protocol: str, dimension: str, name: str) -> Result:
        """Run a search; return its progress, and the best trial with its test scores."""
        trials: list[Result] = []

        def evaluate(points: NDArray[np.float64]) -> NDArray[np.float64]:
            tasks = [self._trial(protocol, dimension, point) for point in points]
            results = self.runner.run(f"{name}, {protocol} songs, {dimension}", tasks)
            trials.extend(results)
            return np.array([result["validation"]["rmse"] for result in results])

        count, effort = len(_TUNED), self.effort
        if name == SPARROW:
            search = sparrow_search(evaluate, count, effort.population, effort.rounds, self.seed)
        else:
            search = random_search(evaluate, count, self._trials, self.seed + 1)
        return {
            "protocol": protocol,
            "dimension": dimension,
            "search": name,
            "course": [round(float(value), 5) for value in search.best_so_far],
            "best": decode_point(search.points[search.best]),
            "validation": trials[search.best]["validation"],
            "test": trials[search.best]["test"],
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
        results = self.runner.run(title, tasks)
        return [{**cell, **result} for cell, result in zip(cells, results, strict=True)]

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
        # Run all four on the first call: all are needed, and they can run in parallel.
        tasks = [self._importance(p, d) for p in PROTOCOLS for d in DIMENSIONS]
        results = self.runner.run("feature importance", tasks)
        index = tasks.index(self._importance(protocol, dimension))
        return select(np.array(results[index]["importances"]))

    def _trial(self, protocol: str, dimension: str, point: NDArray[np.float64]) -> FitTask:
        setting = decode_point(point)
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


def decode_point(point: NDArray[np.float64]) -> dict[str, Any]:
    """Map a point of the unit cube to learning rate, units, channels and dropout."""
    rate, hidden, channels, dropout = (float(value) for value in point)
    return {
        "rate": float(f"{5e-4 * 20**rate:.4g}"),
        "hidden": round(32 + 96 * hidden),
        "channels": round(8 + 24 * channels),
        "dropout": round(0.6 * dropout, 3),
    }


def weigh_lag_orders(rows: Iterable[Result]) -> Result:
    """Compute entropy weights by protocol and dimension, and the score of each lag order.

    Raises:
        DataError: there are results of one lag order only.
    """
    by_cell: dict[tuple[str, str], list[Result]] = {}
    for row in rows:
        by_cell.setdefault((row["protocol"], row["dimension"]), []).append(row)
    weights, scores = [], []
    for (protocol, dimension), cell in by_cell.items():
        values = [[row[part][measure] for part, measure in INDICATORS] for row in cell]
        if len(values) < 2:
            raise DataError(
                f"entropy weights need two lag orders, but there is only {cell[0]['lag']}; give "
                "longer songs, or a longer --lag-order"
            )
        entropy = entropy_weights(values, [measure == "r2" for _, measure in INDICATORS])
        best = int(np.argmax(entropy.scores))
        weights.append({
            "protocol": protocol, "dimension": dimension,
            "weights": {
                f"{part}_{measure}": round(float(weight), 5)
                for (part, measure), weight in zip(INDICATORS, entropy.weights, strict=True)
            },
            "best_lag": cell[best]["lag"], "best_score": round(float(entropy.scores[best]), 4),
        })  # fmt: skip
        scores += [
            {"protocol": protocol, "dimension": dimension, "lag": row["lag"],
             "score": round(float(value), 4)}
            for row, value in zip(cell, entropy.scores, strict=True)
        ]  # fmt: skip
    return {"weights": weights, "scores": scores}
