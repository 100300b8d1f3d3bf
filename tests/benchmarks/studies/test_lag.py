"""Lag orders and hops."""

from functools import partial
from pathlib import Path

import pytest
from deam_support import write_deam
from lag import measure_lag
from mer_engine import Engine
from mer_engine.datasets.load import load_collection

from realtime_mer.evaluation.metrics import pooled_metrics
from realtime_mer.evaluation.predictions import UngatedEngine, clips_of, estimate_clip, predict


def test_every_lag_order_and_hop_has_a_row(tmp_path: Path, engine: Engine) -> None:
    collection = load_collection(write_deam(tmp_path))
    clips = clips_of(collection, "test", 3)
    longest = engine.info.lag_order_max
    result = measure_lag(
        engine, collection, clips, lag_orders=(4, longest, longest + 1), hops_s=(0.3, 1.0)
    )
    assert [row["lag_order"] for row in result["lag_orders"]] == [4, longest]
    assert result["lag_orders"][0]["window_s"] == pytest.approx(4 * engine.info.step_s)
    assert [row["hop_s"] for row in result["hops"]] == [0.3, 1.0]
    # The same metric, computed as `evaluate` does.
    estimator = partial(estimate_clip, UngatedEngine(engine), lag_order=4)
    short = predict(collection, clips, estimator).scored()
    expected = pooled_metrics(short)["arousal"].r2
    assert result["lag_orders"][0]["arousal"]["r2"] == pytest.approx(expected)
    assert result["lag_orders"][0]["arousal"]["r2"] != result["lag_orders"][1]["arousal"]["r2"]
