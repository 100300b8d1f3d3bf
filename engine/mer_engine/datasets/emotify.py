"""Load Emotify (Aljanaki, Wiering, Veltkamp 2016): excerpts and emotions that listeners chose.

    ratings.csv             track id, genre, and a column of 0 or 1 for each of nine emotions
    audio/<genre>_<n>.*     the excerpts of 30 seconds, in any audio format; tracks of a genre have
                            consecutive numbers: n = (track id - 1) mod 100 + 1

A row is a listener. There is no valence or arousal. This loader computes a proxy of each from the
shares of the listeners who chose an emotion: the sum of the shares of some emotions minus that of
others (`VALENCE`, `AROUSAL`). Each proxy is centred and scaled over all rated tracks to a standard
deviation of 1/3, and clipped to [-1, 1]. Its order tells something, its zero and its scale do not
(`Collection.scale` is "own"). Listeners were asked what they felt, not what the music expresses.

Excerpts are cut into sections of ten seconds. The artists are unknown, and all tracks are in
"train".
Tracks are left out if they have no audio, if the audio cannot be read, or if a cell of an emotion
is not 0 or 1. A missing table or column and an invalid track number raise a `DataError`.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np

from mer_engine.datasets.curve import Curve
from mer_engine.datasets.problems import BAD_LABELS, CONTRADICTORY, DataError, Problem
from mer_engine.datasets.recordings import recording_sections
from mer_engine.datasets.table import Row, Table, read_table
from mer_engine.datasets.types import Clip, Collection, Song, all_in_train, constant_curves

TABLE = "ratings.csv"
EMOTIONS = (
    "amazement",
    "solemnity",
    "tenderness",
    "nostalgia",
    "calmness",
    "power",
    "joyful_activation",
    "tension",
    "sadness",
)
# Sign with which the share of each emotion counts.
VALENCE = {
    "joyful_activation": 1,
    "tenderness": 1,
    "calmness": 1,
    "amazement": 1,
    "sadness": -1,
    "tension": -1,
}
AROUSAL = {
    "power": 1,
    "tension": 1,
    "joyful_activation": 1,
    "amazement": 1,
    "calmness": -1,
    "tenderness": -1,
    "sadness": -1,
    "nostalgia": -1,
}
# Standard deviation of each proxy over the tracks.
PROXY_SD = 1 / 3
_TRACKS_PER_GENRE = 100


def load_emotify(folder: Path) -> Collection:
    """Read Emotify.

    Args:
        folder: contains the table and ``audio``.

    Raises:
        DataError: the folder or its table is missing, or the table cannot be used.
    """
    if not folder.is_dir():
        raise DataError(f"the data folder {folder} does not exist; give the folder of Emotify")
    choices, genres, bad = _read_choices(folder / TABLE)
    proxies = _proxies({name: rows for name, rows in choices.items() if name not in bad})
    songs: dict[str, Song] = {}
    clips: list[Clip] = []
    curves: dict[str, tuple[Curve, Curve]] = {}
    for name in choices:
        songs[name] = Song(
            name, genre=genres[name], static=proxies.get(name), raters=len(choices[name]) or None
        )
        if name in bad:
            continue
        found = recording_sections(name, folder / "audio")
        if isinstance(found, Problem):
            bad[name] = found
            continue
        clips += found
        end_s = max(clip.start_s + (clip.duration_s or 0.0) for clip in found)
        curves[name] = constant_curves(proxies[name], end_s)
    return Collection(
        name="emotify",
        root=folder,
        clips=tuple(clips),
        extra=(),
        songs=songs,
        splits=all_in_train(songs),
        curves=curves,
        problems=tuple(bad.values()),
        labelled="mean",
        scale="own",
    )


def _read_choices(
    path: Path,
) -> tuple[dict[str, list[tuple[float, ...]]], dict[str, str], dict[str, Problem]]:
    """Return the choices of each listener and the genre by track, and the problems of tracks."""
    table = read_table(path, "the emotions that listeners chose", ["track id", "genre", *EMOTIONS])
    choices: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    genres: dict[str, str] = {}
    ids: dict[str, str] = {}
    bad: dict[str, Problem] = {}
    for row in table.rows:
        track = table.song_number(row, "track id")
        genre = row.cells["genre"].strip()
        name = f"{genre}_{(int(track) - 1) % _TRACKS_PER_GENRE + 1}"
        if ids.setdefault(name, track) != track:
            detail = f"{path.name}, line {row.line}: track {track} has the name of {ids[name]}"
            bad.setdefault(name, Problem(name, CONTRADICTORY, detail))
        genres[name] = genre
        chosen = _chosen(name, table, row)
        if isinstance(chosen, Problem):
            bad.setdefault(name, chosen)
            choices.setdefault(name, [])
        else:
            choices[name].append(chosen)
    return choices, genres, bad


def _chosen(name: str, table: Table, row: Row) -> tuple[float, ...] | Problem:
    """Return a listener's choices, 0 or 1 each, or the problem with one of them."""
    values = []
    for emotion in EMOTIONS:
        text = row.cells[emotion].strip()
        if text not in ("0", "1"):
            where = f"{table.path.name}, line {row.line}, {emotion}"
            return Problem(name, BAD_LABELS, f"{where}: {text!r} is not 0 or 1")
        values.append(float(text))
    return tuple(values)


def _proxies(choices: dict[str, list[tuple[float, ...]]]) -> dict[str, tuple[float, float]]:
    """Return the proxies of valence and arousal by track, each in [-1, 1]."""
    if not choices:
        return {}
    signs = np.array([[axis.get(name, 0) for name in EMOTIONS] for axis in (VALENCE, AROUSAL)])
    shares = np.array([np.mean(rows, axis=0) for rows in choices.values()])
    sums = shares @ signs.T
    deviation = sums.std(axis=0)
    centred = (sums - sums.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    scaled = np.clip(PROXY_SD * centred, -1.0, 1.0)
    return {
        name: (float(valence), float(arousal))
        for name, (valence, arousal) in zip(choices, scaled, strict=True)
    }
