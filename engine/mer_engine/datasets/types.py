"""The common form of all labelled data sets: songs, clips, splits and label curves.

A problem of a single song (no audio, no labels, invalid labels) leaves that song out and is
reported. An unusable folder or table raises a `DataError`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mer_engine.datasets.curve import Curve
from mer_engine.datasets.problems import Problem, summarise
from mer_engine.model_file import DIMENSIONS as DIMENSIONS

SPLITS = ("train", "validation", "test")
ALL = "all"
# One label per step; clips are at most `CLIP_S` long.
STEP_S = 0.5
CLIP_S = 10.0
CLIP_STEPS = round(CLIP_S / STEP_S)
SHORTEST_CLIP_S = 2.0
# Scores count from this step of a clip on: after five to ten seconds of music.
FIRST_SCORED_STEP = 10
# Shares of the splits of a data set that has none of its own.
_SHARES = {"train": 0.70, "validation": 0.15, "test": 0.15}


@dataclass(frozen=True, slots=True)
class Clip:
    """A section of a song that is trained on or scored as a stream of its own.

    Attributes:
        song: the song's name, unique in its collection.
        path: audio file.
        start_s: start of the clip on the clock of the labels, seconds.
        audio_offset_s: start of the clip in the file, seconds.
        duration_s: length in seconds; None for the rest of the file.
    """

    song: str
    path: Path
    start_s: float
    audio_offset_s: float = 0.0
    duration_s: float | None = None


@dataclass(frozen=True, slots=True)
class Song:
    """Metadata of a song, without its labels over time.

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
        clips: the sections to train on and to score, at most `CLIP_S` seconds each.
        extra: further sections of some of the songs, used without labels.
        songs: all songs of the data set by id, including those left out.
        splits: the songs of each split, including those left out.
        curves: by song, the labels of valence and arousal over time, each in [-1, 1].
        problems: the songs left out.
        remarks: harmless findings, one sentence each.
    """

    name: str
    root: Path
    clips: tuple[Clip, ...]
    extra: tuple[Clip, ...]
    songs: dict[str, Song]
    splits: dict[str, tuple[str, ...]]
    curves: Mapping[str, tuple[Curve, Curve]]
    problems: tuple[Problem, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def left_out(self) -> tuple[str, ...]:
        """One sentence for each song that is left out."""
        return tuple(str(problem) for problem in self.problems)

    @property
    def summary(self) -> str:
        """One sentence: how many songs are left out, and why; empty if none."""
        return summarise(self.problems, len(self.songs))

    def with_all(self) -> Collection:
        """Return the collection with one more split, "all", of every song."""
        return replace(self, splits={**self.splits, ALL: tuple(self.songs)})

    def clips_of(self, split: str) -> tuple[Clip, ...]:
        """Return the clips of a split."""
        songs = set(self.splits[split])
        return tuple(clip for clip in self.clips if clip.song in songs)

    def problems_of(self, split: str) -> tuple[Problem, ...]:
        """Return the problems of the songs of a split."""
        songs = set(self.splits[split])
        return tuple(problem for problem in self.problems if problem.song in songs)

    def labels(self, clip: Clip, steps: int) -> NDArray[np.float32]:
        """Return the labels at the end of each step of a clip.

        Returns:
            float32 [steps, 2] (valence, arousal), interpolated linearly, NaN where unknown.
        """
        times = clip.start_s + STEP_S * np.arange(1, steps + 1)
        if clip.song not in self.curves:
            return np.full((steps, 2), np.nan, np.float32)
        columns = [curve.at(times) for curve in self.curves[clip.song]]
        return np.stack(columns, axis=1).astype(np.float32)


def split_by_name(songs: Iterable[Song]) -> dict[str, tuple[str, ...]]:
    """Split songs 70/15/15 into train, validation and test.

    All songs of an artist are in one split. The split depends on the name of the artist (else of
    the song) alone, so adding songs moves no other song.
    """
    splits: dict[str, list[str]] = {name: [] for name in SPLITS}
    for song in songs:
        splits[split_of(song)].append(song.id)
    return {name: tuple(ids) for name, ids in splits.items()}


def split_of(song: Song) -> str:
    """Return the split of a song, from a hash of its artist's name, else of its own."""
    key = f"artist {song.artist.casefold()}" if song.artist else f"song {song.id}"
    position = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    for name, share in _SHARES.items():
        if position < share:
            return name
        position -= share
    return SPLITS[-1]


def cut(song: str, path: Path, duration_s: float, curves: tuple[Curve, Curve]) -> tuple[Clip, ...]:
    """Cut a recording into consecutive clips of `CLIP_S` seconds.

    The labels count from the beginning of the recording. The first clip begins half a second before
    the first label, on a half second. The last clip ends with the labels or the audio and lasts at
    least `SHORTEST_CLIP_S`. Clips without a label are left out.
    """
    labelled = [curve.times_s for curve in curves if len(curve)]
    if not labelled:
        return ()
    first, last = min(t[0] for t in labelled), max(t[-1] for t in labelled)
    start = max(0.0, np.floor((first - STEP_S) / STEP_S) * STEP_S)
    # The last label may lie slightly beyond the audio that a decoder returns.
    end = min(np.floor(last / STEP_S) * STEP_S, duration_s)
    clips = []
    while end - start >= SHORTEST_CLIP_S:
        length = min(CLIP_S, end - start)
        times = start + STEP_S * np.arange(1, int(length / STEP_S) + 1)
        if any(np.isfinite(curve.at(times)).any() for curve in curves):
            clips.append(Clip(song, path, float(start), float(start), float(length)))
        start += CLIP_S
    return tuple(clips)
