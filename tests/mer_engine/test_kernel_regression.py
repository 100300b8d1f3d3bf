"""Kernel regression: the similarity to support windows decides the prediction."""

from __future__ import annotations

import pytest
import torch
from mer_engine.kernel_regression import KernelRegressor, projected
from mer_engine.window_statistics import StatisticSizes
from torch import Tensor

SIZES = StatisticSizes(channels=4, mode=2, tonic_chroma=0, spectrum=3, tags=0, inverse_crest=0)


@pytest.fixture
def regressor() -> KernelRegressor:
    """A regressor with two support windows, far apart, with predictions (1, 0) and (0, 1)."""
    made = KernelRegressor(SIZES, count=2, rank=4, scores=2)
    made.axes.copy_(torch.eye(4))
    for part in made.parts.values():
        part.get_buffer("support")[:, 0] = 3.0
        part.get_buffer("support")[:, 1] = -3.0
        part.get_buffer("weights").copy_(torch.eye(2) / 3)
    return made


def at(value: float) -> Tensor:
    return torch.full((1, SIZES.total), value)


def test_support_windows_give_their_own_values(regressor: KernelRegressor) -> None:
    assert regressor.count == 2
    assert torch.allclose(regressor(at(3.0)), torch.tensor([[1.0, 0.0]]), atol=1e-5)
    assert torch.allclose(regressor(at(-3.0)), torch.tensor([[0.0, 1.0]]), atol=1e-5)
    halfway = regressor(at(2.5))
    assert 0.1 < halfway[0, 0] < 0.9


def test_a_window_far_from_all_support_windows_gives_the_centre(regressor: KernelRegressor) -> None:
    regressor.centre.copy_(torch.tensor([0.2, -0.3]))
    assert torch.allclose(regressor(at(0.0)), regressor.centre.expand(1, 2), atol=0.01)


def test_outliers_are_clipped(regressor: KernelRegressor) -> None:
    assert torch.equal(regressor(at(7.0)), regressor(at(600.0)))
    assert not torch.equal(regressor(at(5.0)), regressor(at(7.0)))


def test_kinds_without_statistics_have_no_kernel(regressor: KernelRegressor) -> None:
    assert set(regressor.parts) == {"channels", "mode", "spectrum"}
    assert projected(SIZES, 2) == (2, 2, 0, 3, 0, 0)
    assert projected(SIZES, 9) == SIZES
