"""Labelled music of any origin, in one form.

A song's own problem (no audio, no labels, labels that cannot be right) leaves that song out and is
told; a folder or table that cannot be what it should be is refused with a `DataError`. Needs no
torch, so that the evaluation runs on a default install.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mer_engine.datasets.curve import Curve
from mer_engine.datasets.problems import Problem, sum_up

SPLITS = ("train", "validation", "test")
ALL = "all"
DIMENSIONS = ("valence", "arousal")
STEP_S = 0.5
CLIP_S = 10.0
SHORTEST_CLIP_S = 2.0
# Shares of the splits where a data set has none of its own.
_SHARES = {"train": 0.70, "validation": 0.15, "test": 0.15}


@dataclass(frozen=True, slots=True)
class Clip:
    """A stretch of a song that is learnt from or scored as a stream of its own.

    Attributes:
        song: the song's name, unique in its collection.
        path: audio file.
        start_s: where the clip begins on the clock of the labels, seconds.
        audio_offset_s: where it begins in the file, seconds.
        duration_s: its length; None: to the end of the file.
    """

    song: str
    path: Path
    start_s: float
    audio_offset_s: float = 0.0
    duration_s: float | None = None


@dataclass(frozen=True, slots=True)
class Song:
    """What is known of a song besides its labels over time.

    Attributes:
        id: its name, unique in its collection.
        artist, title, genre: None where unknown.
        static: valence and arousal of the whole song, each in [-1, 1]; None where unknown.
    """

    id: str
    artist: str | None = None
    title: str | None = None
    genre: str | None = None
    static: tuple[float, float] | None = None


@dataclass(frozen=True)
class Collection:
    """Songs with labels.

    Attributes:
        name: "deam", "pmemo", "vgmidi" or "csv".
        root: its folder.
        clips: the stretches that are scored and trained on, at most ten seconds each.
        extra: further stretches of some of the songs.
        songs: every song that the data tell of, also those left out.
        splits: the songs of each split, also those left out.
        curves: by song, the labels of valence and arousal over time, each in [-1, 1].
        problems: the songs left out.
        notes: what was found and does no harm, a sentence each.
    """

    name: str
    root: Path
    clips: tuple[Clip, ...]
    extra: tuple[Clip, ...]
    songs: dict[str, Song]
    splits: dict[str, tuple[str, ...]]
    curves: Mapping[str, tuple[Curve, Curve]]
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def left_out(self) -> tuple[str, ...]:
        """One sentence for each song that cannot be used."""
        return tuple(str(problem) for problem in self.problems)

    @property
    def summary(self) -> str:
        """One sentence on how many songs were left out and why; empty where none was."""
        return sum_up(self.problems, len(self.songs))

    def with_all(self) -> Collection:
        """The same with one more split, "all", of every song."""
        return replace(self, splits={**self.splits, ALL: tuple(self.songs)})

    def clips_of(self, split: str) -> tuple[Clip, ...]:
        """The clips of the songs of a split."""
        songs = set(self.splits[split])
        return tuple(clip for clip in self.clips if clip.song in songs)

    def problems_of(self, split: str) -> tuple[Problem, ...]:
        """The songs of a split that are left out."""
        songs = set(self.splits[split])
        return tuple(problem for problem in self.problems if problem.song in songs)

    def labels(self, clip: Clip, steps: int) -> NDArray[np.float32]:
        """Labels at the end of each half second of a clip.

        Returns:
            float32 [steps, 2] (valence, arousal), linear between neighbours, NaN where unknown.
        """
        times = clip.start_s + STEP_S * np.arange(1, steps + 1)
        if clip.song not in self.curves:
            return np.full((steps, 2), np.nan, np.float32)
        columns = [curve.at(times) for curve in self.curves[clip.song]]
        return np.stack(columns, axis=1).astype(np.float32)


def split_by_name(songs: Iterable[Song]) -> dict[str, tuple[str, ...]]:
    """Split songs 70/15/15 into train, validation and test.

    All songs of an artist fall into one split. The choice rests on the artist's (else the song's)
    name alone, so that further songs move no other.
    """
    splits: dict[str, list[str]] = {name: [] for name in SPLITS}
    for song in songs:
        splits[split_of(song)].append(song.id)
    return {name: tuple(ids) for name, ids in splits.items()}


def split_of(song: Song) -> str:
    """The split that a song falls into by its artist's name, else its own."""
    key = f"artist {song.artist.casefold()}" if song.artist else f"song {song.id}"
    place = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    for name, share in _SHARES.items():
        if place < share:
            return name
        place -= share
    return SPLITS[-1]


def cut(song: str, path: Path, duration_s: float, curves: tuple[Curve, Curve]) -> tuple[Clip, ...]:
    """Cut a recording whose clock is that of its labels into consecutive clips of ten seconds.

    The first begins half a second before the first label, on a half second; the last ends with the
    labels or the audio and may be as short as two seconds. Clips without a label are not given.
    """
    known = [curve.times_s for curve in curves if len(curve)]
    if not known:
        return ()
    first, last = min(t[0] for t in known), max(t[-1] for t in known)
    start = max(0.0, np.floor((first - STEP_S) / STEP_S) * STEP_S)
    # A last label at the very end may lie a little beyond the audio that a decoder gives.
    end = min(np.floor(last / STEP_S) * STEP_S, duration_s)
    clips = []
    while end - start >= SHORTEST_CLIP_S:
        length = min(CLIP_S, end - start)
        times = start + STEP_S * np.arange(1, int(length / STEP_S) + 1)
        if any(np.isfinite(curve.at(times)).any() for curve in curves):
            clips.append(Clip(song, path, float(start), float(start), float(length)))
        start += CLIP_S
    return tuple(clips)
