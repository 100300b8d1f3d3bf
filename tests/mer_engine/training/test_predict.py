"""Predictions of a head for encoded clips, their statistics, spread and scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mer_engine.network import NetworkConfig, RegressionHead
from mer_engine.training.predict import mean_spread, predict, score_values, window_statistics
from numpy.typing import NDArray

SMALL = NetworkConfig(
    timbral=((5, 38, 4),),
    temporal=((9, 2),),
    residual_filters=2,
    hidden=8,
    heads=2,
    width=16,
    statistics=16,
    bins=21,
)


@pytest.fixture
def head() -> RegressionHead:
    torch.manual_seed(0)
    return RegressionHead(SMALL).eval()


@pytest.fixture
def steps() -> NDArray[np.float16]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(3, 20, SMALL.embedding)).astype(np.float16)


@torch.inference_mode()
def test_predictions_use_the_steps_so_far(head: RegressionHead, steps: NDArray[np.float16]) -> None:
    predicted = predict(head, steps)
    assert predicted.shape == (3, 20, 4, 21)
    np.testing.assert_allclose(predicted.sum(-1), 1, atol=1e-5)
    window = torch.from_numpy(steps.astype(np.float32))[:, :7]
    seventh = torch.softmax(head(window), dim=2)
    np.testing.assert_allclose(predicted[:, 6], seventh, atol=1e-6)


@torch.inference_mode()
def test_statistics_of_a_part_of_the_clips(
    head: RegressionHead, steps: NDArray[np.float16]
) -> None:
    part = torch.from_numpy(steps.astype(np.float32))[:, 4:18]
    found = window_statistics(head, steps, 18, 4)
    np.testing.assert_allclose(found, head.statistics(part), atol=1e-5)
    assert not np.allclose(found, window_statistics(head, steps, 18))


def test_the_spread_is_that_of_the_distributions_of_whole_clips(
    head: RegressionHead, steps: NDArray[np.float16]
) -> None:
    probabilities = predict(head, steps)[:, -1]
    centres = np.linspace(-1, 1, 21)
    mean = probabilities @ centres
    variance = (probabilities * (centres - mean[..., None]) ** 2).sum(-1)
    np.testing.assert_allclose(mean_spread(head, steps), np.sqrt(variance.mean(0)), atol=1e-4)


def test_only_known_labels_after_five_to_ten_seconds_are_scored() -> None:
    labels = np.random.default_rng(0).normal(size=(5, 20, 2)).astype(np.float32)
    values = labels.copy()
    values[:, :9] = 100
    labels[0, 15] = np.nan
    valence, arousal = score_values(values, labels)
    assert valence.r2 == pytest.approx(1)
    assert arousal.rmse == pytest.approx(0)
