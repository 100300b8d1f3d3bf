"""Tasks: their configurations and their results."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from mer_research.paper.fitting import Budget
from mer_research.paper.protocols import KNOWN, NEW
from mer_research.paper.scaling import PAPER
from mer_research.paper.step_table import StepTable
from mer_research.paper.task import FitTask, ImportanceTask, configuration, every_nth, perform
from mer_research.paper.words import WordSettings

FIT = FitTask(NEW, "valence", "code", 3, Budget(epochs=1), (0, 1, 2))


def test_the_configuration_contains_every_setting(table: StepTable) -> None:
    one = configuration(FIT, table)
    assert one == json.loads(json.dumps(one))
    others = [
        replace(FIT, protocol=KNOWN),
        replace(FIT, dimension="arousal"),
        replace(FIT, method="tpa"),
        replace(FIT, lag=4),
        replace(FIT, budget=Budget(epochs=2)),
        replace(FIT, columns=(0, 1)),
        replace(FIT, options={"lstm": False}),
        replace(FIT, scaling=PAPER),
        replace(FIT, inputs="words"),
        replace(FIT, words=WordSettings(words=3)),
        replace(FIT, every=2),
        replace(FIT, seed=1),
    ]
    texts = {json.dumps(configuration(task, table)) for task in (FIT, *others)}
    texts.add(json.dumps(configuration(FIT, table.only(table.splits["train"]))))
    assert len(texts) == len(others) + 2


@pytest.mark.parametrize("inputs", ["descriptors", "words", "descriptors and words"])
def test_a_fit_task(table: StepTable, inputs: str) -> None:
    task = replace(FIT, inputs=inputs, words=WordSettings(4, 2, 1))
    result = perform(task, table)
    assert {part: result[part]["windows"] for part in ("train", "validation", "test")} == {
        "train": 120, "validation": 36, "test": 36,
    }  # fmt: skip
    assert set(result["test"]) == {"r2", "rmse", "mae", "mse", "mape", "windows"}
    repeated = perform(task, table)
    assert {**repeated, "seconds": 0} == {**result, "seconds": 0}
    assert json.loads(json.dumps(result)) == result


def test_an_importance_task(table: StepTable) -> None:
    result = perform(ImportanceTask(KNOWN, "valence", 3, trees=5, rows=500, seed=0), table)
    assert len(result["importances"]) == 6
    assert max(result["importances"]) == result["importances"][0]


def test_every_nth_song_of_each_split(table: StepTable) -> None:
    fewer = every_nth(table, 3)
    assert {name: len(ids) for name, ids in fewer.splits.items()} == {
        "train": 7, "validation": 2, "test": 2,
    }  # fmt: skip
    assert every_nth(table, 1) is table
