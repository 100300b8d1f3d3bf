"""A second opinion on every clip: kernel ridge regression on what a window is made of.

Few labels and many numbers suit a kernel better than a network, which would rather learn from the
kernel's smooth answers than from noisy labels alone: about the labelled clips (each answered
without its own song, so the answer is honest) and about music without labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Share of the kernel that looks at the mode; the rest looks at the tagger's channels.
MODE_SHARE = 0.25
RIDGE = 0.3
# The kernel's width: squared distance at which it falls to 1/e, in median distances between clips.
WIDTH = 1 / 0.3
# More rows than this are thinned: the cost grows with the cube.
MOST_ROWS = 6000
_CLIP = 6.0


class KernelTeacher:
    """Fits targets to the statistics of windows.

    Args:
        statistics: float [n, D], one row for each window.
        mode: how many of the last columns tell the mode; 0 for none.
        targets: float [n, T], finite.
        songs: [n], the song of each row: rows of a song are never used for one another.
    """

    def __init__(
        self,
        statistics: NDArray[np.floating],
        mode: int,
        targets: NDArray[np.floating],
        songs: Sequence[str],
    ) -> None:
        names = np.asarray(songs)
        self._given = statistics
        self._kept = keep = _thin(names)
        x, y = statistics[keep].astype(np.float64), targets[keep].astype(np.float64)
        self._songs = names[keep]
        self._blocks = _blocks(x.shape[1], mode)
        self._mean, self._std = x.mean(0), x.std(0) + 1e-6
        self._known = self._scale(x)
        self._widths = [
            max(WIDTH * float(np.median(_distances(k[::5], k[::5]))), 1e-9)
            for k in (self._known[:, block] for block, _ in self._blocks)
        ]
        self._centre = y.mean(0)
        self._targets = y
        # Windows of one song say nearly the same: the ridge grows with their number.
        repeats = len(y) / len(set(self._songs.tolist()))
        inverse = np.linalg.inv(self._kernel(self._known) + RIDGE * repeats * np.eye(len(y)))
        self._weights = inverse @ (y - self._centre)
        self._inverse = inverse

    def __call__(self, statistics: NDArray[np.floating]) -> NDArray[np.float32]:
        """Answer for windows float [n, D]: float32 [n, T]."""
        rows = [
            self._kernel(self._scale(part.astype(np.float64))) @ self._weights
            for part in np.array_split(statistics, max(1, len(statistics) // 1000))
        ]
        return (np.concatenate(rows) + self._centre).astype(np.float32)

    def without_own_song(self) -> NDArray[np.float32]:
        """Answer for every row as if no row of its song had been known, float32 [n, T].

        The block form of leave-one-out for ridge regression: no refit is needed.
        """
        answers = self(self._given)
        for song in dict.fromkeys(self._songs.tolist()):
            rows = np.flatnonzero(self._songs == song)
            misses = np.linalg.solve(self._inverse[np.ix_(rows, rows)], self._weights[rows])
            answers[self._kept[rows]] = self._targets[rows] - misses
        return answers

    def _scale(self, x: Array) -> Array:
        return np.clip((x - self._mean) / self._std, -_CLIP, _CLIP)

    def _kernel(self, x: Array) -> Array:
        total = np.zeros((len(x), len(self._known)))
        for (block, share), width in zip(self._blocks, self._widths, strict=True):
            total += share * np.exp(-_distances(x[:, block], self._known[:, block]) / width)
        return total


def _blocks(columns: int, mode: int) -> list[tuple[slice, float]]:
    if not mode:
        return [(slice(0, columns), 1.0)]
    return [
        (slice(0, columns - mode), 1 - MODE_SHARE),
        (slice(columns - mode, columns), MODE_SHARE),
    ]


def _distances(a: Array, b: Array) -> Array:
    """Mean squared difference between all rows."""
    squares = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T
    return np.asarray(np.maximum(0.0, squares) / a.shape[1])


def _thin(songs: NDArray[np.str_]) -> NDArray[np.int64]:
    """Rows to keep: every one, or whole songs evenly chosen until `MOST_ROWS` are reached."""
    if len(songs) <= MOST_ROWS:
        return np.arange(len(songs))
    names = np.array(list(dict.fromkeys(songs.tolist())))
    count = max(1, int(len(names) * MOST_ROWS / len(songs)))
    chosen = names[np.linspace(0, len(names) - 1, count).astype(int)]
    return np.flatnonzero(np.isin(songs, chosen))
