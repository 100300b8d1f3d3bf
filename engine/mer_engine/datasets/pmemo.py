"""Load PMEmo (Zhang et al., ICMR 2018) as published: choruses of pop songs.

    metadata.csv                musicId, fileName, title, artist, ..., duration
    dynamic_annotations.csv     musicId, frameTime, Arousal(mean), Valence(mean), 0 to 1
    static_annotations.csv      labels of whole choruses (optional)
    chorus/<musicId>.mp3        the choruses (any format)

The tables may also be in ``annotations``, as in the published archive.

The clock: the documentation says that the first 15 seconds of annotations were removed. The labels
of every song begin at frameTime 15.5 and continue every half second up to the last half second
within `duration`, which is the length of the file in ``chorus``. So frameTime counts from the
beginning of that file. The last label is never half a second before the end of the file, so a label
belongs to the end of its half second. We assume that the reaction time of the listeners is still in
the labels, as in other data sets. The columns chorus_start_time and chorus_end_time are times in
the full song, which is not part of the data set; they are not used.

Values from 0 to 1 are scaled to [-1, 1] by 2 v - 1. The static table exists in two forms: the
published one (Arousal(mean), Valence(mean), 0 to 1) and one scaled to 1 to 9 (valence_mean,
arousal_mean).

There is no published split; songs are split by artist. Songs are left out if they have no audio or
no labels, if the audio cannot be read, or if labels are not numbers, are outside their range or
contradict each other. If one of the first two tables or a required column is missing, a `DataError`
is raised.
"""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path

from mer_engine.datasets.audio import find_audio, probe_audio
from mer_engine.datasets.curve import Curve
from mer_engine.datasets.problems import (
    BAD_LABELS,
    CONTRADICTORY,
    NO_AUDIO,
    NO_LABELS,
    OUTSIDE,
    SHORT_AUDIO,
    UNREADABLE_AUDIO,
    DataError,
    Problem,
)
from mer_engine.datasets.table import read_table
from mer_engine.datasets.types import Clip, Collection, Song, cut, split_by_name

_VALENCE, _AROUSAL = "valence(mean)", "arousal(mean)"


def load_pmemo(folder: Path) -> Collection:
    """Read PMEmo.

    Args:
        folder: its folder, or the folder that contains ``pmemo``.

    Raises:
        DataError: a table is missing or cannot be used.
    """
    root = _find_root(folder)
    bad: dict[str, Problem] = {}
    curves = _curves(_table(root, "dynamic_annotations.csv"), bad)
    static = _static(_table(root, "static_annotations.csv"), bad)
    songs, usable = {}, {}
    clips: list[Clip] = []
    problems = []
    for song, (artist, title) in sorted(_metadata(root).items(), key=lambda item: int(item[0])):
        songs[song] = Song(song, artist, title, genre=None, static=static.get(song))
        path = find_audio(root / "chorus", song)
        if path is None:
            problems.append(Problem(song, NO_AUDIO, f"no audio file in {root / 'chorus'}"))
        elif song in bad:
            problems.append(bad[song])
        elif song not in curves:
            problems.append(Problem(song, NO_LABELS, "no labels over time"))
        else:
            try:
                file = probe_audio(path)
            except DataError as error:
                problems.append(Problem(song, UNREADABLE_AUDIO, str(error)))
                continue
            song_clips = cut(song, path, file.duration_s, curves[song])
            if not song_clips:
                detail = f"less than two seconds of {path} ({file.duration_s:.1f} s) have labels"
                problems.append(Problem(song, SHORT_AUDIO, detail))
                continue
            clips += song_clips
            usable[song] = curves[song]
    return Collection(
        name="pmemo",
        root=root,
        clips=tuple(clips),
        extra=(),
        songs=songs,
        splits=split_by_name(songs.values()),
        curves=usable,
        problems=tuple(problems),
    )


