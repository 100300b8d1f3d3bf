"""Figures of predictions whose errors are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mer_engine.training.examples import Labels
from mer_engine.training.measure import collection_weights, measure, song_values
from mer_engine.training.predict import LENGTHS
from training_support import labelled

CENTRES = np.linspace(-1, 1, 41, dtype=np.float32)


def distributions(values: np.ndarray) -> np.ndarray:
    """Return narrow distributions around values [n, 2], the same for all window lengths."""
    density = np.exp(-((CENTRES - values[:, None, :, None]) ** 2) / (2 * 0.1**2))
    return np.repeat(density / density.sum(-1, keepdims=True), len(LENGTHS), axis=1)


def songs_of_two(labels: Labels) -> Labels:
    return replace(labels, songs=np.array([f"a/{n // 2}" for n in range(len(labels))]))


def test_values_are_averaged_by_song() -> None:
    labels = songs_of_two(labelled(4)[1])
    songs, first, means = song_values(labels, np.array([[0.0, 1], [0.2, 1], [0.4, 1], [0.8, 3]]))
    assert songs.tolist() == ["a/0", "a/1"]
    assert first.tolist() == [0, 2]
    np.testing.assert_allclose(means, [[0.1, 1], [0.6, 2]])


def test_numbers_are_measured_by_song_with_their_intervals() -> None:
    labels = songs_of_two(labelled(40)[1])
    truth = labels.values[:, -1]
    exact = measure(labels, distributions(truth), CENTRES)
    assert exact["songs"] == 20
    assert "quadrants" not in exact
    assert "coverage" not in exact["valence"]
    for name in ("valence", "arousal"):
        assert exact[name]["r2"] == pytest.approx(1, abs=1e-3)
        assert exact[name]["bias"] == pytest.approx(0, abs=1e-3)
    shifted = distributions(truth + np.array([0.15, 0.0]))
    scales: dict[str, tuple[float, ...]] = dict.fromkeys(("valence", "arousal"), (1.0,) * 20)
    found = measure(labels, shifted, CENTRES, scales)
    assert found["valence"]["bias"] == pytest.approx(0.15, abs=1e-3)
    assert found["valence"]["r"] == pytest.approx(1, abs=1e-3)
    assert found["valence"]["coverage"] == 0
    assert found["arousal"]["coverage"] == 1
    assert found["arousal"]["width"] == pytest.approx(0.2, abs=0.005)


def test_clips_without_numbers_are_left_out() -> None:
    labels = labelled(20)[1]
    labels.values[:5, :, 0] = np.nan
    truth = np.nan_to_num(labels.values[:, -1], nan=-0.9)
    assert measure(labels, distributions(truth), CENTRES)["valence"]["r2"] > 0.99
    labels.values[..., 0] = np.nan
    assert set(measure(labels, distributions(truth), CENTRES)) == {"songs", "arousal"}


def test_signs_are_measured_by_quadrant_and_area_under_the_curve() -> None:
    labels = labelled(40, signs=True)[1]
    right = measure(labels, distributions(0.4 * labels.signs), CENTRES)
    assert right["quadrants"] == 1
    assert set(right["auc"].values()) == {1.0}
    assert "valence" not in right
    # All valence is above zero, though in the right order: quadrants are wrong, the order is not.
    offset = np.stack([0.4 + 0.2 * labels.signs[:, 0], 0.4 * labels.signs[:, 1]], axis=1)
    found = measure(labels, distributions(offset), CENTRES)
    assert found["quadrants"] == pytest.approx((labels.signs[:, 0] > 0).mean())
    assert found["auc"]["valence"] == 1
    assert measure(labels, distributions(-0.4 * labels.signs), CENTRES)["auc"]["valence_calm"] == 0


def test_every_collection_has_the_same_weight() -> None:
    labels = labelled(3)[1] + labelled(5, collection="b")[1]
    weights = collection_weights(labels)
    np.testing.assert_allclose(weights, [1 / 3] * 3 + [1 / 5] * 5)
