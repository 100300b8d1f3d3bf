"""Your own labelled music: a folder of audio files and CSV tables of labels.

    labels.csv      file, time_s, valence, arousal: the labels of all files, or
    <name>.csv      time_s, valence, arousal: beside each audio file, with its name
    songs.csv       file, artist, title, genre, split, valence, arousal (optional; only the column
                    file is required; valence and arousal describe the whole song)

`time_s` counts from the beginning of the file. Labels are in [-1, 1], at any rate. They are
interpolated to half seconds, but not across gaps of more than two seconds and not beyond the first
and last label. Songs without a split are split by artist, else by name.

A song is left out and reported if
    its audio file is missing or cannot be read;
    it has no label, no label within its audio, or less than two seconds with labels;
    a label or time is not a number, or a row has too many cells (empty cells are unknown labels);
    a label is outside [-1, 1], or a time is negative;
    its times go backwards, or two rows give different values for the same time;
    its split is not train, validation or test.
Harmless findings are reported as remarks: repeated rows, labels beyond the end of the audio, songs
of songs.csv that are not in the folder, CSV files beside audio files if labels.csv exists.

These raise a `DataError`: a folder that does not exist or has neither audio nor labels, a table
that cannot be read or lacks a column, no usable song.
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
_LATE_S = 1.0  # labels that go on longer than this after the audio are reported


@dataclass
class _Labels:
    """The labels of one song, and the first problem with them."""

    points: dict[float, tuple[float, float]] = field(default_factory=dict)
    last_s: float = -math.inf
    repeated: int = 0
    problem: Problem | None = None

    def reject(self, song: str, kind: str, detail: str) -> None:
        self.problem = self.problem or Problem(song, kind, detail)


@dataclass(frozen=True)
class _Metadata:
    """A row of songs.csv."""

    song: Song
    split: str | None
    problem: Problem | None = None


def load_csv_folder(folder: Path) -> Collection:
    """Read a folder of audio files and CSV tables.

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
    remarks: list[str] = []
    labels = _read_labels(folder, audio, remarks)
    metadata = _read_songs(folder / SONGS, remarks)
    names = sorted(audio.keys() | labels.keys())
    if not names:
        raise DataError(
            f"{folder} contains neither audio ({', '.join(AUDIO_SUFFIXES)}) nor labels; give a "
            f"folder with audio files and {LABELS} (columns file, time_s, valence, arousal)"
        )
    songs, curves, problems = {}, {}, []
    clips: list[Clip] = []
    splits: dict[str, list[str]] = {name: [] for name in SPLITS}
    for name in names:
        about = metadata.pop(name, _Metadata(Song(name), None))
        songs[name] = about.song
        splits[about.split or split_of(about.song)].append(name)
        found = _load_song(name, audio.get(name), labels.get(name), about, remarks)
        if isinstance(found, Problem):
            problems.append(found)
        else:
            song_clips, curves[name] = found
            clips += song_clips
    for name in metadata:
        remarks.append(f"{SONGS}: {name} is neither an audio file in the folder nor in the labels")
    return Collection(
        name="csv",
        root=folder,
        clips=tuple(clips),
        extra=(),
        songs=songs,
        splits={split: tuple(ids) for split, ids in splits.items()},
        curves=curves,
        problems=tuple(problems),
        remarks=tuple(remarks),
    )


def _load_song(
    name: str, path: Path | None, labels: _Labels | None, about: _Metadata, remarks: list[str]
) -> Problem | tuple[tuple[Clip, ...], tuple[Curve, Curve]]:
    """Return the clips and curves of a song, or the reason to leave it out."""
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
    clips = cut(name, path, file.duration_s, curves)
    if not clips:
        return Problem(
            name,
            SHORT_AUDIO,
            f"less than two seconds of its {file.duration_s:.1f} s have labels at most 2 s apart "
            f"(labels from {min(labels.points):g} to {max(labels.points):g} s)",
        )
    if labels.repeated:
        remarks.append(f"song {name}: {labels.repeated} repeated rows")
    if labels.last_s > file.duration_s + _LATE_S:
        remarks.append(
            f"song {name}: its labels go on to {labels.last_s:g} s, its audio ends at "
            f"{file.duration_s:.1f} s; the labels beyond that are not used"
        )
    return clips, curves


