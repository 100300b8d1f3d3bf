"""The common form of all labelled data sets: songs, clips, splits and label curves.

A problem of a single song (no audio, no labels, invalid labels) leaves that song out and is
reported. An unusable folder or table raises a `DataError`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

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
# What the labels of a collection are, see `Collection.labelled`.
Labelled = Literal["curve", "mean", "quadrant"]
# The signs of valence and arousal by name of the quadrant.
QUADRANTS = {"Q1": (1, 1), "Q2": (-1, 1), "Q3": (-1, -1), "Q4": (1, -1)}


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
        artist, title, genre: None where unknown. The artist is what keeps songs together in a split
            (`group_of`). Where something else does, such as a game or a film, it is that.
        static: valence and arousal of the whole song, each in [-1, 1]; None where unknown.
        quadrant: signs of valence and arousal of the whole song, each -1 or 1; None where unknown.
        quadrant_share: share of the evidence that speaks for this quadrant, above 0, at most 1;
            None where unknown.
        raters: number of listeners behind the labels; None where unknown.
        campaign: name of the campaign in which the song was rated; "" if the collection had only
            one. Each campaign had its own listeners, whose ratings have their own offset.
    """

    id: str
    artist: str | None = None
    title: str | None = None
    genre: str | None = None
    static: tuple[float, float] | None = None
    quadrant: tuple[int, int] | None = None
    quadrant_share: float | None = None
    raters: int | None = None
    campaign: str = ""


@dataclass(frozen=True)
class Collection:
    """Songs with labels.

    Attributes:
        name: its kind, a key of `mer_engine.datasets.load.LOADERS`.
        root: its folder.
        clips: the sections to train on and to score, at most `CLIP_S` seconds each.
        extra: further sections of some of the songs, used without labels.
        songs: all songs of the data set by id, including those left out.
        splits: the songs of each split, including those left out.
        curves: by song, the labels of valence and arousal over time, each in [-1, 1]. Constant for
            labels that are means; empty for quadrants.
        problems: the songs left out.
        remarks: harmless findings, one sentence each.
        labelled: what the labels are. "curve": a number for each moment. "mean": one number for
            each song, of `Song.raters` listeners. "quadrant": no number, only `Song.quadrant`.
        scale: "shared" if the numbers are ratings of valence and arousal. "own" if they are
            computed from other answers: their order counts, their offset and scale do not.
        marks: by song, curves as in `curves` for labels that are means: how the label moves.
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
    labelled: Labelled = "curve"
    scale: Literal["shared", "own"] = "shared"
    marks: Mapping[str, tuple[Curve, Curve]] = field(default_factory=dict)

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
        return _at_steps(self.curves, clip, steps)

    def movement(self, clip: Clip, steps: int) -> NDArray[np.float32]:
        """Return the labels that tell how the emotion moves within a clip, as `labels` does.

        They are the marks of a song that has some, else its labels.
        """
        return _at_steps(self.marks if clip.song in self.marks else self.curves, clip, steps)


def split_by_name(songs: Iterable[Song]) -> dict[str, tuple[str, ...]]:
    """Split songs 70/15/15 into train, validation and test.

    All songs of an artist are in one split. The split depends on the name of the artist (else of
    the song) alone, so adding songs moves no other song.
    """
    splits: dict[str, list[str]] = {name: [] for name in SPLITS}
    for song in songs:
        splits[split_of(song)].append(song.id)
    return {name: tuple(ids) for name, ids in splits.items()}


def all_in_train(songs: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return splits with all songs in "train".

    For collections without a published split, which are measured by parts (`song_parts`) and as a
    whole, by a model that was trained without them.
    """
    return {"train": tuple(songs), "validation": (), "test": ()}


def group_of(song: Song) -> str:
    """Return the group of a song, of which all songs belong on the same side of a split."""
    return f"artist {song.artist.casefold()}" if song.artist else f"song {song.id}"


def split_of(song: Song) -> str:
    """Return the split of a song, from a hash of its group."""
    position = _hash(group_of(song)) / 2**64
    for name, share in _SHARES.items():
        if position < share:
            return name
        position -= share
    return SPLITS[-1]


def song_parts(collection: Collection, parts: int = 5) -> dict[str, int]:
    """Divide the usable songs into parts of about the same size, to hold out one after another.

    All songs of a group are in one part. The parts depend on the usable songs alone.

    Args:
        collection: the songs.
        parts: number of parts.

    Returns:
        The part of each song that has a clip, 0 to `parts` - 1.
    """
    groups: dict[str, list[str]] = {}
    for name in sorted({clip.song for clip in collection.clips}):
        groups.setdefault(group_of(collection.songs[name]), []).append(name)
    sizes = [0] * parts
    result = {}
    # The largest groups first, each to the smallest part.
    for group in sorted(groups, key=lambda group: (-len(groups[group]), _hash(group))):
        part = sizes.index(min(sizes))
        sizes[part] += len(groups[group])
        result.update(dict.fromkeys(groups[group], part))
    return result


def constant_curves(values: tuple[float, float], duration_s: float) -> tuple[Curve, Curve]:
    """Return curves of valence and arousal that have the same value for the whole duration."""
    times_s = STEP_S * np.arange(int(duration_s / STEP_S) + 2, dtype=np.float64)
    valence, arousal = (Curve(times_s, np.full(len(times_s), value)) for value in values)
    return valence, arousal


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
    for clip in sections(song, path, float(start), float(end)):
        times = clip.start_s + STEP_S * np.arange(1, int((clip.duration_s or 0) / STEP_S) + 1)
        if any(np.isfinite(curve.at(times)).any() for curve in curves):
            clips.append(clip)
    return tuple(clips)


def sections(song: str, path: Path, start_s: float, end_s: float) -> tuple[Clip, ...]:
    """Cut a part of a recording into consecutive clips of `CLIP_S` seconds.

    The last one lasts at least `SHORTEST_CLIP_S`. Times count from the beginning of the recording.
    """
    clips = []
    while end_s - start_s >= SHORTEST_CLIP_S:
        clips.append(Clip(song, path, start_s, start_s, min(CLIP_S, end_s - start_s)))
        start_s += CLIP_S
    return tuple(clips)


def _at_steps(
    curves: Mapping[str, tuple[Curve, Curve]], clip: Clip, steps: int
) -> NDArray[np.float32]:
    """Return curves at the end of each step of a clip, float32 [steps, 2]; NaN where unknown."""
    times = clip.start_s + STEP_S * np.arange(1, steps + 1)
    if clip.song not in curves:
        return np.full((steps, 2), np.nan, np.float32)
    return np.stack([curve.at(times) for curve in curves[clip.song]], axis=1).astype(np.float32)


def _hash(text: str) -> int:
    """Return a number from 0 to 2**64 - 1 that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
