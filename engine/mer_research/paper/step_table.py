"""Data sets as tables: 260 features and two labels for every half second of every song."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from mer_engine.datasets.audio import probe_audio, read_clip
from mer_engine.datasets.problems import DataError
from mer_engine.datasets.types import DIMENSIONS, SPLITS, STEP_S, Clip, Collection
from numpy.typing import NDArray

from mer_research.paper.descriptors import (
    FUNCTIONALS,
    SAMPLE_RATE_HZ,
    compute_descriptors,
    step_functionals,
)

# Increase when the descriptors change: it invalidates cached ones.
_DESCRIPTORS_VERSION = 1
_ROUNDING_S = 1e-6

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class SongSteps:
    """The consecutive half seconds of a song.

    Attributes:
        song: name of the song.
        features: float32 [steps, columns]; NaN only before the first value of a column.
        labels: float32 [steps, 2] (valence, arousal) at the end of each half second, in [-1, 1];
            NaN before the first label.
    """

    song: str
    features: NDArray[np.float32]
    labels: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.features)


@dataclass(frozen=True, eq=False)
class StepTable:
    """The half seconds of all songs of a data set.

    Attributes:
        name: name of the data set.
        columns: names of the features.
        songs: in a fixed order.
        splits: songs of "train", "validation" and "test".
        label_range: by dimension, the lowest and the highest label of the whole data set. It does
            not depend on which part of the audio is available.
    """

    name: str
    columns: tuple[str, ...]
    songs: tuple[SongSteps, ...]
    splits: Mapping[str, tuple[str, ...]]
    label_range: Mapping[str, tuple[float, float]]

    @property
    def longest(self) -> int:
        """Length of the longest song, half seconds."""
        return max(len(song) for song in self.songs)

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """int64 [songs + 1], start of each song in `features`."""
        return np.cumsum([0, *(len(song) for song in self.songs)])

    @cached_property
    def features(self) -> NDArray[np.float32]:
        """float32 [all steps, columns]."""
        return np.concatenate([song.features for song in self.songs])

    @cached_property
    def labels(self) -> NDArray[np.float32]:
        """float32 [all steps, 2], scaled so that `label_range` is 0 to 1."""
        labels = np.concatenate([song.labels for song in self.songs])
        low, high = np.array([self.label_range[name] for name in DIMENSIONS], np.float32).T
        return np.asarray((labels - low) / (high - low), dtype=np.float32)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all values and splits, 16 hexadecimal digits."""
        content = hashlib.sha256()
        content.update(np.ascontiguousarray(self.features).tobytes())
        content.update(np.ascontiguousarray(self.labels).tobytes())
        content.update(self._metadata().encode())
        return content.hexdigest()[:16]

    def only(self, songs: Iterable[str]) -> StepTable:
        """Return a table with some of the songs."""
        kept = set(songs)
        return StepTable(
            self.name,
            self.columns,
            tuple(song for song in self.songs if song.song in kept),
            {name: tuple(s for s in ids if s in kept) for name, ids in self.splits.items()},
            self.label_range,
        )

    def save(self, path: Path) -> None:
        """Write the table to a file atomically."""
        labels = np.concatenate([song.labels for song in self.songs])
        draft = path.with_name(f"{path.name}.part")
        with draft.open("wb") as file:
            np.savez(file, features=self.features, labels=labels, about=np.array(self._metadata()))
        draft.replace(path)

    @classmethod
    def load(cls, path: Path) -> StepTable:
        """Read a file that `save` wrote."""
        with np.load(path, allow_pickle=False) as content:
            about = json.loads(str(content["about"]))
            features, labels = content["features"], content["labels"]
        cuts = np.cumsum(about["lengths"])[:-1]
        songs = zip(about["songs"], np.split(features, cuts), np.split(labels, cuts), strict=True)
        return cls(
            about["name"],
            tuple(about["columns"]),
            tuple(SongSteps(*song) for song in songs),
            {name: tuple(ids) for name, ids in about["splits"].items()},
            {name: (low, high) for name, (low, high) in about["label_range"].items()},
        )

    def _metadata(self) -> str:
        return json.dumps(
            {
                "name": self.name,
                "columns": self.columns,
                "songs": [song.song for song in self.songs],
                "lengths": [len(song) for song in self.songs],
                "splits": self.splits,
                "label_range": self.label_range,
            },
            sort_keys=True,
        )


