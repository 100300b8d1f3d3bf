"""Intervals, priors and the mapping to whole songs, on predictions whose errors are known."""

from __future__ import annotations

import numpy as np
import pytest
from mer_engine.training.calibrate import calibrate
from mer_engine.training.fit import Examples

CENTRES = np.linspace(-1, 1, 41, dtype=np.float32)


def predictions(songs: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Normal distributions over the bins [n, 20, 2, bins] and their means [n, 20, 2]."""
    rng = np.random.default_rng(0)
    means = np.repeat(rng.uniform(-0.4, 0.4, (songs, 1, 2)), 20, axis=1)
    weights = np.exp(-((CENTRES - means[..., None]) ** 2) / (2 * spread**2))
    return (weights / weights.sum(-1, keepdims=True)).astype(np.float32), means


def examples(labels: np.ndarray, static: np.ndarray) -> Examples:
    count = len(labels)
    return Examples(
        frames=np.zeros((count, 500, 96), np.float16),
        labels=labels.astype(np.float32),
        static=static.astype(np.float32),
        other=np.full((count, 20, 2), np.nan, np.float32),
        taught=np.zeros((count, 0), np.float32),
    )


def test_the_scale_makes_up_for_a_spread_that_is_too_small() -> None:
    songs = 2000
    probabilities, means = predictions(songs, spread=0.1)
    rng = np.random.default_rng(1)
    errors = rng.normal(0, 1, (songs, 1, 2)) * np.array([0.1, 0.2])  # arousal is half as sure
    labels = means + errors
    static = np.stack([labels[:, 0, 0], labels[:, 0, 1]], 1)
    result = calibrate(probabilities, CENTRES, examples(labels, static), labels)
    assert np.allclose(result.interval_scale["valence"], 1.28, atol=0.08)
    assert np.allclose(result.interval_scale["arousal"], 2.56, atol=0.16)
    for name, column in (("valence", 0), ("arousal", 1)):
        half = result.interval_scale[name][19] * 0.1
        inside = np.abs(labels[:, 19, column] - means[:, 19, column]) <= half
        assert inside.mean() == pytest.approx(0.8, abs=0.01)
        prior = result.prior[name]
        share = ((labels[..., column] >= prior.low) & (labels[..., column] <= prior.high)).mean()
        assert share == pytest.approx(0.8, abs=0.01)


def test_the_mapping_to_whole_songs_is_least_squares() -> None:
    probabilities, means = predictions(50, spread=0.1)
    labels = means
    wanted = np.column_stack([6 + 2 * means[:, 0, 0], 4 + 3 * means[:, 0, 1]])  # 1 to 9
    result = calibrate(probabilities, CENTRES, examples(labels, (wanted - 5) / 4), labels)
    assert result.static_map is not None
    assert result.static_map["valence"] == pytest.approx([6, 2, 0], abs=0.01)
    assert result.static_map["arousal"] == pytest.approx([4, 0, 3], abs=0.01)


def test_without_labels_of_whole_songs_there_is_no_mapping() -> None:
    probabilities, means = predictions(12, spread=0.1)
    nothing = np.full((12, 2), np.nan)
    assert calibrate(probabilities, CENTRES, examples(means, nothing), means).static_map is None
