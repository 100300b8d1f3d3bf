"""Units of work: what decides them, and what they give."""

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


def test_everything_that_decides_is_in_the_configuration(table: StepTable) -> None:
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
def test_a_fit(table: StepTable, inputs: str) -> None:
    task = replace(FIT, inputs=inputs, words=WordSettings(4, 2, 1))
    result = perform(task, table)
    assert {part: result[part]["windows"] for part in ("train", "validation", "test")} == {
        "train": 120, "validation": 36, "test": 36,
    }  # fmt: skip
    assert set(result["test"]) == {"r2", "rmse", "mae", "mse", "mape", "windows"}
    again = perform(task, table)
    assert {**again, "seconds": 0} == {**result, "seconds": 0}
    assert json.loads(json.dumps(result)) == result


def test_importances(table: StepTable) -> None:
    found = perform(ImportanceTask(KNOWN, "valence", 3, trees=5, rows=500, seed=0), table)
    assert len(found["importances"]) == 6
    assert max(found["importances"]) == found["importances"][0]


def test_fewer_songs_of_every_split(table: StepTable) -> None:
    fewer = every_nth(table, 3)
    assert {name: len(ids) for name, ids in fewer.splits.items()} == {
        "train": 7, "validation": 2, "test": 2,
    }  # fmt: skip
    assert every_nth(table, 1) is table
