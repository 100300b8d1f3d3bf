"""One task: compute feature importances, or train and score one method."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from mer_engine.datasets.types import DIMENSIONS
from numpy.typing import NDArray

from mer_research.paper.fitting import Budget, WindowData, fit
from mer_research.paper.methods import make_method
from mer_research.paper.protocols import Windows, make_windows, split_windows
from mer_research.paper.scaling import TRAINING, scale
from mer_research.paper.scores import score
from mer_research.paper.selection import importances
from mer_research.paper.step_table import StepTable
from mer_research.paper.words import INPUTS, WordSettings, word_vectors

# Increase when a method changes: it invalidates stored results.
_REVISION = 1


@dataclass(frozen=True, slots=True)
class ImportanceTask:
    """Compute feature importances with a random forest.

    Attributes:
        protocol, dimension: select the training part and the label.
        lag: half seconds in a window; the forest sees the last half second of training windows.
        trees, rows: number of trees, and maximum number of rows to fit on.
        seed: random seed.
    """

    protocol: str
    dimension: str
    lag: int
    trees: int
    rows: int
    seed: int


@dataclass(frozen=True, slots=True)
class FitTask:
    """Train a method and score it.

    Attributes:
        protocol, dimension: select the split and the label.
        method: name of the method, as in `make_method`.
        lag: half seconds in a window.
        budget: training settings.
        columns: indices of the used features.
        options: options of the method.
        scaling: one of `SCALINGS`.
        inputs: one of `INPUTS`.
        words: vocabulary settings, if `inputs` uses words.
        every: use every n-th song of each split.
        seed: random seed.
    """

    protocol: str
    dimension: str
    method: str
    lag: int
    budget: Budget
    columns: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    scaling: str = TRAINING
    inputs: str = INPUTS[0]
    words: WordSettings = field(default_factory=WordSettings)
    every: int = 1
    seed: int = 0


Task = ImportanceTask | FitTask


def configuration(task: Task, table: StepTable) -> dict[str, Any]:
    """Return all that determines the result of a task, as JSON values."""
    return {
        "kind": type(task).__name__,
        "revision": _REVISION,
        "data": table.fingerprint,
        **_plain(asdict(task)),
    }


def perform(task: Task, table: StepTable) -> dict[str, Any]:
    """Run a task.

    Returns:
        For an `ImportanceTask`: "importances", one per column. For a `FitTask`: by part ("train",
        "validation", "test") the scores and "windows"; "epochs", "best_epoch" and "parameters".
        Always "seconds".

    Raises:
        DataError: the songs are too short for the windows, or there are too few.
    """
    begin = time.monotonic()
    result = _importance(task, table) if isinstance(task, ImportanceTask) else _fit(task, table)
    return {**result, "seconds": round(time.monotonic() - begin, 2)}


def every_nth(table: StepTable, step: int) -> StepTable:
    """Return a table with every n-th song of each split."""
    if step <= 1:
        return table
    return table.only(song for ids in table.splits.values() for song in ids[::step])


def _steps_of(table: StepTable, windows: Windows, indices: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return bool [steps], True for half seconds that lie in one of the windows."""
    mask = np.zeros(int(table.offsets[-1]), dtype=bool)
    mask[windows.first[indices][:, None] + np.arange(windows.lag)] = True
    return mask


def _importance(task: ImportanceTask, table: StepTable) -> dict[str, Any]:
    windows = make_windows(table, task.dimension, task.lag)
    train = split_windows(table, windows, task.protocol, task.seed)["train"]
    ends = windows.first[train] + task.lag - 1
    labels = table.labels[ends, DIMENSIONS.index(task.dimension)]
    values = importances(
        table.features[ends], labels, trees=task.trees, max_rows=task.rows, seed=task.seed
    )
    return {"importances": [float(f"{value:.6g}") for value in values]}


def _fit(task: FitTask, table: StepTable) -> dict[str, Any]:
    import torch

    table = every_nth(table, task.every)
    windows = make_windows(table, task.dimension, task.lag)
    parts = split_windows(table, windows, task.protocol, task.seed)
    training = _steps_of(table, windows, parts["train"])
    steps = scale(table.features[:, list(task.columns)], training, task.scaling)
    if task.inputs != INPUTS[0]:
        vectors = word_vectors(table, steps, training, task.words, task.seed)
        steps = vectors if task.inputs == INPUTS[1] else np.concatenate([steps, vectors], axis=1)
    torch.manual_seed(task.seed)
    method = make_method(task.method, steps.shape[1], task.lag, task.dimension, task.options)
    fitted = fit(method, WindowData(steps, windows), parts, task.budget, task.seed)
    return {
        **{
            name: {
                **score(windows.labels[indices], fitted.predictions[name]).to_dict(),
                "windows": len(indices),
            }
            for name, indices in parts.items()
        },
        "epochs": fitted.epochs,
        "best_epoch": fitted.best_epoch,
        "parameters": sum(p.numel() for p in method.parameters()),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
