"""Calibration of predictions with known errors."""

from __future__ import annotations

import numpy as np
import pytest
from mer_engine.training.calibrate import NORMAL_HALF_WIDTH, calibrate

CENTRES = np.linspace(-1, 1, 41, dtype=np.float32)


def predictions(songs: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Normal distributions over the bins [n, 20, 2, bins] and their means [n, 20, 2]."""
    rng = np.random.default_rng(0)
    means = np.repeat(rng.uniform(-0.4, 0.4, (songs, 1, 2)), 20, axis=1)
    weights = np.exp(-((CENTRES - means[..., None]) ** 2) / (2 * spread**2))
    return (weights / weights.sum(-1, keepdims=True)).astype(np.float32), means


def test_the_scale_corrects_a_spread_that_is_too_small() -> None:
    songs = 2000
    probabilities, means = predictions(songs, spread=0.1)
    rng = np.random.default_rng(1)
    errors = rng.normal(0, 1, (songs, 1, 2)) * np.array([0.1, 0.2])  # arousal has twice the error
    labels = means + errors
    # The other scores, reversed here, have no effect.
    scores = np.concatenate([probabilities, probabilities[..., ::-1]], axis=2)
    result = calibrate(scores, CENTRES, labels, labels)
    assert np.allclose(result.interval_scale["valence"], 1.28, atol=0.08)
    assert np.allclose(result.interval_scale["arousal"], 2.56, atol=0.16)
    for name, column in (("valence", 0), ("arousal", 1)):
        half = result.interval_scale[name][19] * 0.1
        inside = np.abs(labels[:, 19, column] - means[:, 19, column]) <= half
        assert inside.mean() == pytest.approx(0.8, abs=0.01)
        prior = result.prior[name]
        share = ((labels[..., column] >= prior.low) & (labels[..., column] <= prior.high)).mean()
        assert share == pytest.approx(0.8, abs=0.01)


def test_unknown_labels_are_left_out() -> None:
    probabilities, means = predictions(400, spread=0.1)
    held_out = means + np.random.default_rng(1).normal(0, 0.1, means.shape)
    held_out[:, :, 0] = np.where(np.arange(20) < 15, held_out[:, :, 0], np.nan)
    training = means.astype(np.float32)
    training[::2] = np.nan
    result = calibrate(probabilities, CENTRES, held_out.astype(np.float32), training)
    assert result.interval_scale["valence"][10] == pytest.approx(1.28, abs=0.08)
    # The last windows have no labels, so the scale is that of a normal distribution.
    assert result.interval_scale["valence"][19] == NORMAL_HALF_WIDTH
    assert result.prior["valence"].mean == pytest.approx(means[1::2, :, 0].mean(), abs=1e-6)
    assert len(result.interval_scale["arousal"]) == 20


def test_the_line_corrects_exaggerated_predictions() -> None:
    songs = 3000
    probabilities, means = predictions(songs, spread=0.1)
    rng = np.random.default_rng(1)
    held_out = 0.5 * means + 0.1 + rng.normal(0, 0.05, (songs, 1, 2))
    static = np.array([0.4, -0.4]) * means[:, 0] + np.array([0.0, 0.2])
    static[::3] = np.nan
    scores = np.concatenate([probabilities, probabilities], axis=2)
    result = calibrate(
        scores, CENTRES, held_out.astype(np.float32), held_out.astype(np.float32),
        static.astype(np.float32),
    )  # fmt: skip
    assert set(result.line) == {"valence", "arousal", "whole_valence", "whole_arousal"}
    for name in ("valence", "arousal"):
        np.testing.assert_allclose(result.line[name], [[0.1, 0.5]] * 20, atol=0.01)
        # The remaining error is 1.28 times 0.05; the spread is 0.1.
        np.testing.assert_allclose(result.interval_scale[name], 0.64, atol=0.04)
    # A negative slope is replaced by the mean.
    expected = [[np.nanmean(static[:, 1]), 0.0]] * 20
    np.testing.assert_allclose(result.line["whole_arousal"], expected, atol=0.01)
    np.testing.assert_allclose(result.line["whole_valence"], [[0.0, 0.4]] * 20, atol=0.01)


def test_no_line_is_fitted_to_too_few_songs() -> None:
    probabilities, means = predictions(40, spread=0.1)
    scores = np.concatenate([probabilities, probabilities], axis=2)
    labels = (0.5 * means).astype(np.float32)
    labels[:11, :, 1] = np.nan  # 29 songs have labels of arousal
    nothing = np.full((40, 2), np.nan, np.float32)
    result = calibrate(scores, CENTRES, labels, labels, nothing)
    assert result.line["valence"][0][1] == pytest.approx(0.5, abs=0.01)
    assert set(result.line["arousal"]) == {(0.0, 1.0)}
    assert set(result.line["whole_valence"]) == {(0.0, 1.0)}
    assert "whole_valence" not in calibrate(scores, CENTRES, labels, labels).line
