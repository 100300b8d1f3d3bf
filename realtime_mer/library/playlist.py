"""Playlists: files of a library in the order of a way over the plane."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from realtime_mer.core.mood import NEUTRAL, SECTORS, WORDS
from realtime_mer.core.value_range import MIN_HALF_WIDTH, AxisRange
from realtime_mer.errors import UserError, nearest
from realtime_mer.library.song_names import SongNames
from realtime_mer.library.track import Summary, Track

Point = tuple[float, float]
Way = Callable[[float], Point]
"""Maps seconds from the start of a playlist to a place in the spread of a library."""

# Shares of the files of a library below the values that become -1 and 1.
RIM = (0.05, 0.95)
# How far out a word lies, where the rim is 1.
WORD_RADIUS = 0.8
# Files with less music are left out: they are speech or noise.
MIN_MUSIC_SHARE = 0.5

# Unfinished playlists that are kept at each length, and next files that each of them tries.
BEAM = 16
CANDIDATES = 24
# Files between two of the same artist, and between two of the same folder, where possible.
ARTIST_GAP = 4
FOLDER_GAP = 1
# What breaking that costs: as much as a file this far from the way.
_GAP_COST = 0.25**2
# What the end that is missing or too much costs, for one mean duration.
_LENGTH_COST = 0.02


@dataclass(frozen=True, slots=True)
class Song:
    """A file that can be on a playlist."""

    track: Track
    summary: Summary
    valence: float
    arousal: float


class Spread:
    """The spread of a library over the plane: places among its own files.

    The median of each dimension is 0, and nine tenths of the files lie between -1 and 1, as the
    range music of the page does it with music at large. So a library of quiet piano still has calm
    and joyful ends.

    Args:
        songs: at least one.
    """

    def __init__(self, songs: Sequence[Song]) -> None:
        values = np.array([(song.valence, song.arousal) for song in songs])
        low, middle, high = np.quantile(values, (RIM[0], 0.5, RIM[1]), axis=0)
        self._axes = tuple(
            AxisRange(m, max(m - a, MIN_HALF_WIDTH), max(b - m, MIN_HALF_WIDTH))
            for a, m, b in zip(low.tolist(), middle.tolist(), high.tolist(), strict=True)
        )

    def place(self, values: Point) -> Point:
        """Return the place of valence and arousal, on the scale of the table, in the spread."""
        valence, arousal = (
            axis.place(value) for axis, value in zip(self._axes, values, strict=True)
        )
        return valence, arousal


@dataclass(frozen=True, slots=True)
class Playlist:
    """Files in order.

    Attributes:
        songs: no file and no song twice.
        duration_s: of all of them.
        step: mean distance from one file to the next in the spread of the library.
        random_step: the same for these files in random order.
        off_way: mean distance of the files from the way.
    """

    songs: tuple[Song, ...]
    duration_s: float
    step: float
    random_step: float
    off_way: float


def playable(tracks: Iterable[Track]) -> list[Song]:
    """Return the files that are music, sorted by path so that playlists do not depend on order."""
    songs = []
    for track in sorted(tracks, key=lambda track: track.path):
        summary = track.summary
        if summary is None or summary.valence is None or summary.arousal is None:
            continue
        if summary.duration_s > 0.0 and summary.music_share >= MIN_MUSIC_SHARE:
            songs.append(Song(track, summary, summary.valence, summary.arousal))
    return songs


def place_of_mood(text: str) -> Point:
    """Return the place that a mood word or `valence,arousal` names, in the spread of a library.

    Raises:
        UserError: it is neither.
    """
    word = text.strip().lower()
    if word == NEUTRAL:
        return 0.0, 0.0
    if word in SECTORS:
        angle = SECTORS.index(word) * math.tau / len(SECTORS)
        return WORD_RADIUS * math.cos(angle), WORD_RADIUS * math.sin(angle)
    try:
        valence, arousal = (float(part) for part in word.split(","))
    except ValueError:
        raise UserError(
            f"'{text}' is no mood and no valence,arousal from -1 to 1; {nearest(word, WORDS)}"
        ) from None
    if not (abs(valence) <= 1.0 and abs(arousal) <= 1.0):
        raise UserError(f"'{text}' lies off the plane; valence and arousal are from -1 to 1")
    return valence, arousal


def straight_way(start: Point, end: Point, *, total_s: float, song_s: float) -> Way:
    """Return the straight way on which the first song lies at the start and the last at the end.

    Args:
        start, end: places in the spread.
        total_s: duration of the playlist.
        song_s: mean duration of a song.
    """

    def at(t_s: float) -> Point:
        share = (t_s - song_s / 2) / max(total_s - song_s, 1e-9)
        share = min(max(share, 0.0), 1.0)
        return (
            start[0] + share * (end[0] - start[0]),
            start[1] + share * (end[1] - start[1]),
        )

    return at


@dataclass(frozen=True, slots=True)
class _Draft:
    """The beginning of a playlist.

    Attributes:
        chosen: indices of the songs.
        elapsed_s: their duration.
        cost: sum over the songs, weighted by their duration.
        offset: of the last song from the way.
    """

    chosen: tuple[int, ...] = ()
    elapsed_s: float = 0.0
    cost: float = 0.0
    offset: Point = (0.0, 0.0)

    def rank(self) -> tuple[float, tuple[int, ...]]:
        return self.cost / max(self.elapsed_s, 1e-9), self.chosen


def plan(
    songs: Sequence[Song], spread: Spread, way: Way, *, total_s: float, names: SongNames
) -> Playlist:
    """Choose and order songs along a way.

    A beam search: of all playlists of k songs, the `BEAM` best are continued by the unused songs
    nearest to where the way is then. A song costs the square of its distance from the way at the
    middle of its time, and of the difference between its step and the step of the way: that keeps
    steps near-equal. A song is added while its middle lies before the end, so the whole is at most
    half a song too long or too short, if the library has enough.

    Args:
        songs: from `playable`, at least one.
        spread: of these or more songs.
        way: places in the spread.
        total_s: the duration to reach.
        names: artists and titles.
    """
    places = np.array([spread.place((song.valence, song.arousal)) for song in songs])
    durations_s = np.array([song.summary.duration_s for song in songs])
    search = _Search(songs, places, durations_s, way, total_s, names)
    drafts, finished = [_Draft()], list[_Draft]()
    while drafts:
        longer = [search.continued(draft) for draft in drafts]
        finished += [
            draft for draft, next_ones in zip(drafts, longer, strict=True) if not next_ones
        ]
        drafts = sorted((draft for each in longer for draft in each), key=_Draft.rank)[:BEAM]
    best = min(finished, key=search.final_rank)
    return _playlist(best, songs, places, search)


class _Search:
    def __init__(
        self,
        songs: Sequence[Song],
        places: NDArray[np.float64],
        durations_s: NDArray[np.float64],
        way: Way,
        total_s: float,
        names: SongNames,
    ) -> None:
        self._songs, self._places, self._durations_s = songs, places, durations_s
        self._way, self._total_s, self._names = way, total_s, names
        self._mean_s = float(durations_s.mean())

    def continued(self, draft: _Draft) -> list[_Draft]:
        """Return a draft with one song more, for each song that may be next."""
        near = self._places - self._way(draft.elapsed_s + self._mean_s / 2)
        distances = (near**2).sum(axis=1)
        distances[list(draft.chosen)] = np.inf
        distances[draft.elapsed_s + self._durations_s / 2 > self._total_s] = np.inf
        count = min(CANDIDATES, len(distances))
        nearest_ones = np.sort(np.argpartition(distances, count - 1)[:count])
        return [
            self._with(draft, index)
            for index in nearest_ones.tolist()
            if math.isfinite(distances[index]) and not self._is_repeated(draft, index)
        ]

    def offset(self, draft: _Draft, index: int) -> Point:
        """Return how far a song after a draft lies from the way."""
        place = self._places[index].tolist()
        on_way = self._way(draft.elapsed_s + float(self._durations_s[index]) / 2)
        return place[0] - on_way[0], place[1] - on_way[1]

    def _with(self, draft: _Draft, index: int) -> _Draft:
        x, y = self.offset(draft, index)
        cost = x * x + y * y
        if draft.chosen:
            cost += (x - draft.offset[0]) ** 2 + (y - draft.offset[1]) ** 2
            cost += _GAP_COST * self._crowded(draft, index)
        duration_s = float(self._durations_s[index])
        return _Draft(
            (*draft.chosen, index),
            draft.elapsed_s + duration_s,
            draft.cost + cost * duration_s,
            (x, y),
        )

    def _crowded(self, draft: _Draft, index: int) -> int:
        """Return how many rules about artists and folders a song would break: 0 to 2."""
        artist, folder = self._artist(index), self._folder(index)
        artists = [self._artist(other) for other in draft.chosen[-ARTIST_GAP:]]
        folders = [self._folder(other) for other in draft.chosen[-FOLDER_GAP:]]
        return int(bool(artist) and artist in artists) + int(folder in folders)

    def _is_repeated(self, draft: _Draft, index: int) -> bool:
        """Return whether a song is in a draft already, as another file."""
        song = self._names.key(self._songs[index].track.path)
        return song is not None and any(
            self._names.key(self._songs[other].track.path) == song for other in draft.chosen
        )

    def _artist(self, index: int) -> str:
        return self._names.of(self._songs[index].track.path).artist.casefold()

    def _folder(self, index: int) -> str:
        return self._songs[index].track.path.rpartition("/")[0]

    def final_rank(self, draft: _Draft) -> tuple[float, tuple[int, ...]]:
        missing = (self._total_s - draft.elapsed_s) / self._mean_s
        cost, chosen = draft.rank()
        return cost + _LENGTH_COST * missing**2, chosen


def _playlist(
    draft: _Draft, songs: Sequence[Song], places: NDArray[np.float64], search: _Search
) -> Playlist:
    chosen = places[list(draft.chosen)].tolist()
    offsets, part = [], _Draft()
    for index in draft.chosen:
        offsets.append(math.hypot(*search.offset(part, index)))
        part = _Draft(elapsed_s=part.elapsed_s + songs[index].summary.duration_s)
    return Playlist(
        tuple(songs[index] for index in draft.chosen),
        draft.elapsed_s,
        _mean(math.dist(a, b) for a, b in pairwise(chosen)),
        _mean(math.dist(a, b) for a, b in combinations(chosen, 2)),
        _mean(offsets),
    )


def _mean(values: Iterable[float]) -> float:
    items = list(values)
    return sum(items) / len(items) if items else 0.0
