"""Labels over time, between and beyond the moments where they are known."""

from __future__ import annotations

import numpy as np
import pytest
from mer_engine.datasets.curve import Curve

NAN = float("nan")


@pytest.mark.parametrize(
    ("points", "times", "expected"),
    [
        # Denser and sparser than the half seconds.
        ([(0.0, 0.0), (0.3, 0.3), (0.6, 0.6)], [0.5, 0.25], [0.5, 0.25]),
        ([(1.0, 0.0), (3.0, 1.0)], [1.0, 1.5, 3.0], [0.0, 0.25, 1.0]),
        # Never across more than two seconds, but at the labels themselves.
        ([(1.0, 0.0), (3.1, 1.0)], [1.0, 1.5, 3.1], [0.0, NAN, 1.0]),
        # Never beyond the ends.
        ([(1.0, 0.5), (2.0, 0.5)], [0.9, 2.1], [NAN, NAN]),
        ([(1.0, 0.5)], [1.0, 1.5], [0.5, NAN]),
        ([], [0.5], [NAN]),
        # An unknown value is no value; rows need no order.
        ([(2.0, 1.0), (1.5, NAN), (1.0, 0.0)], [1.5], [0.5]),
        # Times that are no exact binary fractions.
        ([(0.1 * n, n / 100) for n in range(11)], [0.5, 0.3, 1.0], [0.05, 0.03, 0.1]),
    ],
)
def test_values(
    points: list[tuple[float, float]], times: list[float], expected: list[float]
) -> None:
    np.testing.assert_allclose(Curve.of(points).at(np.array(times)), expected, atol=1e-9)
