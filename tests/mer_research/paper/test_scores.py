"""The five measures against results computed by hand."""

from __future__ import annotations

import pytest
from mer_research.paper.scores import MIN_MAPE_LABEL, score


def test_scores_computed_by_hand() -> None:
    scores = score([0.2, 0.4, 0.6], [0.3, 0.4, 0.4])
    assert scores.mse == pytest.approx(0.05 / 3)
    assert scores.rmse == pytest.approx((0.05 / 3) ** 0.5)
    assert scores.mae == pytest.approx(0.1)
    assert scores.mape == pytest.approx((0.5 + 0 + 1 / 3) / 3)
    assert scores.r2 == pytest.approx(1 - 0.05 / 0.08)
    assert set(scores.to_dict()) == {"r2", "rmse", "mae", "mse", "mape"}


def test_mape_leaves_labels_near_zero_out() -> None:
    assert score([MIN_MAPE_LABEL / 2, 0.5], [0.5, 0.6]).mape == pytest.approx(0.2)


def test_invalid_input_is_refused() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        score([0.1, 0.2], [0.1])
    with pytest.raises(ValueError, match="constant labels"):
        score([0.1, 0.1], [0.1, 0.2])
