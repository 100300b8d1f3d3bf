"""The memory: likeness to what it knows decides what it says."""

from __future__ import annotations

import pytest
import torch
from mer_engine.kernel_regression import KernelRegressor, projected
from mer_engine.window_statistics import StatisticSizes
from torch import Tensor

SIZES = StatisticSizes(channels=4, mode=2, tonic_chroma=0, spectrum=3, tags=0, inverse_crest=0)


@pytest.fixture
def memory() -> KernelRegressor:
    """Two windows, far apart: of one it says (1, 0), of the other (0, 1)."""
    made = KernelRegressor(SIZES, count=2, rank=4, scores=2)
    made.axes.copy_(torch.eye(4))
    for part in made.parts.values():
        part.get_buffer("support")[:, 0] = 3.0
        part.get_buffer("support")[:, 1] = -3.0
        part.get_buffer("weights").copy_(torch.eye(2) / 3)
    return made


def at(value: float) -> Tensor:
    return torch.full((1, SIZES.total), value)


def test_what_is_remembered_comes_back(memory: KernelRegressor) -> None:
    assert memory.count == 2
    assert torch.allclose(memory(at(3.0)), torch.tensor([[1.0, 0.0]]), atol=1e-6)
    assert torch.allclose(memory(at(-3.0)), torch.tensor([[0.0, 1.0]]), atol=1e-6)
    halfway = memory(at(2.5))
    assert 0.1 < halfway[0, 0] < 0.9


def test_what_is_like_nothing_is_told_as_the_mean(memory: KernelRegressor) -> None:
    memory.centre.copy_(torch.tensor([0.2, -0.3]))
    assert torch.allclose(memory(at(0.0)), memory.centre.expand(1, 2), atol=0.01)


def test_outliers_are_clipped(memory: KernelRegressor) -> None:
    assert torch.equal(memory(at(7.0)), memory(at(600.0)))
    assert not torch.equal(memory(at(5.0)), memory(at(7.0)))


def test_kinds_that_there_are_none_of_have_no_part(memory: KernelRegressor) -> None:
    assert set(memory.parts) == {"channels", "mode", "spectrum"}
    assert projected(SIZES, 2) == (2, 2, 0, 3, 0, 0)
    assert projected(SIZES, 9) == SIZES
