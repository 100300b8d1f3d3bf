"""Fit the kernel regressor of a head: kernel ridge regression on window statistics.

With few labels and many inputs, a kernel generalises better than a network alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from mer_engine.datasets.types import CLIP_STEPS
from mer_engine.kernel_regression import SHARED, KernelRegressor, projected
from mer_engine.network import RegressionHead
from mer_engine.training.examples import Labels
from mer_engine.training.predict import window_statistics
from mer_engine.training.settings import FitSettings
from mer_engine.window_statistics import CLIP, StatisticSizes

Array = NDArray[np.float32]

# Weight of each kind of statistic in the kernel.
KERNEL_WEIGHTS: Mapping[str, float] = {
    "channels": 0.6, "mode": 0.2, "tonic_chroma": 0.05, "spectrum": 0.1, "inverse_crest": 0.05,
}  # fmt: skip
RIDGE = 0.25
# Squared distance at which the kernel falls to 1/e, in median squared distances between clips.
KERNEL_WIDTH = 1 / 0.6
# Axes that the statistics of the channels are projected to.
RANK = 160
# Windows to fit to: first step, step after the last, weight. Windows that begin within a clip are
# necessary: the others follow the silence before the clip, which a stream has only at its start.
_WINDOWS = ((0, 20, 1.0), (0, 10, 0.8), (0, 3, 0.2), (8, 20, 0.8))
# No regressor is fitted to fewer clips.
_MIN_CLIPS = 20
# Regularisation of the weights that tell collections apart. Confident weights gained nothing.
_RESEMBLANCE_RIDGE = 0.06
_TINY = 1e-6
# Rows of the kernel matrix that are computed at once, to limit memory.
_BLOCK = 2000


def fit_regressor(
    head: RegressionHead,
    steps: NDArray[np.float16],
    labels: Labels,
    offsets: Mapping[str, NDArray[np.float32]],
    settings: FitSettings,
    seed: int,
) -> KernelRegressor | None:
    """Fit a kernel regressor of valence and arousal to all clips with a label.

    This is the subset of regressors method (Rasmussen and Williams 2006, section 8.3.1). A clip of
    which only the signs are known has the margin as its value.

    Args:
        head: gives the statistics.
        steps: float16 [versions, n, 20, E], embeddings of clips.
        labels: of the same clips.
        offsets: by scale, what its labels exceed the shared values by, [2].
        settings: number of support windows, margin, weight of augmented clips.
        seed: of the choice of the support windows.

    Returns:
        The regressor; None if there are too few clips.
    """
    shift = np.array([offsets.get(name, np.zeros(2)) for name in labels.scales.tolist()])
    signed = settings.margin * np.where(labels.signs == 0, np.nan, labels.signs)
    whole = window_statistics(head, steps[0], CLIP_STEPS)
    space = KernelSpace(whole, head.statistics.sizes)
    known = np.isfinite(labels.values).any((1, 2)) | (labels.signs != 0).any(1)
    if known.sum() < _MIN_CLIPS:
        return None
    chosen = _support(labels, known, settings.support, seed)
    support = space.project(whole[chosen])
    resemblance = Resemblance(space.project(whole), labels.collections)
    support_resemblance = resemblance(support)
    count = len(chosen)
    left = np.zeros((count, count))
    right, weight_sum, weighted_targets = np.zeros((count, 2)), 0.0, np.zeros(2)
    kernel_sum = np.zeros(count)
    for version, version_steps in enumerate(steps):
        for first, last, window_weight in _WINDOWS:
            if version and (first, last) != (0, CLIP_STEPS):
                continue
            targets = labels.values[:, last - 1] - shift
            targets = np.where(np.isfinite(targets), targets, signed)
            use = np.isfinite(targets).all(1)
            weight = labels.weights[use] * window_weight
            weight *= settings.augmented_weight if version else 1.0
            points = space.project(window_statistics(head, version_steps[use], last, first))
            targets = targets[use]
            for start in range(0, len(points), _BLOCK):
                rows = slice(start, start + _BLOCK)
                kernel = space.kernel(points[rows], support)
                kernel *= resemblance.factor(resemblance(points[rows]), support_resemblance)
                weighted = kernel * weight[rows, None].astype(np.float32)
                left += weighted.T @ kernel
                right += weighted.T @ targets[rows]
                kernel_sum += weighted.sum(0)
            weight_sum += weight.sum()
            weighted_targets += weight @ targets
    centre = weighted_targets / weight_sum
    # Windows of one song are nearly the same, so the ridge grows with their number.
    ridge = RIDGE * weight_sum / len(set(labels.songs[known].tolist()))
    prior = space.kernel(support, support)
    prior *= resemblance.factor(support_resemblance, support_resemblance)
    left += ridge * prior + 1e-4 * np.eye(count)
    coefficients = np.linalg.solve(left, right - kernel_sum[:, None] * centre)
    regressor = space.regressor(support, len(head.config.scores), resemblance.count)
    if resemblance.count:
        regressor.resemblance.weight.copy_(torch.from_numpy(resemblance.weight.T))
        regressor.resemblance.bias.copy_(torch.from_numpy(resemblance.bias))
        regressor.support_resemblance.copy_(torch.from_numpy(support_resemblance.T.copy()))
    regressor.centre.copy_(torch.from_numpy(centre))
    for kind, kernel_weight in space.weights.items():
        part = regressor.parts[kind].get_buffer("weights")
        part.copy_(torch.from_numpy(kernel_weight * coefficients))
    return regressor


class KernelSpace:
    """The space in which kernels compare windows: standardised and projected statistics.

    Args:
        statistics: float [n, D], from which scales, axes and kernel widths are computed.
        sizes: sizes of the statistics.
    """

    def __init__(self, statistics: NDArray[np.floating], sizes: StatisticSizes) -> None:
        self.sizes = sizes
        self.projected = projected(sizes, RANK)
        x = statistics.astype(np.float64)
        self._mean, self._std = x.mean(0), x.std(0) + _TINY
        scaled = np.clip((x - self._mean) / self._std, -CLIP, CLIP)[:, : sizes.channels]
        # Principal axes of the channels.
        axes = np.linalg.eigh(scaled.T @ scaled)[1][:, ::-1]
        self._axes = axes[:, : self.projected.channels]
        sample = self.project(statistics[::5])
        self.rates: dict[str, float] = {}
        for kind, block in self.blocks().items():
            columns = sample[:, block]
            width = KERNEL_WIDTH * float(np.median(_squared_distances(columns, columns)))
            if kind in KERNEL_WEIGHTS and width > _TINY:  # a kind that does not vary has no kernel
                self.rates[kind] = -1 / width
        total = sum(KERNEL_WEIGHTS[kind] for kind in self.rates)
        self.weights = {kind: KERNEL_WEIGHTS[kind] / total for kind in self.rates}

    def blocks(self) -> dict[str, slice]:
        """Return the columns of each kind of statistic in projected points."""
        columns = zip(self.projected._fields, self.projected.slices(), strict=True)
        return {kind: block for kind, block in columns if block.stop > block.start}

    def project(self, statistics: NDArray[np.floating]) -> Array:
        """Project statistics float [n, D] to points float32 [n, D']."""
        x = np.clip((statistics - self._mean) / self._std, -CLIP, CLIP)
        channels = self.sizes.channels
        points = np.concatenate([x[:, :channels] @ self._axes, x[:, channels:]], axis=1)
        return points.astype(np.float32)

    def kernel(self, a: Array, b: Array) -> Array:
        """Compute the kernel between points [n, D'] and [m, D']: float32 [n, m], 1 if equal."""
        total = np.zeros((len(a), len(b)), np.float32)
        for kind, weight in self.weights.items():
            block = self.blocks()[kind]
            distances = _squared_distances(a[:, block], b[:, block])
            total += np.float32(weight) * np.exp(np.float32(self.rates[kind]) * distances)
        return total

    def regressor(self, points: Array, scores: int, collections: int) -> KernelRegressor:
        """Return a regressor with these support points [n, D'] and weights of zero."""
        regressor = KernelRegressor(self.sizes, len(points), RANK, scores, collections)
        regressor.mean.copy_(torch.from_numpy(self._mean))
        regressor.std.copy_(torch.from_numpy(self._std))
        regressor.axes.copy_(torch.from_numpy(self._axes.copy()))
        for kind, block in self.blocks().items():
            part = regressor.parts[kind]
            part.get_buffer("support").copy_(torch.from_numpy(points[:, block].T.copy()))
            part.get_buffer("rate").fill_(self.rates.get(kind, 0.0))
        return regressor


class Resemblance:
    """Tells which collections windows resemble, by regularised multinomial logistic regression.

    Args:
        points: float32 [n, D'], from `KernelSpace.project`.
        collections: [n], the collection of each.

    Attributes:
        count: number of collections; 0 if there is only one.
        weight: float32 [D', count].
        bias: float32 [count].
    """

    def __init__(self, points: Array, collections: NDArray[np.str_]) -> None:
        names, truth = np.unique(collections, return_inverse=True)
        self.count = len(names) if len(names) > 1 else 0
        x, y = torch.from_numpy(points), torch.from_numpy(truth)
        weight = torch.zeros(points.shape[1], len(names), requires_grad=True)
        bias = torch.zeros(len(names), requires_grad=True)
        optimiser = torch.optim.LBFGS([weight, bias], max_iter=60, line_search_fn="strong_wolfe")

        def closure() -> torch.Tensor:
            optimiser.zero_grad()
            loss = functional.cross_entropy(x @ weight + bias, y)
            loss = loss + 0.5 * _RESEMBLANCE_RIDGE * weight.pow(2).sum()
            loss.backward()
            return loss

        if self.count:
            optimiser.step(closure)
        self.weight, self.bias = weight.detach().numpy(), bias.detach().numpy()

    def __call__(self, points: Array) -> Array:
        """Return probabilities float32 [n, count] of points [n, D']."""
        if not self.count:
            return np.ones((len(points), 1), np.float32)
        logits = points @ self.weight + self.bias
        exponentials = np.exp(logits - logits.max(1, keepdims=True))
        return np.asarray(exponentials / exponentials.sum(1, keepdims=True), np.float32)

    @staticmethod
    def factor(a: Array, b: Array) -> Array:
        """Return the factor of the kernel, float32 [n, m], of probabilities [n, c] and [m, c]."""
        return np.asarray(SHARED + (1 - SHARED) * (a @ b.T), np.float32)


def _support(labels: Labels, known: NDArray[np.bool_], count: int, seed: int) -> NDArray[np.int64]:
    """Choose support clips at random, in proportion to their weights; return their indices."""
    weights = np.where(known, labels.weights, 0.0)
    count = min(count, int((weights > 0).sum()))
    rng = np.random.default_rng(seed)
    return np.sort(rng.choice(len(labels), count, replace=False, p=weights / weights.sum()))


def _squared_distances(a: NDArray[np.floating], b: NDArray[np.floating]) -> Array:
    """Return the squared distances between all rows of a and all rows of b."""
    squares = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T
    return np.asarray(np.maximum(0, squares), np.float32)
