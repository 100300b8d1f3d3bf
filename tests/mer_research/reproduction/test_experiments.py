"""What a point of a search means, and what the sweep becomes."""

from __future__ import annotations

import numpy as np
import pytest
from mer_engine.datasets.problems import DataError
from mer_research.paper.code_network import CodeNetworkConfig
from mer_research.reproduction.experiments import EXPERIMENTS, INDICATORS, tuned, weigh

from realtime_mer.commands.reproduce import NAMES


def test_the_manual_names_every_experiment() -> None:
    assert tuple(EXPERIMENTS) == NAMES


def test_corners_of_the_searched_space() -> None:
    assert tuned(np.zeros(4)) == {"rate": 5e-4, "hidden": 32, "channels": 8, "dropout": 0.0}
    assert tuned(np.ones(4)) == {"rate": 0.01, "hidden": 128, "channels": 32, "dropout": 0.6}
    setting = tuned(np.full(4, 0.5))
    del setting["rate"]
    assert CodeNetworkConfig(**setting).hidden == 80


def row(lag: int, error: float) -> dict[str, object]:
    part = {"r2": 1 - error, "mae": error, "rmse": error, "mape": error}
    parts = dict.fromkeys(("train", "validation", "test"), part)
    return {"protocol": "known", "dimension": "arousal", "lag": lag, **parts}


def test_the_best_lag_order_in_everything_scores_one() -> None:
    found = weigh([row(1, 0.5), row(2, 0.2), row(3, 0.3)])
    (weights,) = found["weights"]
    assert (weights["best_lag"], weights["best_score"]) == (2, 1.0)
    assert len(weights["weights"]) == len(INDICATORS) == 12
    assert sum(weights["weights"].values()) == pytest.approx(1.0, abs=1e-4)
    assert [score["score"] for score in found["scores"]] == pytest.approx(
        [0.0, 1.0, 2 / 3], abs=1e-3
    )


def test_one_lag_order_alone_cannot_be_weighed() -> None:
    with pytest.raises(DataError, match=r"one lag order alone \(lag order 4\)"):
        weigh([row(4, 0.5)])
