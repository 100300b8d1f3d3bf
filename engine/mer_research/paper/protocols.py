"""Two evaluation protocols, and the windows that they split.

*Known songs* is the protocol of the paper's public code. It splits the overlapping windows of each
song at random, so training and test share their songs, and a test window shares most of its half
seconds with training windows. *New songs* splits by song: each song belongs to one part only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from mer_engine.datasets.problems import DataError
from mer_engine.datasets.types import DIMENSIONS, SPLITS, STEP_S
from numpy.typing import NDArray

from mer_research.paper.step_table import StepTable

KNOWN, NEW = "known", "new"
PROTOCOLS = (KNOWN, NEW)
TITLES = {KNOWN: "known songs (the paper's split)", NEW: "new songs (split by song)"}
# The public code: a fifth of the windows of a song for test, a quarter of the rest for validation.
_TEST, _VALIDATION = 0.20, 0.25
# A song needs one window for each part.
MIN_WINDOWS = 3


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of `lag` half seconds, each with the label at its end.

    Attributes:
        lag: half seconds in a window.
        song: int64 [n], index of the song in the table.
        first: int64 [n], index of the first half second in the table.
        labels: float32 [n], 0 to 1.
    """

    lag: int
    song: NDArray[np.int64]
    first: NDArray[np.int64]
    labels: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.song)


def make_windows(table: StepTable, dimension: str, lag: int) -> Windows:
    """Return all windows that lie within a song and end with a label.

    Raises:
        DataError: no song is long enough.
    """
    if lag > table.longest:
        raise DataError(
            f"a lag order of {lag} needs songs of {lag * STEP_S:g} s; the longest of the "
            f"{len(table.songs)} songs here has {table.longest * STEP_S:g} s, so the lag order can "
            f"be {table.longest} at most"
        )
    labels = table.labels[:, DIMENSIONS.index(dimension)]
    song, first = [], []
    for index, (start, end) in enumerate(zip(table.offsets[:-1], table.offsets[1:], strict=True)):
        starts = np.arange(start, end - lag + 1)
        starts = starts[np.isfinite(labels[starts + lag - 1])]
        song.append(np.full(len(starts), index))
        first.append(starts)
    begin = np.concatenate(first).astype(np.int64)
    return Windows(lag, np.concatenate(song).astype(np.int64), begin, labels[begin + lag - 1])


def longest_lag(table: StepTable, protocol: str) -> int:
    """Return the longest lag order that a protocol allows."""
    return table.longest - (MIN_WINDOWS - 1 if protocol == KNOWN else 0)


def split_windows(
    table: StepTable, windows: Windows, protocol: str, seed: int
) -> dict[str, NDArray[np.int64]]:
    """Split windows into training, validation and test.

    Returns:
        By part, the int64 indices of its windows, ascending.

    Raises:
        DataError: a part is empty.
    """
    if protocol == NEW:
        part_of = {song: name for name in SPLITS for song in table.splits[name]}
        names = np.array([part_of.get(song.song, "") for song in table.songs])
        parts = names[windows.song]
    else:
        parts = _split_within_songs(windows.song, np.random.default_rng(seed))
    split = {name: np.flatnonzero(parts == name) for name in SPLITS}
    for name, indices in split.items():
        if not len(indices):
            raise DataError(_empty(table, windows, protocol, name))
    return split


def _split_within_songs(song: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.str_]:
    parts = np.full(len(song), "", dtype="U10")
    for index in np.unique(song):
        shuffled = rng.permutation(np.flatnonzero(song == index))
        count = len(shuffled)
        if count < MIN_WINDOWS:
            continue
        test = max(1, round(_TEST * count))
        validation = max(1, round(_VALIDATION * (count - test)))
        parts[shuffled[:test]] = "test"
        parts[shuffled[test : test + validation]] = "validation"
        parts[shuffled[test + validation :]] = "train"
    return parts


def _empty(table: StepTable, windows: Windows, protocol: str, part: str) -> str:
    if protocol == NEW:
        return (
            f"no song of the {part} split has a window of {windows.lag} half seconds; give data "
            "with songs in all three splits"
        )
    needed = (windows.lag + MIN_WINDOWS - 1) * STEP_S
    return (
        f"splitting windows of {windows.lag * STEP_S:g} s (lag order {windows.lag}) within songs "
        f"takes songs of {needed:g} s; the longest of the {len(table.songs)} songs here has "
        f"{table.longest * STEP_S:g} s, so the lag order can be "
        f"{table.longest - MIN_WINDOWS + 1} at most"
    )
