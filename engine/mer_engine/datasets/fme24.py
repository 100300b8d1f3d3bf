"""Load FME-24 (Crocker and Fazekas 2024): excerpts of film music with marks of listeners.

    excerpts.csv        clip, film, title, genre, n_raters, valence, arousal: means over listeners
    marks.csv           clip, participant, t_s, valence, arousal: each mark of a listener
    audio/<clip>.*      the excerpts of 15 seconds, in any audio format

Values are in [-1, 1]. An excerpt has one to five listeners, so its mean is noisy; `Song.raters` has
their number. The label of an excerpt is its mean, at all times. Its marks tell how the emotion
moves: each listener's value is the newest mark, before the first mark the first one, and the marks
of an excerpt are the mean over its listeners at each half second (`Collection.marks`).

Excerpts are cut into two overlapping sections, from 0 and from 5 s, which are scored from 5 to 10 s
and from 10 to 15 s. There is no published split: all excerpts are in "train". The film takes the
place of the artist.

Excerpts are left out if they have no readable audio of ten seconds, no marks, or values that are
not numbers or are outside their range. A missing table or column raises a `DataError`.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np

from mer_engine.datasets.cells import read_numbers
from mer_engine.datasets.curve import Curve
from mer_engine.datasets.problems import (
    CONTRADICTORY,
    NO_LABELS,
    OUTSIDE,
    SHORT_AUDIO,
    DataError,
    Problem,
)
from mer_engine.datasets.recordings import find_recording
from mer_engine.datasets.table import Row, Table, read_table
from mer_engine.datasets.types import (
    CLIP_S,
    DIMENSIONS,
    STEP_S,
    Clip,
    Collection,
    Song,
    all_in_train,
    constant_curves,
)

EXCERPTS, MARKS = "excerpts.csv", "marks.csv"
STARTS_S = (0.0, 5.0)
_EXCERPT_COLUMNS = ("clip", "film", "title", "genre", "n_raters", *DIMENSIONS)
_MARK_COLUMNS = ("clip", "participant", "t_s", *DIMENSIONS)

# (time in seconds, valence, arousal)
Mark = tuple[float, float, float]


def load_fme24(folder: Path) -> Collection:
    """Read FME-24.

    Args:
        folder: contains the tables and ``audio``.

    Raises:
        DataError: the folder or a table is missing, or a table cannot be used.
    """
    if not folder.is_dir():
        raise DataError(f"the data folder {folder} does not exist; give the folder of FME-24")
    table = read_table(folder / EXCERPTS, "the mean labels of each excerpt", _EXCERPT_COLUMNS)
    marks, bad = _read_marks(folder / MARKS)
    songs: dict[str, Song] = {}
    curves: dict[str, tuple[Curve, Curve]] = {}
    moving: dict[str, tuple[Curve, Curve]] = {}
    clips: list[Clip] = []
    for row in table.rows:
        name = table.file_name(row, "clip")
        if name in songs:
            detail = f"{table.path.name}, line {row.line}: the excerpt has an earlier row"
            bad.setdefault(name, Problem(name, CONTRADICTORY, detail))
            continue
        song = _song(name, table, row)
        songs[name] = song if isinstance(song, Song) else Song(name)
        if isinstance(song, Problem):
            bad.setdefault(name, song)
            continue
        if name in bad:
            continue
        if name not in marks:
            bad[name] = Problem(name, NO_LABELS, f"no marks in {MARKS}")
            continue
        file = find_recording(name, folder / "audio")
        if isinstance(file, Problem):
            bad[name] = file
            continue
        ends = [start_s for start_s in STARTS_S if start_s + CLIP_S <= file.duration_s + STEP_S]
        if not ends:
            detail = f"{file.path} has only {file.duration_s:.1f} s"
            bad[name] = Problem(name, SHORT_AUDIO, detail)
            continue
        clips += [Clip(name, file.path, start_s, start_s, CLIP_S) for start_s in ends]
        assert song.static is not None
        curves[name] = constant_curves(song.static, file.duration_s)
        moving[name] = mean_marks(list(marks[name].values()), file.duration_s)
    return Collection(
        name="fme24",
        root=folder,
        clips=tuple(clip for clip in clips if clip.song not in bad),
        extra=(),
        songs=songs,
        splits=all_in_train(songs),
        curves=curves,
        problems=tuple(problem for name, problem in bad.items() if name in songs),
        labelled="mean",
        marks=moving,
    )


def mean_marks(listeners: list[list[Mark]], duration_s: float) -> tuple[Curve, Curve]:
    """Average the newest marks of listeners at each half second.

    Before the first mark of a listener the first one counts, so that the mean does not jump when a
    listener joins.

    Args:
        listeners: the marks of each listener; at least one of each.
        duration_s: length of the recording.

    Returns:
        The curves of valence and arousal.
    """
    times_s = STEP_S * np.arange(int(duration_s / STEP_S) + 2, dtype=np.float64)
    total = np.zeros((len(times_s), 2))
    for marks in listeners:
        table = np.array(sorted(marks), np.float64)
        newest = np.searchsorted(table[:, 0], times_s, side="right") - 1
        total += table[np.maximum(newest, 0), 1:]
    valence, arousal = (total / len(listeners)).T
    return Curve(times_s, valence), Curve(times_s, arousal)


def _song(name: str, table: Table, row: Row) -> Song | Problem:
    """Return the song of a row, or the problem with it."""
    where = f"{table.path.name}, line {row.line}"
    values = read_numbers(name, table, row, ("n_raters", *DIMENSIONS), DIMENSIONS)
    if isinstance(values, Problem):
        return values
    raters, valence, arousal = values
    if raters < 1 or raters != int(raters):
        return Problem(name, OUTSIDE, f"{where}, n_raters: {raters:g} is not a count of listeners")
    film, title, genre = (row.cells[column].strip() for column in ("film", "title", "genre"))
    return Song(
        name,
        artist=film or None,
        title=title or None,
        # Genres of the film, separated by spaces.
        genre="; ".join(genre.split()) or None,
        static=(valence, arousal),
        raters=int(raters),
    )


def _read_marks(path: Path) -> tuple[dict[str, dict[str, list[Mark]]], dict[str, Problem]]:
    """Return the marks by excerpt and listener, and the problems of excerpts."""
    table = read_table(path, "the marks of the listeners", _MARK_COLUMNS)
    marks: dict[str, dict[str, list[Mark]]] = defaultdict(lambda: defaultdict(list))
    bad: dict[str, Problem] = {}
    for row in table.rows:
        name = table.file_name(row, "clip")
        values = read_numbers(name, table, row, ("t_s", *DIMENSIONS), DIMENSIONS)
        if isinstance(values, Problem):
            bad.setdefault(name, values)
            continue
        time_s, valence, arousal = values
        if time_s < 0:
            detail = f"{path.name}, line {row.line}, t_s: the time {time_s:g} s is negative"
            bad.setdefault(name, Problem(name, OUTSIDE, detail))
        else:
            marks[name][row.cells["participant"].strip()].append((time_s, valence, arousal))
    return marks, bad
