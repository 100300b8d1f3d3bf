"""Kernel regression as a part of the network: predict from the most similar training windows.

With few labels and many inputs, kernel ridge regression generalises to new songs better than the
recurrent network alone. Both together are better than either.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mer_engine.window_statistics import CLIP, StatisticSizes

# Share of a kernel that does not depend on which collections the windows resemble.
SHARED = 0.2


class KernelRegressor(nn.Module):
    """Predicts scores as a weighted sum of kernels over support windows.

    The statistics of a window are standardised and clipped, and those of the channels are projected
    to a few axes. Each kind of statistic has a Gaussian kernel exp(rate * d), with d the squared
    distance. The prediction is `centre` plus the kernels' weighted sum.

    Collections of labelled music differ in what their listeners were asked and in their kind of
    music. A softmax over a linear layer therefore tells which of them a window resembles, and
    windows that resemble the same collections count more: each kernel is multiplied by `SHARED`
    plus the rest times the product of both windows' probabilities.

    Args:
        sizes: sizes of the statistics.
        count: number of support windows.
        rank: number of axes that the channels' statistics are projected to, at most
            `sizes.channels`.
        scores: number of scores to predict.
        collections: number of collections of labelled music; 0 for kernels without this factor.
    """

    mean: Tensor
    std: Tensor
    axes: Tensor
    centre: Tensor
    support_resemblance: Tensor

    def __init__(
        self, sizes: StatisticSizes, count: int, rank: int, scores: int, collections: int = 0
    ) -> None:
        super().__init__()
        self.sizes = sizes
        self.collections = collections
        self.projected = projected(sizes, rank)
        self.register_buffer("mean", torch.zeros(sizes.total))
        self.register_buffer("std", torch.ones(sizes.total))
        self.register_buffer("axes", torch.zeros(sizes.channels, self.projected.channels))
        self.register_buffer("centre", torch.zeros(scores))
        if collections:
            self.resemblance = nn.Linear(self.projected.total, collections)
            self.resemblance.requires_grad_(False)
            self.register_buffer("support_resemblance", torch.zeros(collections, count))
        self.parts = nn.ModuleDict(
            {
                kind: _Kernel(size, count, scores)
                for kind, size in self.projected._asdict().items()
                if size
            }
        )

    @property
    def count(self) -> int:
        """Number of support windows."""
        return int(self.get_buffer("parts.channels.support").shape[1])

    def forward(self, statistics: Tensor) -> Tensor:
        """Predict scores [B, scores] from statistics [B, sizes.total]."""
        x = ((statistics - self.mean) / self.std).clamp(-CLIP, CLIP)
        channels = self.sizes.channels
        x = torch.cat([x[:, :channels] @ self.axes, x[:, channels:]], dim=1)
        factor: Tensor | None = None
        if self.collections:
            probability = torch.softmax(self.resemblance(x), dim=1)
            factor = SHARED + (1 - SHARED) * (probability @ self.support_resemblance)
        prediction = self.centre
        for kind, block in zip(self.projected._fields, self.projected.slices(), strict=True):
            if kind in self.parts:
                prediction = prediction + self.parts[kind](x[:, block], factor)
        return prediction


class _Kernel(nn.Module):
    """The weighted kernels of one kind of statistic, over all support windows."""

    support: Tensor
    rate: Tensor
    weights: Tensor

    def __init__(self, size: int, count: int, scores: int) -> None:
        super().__init__()
        self.register_buffer("support", torch.zeros(size, count))
        self.register_buffer("rate", -torch.ones(1))
        self.register_buffer("weights", torch.zeros(count, scores))

    def forward(self, x: Tensor, factor: Tensor | None) -> Tensor:
        """Return the contribution [B, scores] of statistics [B, size].

        Args:
            x: the statistics.
            factor: [B, support windows], factor of each kernel; None for 1.
        """
        support = self.support
        squares = x.pow(2).sum(1, keepdim=True) + support.pow(2).sum(0) - 2 * (x @ support)
        kernel: Tensor = torch.exp(squares.clamp(min=0) * self.rate)
        if factor is not None:
            kernel = kernel * factor
        return kernel @ self.weights


def projected(sizes: StatisticSizes, rank: int) -> StatisticSizes:
    """Return the sizes after the channels' statistics are projected to `rank` axes."""
    return sizes._replace(channels=min(rank, sizes.channels))
