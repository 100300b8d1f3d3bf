"""Load the 4Q data set (Panda, Malheiro, Paiva 2018): 30-second clips with a quadrant each.

    labels.csv          song, artist, title, quadrant, quadrant_share, genres
    audio/<song>.*      the clips, in any audio format

A quadrant gives the signs of valence and arousal: Q1 + +, Q2 - +, Q3 - -, Q4 + -. It was derived
from mood words; `quadrant_share` is the share of the words of a song that lie in its quadrant.
There are no numbers, so the labels of every clip are unknown (NaN) and `Song.quadrant` has the
signs. The clips are cut into sections of ten seconds. There is no published split: all songs are
in "train".

Songs are left out if they have no audio, if the audio cannot be read, or if the quadrant or its
share is invalid. A missing table or column raises a `DataError`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from mer_engine.datasets.cells import read_quadrant
from mer_engine.datasets.problems import (
    BAD_LABELS,
    CONTRADICTORY,
    OUTSIDE,
    DataError,
    Problem,
)
from mer_engine.datasets.recordings import recording_sections
from mer_engine.datasets.table import Row, Table, read_table
from mer_engine.datasets.types import Clip, Collection, Song, all_in_train

TABLE = "labels.csv"
_COLUMNS = ("song", "artist", "title", "quadrant", "quadrant_share", "genres")


def load_four_quadrants(folder: Path) -> Collection:
    """Read the 4Q data set.

    Args:
        folder: contains the table and ``audio``.

    Raises:
        DataError: the folder or its table is missing, or the table cannot be used.
    """
    if not folder.is_dir():
        raise DataError(f"the data folder {folder} does not exist; give the folder of 4Q")
    table = read_table(folder / TABLE, "the quadrant of each song", _COLUMNS)
    songs: dict[str, Song] = {}
    clips: dict[str, Sequence[Clip]] = {}
    problems: dict[str, Problem] = {}
    for row in table.rows:
        name = table.file_name(row, "song")
        song = _song(name, table, row)
        if name in songs:
            detail = f"{table.path.name}, line {row.line}: the song has an earlier row"
            problems.setdefault(name, Problem(name, CONTRADICTORY, detail))
            continue
        songs[name] = song if isinstance(song, Song) else Song(name)
        found = song if isinstance(song, Problem) else recording_sections(name, folder / "audio")
        if isinstance(found, Problem):
            problems[name] = found
        else:
            clips[name] = found
    return Collection(
        name="4q",
        root=folder,
        clips=tuple(c for name, found in clips.items() if name not in problems for c in found),
        extra=(),
        songs=songs,
        splits=all_in_train(songs),
        curves={},
        problems=tuple(problems.values()),
        labelled="quadrant",
    )


def _song(name: str, table: Table, row: Row) -> Song | Problem:
    """Return the song of a row, or the problem with its labels."""
    quadrant = read_quadrant(name, table, row)
    if isinstance(quadrant, Problem):
        return quadrant
    where = f"{table.path.name}, line {row.line}, quadrant_share"
    text = row.cells["quadrant_share"]
    try:
        share = table.number(text)
    except ValueError:
        return Problem(name, BAD_LABELS, f"{where}: {text!r} is not a number")
    if share <= 0 or share > 1:
        return Problem(name, OUTSIDE, f"{where}: {share:g} is not above 0 and at most 1")
    artist, title, genre = (
        row.cells[column].strip() or None for column in ("artist", "title", "genres")
    )
    known = None if math.isnan(share) else share
    return Song(name, artist, title, genre, quadrant=quadrant, quadrant_share=known)
