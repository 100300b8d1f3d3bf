"""Two questions that one network can be asked, and the windows that ask them.

*Known songs* is what the paper's public code does: overlapping windows are dealt out at random
within each song, so that the songs that are tested are the songs that were learnt, and most half
seconds of a tested window stand in training windows too. *New songs* is what a listener who plays
a song for the first time asks: every song is on one side only.
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
# The public code: a fifth of a song's windows for the test, a quarter of the rest for validation.
_TEST, _VALIDATION = 0.20, 0.25
# Fewer windows of a song cannot be dealt out to three parts.
FEWEST_WINDOWS = 3


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of `lag` half seconds, each with the label at its end.

    Attributes:
        lag: half seconds in a window.
        song: int64 [n], the place of its song in the table.
        first: int64 [n], the place of its first half second among all of the table.
        labels: float32 [n], 0 to 1.
    """

    lag: int
    song: NDArray[np.int64]
    first: NDArray[np.int64]
    labels: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.song)


def windows_of(table: StepTable, dimension: str, lag: int) -> Windows:
    """All windows that lie within a song and end with a label.

    Raises:
        DataError: no song is that long.
    """
    if lag > table.longest:
        raise DataError(
            f"a lag order of {lag} needs songs of {lag * STEP_S:g} s; the longest of the "
            f"{len(table.songs)} songs here has {table.longest * STEP_S:g} s, so the lag order can "
            f"be {table.longest} at most"
        )
    labels = table.labels[:, DIMENSIONS.index(dimension)]
    song, first = [], []
    for place, (start, end) in enumerate(zip(table.offsets[:-1], table.offsets[1:], strict=True)):
        begins = np.arange(start, end - lag + 1)
        begins = begins[np.isfinite(labels[begins + lag - 1])]
        song.append(np.full(len(begins), place))
        first.append(begins)
    where = np.concatenate(first).astype(np.int64)
    return Windows(lag, np.concatenate(song).astype(np.int64), where, labels[where + lag - 1])


def longest_lag(table: StepTable, protocol: str) -> int:
    """The longest lag order that a protocol can be asked about."""
    return table.longest - (FEWEST_WINDOWS - 1 if protocol == KNOWN else 0)


def deal(
    table: StepTable, windows: Windows, protocol: str, seed: int
) -> dict[str, NDArray[np.int64]]:
    """Deal windows out to training, validation and test.

    Returns:
        By part, int64 places of its windows, ascending.

    Raises:
        DataError: a part stays empty.
    """
    if protocol == NEW:
        part_of = {song: name for name in SPLITS for song in table.splits[name]}
        names = np.array([part_of.get(song.song, "") for song in table.songs])
        parts = names[windows.song]
    else:
        parts = _deal_within_songs(windows.song, np.random.default_rng(seed))
    dealt = {name: np.flatnonzero(parts == name) for name in SPLITS}
    for name, places in dealt.items():
        if not len(places):
            raise DataError(_empty(table, windows, protocol, name))
    return dealt


def _deal_within_songs(song: NDArray[np.int64], chance: np.random.Generator) -> NDArray[np.str_]:
    parts = np.full(len(song), "", dtype="U10")
    for which in np.unique(song):
        places = chance.permutation(np.flatnonzero(song == which))
        count = len(places)
        if count < FEWEST_WINDOWS:
            continue
        test = max(1, round(_TEST * count))
        validation = max(1, round(_VALIDATION * (count - test)))
        parts[places[:test]] = "test"
        parts[places[test : test + validation]] = "validation"
        parts[places[test + validation :]] = "train"
    return parts


def _empty(table: StepTable, windows: Windows, protocol: str, part: str) -> str:
    if protocol == NEW:
        return (
            f"no song of the {part} split has a window of {windows.lag} half seconds; give data "
            "with songs in all three splits"
        )
    needed = (windows.lag + FEWEST_WINDOWS - 1) * STEP_S
    return (
        f"to deal windows of {windows.lag * STEP_S:g} s (lag order {windows.lag}) out within songs "
        f"takes songs of {needed:g} s; the longest of the {len(table.songs)} songs here has "
        f"{table.longest * STEP_S:g} s, so the lag order can be "
        f"{table.longest - FEWEST_WINDOWS + 1} at most"
    )
