"""The kernel regressor: numbers, signs, offsets, weights and resemblance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from mer_engine.network import RegressionHead
from mer_engine.training import kernel_ridge
from mer_engine.training.examples import Labels
from mer_engine.training.kernel_ridge import KernelSpace, Resemblance, fit_regressor
from mer_engine.training.predict import window_statistics
from mer_engine.training.settings import FitSettings
from mer_engine.window_statistics import StatisticSizes
from numpy.typing import NDArray
from training_support import labelled, new_head

SETTINGS = FitSettings(support=150)
Steps = NDArray[np.float16]


@pytest.fixture
def head() -> RegressionHead:
    return new_head().eval()


def predictions(
    head: RegressionHead,
    train: tuple[Steps, Labels],
    steps: Steps,
    settings: FitSettings = SETTINGS,
    offsets: Mapping[str, NDArray[np.float32]] | None = None,
) -> np.ndarray:
    """Fit a regressor and return what it predicts for clips [n, 2]."""
    regressor = fit_regressor(head, *train, offsets or {}, settings, 0)
    assert regressor is not None
    statistics = window_statistics(head, steps[0], 20)
    return np.asarray(regressor(torch.from_numpy(statistics)))


def test_numbers_are_learnt(head: RegressionHead) -> None:
    others, truth = labelled(40, 1)
    predicted = predictions(head, labelled(150), others)
    for column in (0, 1):
        assert np.corrcoef(predicted[:, column], truth.values[:, -1, column])[0, 1] > 0.7


def test_signs_are_learnt(head: RegressionHead) -> None:
    others, truth = labelled(60, 1, signs=True)
    predicted = predictions(head, labelled(150, signs=True), others)
    assert ((np.sign(predicted) == truth.signs).mean(0) > 0.75).all()
    wide = predictions(head, labelled(150, signs=True), others, replace(SETTINGS, margin=0.6))
    np.testing.assert_allclose(wide, 2 * predicted, atol=0.02)


def test_few_support_windows_approximate_all(head: RegressionHead) -> None:
    train, (others, _) = labelled(150), labelled(40, 1)
    every = predictions(head, train, others)
    some = predictions(head, train, others, replace(SETTINGS, support=75))
    assert 1e-4 < np.abs(some - every).mean() < 0.25 * every.std()


def test_offsets_are_subtracted(head: RegressionHead) -> None:
    others, _ = labelled(10, 1)
    plain = predictions(head, labelled(40, collection="b"), others)
    shift = (0.3, -0.2)
    offsets = {"b/": np.array(shift, np.float32)}
    shifted = labelled(40, collection="b", shift=shift)
    found = predictions(head, shifted, others, offsets=offsets)
    np.testing.assert_allclose(found, plain, atol=1e-3)
    assert np.abs(predictions(head, shifted, others) - plain).mean() > 0.1


def test_clips_of_small_weight_have_a_small_effect(head: RegressionHead) -> None:
    steps, labels = labelled(60)
    opposite = replace(labels, values=-labels.values)
    both = np.concatenate([steps, steps], axis=1)
    effects = []
    for weight in (0.01, 1.0):
        weighted = replace(opposite, weights=np.full(60, weight))
        found = predictions(head, (both, labels + weighted), steps)
        effects.append(np.abs(found).mean())
    # Every clip occurs again with the opposite label. With equal weights they cancel.
    assert effects[1] < 0.05 * effects[0]


def test_augmented_clips_have_their_weight(head: RegressionHead) -> None:
    steps, labels = labelled(60, versions=2)
    steps[1] = -steps[0]
    others, _ = labelled(20, 1)
    alone = predictions(head, (steps[:1], labels), others)
    little, much = (
        predictions(head, (steps, labels), others, replace(SETTINGS, augmented_weight=weight))
        for weight in (1e-6, 1.0)
    )
    assert np.abs(little - alone).max() < 0.01
    assert np.abs(much - alone).max() > 0.02


def test_no_regressor_is_fitted_to_few_clips(head: RegressionHead) -> None:
    steps, labels = labelled(30)
    labels.values[19:] = np.nan
    assert fit_regressor(head, steps, labels, {}, SETTINGS, 0) is None
    labels.signs[19] = 1
    assert fit_regressor(head, steps, labels, {}, SETTINGS, 0) is not None


def test_equal_clips_are_handled(head: RegressionHead) -> None:
    steps, labels = labelled(24)
    steps[:], labels.values[:] = 1, 0.5
    np.testing.assert_allclose(predictions(head, (steps, labels), steps), 0.5, atol=1e-3)


def test_windows_are_told_apart_by_collection() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(80, 6)).astype(np.float32)
    points[40:, 0] += 6
    resemblance = Resemblance(points, np.repeat(["a", "b"], 40))
    probabilities = resemblance(points)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    assert probabilities[:40, 0].mean() > 0.8
    assert probabilities[40:, 1].mean() > 0.8
    factor = resemblance.factor(probabilities, probabilities)
    assert factor[:40, :40].mean() > 1.5 * factor[:40, 40:].mean()
    single = Resemblance(points, np.repeat("a", 80))
    assert single.count == 0
    np.testing.assert_array_equal(single.factor(single(points), single(points)), 1)


def test_channels_are_projected_to_the_principal_axes(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(80, 3))
    x = np.concatenate([hidden @ rng.normal(size=(3, 20)), rng.normal(size=(80, 2))], axis=1)
    monkeypatch.setattr(kernel_ridge, "RANK", 3)
    space = KernelSpace(x, StatisticSizes(20, 2, 0, 0, 0, 0))
    points = space.project(x)
    assert points.shape == (80, 5)
    # Three axes contain all the variance, so the distances do not change.
    scaled = (x - x.mean(0)) / x.std(0)
    expected = ((scaled[:10, None, :20] - scaled[None, :10, :20]) ** 2).sum(2)
    distances = ((points[:10, None, :3] - points[None, :10, :3]) ** 2).sum(2)
    np.testing.assert_allclose(distances, expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(np.diag(space.kernel(points, points)), 1, atol=1e-4)
