"""One unit of work: a forest's importances, or one method fitted and measured."""

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
from mer_research.paper.protocols import Windows, deal, windows_of
from mer_research.paper.scaling import TRAINING, scale
from mer_research.paper.scores import score
from mer_research.paper.selection import importances
from mer_research.paper.step_table import StepTable
from mer_research.paper.words import INPUTS, WordSettings, word_vectors

# Changes when a method does, so that results of another one are never taken for it.
_REVISION = 1


@dataclass(frozen=True, slots=True)
class ImportanceTask:
    """Ask a random forest which features matter.

    Attributes:
        protocol, dimension: decide the training part and the label.
        lag: the half seconds asked are those that end a training window of this length.
        trees, rows: size of the forest, and rows it is fitted on at most.
        seed: of everything left to chance.
    """

    protocol: str
    dimension: str
    lag: int
    trees: int
    rows: int
    seed: int


@dataclass(frozen=True, slots=True)
class FitTask:
    """Fit a method and measure it.

    Attributes:
        protocol, dimension: the question.
        method: a name that `make_method` knows.
        lag: half seconds in a window.
        budget: of the fitting.
        columns: places of the features that are used.
        options: of the method.
        scaling: one of `SCALINGS`.
        inputs: one of `INPUTS`.
        words: the vocabulary, where `inputs` needs one.
        every: only every so many-th song of each split.
        seed: of everything left to chance.
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
    """Everything that decides what a task gives, as JSON has it."""
    return {
        "kind": type(task).__name__,
        "revision": _REVISION,
        "data": table.fingerprint,
        **_plain(asdict(task)),
    }


def perform(task: Task, table: StepTable) -> dict[str, Any]:
    """Do a task.

    Returns:
        Of an `ImportanceTask`: "importances", one a column. Of a `FitTask`: by part ("train",
        "validation", "test") the scores and "windows"; "epochs", "best_epoch" and "parameters".
        Always "seconds".

    Raises:
        DataError: the songs are too short for the windows, or too few.
    """
    begin = time.monotonic()
    result = _importance(task, table) if isinstance(task, ImportanceTask) else _fit(task, table)
    return {**result, "seconds": round(time.monotonic() - begin, 2)}


def every_nth(table: StepTable, step: int) -> StepTable:
    """The table with every n-th song of each split."""
    if step <= 1:
        return table
    return table.only(song for ids in table.splits.values() for song in ids[::step])


def training_steps(
    table: StepTable, windows: Windows, places: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """bool [steps]: the half seconds that some windows hold."""
    learnt = np.zeros(int(table.offsets[-1]), dtype=bool)
    learnt[windows.first[places][:, None] + np.arange(windows.lag)] = True
    return learnt


def _importance(task: ImportanceTask, table: StepTable) -> dict[str, Any]:
    windows = windows_of(table, task.dimension, task.lag)
    train = deal(table, windows, task.protocol, task.seed)["train"]
    ends = windows.first[train] + task.lag - 1
    labels = table.labels[ends, DIMENSIONS.index(task.dimension)]
    found = importances(
        table.features[ends], labels, trees=task.trees, most=task.rows, seed=task.seed
    )
    return {"importances": [float(f"{value:.6g}") for value in found]}


def _fit(task: FitTask, table: StepTable) -> dict[str, Any]:
    import torch

    table = every_nth(table, task.every)
    windows = windows_of(table, task.dimension, task.lag)
    parts = deal(table, windows, task.protocol, task.seed)
    training = training_steps(table, windows, parts["train"])
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
                **score(windows.labels[places], fitted.predictions[name]).to_dict(),
                "windows": len(places),
            }
            for name, places in parts.items()
        },
        "epochs": fitted.epochs,
        "best_epoch": fitted.best_epoch,
        "parameters": sum(p.numel() for p in method.parameters()),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
