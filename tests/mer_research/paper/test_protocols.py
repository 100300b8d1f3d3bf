"""How the two protocols split windows."""

from __future__ import annotations

import numpy as np
import pytest
from mer_engine.datasets.problems import DataError
from mer_research.paper.protocols import KNOWN, NEW, longest_lag, make_windows, split_windows
from mer_research.paper.step_table import StepTable
from paper_support import make_table


def test_windows_lie_within_songs_and_end_with_their_label(table: StepTable) -> None:
    windows = make_windows(table, "arousal", 3)
    assert len(windows) == 32 * 6
    last = windows.first + 2
    song = np.searchsorted(table.offsets, last, side="right") - 1
    np.testing.assert_array_equal(song, windows.song)
    np.testing.assert_array_equal(
        np.searchsorted(table.offsets, windows.first, side="right") - 1, windows.song
    )
    np.testing.assert_array_equal(windows.labels, table.labels[last, 1])


def test_windows_without_a_label_are_left_out(table: StepTable) -> None:
    song = table.songs[0]
    labels = song.labels.copy()
    labels[:4] = np.nan
    shorter = StepTable(
        table.name,
        table.columns,
        (type(song)(song.song, song.features, labels), *table.songs[1:]),
        table.splits,
        table.label_range,
    )
    windows = make_windows(shorter, "valence", 3)
    assert np.isfinite(windows.labels).all()
    assert np.sum(windows.song == 0) == 4


def test_known_songs_have_windows_in_all_parts(table: StepTable) -> None:
    windows = make_windows(table, "arousal", 4)  # five windows a song
    parts = split_windows(table, windows, KNOWN, seed=1)
    for name, count in (("train", 3), ("validation", 1), ("test", 1)):
        found = np.bincount(windows.song[parts[name]], minlength=32)
        assert (found == count).all(), name
    joined = np.concatenate(list(parts.values()))
    np.testing.assert_array_equal(np.sort(joined), np.arange(len(windows)))
    repeated = split_windows(table, windows, KNOWN, seed=1)
    other = split_windows(table, windows, KNOWN, seed=2)
    np.testing.assert_array_equal(parts["test"], repeated["test"])
    assert not np.array_equal(parts["test"], other["test"])


def test_new_songs_belong_to_one_part(table: StepTable) -> None:
    windows = make_windows(table, "arousal", 4)
    parts = split_windows(table, windows, NEW, seed=0)
    songs = {
        name: {table.songs[index].song for index in windows.song[indices]}
        for name, indices in parts.items()
    }
    assert songs == {name: set(ids) for name, ids in table.splits.items()}


def test_songs_that_are_too_short_are_refused_with_their_length() -> None:
    table = make_table(steps=8)
    assert longest_lag(table, KNOWN) == 6
    assert longest_lag(table, NEW) == 8
    with pytest.raises(DataError, match=r"lag order of 9 needs songs of 4\.5 s; .* has 4 s"):
        make_windows(table, "arousal", 9)
    with pytest.raises(DataError, match=r"takes songs of 4\.5 s; .* has 4 s, .* 6 at most"):
        split_windows(table, make_windows(table, "arousal", 7), KNOWN, seed=0)


def test_an_empty_split_is_refused(table: StepTable) -> None:
    few = table.only(table.splits["train"])
    with pytest.raises(DataError, match="no song of the validation split"):
        split_windows(few, make_windows(few, "arousal", 2), NEW, seed=0)
