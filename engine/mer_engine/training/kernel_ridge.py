"""Kernel ridge regression on window statistics: teacher targets, and the network's regressor.

With few labels and many inputs, a kernel generalises better than a network. The network is
therefore also trained on the smooth predictions of a kernel teacher: on labelled clips, each
predicted without its own song, and on unlabelled music. A sparse version of the teacher becomes the
kernel regressor of the head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from mer_engine.kernel_regression import KernelRegressor, projected
from mer_engine.window_statistics import CLIP, StatisticSizes

Array = NDArray[np.float64]

# Weight of each kind of statistic in the kernel, by dimension. Tonic-aligned chroma is used for
# valence only: for arousal it made held-out predictions worse.
KERNEL_WEIGHTS: Mapping[str, Mapping[str, float]] = {
    "valence": {
        "channels": 0.48, "mode": 0.16, "tonic_chroma": 0.08, "spectrum": 0.08, "tags": 0.2,
    },
    "arousal": {
        "channels": 0.52, "mode": 0.2, "spectrum": 0.08, "tags": 0.2, "inverse_crest": 0.1,
    },
}  # fmt: skip
RIDGE = 0.25
# Squared distance at which the kernel falls to 1/e, in median squared distances between clips.
KERNEL_WIDTH = 1 / 0.3
# Axes that the statistics of the channels are projected to.
RANK = 160
_TINY = 1e-6
# Rows of the kernel matrix that are computed at once, to limit memory.
_BLOCK = 2000


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
            if width > _TINY:  # a kind that does not vary has no kernel
                self.rates[kind] = -1 / width

    def blocks(self) -> dict[str, slice]:
        """Return the columns of each kind of statistic in projected points."""
        columns = zip(self.projected._fields, self.projected.slices(), strict=True)
        return {kind: block for kind, block in columns if block.stop > block.start}

    def project(self, statistics: NDArray[np.floating]) -> Array:
        """Project statistics float [n, D] to points float64 [n, D']."""
        x = (statistics.astype(np.float64) - self._mean) / self._std
        x = np.clip(x, -CLIP, CLIP)
        channels = self.sizes.channels
        return np.concatenate([x[:, :channels] @ self._axes, x[:, channels:]], axis=1)

    def normalised(self, weights: Mapping[str, float]) -> dict[str, float]:
        """Return the weights of the kinds that vary, scaled to a sum of 1."""
        found = {kind: weight for kind, weight in weights.items() if kind in self.rates}
        total = sum(found.values())
        return {kind: weight / total for kind, weight in found.items()}

    def kernel(self, a: Array, b: Array, weights: Mapping[str, float]) -> Array:
        """Compute the kernel between points [n, D'] and [m, D']: float64 [n, m], 1 if equal."""
        total = np.zeros((len(a), len(b)))
        for kind, weight in self.normalised(weights).items():
            block = self.blocks()[kind]
            total += weight * np.exp(
                self.rates[kind] * _squared_distances(a[:, block], b[:, block])
            )
        return total

    def regressor(self, points: Array, scores: int) -> KernelRegressor:
        """Return a regressor with these support points [n, D'] and weights of zero."""
        regressor = KernelRegressor(self.sizes, len(points), RANK, scores)
        regressor.mean.copy_(torch.from_numpy(self._mean))
        regressor.std.copy_(torch.from_numpy(self._std))
        regressor.axes.copy_(torch.from_numpy(self._axes.copy()))
        for kind, block in self.blocks().items():
            part = regressor.parts[kind]
            part.get_buffer("support").copy_(torch.from_numpy(points[:, block].T.copy()))
            part.get_buffer("rate").fill_(self.rates.get(kind, 0.0))
        return regressor


class KernelTeacher:
    """Kernel ridge regression from points to targets.

    Args:
        space: the space of the points.
        points: float64 [n, D'], one row per window.
        targets: float [n, T], finite.
        songs: [n], the song of each row, for `without_own_song`.
        kernel_weights: weight of each kind of statistic in the kernel.
        weights: float [n], weight of each row; None for equal weights.
    """

    def __init__(
        self,
        space: KernelSpace,
        points: Array,
        targets: NDArray[np.floating],
        songs: Sequence[str],
        kernel_weights: Mapping[str, float],
        weights: NDArray[np.floating] | None = None,
    ) -> None:
        self._space, self._points, self._kernel_weights = space, points, kernel_weights
        self._songs = np.asarray(songs)
        self._targets = targets.astype(np.float64)
        weight = np.ones(len(points)) if weights is None else weights.astype(np.float64)
        self._centre = np.average(self._targets, axis=0, weights=weight)
        kernel = space.kernel(points, points, kernel_weights)
        # Windows of one song are nearly the same, so the ridge grows with their number.
        ridge = RIDGE * weight.sum() / len(set(self._songs.tolist()))
        self._inverse = np.linalg.inv(kernel + np.diag(ridge / weight))
        self._coefficients = self._inverse @ (self._targets - self._centre)

    def __call__(self, points: Array) -> NDArray[np.float32]:
        """Predict targets float32 [n, T] of points [n, D']."""
        rows = [
            self._space.kernel(part, self._points, self._kernel_weights) @ self._coefficients
            for part in np.array_split(points, max(1, len(points) // 1000))
        ]
        return np.asarray(np.concatenate(rows) + self._centre, dtype=np.float32)

    def without_own_song(self) -> NDArray[np.float32]:
        """Predict every row as if fitted without the rows of its song: float32 [n, T].

        This is block leave-one-out for ridge regression, in closed form.
        """
        predictions = np.empty(self._targets.shape, np.float32)
        for song in dict.fromkeys(self._songs.tolist()):
            rows = np.flatnonzero(self._songs == song)
            residuals = np.linalg.solve(self._inverse[np.ix_(rows, rows)], self._coefficients[rows])
            predictions[rows] = self._targets[rows] - residuals
        return predictions


def fit_regressor(
    regressor: KernelRegressor,
    scores: Sequence[int],
    space: KernelSpace,
    support: Array,
    points: Array,
    targets: NDArray[np.floating],
    weights: NDArray[np.floating],
    songs: Sequence[str],
    kernel_weights: Mapping[str, float],
) -> None:
    """Fit a regressor to many windows; it approximates a `KernelTeacher` of all of them.

    This is the subset of regressors method (Rasmussen and Williams 2006, section 8.3.1).

    Args:
        regressor: from `KernelSpace.regressor`; changed in place.
        scores: index of the regressor's score for each target.
        space: the space of the points.
        support: float64 [m, D'], the support points of the regressor.
        points, targets, songs, kernel_weights: as `KernelTeacher` takes them.
        weights: float [n], weight of each row.
    """
    weight = weights.astype(np.float64)[:, None]
    centre = (weight * targets).sum(0) / weight.sum()
    # Windows of one song are nearly the same, so the ridge grows with their number.
    ridge = RIDGE * weight.sum() / len(set(songs))
    left = ridge * space.kernel(support, support, kernel_weights) + _TINY * np.eye(len(support))
    right = np.zeros((len(support), targets.shape[1]))
    for start in range(0, len(points), _BLOCK):
        rows = slice(start, start + _BLOCK)
        kernel = space.kernel(points[rows], support, kernel_weights)
        weighted = (weight[rows] * kernel).T
        left += weighted @ kernel
        right += weighted @ (targets[rows] - centre)
    coefficients = np.linalg.solve(left, right)
    index = torch.tensor(list(scores))
    regressor.centre[index] = torch.tensor(centre, dtype=torch.float32)
    for kind, kernel_weight in space.normalised(kernel_weights).items():
        part = regressor.parts[kind].get_buffer("weights")
        part[:, index] = torch.tensor(kernel_weight * coefficients, dtype=torch.float32)


def _squared_distances(a: Array, b: Array) -> Array:
    """Return the squared distances between all rows of a and all rows of b."""
    squares = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T
    return np.asarray(np.maximum(0.0, squares))
