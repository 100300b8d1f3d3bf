"""Calibration of predictions with known errors."""

from __future__ import annotations

import numpy as np
import pytest
from mer_engine.training.calibrate import (
    MOVEMENT,
    NORMAL_HALF_WIDTH,
    QUANTILES,
    calibration,
    interval_scale,
)
from mer_engine.training.predict import LENGTHS

CENTRES = np.linspace(-1, 1, 41, dtype=np.float32)


def predictions(clips: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Normal distributions over the bins [n, lengths, 2, bins], and their means [n, 20, 2]."""
    rng = np.random.default_rng(0)
    means = np.repeat(rng.uniform(-0.4, 0.4, (clips, 1, 2)), 20, axis=1)
    density = np.exp(-((CENTRES - means[:, : len(LENGTHS), :, None]) ** 2) / (2 * spread**2))
    return (density / density.sum(-1, keepdims=True)).astype(np.float32), means


def test_the_scale_corrects_a_spread_that_is_too_small() -> None:
    probabilities, means = predictions(2000, spread=0.1)
    rng = np.random.default_rng(1)
    errors = rng.normal(0, 1, (2000, 1, 2)) * np.array([0.1, 0.2])  # arousal has twice the error
    labels = (means + errors).astype(np.float32)
    scales = interval_scale(probabilities, CENTRES, labels, np.ones(2000))
    np.testing.assert_allclose(scales["valence"], 1.28, atol=0.08)
    np.testing.assert_allclose(scales["arousal"], 2.56, atol=0.16)
    for name, column in (("valence", 0), ("arousal", 1)):
        assert len(scales[name]) == 20
        half = scales[name][19] * 0.1
        inside = np.abs(labels[:, 19, column] - means[:, 19, column]) <= half
        assert inside.mean() == pytest.approx(0.8, abs=0.01)


def test_clips_count_by_their_weight() -> None:
    probabilities, means = predictions(4000, spread=0.1)
    errors = np.random.default_rng(1).normal(0, 0.1, (4000, 1, 2))
    errors[2000:] *= 2
    labels = (means + errors).astype(np.float32)
    for weights, expected in (((1.0, 0.0), 1.28), ((0.0, 1.0), 2.56)):
        each = np.repeat(weights, 2000)
        scales = interval_scale(probabilities, CENTRES, labels, each)
        np.testing.assert_allclose(scales["arousal"], expected, rtol=0.07)
    both = interval_scale(probabilities, CENTRES, labels, np.ones(4000))
    assert 1.4 < both["arousal"][5] < 2.4


def test_unknown_labels_are_left_out() -> None:
    probabilities, means = predictions(400, spread=0.1)
    labels = (means + np.random.default_rng(1).normal(0, 0.1, means.shape)).astype(np.float32)
    labels[:, 13:, 0] = np.nan
    labels[::2, :, 1] = np.nan
    scales = interval_scale(probabilities, CENTRES, labels, np.ones(400))
    assert scales["valence"][10] == pytest.approx(1.28, abs=0.2)
    # The longest windows have no labels, so the scale is that of a normal distribution.
    assert scales["valence"][19] == NORMAL_HALF_WIDTH
    assert scales["arousal"][19] == pytest.approx(1.28, abs=0.2)


def test_prior_and_distribution_are_weighted_quantiles() -> None:
    values = np.stack([np.linspace(-0.5, 0.5, 1001), np.zeros(1001)], axis=1)
    scales: dict[str, tuple[float, ...]] = dict.fromkeys(("valence", "arousal"), (1.0,) * 20)
    even = calibration(scales, values, np.ones(1001))
    assert even.interval_scale == scales
    np.testing.assert_allclose(even.distribution["valence"], QUANTILES - 0.5, atol=0.002)
    assert set(even.distribution["arousal"]) == {0.0}
    prior = even.prior["valence"]
    assert (prior.low, prior.mean, prior.high) == pytest.approx((-0.4, 0.0, 0.4), abs=0.002)
    assert even.movement == MOVEMENT
    # The upper half has three quarters of the weight.
    more = calibration(scales, values, np.where(values[:, 0] > 0, 3.0, 1.0))
    assert more.prior["valence"].mean == pytest.approx(1 / 6, abs=0.005)
