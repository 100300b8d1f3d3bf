"""Decoding of search points, and weighting of lag orders."""

from __future__ import annotations

import numpy as np
import pytest
from mer_engine.datasets.problems import DataError
from mer_research.paper.code_network import CodeNetworkConfig
from mer_research.reproduction.experiments import (
    EXPERIMENTS,
    INDICATORS,
    decode_point,
    weigh_lag_orders,
)

from realtime_mer.commands.reproduce import NAMES


def test_the_command_lists_every_experiment() -> None:
    assert tuple(EXPERIMENTS) == NAMES


def test_corners_of_the_search_space() -> None:
    assert decode_point(np.zeros(4)) == {"rate": 5e-4, "hidden": 32, "channels": 8, "dropout": 0.0}
    assert decode_point(np.ones(4)) == {"rate": 0.01, "hidden": 128, "channels": 32, "dropout": 0.6}
    setting = decode_point(np.full(4, 0.5))
    del setting["rate"]
    assert CodeNetworkConfig(**setting).hidden == 80


def row(lag: int, error: float) -> dict[str, object]:
    part = {"r2": 1 - error, "mae": error, "rmse": error, "mape": error}
    parts = dict.fromkeys(("train", "validation", "test"), part)
    return {"protocol": "known", "dimension": "arousal", "lag": lag, **parts}


def test_a_lag_order_that_is_best_in_all_indicators_scores_one() -> None:
    result = weigh_lag_orders([row(1, 0.5), row(2, 0.2), row(3, 0.3)])
    (weights,) = result["weights"]
    assert (weights["best_lag"], weights["best_score"]) == (2, 1.0)
    assert len(weights["weights"]) == len(INDICATORS) == 12
    assert sum(weights["weights"].values()) == pytest.approx(1.0, abs=1e-4)
    assert [score["score"] for score in result["scores"]] == pytest.approx(
        [0.0, 1.0, 2 / 3], abs=1e-3
    )


def test_a_single_lag_order_is_refused() -> None:
    with pytest.raises(DataError, match="need two lag orders, but there is only 4"):
        weigh_lag_orders([row(4, 0.5)])
