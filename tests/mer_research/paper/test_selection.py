"""The forest finds the columns that tell the label."""

from __future__ import annotations

import numpy as np
import pytest
from mer_research.paper.selection import importances, select
from mer_research.paper.step_table import StepTable


def test_the_telling_column_is_the_most_important(table: StepTable) -> None:
    labels = table.labels[:, 1]
    found = importances(table.features, labels, trees=10, most=10_000, seed=0)
    assert found.sum() == pytest.approx(1.0)
    assert found.argmax() == 1
    again = importances(table.features, labels, trees=10, most=10_000, seed=0)
    np.testing.assert_array_equal(found, again)
    fewer = importances(table.features, labels, trees=10, most=100, seed=0)
    assert fewer.argmax() == 1
    assert not np.array_equal(found, fewer)


def test_the_threshold() -> None:
    assert select(np.array([0.5, 0.0014, 0.0015, 0.4])) == (0, 2, 3)
    assert select(np.array([0.0005, 0.001])) == (1,)