def _read_labels(folder: Path, audio: dict[str, Path], remarks: list[str]) -> dict[str, _Labels]:
    tables = {
        name: path.with_suffix(".csv")
        for name, path in audio.items()
        if path.with_suffix(".csv").is_file()
        and path.with_suffix(".csv") not in (folder / LABELS, folder / SONGS)
    }
    labels: dict[str, _Labels] = defaultdict(_Labels)
    if (folder / LABELS).exists():
        table = read_table(folder / LABELS, "the labels over time", ["file", "time_s", *DIMENSIONS])
        for row in table.rows:
            name = table.file_name(row)
            _add_row(name, labels[name], table, row)
        for name in tables:
            remarks.append(f"song {name}: the CSV beside it is not read, because {LABELS} exists")
        return labels
    owner: dict[Path, str] = {}
    for name, path in tables.items():
        if path in owner:
            labels[name].reject(name, CONTRADICTORY, f"{path.name} also belongs to {owner[path]}")
            continue
        owner[path] = name
        table = read_table(path, f"the labels of {name}", ["time_s", *DIMENSIONS])
        for row in table.rows:
            _add_row(name, labels[name], table, row)
    return labels


def _add_row(name: str, labels: _Labels, table: Table, row: Row) -> None:
    """Add one row of labels, or the problem with it."""
    where = f"{table.path.name}, line {row.line}"
    if row.surplus:
        hint = "" if table.decimal_comma else " (write numbers with a point: 0.5)"
        count = len(table.columns) + row.surplus
        labels.reject(
            name, BAD_LABELS, f"{where}: {count} cells for {len(table.columns)} columns{hint}"
        )
        return
    numbers = []
    for column in ("time_s", *DIMENSIONS):
        text = row.cells[column]
        try:
            numbers.append(table.number(text))
        except ValueError:
            labels.reject(name, BAD_LABELS, f"{where}, {column}: {text!r} is not a number")
            return
    time_s, *values = numbers
    if math.isnan(time_s):
        labels.reject(name, BAD_LABELS, f"{where}, time_s: the cell is empty")
        return
    if time_s < 0:
        labels.reject(name, OUTSIDE, f"{where}: the time {time_s:g} s is negative")
    for column, value in zip(DIMENSIONS, values, strict=True):
        if abs(value) > 1:
            labels.reject(
                name,
                OUTSIDE,
                f"{where}, {column}: {value:g} is outside [-1, 1]; scale the labels "
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
            labels.reject(
                name, CONTRADICTORY, f"{where}: {time_s:g} s has other values in an earlier row"
            )
    elif time_s < labels.last_s:
        labels.reject(
            name,
            BACKWARDS,
            f"{where}: {time_s:g} s comes after {labels.last_s:g} s; sort the rows by time",
        )
    labels.last_s = max(labels.last_s, time_s)


def _read_songs(path: Path, remarks: list[str]) -> dict[str, _Metadata]:
    if not path.exists():
        return {}
    table = read_table(path, "the metadata of each song", ["file"])
    metadata: dict[str, _Metadata] = {}
    cells: dict[str, dict[str, str]] = {}
    for row in table.rows:
        name = table.file_name(row)
        entry = _read_metadata(name, table, row)
        if name in metadata:
            if cells[name] == row.cells:
                remarks.append(f"{SONGS}, line {row.line}: {name} is repeated")
                continue
            detail = f"{SONGS}, line {row.line}: contradicts an earlier row"
            entry = _Metadata(entry.song, entry.split, Problem(name, CONTRADICTORY, detail))
        metadata[name], cells[name] = entry, row.cells
    return metadata


def _read_metadata(name: str, table: Table, row: Row) -> _Metadata:
    def text(column: str) -> str | None:
        return row.cells.get(column, "").strip() or None

    where = f"{SONGS}, line {row.line}"
    problem = None
    split = (text("split") or "").lower() or None
    if split is not None and split not in SPLITS:
        detail = f"{where}: the split {split!r} is not one of {', '.join(SPLITS)}"
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
            detail = f"{where}, {column}: {value:g} is outside [-1, 1]"
            problem = problem or Problem(name, OUTSIDE, detail)
        elif not math.isnan(value):
            values.append(value)
    static = (values[0], values[1]) if len(values) == 2 else None
    song = Song(name, text("artist"), text("title"), text("genre"), static)
    return _Metadata(song, split, problem)
