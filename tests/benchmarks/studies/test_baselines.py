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

pytest.importorskip("sklearn", reason="scikit-learn comes with the train extra")


def inputs(count: int) -> NDArray[np.float64]:
    return np.random.default_rng(0).uniform(0.1, 1.0, (count, len(FUNCTIONALS)))


def test_the_mean_predictor_is_the_mean() -> None:
    predict = fit_mean(np.array([[0.0, 0.2], [0.4, 0.0]]))
    np.testing.assert_allclose(predict(inputs(3)), [[0.2, 0.1]] * 3)


def test_least_squares_find_a_rule_in_the_six_features() -> None:
    data = inputs(60)
    labels = six_features(data)[:, [0, 3]] * [0.5, -0.2] + [0.1, 0.3]
    np.testing.assert_allclose(fit_six(data, labels)(data[:5]), labels[:5], atol=1e-8)


def test_a_forest_finds_the_column_that_matters() -> None:
    data = inputs(300)
    labels = np.column_stack([data[:, 7] > 0.5, data[:, 100] > 0.5]).astype(float)
    fresh = np.random.default_rng(1).uniform(0.1, 1.0, (100, len(FUNCTIONALS)))
    guess = fit_forest(data, labels, seed=1)(fresh)
    assert np.mean((guess[:, 0] > 0.5) == (fresh[:, 7] > 0.5)) > 0.9
    assert np.mean((guess[:, 1] > 0.5) == (fresh[:, 100] > 0.5)) > 0.9
    np.testing.assert_array_equal(guess, fit_forest(data, labels, seed=1)(fresh))


def test_what_is_heard_later_does_not_count_earlier() -> None:
    rng = np.random.default_rng(0)
    samples = 0.1 * rng.standard_normal((32_000, 1)).astype(np.float32)
    quiet_end = np.concatenate([samples[:16_000], 0.01 * samples[16_000:]])
    first, second = functionals(samples, 16_000), functionals(quiet_end, 16_000)
    np.testing.assert_allclose(first[:2], second[:2], rtol=1e-5, atol=1e-6)
    assert first[3, FUNCTIONALS.index("rms_mean")] > second[3, FUNCTIONALS.index("rms_mean")]


def test_the_table_in_one_run(tmp_path: Path, engine: Engine) -> None:
    result = measure_baselines(engine, load_collection(write_deam(tmp_path)), "test")
    rows = {row["name"]: row for row in result["rows"]}
    assert list(rows) == list(METHODS)
    assert result["songs"] == 6
    assert result["fitted_on"] == {"splits": ["train", "validation"], "clips": 24}
    # The mean label of the fitted songs, by hand: it rises by 0.0001 a half second from 15 s on.
    fitted = np.mean([arousal_of(song) for song in (*range(2, 14), *range(1001, 1013))])
    fitted += 0.0001 * (60 + np.mean(FITTED_STEPS))
    truth = np.array(
        [[arousal_of(s) + 0.0001 * (60 + k) for k in range(10, 21)] for s in range(2001, 2007)]
    )
    expected = 1 - np.mean((truth - fitted) ** 2) / np.var(truth)
    assert rows["mean"]["arousal"]["r2"] == pytest.approx(expected, abs=1e-3)
    # These songs' level follows their arousal, and one of the six features is the level.
    assert rows["six features"]["arousal"]["r2"] > 0.9
    assert rows["random forest"]["arousal"]["r2"] > rows["mean"]["arousal"]["r2"]


def test_a_measured_split_is_not_fitted_on(tmp_path: Path, engine: Engine) -> None:
    collection = load_collection(write_deam(tmp_path))
    result = measure_baselines(engine, collection, "validation", songs=4)
    assert result["fitted_on"] == {"splits": ["train"], "clips": 4}
