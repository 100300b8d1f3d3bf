"""Own music with own labels: a folder of audio files and tables of their labels.

    labels.csv      file, time_s, valence, arousal: the labels of all files, or
    <name>.csv      time_s, valence, arousal: beside each audio file, with its name
    songs.csv       file, artist, title, genre, split, valence, arousal (may be missing; only the
                    column file is needed; valence and arousal are of the whole song)

`time_s` counts from the beginning of the file, labels lie in [-1, 1]. Labels at any rate are
interpolated to half seconds, never across more than two seconds without one and never beyond the
first and the last. Songs without a split are split by artist, else by name.

A song is left out, and told, where
    it has no audio file, or one that cannot be read;
    it has no label (or none within its audio, or less than two seconds with labels);
    a label or time is no number, or a row has cells too many (empty cells are unknown labels);
    a label lies outside [-1, 1], or a time before the file's beginning;
    its times go backwards, or two rows give the same time other values;
    its split is none of train, validation, test.
What does no harm is told as well: repeated rows, labels beyond the audio's end, songs of songs.csv
that are not in the folder, CSVs beside audio files where labels.csv is there.

Refused (`DataError`): a folder that does not exist or holds no audio and no labels, a table that
cannot be read or lacks a column, no song that can be used.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from mer_engine.datasets.audio import AUDIO_SUFFIXES, probe_audio
from mer_engine.datasets.curve import Curve
from mer_engine.datasets.problems import (
    BACKWARDS,
    BAD_LABELS,
    BAD_SPLIT,
    CONTRADICTORY,
    NO_AUDIO,
    NO_LABELS,
    OUTSIDE,
    SHORT_AUDIO,
    UNREADABLE_AUDIO,
    DataError,
    Problem,
)
from mer_engine.datasets.table import Row, Table, read_table
from mer_engine.datasets.types import (
    DIMENSIONS,
    SPLITS,
    Clip,
    Collection,
    Song,
    cut,
    split_of,
)

LABELS, SONGS = "labels.csv", "songs.csv"
_LATE_S = 1.0  # labels may go on this long after the audio before it is told


@dataclass
class _Labels:
    """What the tables say of one song."""

    points: dict[float, tuple[float, float]] = field(default_factory=dict)
    last_s: float = -math.inf
    repeated: int = 0
    problem: Problem | None = None

    def refuse(self, song: str, kind: str, detail: str) -> None:
        self.problem = self.problem or Problem(song, kind, detail)


@dataclass(frozen=True)
class _About:
    """A row of songs.csv."""

    song: Song
    split: str | None
    problem: Problem | None = None


def load_own_data(folder: Path) -> Collection:
    """Read a folder of own music.

    Raises:
        DataError: the folder or a table cannot be used.
    """
    if not folder.is_dir():
        raise DataError(
            f"the data folder {folder} does not exist; give a folder with audio files and {LABELS}"
        )
    audio = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file()
    }
    notes: list[str] = []
    labels = _read_labels(folder, audio, notes)
    about = _read_songs(folder / SONGS, notes)
    names = sorted(audio.keys() | labels.keys())
    if not names:
        raise DataError(
            f"{folder} holds neither audio ({', '.join(AUDIO_SUFFIXES)}) nor labels; give a folder "
            f"with audio files and {LABELS} (columns file, time_s, valence, arousal)"
        )
    songs, curves, problems = {}, {}, []
    clips: list[Clip] = []
    splits: dict[str, list[str]] = {name: [] for name in SPLITS}
    for name in names:
        known = about.pop(name, _About(Song(name), None))
        songs[name] = known.song
        splits[known.split or split_of(known.song)].append(name)
        found = _song(name, audio.get(name), labels.get(name), known, notes)
        if isinstance(found, Problem):
            problems.append(found)
        else:
            pieces, curves[name] = found
            clips += pieces
    for name in about:
        notes.append(f"{SONGS}: {name} is neither an audio file here nor in the labels")
    return Collection(
        name="csv",
        root=folder,
        clips=tuple(clips),
        extra=(),
        songs=songs,
        splits={split: tuple(ids) for split, ids in splits.items()},
        curves=curves,
        problems=tuple(problems),
        notes=tuple(notes),
    )


def _song(
    name: str, path: Path | None, labels: _Labels | None, about: _About, notes: list[str]
) -> Problem | tuple[tuple[Clip, ...], tuple[Curve, Curve]]:
    """The clips and curves of a song, or why there are none."""
    if path is None:
        return Problem(name, NO_AUDIO, "no such audio file in the folder")
    if labels is not None and labels.problem is not None:
        return labels.problem
    if about.problem is not None:
        return about.problem
    if labels is None or not labels.points:
        return Problem(name, NO_LABELS, "no labels over time")
    curves = (
        Curve.of((t, pair[0]) for t, pair in labels.points.items()),
        Curve.of((t, pair[1]) for t, pair in labels.points.items()),
    )
    if not any(len(curve) for curve in curves):
        return Problem(name, NO_LABELS, "all cells of its labels are empty")
    try:
        file = probe_audio(path)
    except DataError as error:
        return Problem(name, UNREADABLE_AUDIO, str(error))
    pieces = cut(name, path, file.duration_s, curves)
    if not pieces:
        return Problem(
            name,
            SHORT_AUDIO,
            f"less than two seconds of its {file.duration_s:.1f} s have labels at most 2 s apart "
            f"(labels from {min(labels.points):g} to {max(labels.points):g} s)",
        )
    if labels.repeated:
        notes.append(f"song {name}: {labels.repeated} repeated rows")
    if labels.last_s > file.duration_s + _LATE_S:
        notes.append(
            f"song {name}: its labels go on to {labels.last_s:g} s, its audio ends at "
            f"{file.duration_s:.1f} s; the rest of them is not used"
        )
    return pieces, curves


def _read_labels(folder: Path, audio: dict[str, Path], notes: list[str]) -> dict[str, _Labels]:
    beside = {
        name: path.with_suffix(".csv")
        for name, path in audio.items()
        if path.with_suffix(".csv").is_file()
        and path.with_suffix(".csv") not in (folder / LABELS, folder / SONGS)
    }
    labels: dict[str, _Labels] = defaultdict(_Labels)
    if (folder / LABELS).exists():
        table = read_table(folder / LABELS, "the labels over time", ["file", "time_s", *DIMENSIONS])
        for row in table.rows:
            name = row.cells["file"].strip().replace("\\", "/").removeprefix("./")
            if not name:
                raise DataError(f"{table.path}, line {row.line} names no file")
            _add(name, labels[name], table, row)
        for name in beside:
            notes.append(f"song {name}: the CSV beside it is not read, since {LABELS} is there")
        return labels
    owner: dict[Path, str] = {}
    for name, path in beside.items():
        if path in owner:
            labels[name].refuse(
                name, CONTRADICTORY, f"{path.name} would also be the labels of {owner[path]}"
            )
            continue
        owner[path] = name
        table = read_table(path, f"the labels of {name}", ["time_s", *DIMENSIONS])
        for row in table.rows:
            _add(name, labels[name], table, row)
    return labels


def _add(name: str, labels: _Labels, table: Table, row: Row) -> None:
    """Take one row of labels, or note what is wrong with it."""
    where = f"{table.path.name}, line {row.line}"
    if row.surplus:
        hint = "" if table.decimal_comma else " (numbers take a point: 0.5)"
        count = len(table.columns) + row.surplus
        labels.refuse(
            name, BAD_LABELS, f"{where}: {count} cells for {len(table.columns)} columns{hint}"
        )
        return
    numbers = []
    for column in ("time_s", *DIMENSIONS):
        text = row.cells[column]
        try:
            numbers.append(table.number(text))
        except ValueError:
            labels.refuse(name, BAD_LABELS, f"{where}, {column}: {text!r} is not a number")
            return
    time_s, *values = numbers
    if math.isnan(time_s):
        labels.refuse(name, BAD_LABELS, f"{where}, time_s: the cell is empty")
        return
    if time_s < 0:
        labels.refuse(name, OUTSIDE, f"{where}: the time {time_s:g} s is before the beginning")
    for column, value in zip(DIMENSIONS, values, strict=True):
        if abs(value) > 1:
            labels.refuse(
                name,
                OUTSIDE,
                f"{where}, {column}: {value:g} lies outside [-1, 1]; scale the labels "
                "(1 to 9: (v - 5) / 4; 0 to 1: 2 v - 1)",
            )
    pair = (values[0], values[1])
    before = labels.points.setdefault(time_s, pair)
    if before is not pair:
        if all(
            a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(before, pair, strict=True)
        ):
            labels.repeated += 1
        else:
            labels.refuse(
                name, CONTRADICTORY, f"{where}: other values for {time_s:g} s than a row before"
            )
    elif time_s < labels.last_s:
        labels.refuse(
            name,
            BACKWARDS,
            f"{where}: {time_s:g} s comes after {labels.last_s:g} s; sort the rows by time",
        )
    labels.last_s = max(labels.last_s, time_s)


def _read_songs(path: Path, notes: list[str]) -> dict[str, _About]:
    if not path.exists():
        return {}
    table = read_table(path, "what is known of each song", ["file"])
    about: dict[str, _About] = {}
    cells: dict[str, dict[str, str]] = {}
    for row in table.rows:
        name = row.cells["file"].strip().replace("\\", "/").removeprefix("./")
        if not name:
            raise DataError(f"{path}, line {row.line} names no file")
        entry = _about(name, table, row)
        if name in about:
            if cells[name] == row.cells:
                notes.append(f"{SONGS}, line {row.line}: {name} is repeated")
                continue
            detail = f"{SONGS}, line {row.line}: says something else than a row before"
            entry = _About(entry.song, entry.split, Problem(name, CONTRADICTORY, detail))
        about[name], cells[name] = entry, row.cells
    return about


def _about(name: str, table: Table, row: Row) -> _About:
    def text(column: str) -> str | None:
        return row.cells.get(column, "").strip() or None

    where = f"{SONGS}, line {row.line}"
    problem = None
    split = (text("split") or "").lower() or None
    if split is not None and split not in SPLITS:
        detail = f"{where}: the split {split!r} is none of {', '.join(SPLITS)}"
        problem, split = Problem(name, BAD_SPLIT, detail), None
    values = []
    for column in DIMENSIONS:
        cell = row.cells.get(column, "")
        try:
            value = table.number(cell)
        except ValueError:
            detail = f"{where}, {column}: {cell!r} is not a number"
            problem = problem or Problem(name, BAD_LABELS, detail)
            continue
        if abs(value) > 1:
            detail = f"{where}, {column}: {value:g} lies outside [-1, 1]"
            problem = problem or Problem(name, OUTSIDE, detail)
        elif not math.isnan(value):
            values.append(value)
    static = (values[0], values[1]) if len(values) == 2 else None
    song = Song(name, text("artist"), text("title"), text("genre"), static)
    return _About(song, split, problem)
