"""DEAM as it lies on disk: audio, labels over time, labels of whole songs, genres, splits.

Needs no torch, so that the evaluation runs on a default install.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mer_engine.training.clip_audio import read_audio
from mer_engine.training.collection import DIMENSIONS, SPLITS, STEP_S
from mer_engine.training.deam import CLIP_START_S, find_deam
from mer_engine.training.problem import DataError

__all__ = [
    "CLIP_START_S",
    "DIMENSIONS",
    "SPLITS",
    "STEP_S",
    "Clip",
    "DataError",
    "Deam",
    "load_deam",
    "read_audio",
]

_AUDIO_SUFFIXES = (".opus", ".mp3", ".flac", ".ogg", ".wav")
_TIME_COLUMN = re.compile(r"sample_(\d+)ms")


@dataclass(frozen=True, slots=True)
class Clip:
    """A stretch of a song.

    Attributes:
        song_id: the song's number.
        path: audio file.
        start_s: where it begins in the annotated clip, seconds.
    """

    song_id: int
    path: Path
    start_s: float


@dataclass(frozen=True)
class Deam:
    """The data set.

    Attributes:
        root: its folder.
        clips: the ten seconds of each song, by song.
        extra: further clips of some of the songs.
        curves: for each dimension and song, value in [-1, 1] by time in milliseconds.
        static: for each song, valence and arousal of the whole (1 to 9); songs may be missing.
        genres: for each song, the genre as the metadata give it; songs may be missing.
        splits: the songs of each split.
        left_out: what could not be used, one sentence each.
    """

    root: Path
    clips: dict[int, Clip]
    extra: tuple[Clip, ...]
    curves: dict[str, dict[int, dict[int, float]]]
    static: dict[int, tuple[float, float]]
    genres: dict[int, str]
    splits: dict[str, tuple[int, ...]]
    left_out: tuple[str, ...] = field(default=())

    def labels(self, song_id: int, start_s: float, steps: int) -> NDArray[np.float32]:
        """Labels at the end of each step of a stretch.

        Args:
            song_id: the song.
            start_s: where the stretch begins in the annotated clip.
            steps: its length in steps of half a second.

        Returns:
            float32 [steps, 2] (valence, arousal); linear between neighbours where the stretch does
            not begin on a half second, NaN where there is no label.
        """
        times = (start_s + STEP_S * np.arange(1, steps + 1)) * 1000
        columns = []
        for name in DIMENSIONS:
            curve = self.curves[name].get(song_id, {})
            if not curve:
                columns.append(np.full(steps, np.nan))
                continue
            known = np.array(sorted(curve))
            values = np.array([curve[t] for t in known])
            columns.append(np.interp(times, known, values, left=np.nan, right=np.nan))
        return np.stack(columns, axis=1).astype(np.float32)


def load_deam(folder: Path) -> Deam:
    """Read the data set's tables and list its audio.

    Args:
        folder: the DEAM folder, or the folder that holds ``deam``.

    Raises:
        DataError: a table or the audio folder is missing or cannot be read.
    """
    root = find_deam(folder)
    curves = {
        name: _curves(root / "annotations" / f"{name}.csv", f"the {name} labels over time")
        for name in DIMENSIONS
    }
    splits = {name: _split(root / "splits" / f"{name}.txt") for name in SPLITS}
    audio = root / "audio"
    if not audio.is_dir():
        raise DataError(f"{audio} is missing; it holds the songs' audio, named by song number")
    clips, left_out = {}, []
    for song_id in sorted({song for songs in splits.values() for song in songs}):
        path = _audio_file(audio, str(song_id))
        if path is None:
            left_out.append(f"song {song_id}: no audio file in {audio}")
        elif any(song_id not in curves[name] for name in DIMENSIONS):
            left_out.append(f"song {song_id}: no labels over time")
        else:
            clips[song_id] = Clip(song_id, path, CLIP_START_S)
    return Deam(
        root=root,
        clips=clips,
        extra=_extra(root),
        curves=curves,
        static=_static(root / "annotations" / "static_annotations.csv"),
        genres=_genres(root / "annotations"),
        splits=splits,
        left_out=tuple(left_out),
    )


def _audio_file(folder: Path, stem: str) -> Path | None:
    for suffix in _AUDIO_SUFFIXES:
        if (folder / f"{stem}{suffix}").is_file():
            return folder / f"{stem}{suffix}"
    return None


def _split(path: Path) -> tuple[int, ...]:
    if not path.is_file():
        raise DataError(f"{path} is missing; it lists the songs of the {path.stem} split")
    try:
        return tuple(int(word) for word in path.read_text(encoding="utf-8").split())
    except ValueError as error:
        raise DataError(f"{path} must hold one song number a line ({error})") from error


def _rows(path: Path, purpose: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (song, row) of a table whose column names are freed of spaces."""
    if not path.is_file():
        raise DataError(f"{path} is missing; it holds {purpose}")
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        for line, row in enumerate(csv.DictReader(file, skipinitialspace=True), start=2):
            clean = {key.strip(): value or "" for key, value in row.items() if key}
            if "song_id" not in clean:
                raise DataError(f"{path} has no column song_id; it should hold {purpose}")
            try:
                song_id = int(float(clean["song_id"]))
            except ValueError as error:
                raise DataError(
                    f"{path}, line {line}: {clean['song_id']!r} is not a song number"
                ) from error
            yield song_id, clean


