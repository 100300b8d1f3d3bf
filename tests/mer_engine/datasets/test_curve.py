"""Interpolation of labels over time."""

from __future__ import annotations

import numpy as np
import pytest
from mer_engine.datasets.curve import Curve

NAN = float("nan")


@pytest.mark.parametrize(
    ("points", "times", "expected"),
    [
        # More and less than one label per half second.
        ([(0.0, 0.0), (0.3, 0.3), (0.6, 0.6)], [0.5, 0.25], [0.5, 0.25]),
        ([(1.0, 0.0), (3.0, 1.0)], [1.0, 1.5, 3.0], [0.0, 0.25, 1.0]),
        # Not across more than two seconds, except at the labels themselves.
        ([(1.0, 0.0), (3.1, 1.0)], [1.0, 1.5, 3.1], [0.0, NAN, 1.0]),
        # Not beyond the ends.
        ([(1.0, 0.5), (2.0, 0.5)], [0.9, 2.1], [NAN, NAN]),
        ([(1.0, 0.5)], [1.0, 1.5], [0.5, NAN]),
        ([], [0.5], [NAN]),
        # NaN values are dropped; the rows may be in any order.
        ([(2.0, 1.0), (1.5, NAN), (1.0, 0.0)], [1.5], [0.5]),
        # Times that are not exact binary fractions.
        ([(0.1 * n, n / 100) for n in range(11)], [0.5, 0.3, 1.0], [0.05, 0.03, 0.1]),
    ],
)
def test_values_are_interpolated(
    points: list[tuple[float, float]], times: list[float], expected: list[float]
) -> None:
    np.testing.assert_allclose(Curve.of(points).at(np.array(times)), expected, atol=1e-9)
