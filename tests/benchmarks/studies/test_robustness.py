"""Conditions against the unchanged clips."""

from pathlib import Path

import numpy as np
import pytest
from conditions import Condition, conditions
from deam_support import write_deam
from mer_engine import Engine
from mer_engine.datasets.load import load_collection
from robustness import measure_robustness, shift

from realtime_mer.evaluation.predictions import Predictions, clips_of


def test_shift_computed_by_hand() -> None:
    def make_predictions(values: list[float]) -> Predictions:
        both = np.repeat(np.array(values)[None, :, None], 2, axis=2)
        return Predictions(("a",), both, both, both, both)

    change = shift(make_predictions([0.1, 0.2, np.nan]), make_predictions([0.2, 0.0, 0.5]), 1)
    assert change["shift_mean"] == pytest.approx(-0.05)
    assert change["shift_rms"] == pytest.approx((0.025) ** 0.5)


def test_losses_and_shifts_of_conditions(tmp_path: Path, engine: Engine) -> None:
    collection = load_collection(write_deam(tmp_path))
    available = {condition.name: condition for condition in conditions()[0]}
    silent = Condition("nearly silent", "level", "", lambda samples, rate: (samples * 1e-6, rate))
    chosen = [available["stereo, both channels"], available["gain +12 dB"], silent]
    result = measure_robustness(engine, collection, clips_of(collection, "test", 3), chosen)
    assert result["songs"] == 3
    same, louder, gone = result["conditions"]
    assert same["arousal"]["shift_rms"] < 1e-5
    assert same["arousal"]["r2_loss"] == pytest.approx(0, abs=1e-4)
    assert louder["arousal"]["shift_rms"] > 1e-3
    # Nearly silent clips keep the initial estimate.
    assert gone["valence"]["r2"] <= 0
    assert gone["valence"]["r2_loss"] == pytest.approx(
        result["clean"]["valence"]["r2"] - gone["valence"]["r2"]
    )
    assert 0 <= result["clipping"]["+12 dB"]["samples"] <= result["clipping"]["+12 dB"]["songs"]