def _curves(path: Path, purpose: str) -> dict[int, dict[int, float]]:
    curves: dict[int, dict[int, float]] = {}
    for song_id, row in _rows(path, purpose):
        curve = {}
        for column, text in row.items():
            match = _TIME_COLUMN.fullmatch(column)
            if match is None or not text.strip():
                continue
            value = _number(text, f"{path}, song {song_id}, {column}")
            if np.isfinite(value):
                if not -1.0 <= value <= 1.0:
                    raise DataError(
                        f"{path}, song {song_id}, {column}: {value} lies outside [-1, 1]"
                    )
                curve[int(match[1])] = value
        if curve:
            curves[song_id] = curve
    if not curves:
        raise DataError(
            f"{path} holds no columns sample_...ms with values; it should hold {purpose}"
        )
    return curves


def _static(path: Path) -> dict[int, tuple[float, float]]:
    purpose = "the labels of whole songs"
    columns = ("valence_mean", "arousal_mean")
    static = {}
    for song_id, row in _rows(path, purpose):
        missing = [column for column in columns if column not in row]
        if missing:
            raise DataError(f"{path} has no column {missing[0]}; it should hold {purpose}")
        valence, arousal = (_number(row[c], f"{path}, song {song_id}, {c}") for c in columns)
        static[song_id] = (valence, arousal)
    return static


def _genres(folder: Path) -> dict[int, str]:
    """Read what metadata there are; the oldest table pads its fields with tabs and quotes."""
    genres = {}
    for path in sorted(folder.glob("metadata*.csv")):
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            for row in csv.DictReader(file):
                clean = {k.strip().lower(): v for k, v in row.items() if k and isinstance(v, str)}
                number, genre = clean.get("song_id", ""), clean.get("genre", "").strip(' \t"')
                if number.strip().isdigit() and genre:
                    genres[int(number)] = genre
    return genres


def _extra(root: Path) -> tuple[Clip, ...]:
    table = root / "audio_extra.csv"
    if not table.is_file():
        return ()  # DEAM without the further clips is complete
    clips = []
    for song_id, row in _rows(table, "where the further clips begin"):
        path = root / "audio_extra" / row.get("file", "")
        if path.is_file():
            clips.append(Clip(song_id, path, _number(row.get("start_s", ""), f"{table}, {path}")))
    return tuple(clips)


def _number(text: str, where: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise DataError(f"{where}: {text!r} is not a number") from error
