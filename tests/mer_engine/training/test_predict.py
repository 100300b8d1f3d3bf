"""Predictions of a head for encoded clips, their statistics and spread."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mer_engine.network import RegressionHead
from mer_engine.training.predict import LENGTHS, mean_spread, predict, window_statistics
from numpy.typing import NDArray
from training_support import CENTRES, SMALL, new_head


@pytest.fixture
def head() -> RegressionHead:
    return new_head().eval()


@pytest.fixture
def steps() -> NDArray[np.float16]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(3, 20, SMALL.described)).astype(np.float16)


@torch.inference_mode()
def test_predictions_use_the_steps_so_far(head: RegressionHead, steps: NDArray[np.float16]) -> None:
    predicted = predict(head, steps)
    assert predicted.shape == (3, len(LENGTHS), 2, SMALL.bins)
    np.testing.assert_allclose(predicted.sum(-1), 1, atol=1e-5)
    window = torch.from_numpy(steps.astype(np.float32))[:, :8]
    eighth = torch.softmax(head(window), dim=2)
    np.testing.assert_allclose(predicted[:, LENGTHS.index(8)], eighth, atol=1e-6)


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
    mean = probabilities @ CENTRES
    variance = (probabilities * (CENTRES - mean[..., None]) ** 2).sum(-1)
    np.testing.assert_allclose(mean_spread(head, steps), np.sqrt(variance.mean(0)), atol=1e-4)
