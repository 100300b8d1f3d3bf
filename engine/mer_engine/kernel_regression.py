"""KernelRegressor: what listeners said of the windows of music that are most like this one.

Kernel ridge regression as a part of the network. With few labels and many numbers a kernel tells
new songs better than a recurrent network alone, and the two together better than either.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mer_engine.window_statistics import StatisticSizes

# How far from its mean a statistic counts, in standard deviations.
CLIP = 6.0


class KernelRegressor(nn.Module):
    """Answers with a weighted sum over remembered windows, the more alike the heavier.

    The statistics are standardised and clipped; the channels' are projected to a few axes. For each
    kind of statistic, likeness is exp(rate * d) with d the squared distance; the likenesses are
    weighed for each score and added up.

    Args:
        sizes: of the statistics.
        count: windows that are remembered.
        rank: axes that the channels' statistics are projected to, at most as many as they are.
        scores: numbers that are told.
    """

    mean: Tensor
    std: Tensor
    axes: Tensor
    centre: Tensor

    def __init__(self, sizes: StatisticSizes, count: int, rank: int, scores: int) -> None:
        super().__init__()
        self.sizes = sizes
        self.kept = projected(sizes, rank)
        self.register_buffer("mean", torch.zeros(sizes.total))
        self.register_buffer("std", torch.ones(sizes.total))
        self.register_buffer("axes", torch.zeros(sizes.channels, self.kept.channels))
        self.register_buffer("centre", torch.zeros(scores))
        self.parts = nn.ModuleDict(
            {
                kind: _Likeness(size, count, scores)
                for kind, size in self.kept._asdict().items()
                if size
            }
        )

    @property
    def count(self) -> int:
        """Windows that are remembered."""
        return int(self.get_buffer("parts.channels.known").shape[1])

    def forward(self, statistics: Tensor) -> Tensor:
        """Return [B, scores] of statistics [B, sizes.total]."""
        x = ((statistics - self.mean) / self.std).clamp(-CLIP, CLIP)
        channels = self.sizes.channels
        x = torch.cat([x[:, :channels] @ self.axes, x[:, channels:]], dim=1)
        told = self.centre
        for kind, block in zip(self.kept._fields, self.kept.slices(), strict=True):
            if kind in self.parts:
                told = told + self.parts[kind](x[:, block])
        return told


class _Likeness(nn.Module):
    """What the likeness to each remembered window adds, by one kind of statistic."""

    known: Tensor
    rate: Tensor
    weights: Tensor

    def __init__(self, size: int, count: int, scores: int) -> None:
        super().__init__()
        self.register_buffer("known", torch.zeros(size, count))
        self.register_buffer("rate", -torch.ones(1))
        self.register_buffer("weights", torch.zeros(count, scores))

    def forward(self, x: Tensor) -> Tensor:
        known = self.known
        squares = x.pow(2).sum(1, keepdim=True) + known.pow(2).sum(0) - 2 * (x @ known)
        likeness: Tensor = torch.exp(squares.clamp(min=0) * self.rate)
        return likeness @ self.weights


def projected(sizes: StatisticSizes, rank: int) -> StatisticSizes:
    """Sizes after the channels' statistics are projected."""
    return sizes._replace(channels=min(rank, sizes.channels))