def _find_root(folder: Path) -> Path:
    if not folder.is_dir():
        raise DataError(f"the data folder {folder} does not exist; give the folder of PMEmo")
    for root in (folder, folder / "pmemo"):
        if _table(root, "dynamic_annotations.csv").is_file():
            return root
    raise DataError(
        f"{folder} does not contain PMEmo: dynamic_annotations.csv is neither in it nor in "
        "annotations/"
    )


def _table(root: Path, name: str) -> Path:
    path = root / "annotations" / name
    return path if path.is_file() else root / name


def _metadata(root: Path) -> dict[str, tuple[str | None, str | None]]:
    table = read_table(
        root / "metadata.csv", "artist and title of the songs", ["musicid", "title", "artist"]
    )
    return {
        table.song_number(row, "musicid"): (
            row.cells["artist"].strip() or None,
            row.cells["title"].strip() or None,
        )
        for row in table.rows
    }


def _curves(path: Path, bad: dict[str, Problem]) -> dict[str, tuple[Curve, Curve]]:
    table = read_table(path, "the labels over time", ["musicid", "frametime", _AROUSAL, _VALENCE])
    points: dict[str, dict[float, tuple[float, float]]] = defaultdict(dict)
    for row in table.rows:
        song = table.song_number(row, "musicid")
        where = f"{path.name}, line {row.line}"
        numbers = []
        for column in ("frametime", _VALENCE, _AROUSAL):
            try:
                numbers.append(table.number(row.cells[column]))
            except ValueError:
                detail = f"{where}, {column}: {row.cells[column]!r} is not a number"
                bad.setdefault(song, Problem(song, BAD_LABELS, detail))
        if len(numbers) < 3:
            continue
        time_s, *values = numbers
        if math.isnan(time_s):
            bad.setdefault(song, Problem(song, BAD_LABELS, f"{where}: frameTime is empty"))
            continue
        outside = [value for value in values if value < 0 or value > 1]
        if outside:
            detail = f"{where}: {outside[0]:g} is outside 0 to 1"
            bad.setdefault(song, Problem(song, OUTSIDE, detail))
        pair = (2 * values[0] - 1, 2 * values[1] - 1)
        if points[song].setdefault(time_s, pair) != pair:
            detail = f"{where}: {time_s:g} s has other values in an earlier row"
            bad.setdefault(song, Problem(song, CONTRADICTORY, detail))
    return {
        song: (
            Curve.of((t, pair[0]) for t, pair in by_time.items()),
            Curve.of((t, pair[1]) for t, pair in by_time.items()),
        )
        for song, by_time in points.items()
    }


def _static(path: Path, bad: dict[str, Problem]) -> dict[str, tuple[float, float]]:
    if not path.is_file():
        return {}
    purpose = "the labels of whole choruses"
    table = read_table(path, purpose)
    if "musicid" in table.columns:
        table = read_table(path, purpose, ["musicid", _VALENCE, _AROUSAL])
        song_column, columns, low, high = "musicid", (_VALENCE, _AROUSAL), 0.0, 1.0
    else:
        table = read_table(path, purpose, ["song_id", "valence_mean", "arousal_mean"])
        song_column, columns, low, high = "song_id", ("valence_mean", "arousal_mean"), 1.0, 9.0
    static = {}
    for row in table.rows:
        song = table.song_number(row, song_column)
        values = []
        for column in columns:
            where = f"{path.name}, line {row.line}, {column}"
            try:
                value = table.number(row.cells[column])
            except ValueError:
                detail = f"{where}: {row.cells[column]!r} is not a number"
                bad.setdefault(song, Problem(song, BAD_LABELS, detail))
                continue
            if value < low or value > high:
                detail = f"{where}: {value:g} is outside {low:g} to {high:g}"
                bad.setdefault(song, Problem(song, OUTSIDE, detail))
            elif not math.isnan(value):
                values.append(2 * (value - low) / (high - low) - 1)
        if len(values) == 2:
            static[song] = (values[0], values[1])
    return static
