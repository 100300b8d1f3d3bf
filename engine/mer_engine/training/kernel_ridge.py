"""Kernel ridge regression on what a window is made of: a second opinion, and the network's memory.

Few labels and many numbers suit a kernel better than a network, which would rather learn from the
kernel's smooth answers than from noisy labels alone: about the labelled clips (each answered
without its own song, so the answer is honest) and about music without labels. Thinned out, the
kernel becomes the reader's memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from mer_engine.kernel_regression import KernelRegressor, projected
from mer_engine.window_statistics import CLIP, StatisticSizes

Array = NDArray[np.float64]

# Share of the kernel that looks at each kind of statistic, by dimension. Which degrees of the scale
# sound tells of valence alone: on songs left out it took from arousal.
SHARES: Mapping[str, Mapping[str, float]] = {
    "valence": {
        "channels": 0.48,
        "mode": 0.16,
        "tonic_chroma": 0.08,
        "spectrum": 0.08,
        "tags": 0.2,
    },
    "arousal": {"channels": 0.52, "mode": 0.2, "spectrum": 0.08, "tags": 0.2, "inverse_crest": 0.1},
}
RIDGE = 0.25
# The kernel's width: squared distance at which it falls to 1/e, in median distances between clips.
WIDTH = 1 / 0.3
# Axes that the statistics of the channels are projected to.
RANK = 160
_TINY = 1e-6
# Windows whose likeness to all that are remembered is held at once.
_AT_ONCE = 2000


class LikenessSpace:
    """Where windows lie so that their distances say how much alike they are.

    Args:
        statistics: float [n, D], what scales, axes and widths are taken from.
        sizes: how many numbers of each kind a row has.
    """

    def __init__(self, statistics: NDArray[np.floating], sizes: StatisticSizes) -> None:
        self.sizes = sizes
        self.projected = projected(sizes, RANK)
        x = statistics.astype(np.float64)
        self._mean, self._std = x.mean(0), x.std(0) + _TINY
        scaled = np.clip((x - self._mean) / self._std, -CLIP, CLIP)[:, : sizes.channels]
        # The directions in which the channels vary most.
        axes = np.linalg.eigh(scaled.T @ scaled)[1][:, ::-1]
        self._axes = axes[:, : self.projected.channels]
        some = self.place(statistics[::5])
        self.rates: dict[str, float] = {}
        for kind, block in self.blocks().items():
            width = WIDTH * float(np.median(_squares(some[:, block], some[:, block])))
            if width > _TINY:  # else nothing of this kind varies
                self.rates[kind] = -1 / width

    def blocks(self) -> dict[str, slice]:
        """Where each kind of statistic lies in a place, of those that there are."""
        where = zip(self.projected._fields, self.projected.slices(), strict=True)
        return {kind: block for kind, block in where if block.stop > block.start}

    def place(self, statistics: NDArray[np.floating]) -> Array:
        """Places float64 [n, D'] of windows float [n, D]."""
        x = (statistics.astype(np.float64) - self._mean) / self._std
        x = np.clip(x, -CLIP, CLIP)
        channels = self.sizes.channels
        return np.concatenate([x[:, :channels] @ self._axes, x[:, channels:]], axis=1)

    def shares(self, wanted: Mapping[str, float]) -> dict[str, float]:
        """Shares of the kinds that vary; they take over those of the others."""
        found = {kind: share for kind, share in wanted.items() if kind in self.rates}
        whole = sum(found.values())
        return {kind: share / whole for kind, share in found.items()}

    def likeness(self, a: Array, b: Array, shares: Mapping[str, float]) -> Array:
        """How much alike places [n, D'] and [m, D'] are, float64 [n, m], 1 for equal ones."""
        total = np.zeros((len(a), len(b)))
        for kind, share in self.shares(shares).items():
            block = self.blocks()[kind]
            total += share * np.exp(self.rates[kind] * _squares(a[:, block], b[:, block]))
        return total

    def memory(self, places: Array, scores: int) -> KernelRegressor:
        """A memory of windows at `places` that has nothing to say of them yet."""
        memory = KernelRegressor(self.sizes, len(places), RANK, scores)
        memory.mean.copy_(torch.from_numpy(self._mean))
        memory.std.copy_(torch.from_numpy(self._std))
        memory.axes.copy_(torch.from_numpy(self._axes.copy()))
        for kind, block in self.blocks().items():
            part = memory.parts[kind]
            part.get_buffer("support").copy_(torch.from_numpy(places[:, block].T.copy()))
            part.get_buffer("rate").fill_(self.rates.get(kind, 0.0))
        return memory


class KernelTeacher:
    """Fits targets to places.

    Args:
        space: where the windows lie.
        places: float64 [n, D'], one row for each window.
        targets: float [n, T], finite.
        songs: [n], the song of each row: rows of a song are never used for one another.
        shares: of each kind of statistic in the kernel.
        weights: float [n], how much each row counts; 1 for all where None.
    """

    def __init__(
        self,
        space: LikenessSpace,
        places: Array,
        targets: NDArray[np.floating],
        songs: Sequence[str],
        shares: Mapping[str, float],
        weights: NDArray[np.floating] | None = None,
    ) -> None:
        self._space, self._places, self._shares = space, places, shares
        self._songs = np.asarray(songs)
        self._targets = targets.astype(np.float64)
        weight = np.ones(len(places)) if weights is None else weights.astype(np.float64)
        self._centre = np.average(self._targets, axis=0, weights=weight)
        likeness = space.likeness(places, places, shares)
        # Windows of one song say nearly the same: the ridge grows with their number.
        ridge = RIDGE * weight.sum() / len(set(self._songs.tolist()))
        self._inverse = np.linalg.inv(likeness + np.diag(ridge / weight))
        self._weights = self._inverse @ (self._targets - self._centre)

    def __call__(self, places: Array) -> NDArray[np.float32]:
        """Answer for windows at places [n, D']: float32 [n, T]."""
        rows = [
            self._space.likeness(part, self._places, self._shares) @ self._weights
            for part in np.array_split(places, max(1, len(places) // 1000))
        ]
        return np.asarray(np.concatenate(rows) + self._centre, dtype=np.float32)

    def without_own_song(self) -> NDArray[np.float32]:
        """Answer for every row as if no row of its song had been known, float32 [n, T].

        The block form of leave-one-out for ridge regression: no refit is needed.
        """
        answers = np.empty(self._targets.shape, np.float32)
        for song in dict.fromkeys(self._songs.tolist()):
            rows = np.flatnonzero(self._songs == song)
            misses = np.linalg.solve(self._inverse[np.ix_(rows, rows)], self._weights[rows])
            answers[rows] = self._targets[rows] - misses
        return answers


def teach(
    memory: KernelRegressor,
    scores: Sequence[int],
    space: LikenessSpace,
    anchors: Array,
    places: Array,
    targets: NDArray[np.floating],
    weights: NDArray[np.floating],
    songs: Sequence[str],
    shares: Mapping[str, float],
) -> None:
    """Make a memory answer nearly as a kernel teacher of many windows does.

    The subset of regressors (Rasmussen and Williams 2006, section 8.3.1): the weights of a few
    windows are fitted to the targets of all.

    Args:
        memory: of `LikenessSpace.memory`; changed in place.
        scores: the memory's score that each target is.
        space: where the windows lie.
        anchors: float64 [m, D'], the places that the memory remembers.
        places, targets, songs, shares: as `KernelTeacher` takes them.
        weights: float [n], how much each row counts.
    """
    weight = weights.astype(np.float64)[:, None]
    centre = (weight * targets).sum(0) / weight.sum()
    # Windows of one song say nearly the same: the ridge grows with their number.
    ridge = RIDGE * weight.sum() / len(set(songs))
    left = ridge * space.likeness(anchors, anchors, shares) + _TINY * np.eye(len(anchors))
    right = np.zeros((len(anchors), targets.shape[1]))
    for start in range(0, len(places), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        columns = space.likeness(places[some], anchors, shares)
        weighed = (weight[some] * columns).T
        left += weighed @ columns
        right += weighed @ (targets[some] - centre)
    fitted = np.linalg.solve(left, right)
    index = torch.tensor(list(scores))
    memory.centre[index] = torch.tensor(centre, dtype=torch.float32)
    for kind, share in space.shares(shares).items():
        part = memory.parts[kind].get_buffer("weights")
        part[:, index] = torch.tensor(share * fitted, dtype=torch.float32)


def _squares(a: Array, b: Array) -> Array:
    """Squared distances between all rows."""
    squares = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T
    return np.asarray(np.maximum(0.0, squares))
