"""The simpler methods, and their table."""

from pathlib import Path

import numpy as np
import pytest
from baselines import (
    FITTED_STEPS,
    METHODS,
    fit_forest,
    fit_mean,
    fit_six,
    functionals,
    measure_baselines,
    six_features,
)
from deam_support import arousal_of, write_deam
from mer_engine import Engine
from mer_engine.datasets.load import load_collection
from mer_research.paper.descriptors import FUNCTIONALS
from numpy.typing import NDArray

from realtime_mer.evaluation.predictions import clips_of

pytest.importorskip("sklearn", reason="scikit-learn comes with the train extra")


def inputs(count: int) -> NDArray[np.float64]:
    return np.random.default_rng(0).uniform(0.1, 1.0, (count, len(FUNCTIONALS)))


def test_the_mean_predictor_returns_the_mean_label() -> None:
    predict = fit_mean(np.array([[0.0, 0.2], [0.4, 0.0]]))
    np.testing.assert_allclose(predict(inputs(3)), [[0.2, 0.1]] * 3)


def test_least_squares_recover_a_linear_rule() -> None:
    data = inputs(60)
    labels = six_features(data)[:, [0, 3]] * [0.5, -0.2] + [0.1, 0.3]
    np.testing.assert_allclose(fit_six(data, labels)(data[:5]), labels[:5], atol=1e-8)


def test_a_forest_finds_the_informative_columns() -> None:
    data = inputs(200)
    labels = np.column_stack([data[:, 7] > 0.5, data[:, 100] > 0.5]).astype(float)
    fresh = np.random.default_rng(1).uniform(0.1, 1.0, (100, len(FUNCTIONALS)))
    guess = fit_forest(data, labels, seed=1)(fresh)
    assert np.mean((guess[:, 0] > 0.5) == (fresh[:, 7] > 0.5)) > 0.8
    assert np.mean((guess[:, 1] > 0.5) == (fresh[:, 100] > 0.5)) > 0.8
    np.testing.assert_array_equal(guess, fit_forest(data, labels, seed=1)(fresh))


def test_functionals_are_causal() -> None:
    rng = np.random.default_rng(0)
    samples = 0.1 * rng.standard_normal((32_000, 1)).astype(np.float32)
    quiet_end = np.concatenate([samples[:16_000], 0.01 * samples[16_000:]])
    first, second = functionals(samples, 16_000), functionals(quiet_end, 16_000)
    np.testing.assert_allclose(first[:2], second[:2], rtol=1e-5, atol=1e-6)
    assert first[3, FUNCTIONALS.index("rms_mean")] > second[3, FUNCTIONALS.index("rms_mean")]


def test_each_method_has_a_row(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("baselines.TREES", 20)
    collection = load_collection(write_deam(tmp_path))
    result = measure_baselines(engine, collection, "test", songs=6)
    rows = {row["name"]: row for row in result["rows"]}
    assert list(rows) == list(METHODS)
    assert result["songs"] == 6
    assert result["fitted_on"] == {"splits": ["train", "validation"], "clips": 12}
    # Expected mean label of the training songs: it rises by 0.0001 per half second from 15 s on.
    splits = ("train", "validation")
    training = [int(clip.song) for name in splits for clip in clips_of(collection, name, 6)]
    mean = np.mean([arousal_of(song) for song in training])
    mean += 0.0001 * (60 + np.mean(FITTED_STEPS))
    truth = np.array(
        [[arousal_of(s) + 0.0001 * (60 + k) for k in range(10, 21)] for s in range(2001, 2007)]
    )
    expected = 1 - np.mean((truth - mean) ** 2) / np.var(truth)
    assert rows["mean"]["arousal"]["r2"] == pytest.approx(expected, abs=1e-3)
    # The level of these songs follows their arousal, and the features contain the loudness.
    assert rows["six features"]["arousal"]["r2"] > 0.9
    assert rows["random forest"]["arousal"]["r2"] > rows["mean"]["arousal"]["r2"]


def test_the_measured_split_is_not_used_for_training(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("baselines.TREES", 5)
    collection = load_collection(write_deam(tmp_path))
    result = measure_baselines(engine, collection, "validation", songs=3)
    assert result["fitted_on"] == {"splits": ["train"], "clips": 3}
