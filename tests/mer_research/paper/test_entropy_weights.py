"""Equations 2 to 8 against results computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from mer_research.paper.entropy_weights import entropy_weights


def test_example_computed_by_hand() -> None:
    # Three lag orders; R2 (more is better) and RMSE (less is better).
    result = entropy_weights([[0.2, 0.30], [0.6, 0.20], [1.0, 0.10]], [True, False])
    # Eqs. 2 and 3: both run 0, 1/2, 1. Eq. 4: 0, 1/3, 2/3.
    assert result.standardised == pytest.approx(np.array([[0, 0], [0.5, 0.5], [1, 1]]))
    entropy = -(1 / 3 * math.log(1 / 3) + 2 / 3 * math.log(2 / 3))  # Eq. 5: 0.6365
    assert entropy == pytest.approx(0.6365, abs=1e-4)
    assert result.entropy == pytest.approx([entropy, entropy])
    assert result.utility == pytest.approx([1 - entropy / math.log(3)] * 2)  # Eq. 6: 0.4206
    assert result.utility[0] == pytest.approx(0.4206, abs=1e-4)
    assert result.weights == pytest.approx([0.5, 0.5])  # Eq. 7
    assert result.scores == pytest.approx([0.0, 0.5, 1.0])  # Eq. 8


def test_a_more_uneven_indicator_has_a_larger_weight() -> None:
    # The first: z = 0, 1, 1: shares 0, 1/2, 1/2, E = ln 2, I = 1 - ln 2 / ln 3 = 0.3691.
    # The second, less is better: z = 1, 0, 0: E = 0, I = 1.
    result = entropy_weights([[1.0, 3.0], [2.0, 5.0], [2.0, 5.0]], [True, False])
    assert result.utility == pytest.approx([1 - math.log(2) / math.log(3), 1.0])
    assert result.weights == pytest.approx([0.3691 / 1.3691, 1 / 1.3691], abs=1e-4)
    assert result.scores == pytest.approx([0.7304, 0.2696, 0.2696], abs=1e-4)


def test_a_constant_indicator_has_no_weight() -> None:
    result = entropy_weights([[1.0, 3.0], [2.0, 3.0]], [True, True])
    assert result.weights == pytest.approx([1.0, 0.0])


@pytest.mark.parametrize(
    ("values", "positive", "message"),
    [
        ([[1.0, 2.0]], [True, False], "two or more"),
        ([[1.0], [float("nan")]], [True], "finite"),
        ([[1.0], [1.0]], [True], "same values"),
        ([[1.0], [2.0]], [True, False], "columns"),
    ],
)
def test_invalid_input_is_refused(
    values: list[list[float]], positive: list[bool], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        entropy_weights(values, positive)