def describe_collection(
    collection: Collection, cache: Path, progress: Progress | None = None
) -> tuple[StepTable, list[str]]:
    """Compute the descriptors of all songs from their audio.

    Args:
        collection: songs with labels.
        cache: folder for the descriptors, one file per song; cached songs are not computed again.
        progress: called with the number of songs done and the total.

    Returns:
        The table, and a sentence for each song that is left out.

    Raises:
        DataError: no song can be used.
    """
    cache.mkdir(parents=True, exist_ok=True)
    by_song: dict[str, Clip] = {}
    for clip in collection.clips:
        by_song.setdefault(clip.song, clip)
    songs, left_out = [], []
    for number, (name, clip) in enumerate(by_song.items(), start=1):
        try:
            stretch, steps = labelled_stretch(collection, clip)
            features = _cached_descriptors(stretch, cache)[:steps]
            labels = collection.labels(stretch, len(features))
            songs.append(SongSteps(name, forward_fill(features), forward_fill(labels)))
        except DataError as error:
            left_out.append(f"song {name}: {error}")
        if progress is not None:
            progress(number, len(by_song))
    return make_table(collection, FUNCTIONALS, songs), left_out


def make_table(
    collection: Collection, columns: tuple[str, ...], songs: list[SongSteps]
) -> StepTable:
    """Join songs to a table.

    Raises:
        DataError: no song has two half seconds with labels, or all labels are the same.
    """
    usable = sorted(
        (song for song in songs if len(song) > 1 and np.isfinite(song.labels).all(axis=1).any()),
        key=lambda song: (len(song.song), song.song),
    )
    if not usable:
        raise DataError(f"no song in {collection.root} has two half seconds with labels")
    ids = {song.song for song in usable}
    values = [
        np.concatenate([curve[column].values for curve in collection.curves.values()])
        for column in range(len(DIMENSIONS))
    ]
    for name, labels in zip(DIMENSIONS, values, strict=True):
        if labels.min() == labels.max():
            raise DataError(f"all {name} labels in {collection.root} are {labels[0]:g}")
    return StepTable(
        collection.name,
        columns,
        tuple(usable),
        {name: tuple(s for s in collection.splits[name] if s in ids) for name in SPLITS},
        {
            name: (float(v.min()), float(v.max()))
            for name, v in zip(DIMENSIONS, values, strict=True)
        },
    )


def labelled_stretch(collection: Collection, clip: Clip) -> tuple[Clip, int]:
    """Return the part of a song that has audio and labels, and its length in half seconds.

    Args:
        collection: songs with labels.
        clip: any clip of the song; gives the file and its position on the label clock.

    Raises:
        DataError: the file cannot be read, or has no half second with labels.
    """
    file_start_s = clip.start_s - clip.audio_offset_s  # on the label clock
    file_end_s = file_start_s + probe_audio(clip.path).duration_s
    curves = [curve for curve in collection.curves[clip.song] if len(curve)]
    first = max([curve.times_s[0] for curve in curves], default=np.inf)
    last = min([curve.times_s[-1] for curve in curves], default=-np.inf)
    start = file_start_s + max(0.0, np.floor((first - STEP_S - file_start_s) / STEP_S)) * STEP_S
    steps = int((min(last, file_end_s) - start) / STEP_S + _ROUNDING_S)
    if steps < 1:
        raise DataError(f"{clip.path} has no half second with labels")
    offset = max(0.0, start - file_start_s)
    return Clip(clip.song, clip.path, float(start), float(offset), steps * STEP_S), steps


def forward_fill(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Replace each missing value by the last one before it, as the paper does.

    Args:
        values: float32 [steps, columns]; NaN where missing. NaN before the first value stays.
    """
    known = np.isfinite(values)
    rows = np.where(known, np.arange(len(values))[:, None], 0)
    last = np.maximum.accumulate(rows, axis=0)
    return np.take_along_axis(np.where(known, values, np.nan), last, axis=0).astype(np.float32)


def _cached_descriptors(clip: Clip, cache: Path) -> NDArray[np.float32]:
    """Return float32 [steps, 260] of a clip, from the cache if it is there."""
    file = clip.path.stat()
    key = [
        _DESCRIPTORS_VERSION, str(clip.path.resolve()), file.st_size, file.st_mtime_ns,
        clip.audio_offset_s, clip.duration_s,
    ]  # fmt: skip
    path = cache / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:24]}.npy"
    if path.is_file():
        return np.asarray(np.load(path, allow_pickle=False), dtype=np.float32)
    samples = read_clip(clip, SAMPLE_RATE_HZ)
    # A decoder may return a few samples less than the header says.
    missing = round((clip.duration_s or 0.0) * SAMPLE_RATE_HZ) - len(samples)
    if 0 < missing < SAMPLE_RATE_HZ * STEP_S:
        samples = np.pad(samples, (0, missing))
    features = step_functionals(compute_descriptors(samples))
    draft = path.with_suffix(f".{os.getpid()}.part")
    with draft.open("wb") as out:
        np.save(out, features)
    draft.replace(path)
    return features
