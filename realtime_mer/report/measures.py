"""What a report says about a session in numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from realtime_mer.core.target import TargetTrajectory
from realtime_mer.core.types import State
from realtime_mer.report.session import Mask, Session, Values

# Means on both sides of a marker.
AROUND_MARKER_S = 30.0
# Means on both sides of a change; each needs this share of music.
AROUND_CHANGE_S = 15.0
_MIN_SHARE = 0.6
# Changes nearer to each other than this are one, and smaller ones are none.
CHANGES_APART_S = 30.0
MIN_CHANGE = 0.1
MAX_CHANGES = 6

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment of the session with a value worth naming.

    Attributes:
        what: in words.
        t: stream time in seconds.
        valence, arousal: as shown.
        mood: the word there.
    """

    what: str
    t: float
    valence: float
    arousal: float
    mood: str


@dataclass(frozen=True, slots=True)
class Change:
    """A moment at which the values moved.

    Attributes:
        t: stream time in seconds.
        before, after: mean valence and arousal of the 15 s on both sides.
    """

    t: float
    before: Point
    after: Point

    @property
    def distance(self) -> float:
        """How far the mean moved on the plane."""
        return float(np.hypot(self.after[0] - self.before[0], self.after[1] - self.before[1]))


@dataclass(frozen=True, slots=True)
class MarkedMoment:
    """The values around a marker.

    Attributes:
        t: stream time in seconds.
        utc: when it was, ISO 8601.
        text: of the marker.
        at: valence and arousal of the newest estimate; None before the first and without music.
        mood: the word there; "" without one.
        before, after: means of the music in the 30 s on both sides; None without music.
    """

    t: float
    utc: str
    text: str
    at: Point | None
    mood: str
    before: Point | None
    after: Point | None


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean, standard deviation, lowest and highest value of one dimension."""

    mean: float
    deviation: float
    lowest: float
    highest: float


class Means:
    """Means of the music between two times, from running sums.

    Args:
        session: whose shown values are averaged, each for the time it stands for.
    """

    def __init__(self, session: Session) -> None:
        self._t = session.t
        weight = session.seconds * session.is_music
        columns = (weight, weight * session.valence, weight * session.arousal)
        self._sums = np.vstack([np.zeros(3), np.cumsum(np.stack(columns, axis=1), axis=0)])

    def between(self, start_s: Values, end_s: Values) -> tuple[Values, Values]:
        """Return for each pair of times the seconds of music [M] and the mean values [M, 2].

        Means without music are NaN.
        """
        first = np.searchsorted(self._t, start_s, side="right")
        after = np.searchsorted(self._t, end_s, side="right")
        sums = self._sums[np.maximum(after, first)] - self._sums[first]
        with np.errstate(invalid="ignore", divide="ignore"):
            return sums[:, 0], np.where(sums[:, :1] > 1e-9, sums[:, 1:] / sums[:, :1], np.nan)

    def mean(self, start_s: float, end_s: float) -> Point | None:
        """Return the mean values between two times; None without music."""
        seconds, means = self.between(np.array([start_s]), np.array([end_s]))
        return (float(means[0, 0]), float(means[0, 1])) if seconds[0] > 1e-9 else None


class Measures:
    """The numbers of one session.

    Args:
        session: the recording.
        target: the trajectory that it was to follow; None for none.
    """

    def __init__(self, session: Session, target: TargetTrajectory | None = None) -> None:
        self.session = session
        self.target = None if target is None else TargetMeasures(session, target)
        self.means = Means(session)

    @cached_property
    def music_s(self) -> float:
        """Seconds of music."""
        return float(self.session.seconds[self.session.is_music].sum())

    @cached_property
    def state_s(self) -> dict[str, float]:
        """Seconds of music, of each state without music that occurs, and of gaps."""
        seconds = {"music": self.music_s}
        for span in self.session.spans:
            if not span.is_music:
                seconds[span.word] = seconds.get(span.word, 0.0) + span.end_s - span.start_s
        return seconds

    @cached_property
    def mood_shares(self) -> dict[str, float]:
        """The share of each mood word that occurs in the music, the largest first."""
        seconds: dict[str, float] = {}
        for span in self.session.spans:
            if span.is_music:
                seconds[span.word] = seconds.get(span.word, 0.0) + span.end_s - span.start_s
        total = sum(seconds.values())
        order = sorted(seconds, key=lambda word: -seconds[word])
        return {word: seconds[word] / total for word in order} if total > 0.0 else {}

    def dimension(self, name: str) -> Spread | None:
        """Return the numbers of `valence` or `arousal` over the music; None without music."""
        music = self.session.is_music
        if not music.any():
            return None
        values = getattr(self.session, name)[music]
        weights = self.session.seconds[music]
        if weights.sum() <= 0.0:
            weights = np.ones_like(weights)
        mean = float(np.average(values, weights=weights))
        deviation = float(np.sqrt(np.average((values - mean) ** 2, weights=weights)))
        return Spread(mean, deviation, float(values.min()), float(values.max()))

    @cached_property
    def level_db(self) -> float | None:
        """The median level of the music; None without music."""
        levels = [e.level_db for e in self.session.estimates if not e.state.repeats]
        return float(np.median(levels)) if levels else None

    @cached_property
    def peaks(self) -> list[Moment]:
        """The highest and the lowest values where the window was full of music."""
        estimates = self.session.estimates
        full = np.array([e.state is State.TRACKING for e in estimates])
        candidates = np.flatnonzero(full if full.any() else self.session.is_music)
        if not len(candidates):
            return []
        found = []
        for name in ("arousal", "valence"):
            values = getattr(self.session, name)[candidates]
            for what, place in (("highest", values.argmax()), ("lowest", values.argmin())):
                index = int(candidates[place])
                found.append(
                    Moment(
                        f"{what} {name}",
                        float(self.session.t[index]),
                        float(self.session.valence[index]),
                        float(self.session.arousal[index]),
                        estimates[index].mood or "",
                    )
                )
        return found

    @cached_property
    def changes(self) -> list[Change]:
        """The moments around which the values moved most, in order of time."""
        t = self.session.t
        before_s, before = self.means.between(t - AROUND_CHANGE_S, t)
        after_s, after = self.means.between(t, t + AROUND_CHANGE_S)
        distance = np.hypot(*(after - before).T)
        enough = np.minimum(before_s, after_s) >= _MIN_SHARE * AROUND_CHANGE_S
        distance = np.where(enough & (distance >= MIN_CHANGE), distance, 0.0)
        found: list[Change] = []
        while len(found) < MAX_CHANGES and distance.max() > 0.0:
            index = int(distance.argmax())
            distance[np.abs(t - t[index]) < CHANGES_APART_S] = 0.0
            found.append(Change(float(t[index]), _point(before[index]), _point(after[index])))
        return sorted(found, key=lambda change: change.t)

    @cached_property
    def marked(self) -> list[MarkedMoment]:
        """The values around each marker."""
        return list(self._marked())

    def _marked(self) -> Iterator[MarkedMoment]:
        session = self.session
        for marker in session.markers:
            index = int(np.searchsorted(session.t, marker.t, side="right")) - 1
            known = index >= 0 and bool(session.is_music[index])
            yield MarkedMoment(
                marker.t,
                marker.utc,
                marker.text,
                _point(session.shown[index]) if known else None,
                (session.estimates[index].mood or "") if known else "",
                self.means.mean(marker.t - AROUND_MARKER_S, marker.t),
                self.means.mean(marker.t, marker.t + AROUND_MARKER_S),
            )


class TargetMeasures:
    """How a session followed a target trajectory.

    Args:
        session: the recording.
        target: where it was to be.

    Attributes:
        target: the same.
        places: valence and arousal of the target at each estimate, float64 [N, 2].
        distance: from the shown values to the target on the plane, [N].
        is_within: whether the target lies within both intervals, [N].
    """

    def __init__(self, session: Session, target: TargetTrajectory) -> None:
        self.target = target
        self._t = session.t
        self._weights = session.seconds * session.is_music
        self.places: Values = np.array([target.at(t) for t in session.t.tolist()])
        offsets = session.shown[:, :2] - self.places
        self.distance: Values = np.hypot(offsets[:, 0], offsets[:, 1])
        valence, arousal = self.places.T
        low_high = session.shown[:, 2:]
        self._within_valence = (low_high[:, 0] <= valence) & (valence <= low_high[:, 1])
        self._within_arousal = (low_high[:, 2] <= arousal) & (arousal <= low_high[:, 3])
        self.is_within: Mask = self._within_valence & self._within_arousal

    @property
    def has_music(self) -> bool:
        """Whether the other numbers mean anything."""
        return bool(self._weights.sum() > 0.0)

    @property
    def largest(self) -> float:
        """The largest distance over the music; 0 without music."""
        return float(np.max(self.distance * (self._weights > 0.0)))

    @property
    def mean_distance(self) -> float:
        """Over the music."""
        return self._mean(self.distance)

    def mean_between(self, start_s: float, end_s: float) -> float | None:
        """Return the mean distance over the music between two times; None without music."""
        weights = self._weights * ((self._t > start_s) & (self._t <= end_s))
        return float(np.average(self.distance, weights=weights)) if weights.sum() > 0.0 else None

    @property
    def shares_within(self) -> tuple[float, float, float]:
        """Share of the music with the target within the interval: valence, arousal, both."""
        valence, arousal = self._mean(self._within_valence), self._mean(self._within_arousal)
        return valence, arousal, self._mean(self.is_within)

    def _mean(self, values: Values | Mask) -> float:
        return float(np.average(values, weights=self._weights))


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sessions from their starts, side by side.

    Attributes:
        seconds: of music that both have at the same time.
        mean_distance: between their places on the plane in that time; None without such time.
    """

    seconds: float
    mean_distance: float | None


def compare(one: Session, other: Session) -> Comparison:
    """Return how far two sessions are from each other, second by second from their starts."""
    step_s = max(one.hop_s, other.hop_s)
    t = np.arange(step_s, min(one.duration_s, other.duration_s) + 1e-9, step_s)
    (places, music), (other_places, other_music) = (_at(each, t) for each in (one, other))
    both = music & other_music
    if not both.any():
        return Comparison(0.0, None)
    distance = np.hypot(*(places - other_places)[both].T)
    return Comparison(float(both.sum() * step_s), float(distance.mean()))


def _at(session: Session, t: Values) -> tuple[Values, Mask]:
    """Return the newest shown values at some times [M, 2], and whether they are music."""
    index = np.searchsorted(session.t, t + 1e-6, side="right") - 1
    held = np.maximum(index, 0)
    recent = (index >= 0) & (t - session.t[held] < session.longest_step_s)
    return session.shown[held, :2], recent & session.is_music[held]


def _point(values: Iterable[float]) -> Point:
    valence, arousal, *_ = values
    return float(valence), float(arousal)
