"""The five measures, by hand."""

from __future__ import annotations

import pytest
from mer_research.paper.scores import LEAST_LABEL, score


def test_by_hand() -> None:
    found = score([0.2, 0.4, 0.6], [0.3, 0.4, 0.4])
    assert found.mse == pytest.approx(0.05 / 3)
    assert found.rmse == pytest.approx((0.05 / 3) ** 0.5)
    assert found.mae == pytest.approx(0.1)
    assert found.mape == pytest.approx((0.5 + 0 + 1 / 3) / 3)
    assert found.r2 == pytest.approx(1 - 0.05 / 0.08)
    assert set(found.to_dict()) == {"r2", "rmse", "mae", "mse", "mape"}


def test_labels_near_zero_do_not_decide_the_relative_error() -> None:
    assert score([LEAST_LABEL / 2, 0.5], [0.5, 0.6]).mape == pytest.approx(0.2)


def test_what_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        score([0.1, 0.2], [0.1])
    with pytest.raises(ValueError, match="without spread"):
        score([0.1, 0.1], [0.1, 0.2])
