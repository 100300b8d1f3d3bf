"""The forest ranks the informative column first."""

from __future__ import annotations

import numpy as np
import pytest
from mer_research.paper.selection import importances, select
from mer_research.paper.step_table import StepTable


def test_the_informative_column_is_the_most_important(table: StepTable) -> None:
    labels = table.labels[:, 1]
    values = importances(table.features, labels, trees=10, max_rows=10_000, seed=0)
    assert values.sum() == pytest.approx(1.0)
    assert values.argmax() == 1
    repeated = importances(table.features, labels, trees=10, max_rows=10_000, seed=0)
    np.testing.assert_array_equal(values, repeated)
    fewer = importances(table.features, labels, trees=10, max_rows=100, seed=0)
    assert fewer.argmax() == 1
    assert not np.array_equal(values, fewer)


def test_the_threshold() -> None:
    assert select(np.array([0.5, 0.0014, 0.0015, 0.4])) == (0, 2, 3)
    assert select(np.array([0.0005, 0.001])) == (1,)
