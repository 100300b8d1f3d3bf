"""Load DEAM: audio, labels over time, labels of whole songs, metadata and splits.

    audio/<song>.opus                   seconds 30 to 40 of the annotated clip, or all of it
    audio_extra/, audio_extra.csv       further clips of some songs (optional)
    annotations/{arousal,valence}.csv   columns song_id, sample_15000ms ... in [-1, 1]
    annotations/static_annotations.csv  valence_mean, arousal_mean, 1 to 9
    annotations/metadata_*.csv          artist, title, genre (optional)
    splits/{train,validation,test}.txt  one song number per line; else songs are split by artist

The layout of the published archives works too: audio in MEMD_audio, tables in folders below
annotations, labels of whole songs in two files, metadata in metadata; also inside DEAM_audio and
DEAM_Annotations. Longer recordings are cut to the same ten seconds.

Songs to 1000 were rated in the campaign of 2013, those to 2000 in that of 2014, the others in 2015.
Each campaign had other listeners.

Songs are left out if they have no audio or no labels over time, if the audio cannot be read, or if
a label is not a number or is outside [-1, 1]. A missing table or audio folder, a missing column and
an invalid song number raise a `DataError`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path

from mer_engine.datasets.audio import find_audio, probe_audio
from mer_engine.datasets.curve import Curve
from mer_engine.datasets.problems import (
    BAD_LABELS,
    NO_AUDIO,
    NO_LABELS,
    OUTSIDE,
    UNREADABLE_AUDIO,
    DataError,
    Problem,
)
from mer_engine.datasets.table import read_table
from mer_engine.datasets.types import (
    CLIP_S,
    DIMENSIONS,
    SPLITS,
    Clip,
    Collection,
    Song,
    split_by_name,
)

# Year and last song of each campaign.
CAMPAIGNS = (("2013", 1000), ("2014", 2000), ("2015", 2058))
# Start of the ten seconds that are used of each song, from the start of the annotated clip.
CLIP_START_S = 30.0
# An audio file longer than this contains the annotated clip from its beginning.
_LONGEST_CUT_S = 20.0
_NO_SPLITS = (
    "the folder splits/ is missing, so songs are split by artist; the shipped model was trained "
    "on most of these songs, so its figures on this split would be too good"
)
_TIME_COLUMN = re.compile(r"sample_(\d+)ms")
_ANNOTATIONS = ("annotations", "DEAM_Annotations/annotations")
_AUDIO = ("audio", "MEMD_audio", "audio/MEMD_audio", "DEAM_audio/MEMD_audio")
_PADDING = ' \t"'  # around cells in the oldest metadata table


def find_deam(folder: Path) -> Path:
    """Return the DEAM folder: the one given, or ``deam`` within it.

    Raises:
        DataError: neither folder contains DEAM.
    """
    if not folder.is_dir():
        raise DataError(
            f"the data folder {folder} does not exist; give the folder that contains deam/"
        )
    for candidate in (folder, folder / "deam"):
        if any((candidate / name).is_dir() for name in _ANNOTATIONS):
            return candidate
    raise DataError(
        f"{folder} does not contain DEAM: it has neither annotations/ nor deam/annotations/; "
        "give the folder that contains deam/, or deam/ itself (other data: pmemo=DIR, csv=DIR)"
    )


def campaign_of(song: str) -> str:
    """Return the year of the campaign in which a song was rated, from its number."""
    years = (year for year, last in CAMPAIGNS if int(song) <= last)
    return next(years, CAMPAIGNS[-1][0])


def load_deam(folder: Path) -> Collection:
    """Read DEAM.

    Args:
        folder: the DEAM folder, or the folder that contains ``deam``.

    Raises:
        DataError: a table or the audio folder is missing or cannot be used.
    """
    root = find_deam(folder)
    annotations = next(root / name for name in _ANNOTATIONS if (root / name).is_dir())
    bad: dict[str, Problem] = {}
    tables = {
        name: _curves(_table(annotations, f"{name}.csv"), f"the {name} labels over time", bad)
        for name in DIMENSIONS
    }
    published = sorted(annotations.rglob("static_annotations_averaged*.csv"))
    static: dict[str, tuple[float, float]] = {}
    for table in published or [annotations / "static_annotations.csv"]:
        static |= _static(table, bad)
    metadata = _metadata({*annotations.glob("metadata*.csv"), *root.glob("*/metadata*.csv")})
    listed = _splits(root / "splits")
    folders = [root / name for name in _AUDIO if (root / name).is_dir()]
    if not folders:
        raise DataError(
            f"{root / 'audio'} is missing; it contains the audio of the songs, named by song number"
        )

    names = listed or {"": tuple(tables["valence"])}
    ids = sorted({song for split in names.values() for song in split}, key=int)
    songs, clips, curves, problems = {}, [], {}, []
    for song in ids:
        artist, title, genre = metadata.get(song, (None, None, None))
        songs[song] = Song(song, artist, title, genre, static.get(song), campaign=campaign_of(song))
        both = tuple(tables[name].get(song) for name in DIMENSIONS)
        path = next((found for folder in folders if (found := find_audio(folder, song))), None)
        if path is None:
            problems.append(Problem(song, NO_AUDIO, f"no audio file in {folders[0]}"))
        elif song in bad:
            problems.append(bad[song])
        elif both[0] is None or both[1] is None:
            problems.append(Problem(song, NO_LABELS, "no labels over time"))
        else:
            curves[song] = (both[0], both[1])
            try:
                file = probe_audio(path)
            except DataError as error:
                problems.append(Problem(song, UNREADABLE_AUDIO, str(error)))
                continue
            offset = CLIP_START_S if file.duration_s > _LONGEST_CUT_S else 0.0
            clips.append(Clip(song, path, CLIP_START_S, offset, CLIP_S))
    usable = {clip.song for clip in clips}
    return Collection(
        name="deam",
        root=root,
        clips=tuple(clips),
        extra=tuple(clip for clip in _extra(root) if clip.song in usable),
        songs=songs,
        splits=listed or split_by_name(songs.values()),
        curves=curves,
        problems=tuple(problems),
        remarks=() if listed else (_NO_SPLITS,),
    )


def _table(folder: Path, name: str) -> Path:
    """Return the path of a table in the folder, else of the first one below it."""
    path = folder / name
    return path if path.is_file() else next(iter(sorted(folder.rglob(name))), path)


def _curves(path: Path, purpose: str, bad: dict[str, Problem]) -> dict[str, Curve]:
    table = read_table(path, purpose, ["song_id"])
    times = {
        column: int(match[1]) / 1000
        for column in table.columns
        if (match := _TIME_COLUMN.fullmatch(column))
    }
    curves = {}
    for row in table.rows:
        song = table.song_number(row, "song_id")
        points = []
        for column, time_s in times.items():
            text = row.cells[column]
            if not text:
                continue  # most songs end long before the last column
            try:
                value = table.number(text)
            except ValueError:
                where = f"{path.name}, {column}: {text!r} is not a number"
                bad.setdefault(song, Problem(song, BAD_LABELS, where))
                continue
            if abs(value) > 1.0:
                where = f"{path.name}, {column}: {value:g} is outside [-1, 1]"
                bad.setdefault(song, Problem(song, OUTSIDE, where))
            points.append((time_s, value))
        curve = Curve.of(points)
        if len(curve):
            curves[song] = curve
    if not curves:
        raise DataError(
            f"{path} has no columns sample_...ms with values; it should contain {purpose}"
        )
    return curves


def _static(path: Path, bad: dict[str, Problem]) -> dict[str, tuple[float, float]]:
    columns = [f"{name}_mean" for name in DIMENSIONS]
    table = read_table(path, "the labels of whole songs", ["song_id", *columns])
    static = {}
    for row in table.rows:
        song = table.song_number(row, "song_id")
        values = []
        for column in columns:
            text = row.cells[column]
            try:
                value = table.number(text)
            except ValueError:
                where = f"{path.name}, {column}: {text!r} is not a number"
                bad.setdefault(song, Problem(song, BAD_LABELS, where))
                break
            if value < 1.0 or value > 9.0:
                where = f"{path.name}, {column}: {value:g} is outside 1 to 9"
                bad.setdefault(song, Problem(song, OUTSIDE, where))
                break
            values.append((value - 5) / 4)
        if len(values) == 2 and not math.isnan(sum(values)):
            static[song] = (values[0], values[1])
    return static


def _metadata(paths: Iterable[Path]) -> dict[str, tuple[str | None, str | None, str | None]]:
    """Return artist, title and genre by song, from the tables that exist."""
    metadata = {}
    for path in sorted(paths):
        table = read_table(path, "artist, title and genre of songs", ["song_id"])
        for row in table.rows:
            song = row.cells["song_id"].strip()
            if song.isdigit():
                artist, title, genre = (
                    _strip(row.cells.get(name, "")) for name in ("artist", "title", "genre")
                )
                # The newest table writes "rock", the others "Rock".
                genre = genre and genre[0].upper() + genre[1:]
                metadata[str(int(song))] = (artist, title, genre)
    return metadata


def _strip(cell: str) -> str | None:
    text = cell.strip(_PADDING)
    return None if text.lower() in ("", "n/a") else text


def _splits(folder: Path) -> dict[str, tuple[str, ...]]:
    if not folder.is_dir():
        return {}
    splits = {}
    for name in SPLITS:
        path = folder / f"{name}.txt"
        if not path.is_file():
            raise DataError(f"{path} is missing; it lists the songs of the {name} split")
        try:
            words = path.read_text(encoding="utf-8").split()
            splits[name] = tuple(str(int(word)) for word in words)
        except ValueError as error:
            raise DataError(f"{path} must contain one song number per line ({error})") from error
    return splits


def _extra(root: Path) -> tuple[Clip, ...]:
    path = root / "audio_extra.csv"
    if not path.is_file():
        return ()  # the further clips are optional
    table = read_table(path, "where the further clips begin", ["file", "song_id", "start_s"])
    clips = []
    for row in table.rows:
        audio = root / "audio_extra" / row.cells["file"].strip()
        if not audio.is_file():
            continue
        try:
            start = table.number(row.cells["start_s"])
        except ValueError as error:
            raise DataError(f"{path}, line {row.line}: {error}") from error
        clips.append(Clip(table.song_number(row, "song_id"), audio, start, 0.0, CLIP_S))
    return tuple(clips)
