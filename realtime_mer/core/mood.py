"""Mood words for points on the valence-arousal plane, and the memory that keeps them steady."""

from __future__ import annotations

import math
from collections.abc import Sequence

from realtime_mer.core.decoder import Intervals, clip

NEUTRAL = "neutral"
# Eight sectors of 45 degrees, counter-clockwise from positive valence, in the order of Russell's
# circumplex (1980). The diagonals are the four quadrants that listeners distinguish best.
SECTORS = ("pleased", "joyful", "excited", "tense", "uneasy", "sad", "still", "calm")
WORDS = (NEUTRAL, *SECTORS)
_SECTOR_ANGLE = math.tau / len(SECTORS)

# Distances in half-widths of the interval (for an 80 % interval one half-width is 1.3 standard
# deviations of the error). The constants were chosen on music without labels, for few changes.
# A point nearer to the centre than this is neutral: the interval reaches far beyond the centre.
NEUTRAL_DISTANCE = 0.15
# From neutral to a sector the point must be farther out than this.
LEAVE_NEUTRAL_DISTANCE = 0.25
# From a sector to neutral it must be nearer to the centre than this.
ENTER_NEUTRAL_DISTANCE = 0.08
# A sector is left at once where the point is this far outside.
MARGIN = 0.4
# The same just after a change of the music.
CHANGE_MARGIN = 0.1
# The music has changed where the fast values differ this much from the main ones, and the main ones
# have caught up where they differ less than this.
CHANGED_DISTANCE = 0.7
CAUGHT_UP_DISTANCE = 0.4

# Seconds of stream time.
# A word stays at least this long, unless the music changes.
HOLD_S = 6.0
# A word is left after this long outside its sector, however near.
DWELL_S = 15.0
# After a change of the music the fast values need this long to be free of what was before, and
# words change at most once a second.
CHANGE_S = 3.0
CHANGE_HOLD_S = 1.0
# The main values need this long.
FOLLOW_S = 10.0

# Keeps divisions finite where an interval has no width.
_MIN_HALF_WIDTH = 1e-3


def mood_word(intervals: Intervals) -> str:
    """Return the word for a point without regard to earlier ones: its sector, or `neutral`.

    Args:
        intervals: value and interval bounds of valence and of arousal. A value beyond -1 or 1
            counts as -1 or 1; its interval keeps its width.
    """
    if _distance(intervals) < NEUTRAL_DISTANCE:
        return NEUTRAL
    _, angle = _polar(intervals)
    return SECTORS[round(angle / _SECTOR_ANGLE) % len(SECTORS)]


class Mood:
    """The mood word of one stream.

    A word changes at once where the point is clearly outside its sector, or after some time where
    it is only a little outside. After a change of the music the fast values decide until the main
    ones have caught up. All times are stream times, so the words hardly depend on the hop.

    Attributes:
        word: the current word; None before the first music.
    """

    word: str | None

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start a new stream."""
        self.word = None
        self.start_piece()

    def start_piece(self) -> None:
        """Forget the piece before: the next estimate chooses its word freely."""
        self._is_new_piece = True
        self._chosen_s = 0.0
        self._outside_s: float | None = None
        self._change_s: float | None = None

    def update(self, t: float, main: Intervals, fast: Intervals | None) -> None:
        """Take in the next estimate of music.

        Args:
            t: stream time in seconds.
            main: value and interval bounds of valence and of arousal, as for `mood_word`.
            fast: the same from a shorter window; None where there are none.
        """
        if self._is_new_piece:
            self._is_new_piece = False
            self._choose(mood_word(main), t)
            return
        point = self._point(t, main, fast)
        word = mood_word(point)
        if word == self.word:
            self._outside_s = None
            return
        if self._outside_s is None:
            self._outside_s = t
        changes = self._change_s is not None and t - self._change_s <= CHANGE_S
        margin, hold_s = (CHANGE_MARGIN, CHANGE_HOLD_S) if changes else (MARGIN, HOLD_S)
        clear = self._is_clearly_outside(point, margin)
        # Times are multiples of 0.1 s, but not exactly.
        if (clear and t - self._chosen_s >= hold_s - 1e-6) or t - self._outside_s >= DWELL_S - 1e-6:
            self._choose(word, t)

    def _choose(self, word: str, t: float) -> None:
        self.word, self._chosen_s, self._outside_s = word, t, None

    def _point(self, t: float, main: Intervals, fast: Intervals | None) -> Intervals:
        """Return the fast values while the music has changed and the main ones lag behind."""
        if fast is None:
            return main
        apart = _distance(fast, main)
        if apart >= CHANGED_DISTANCE:
            if self._change_s is None:
                self._change_s = t
        elif self._change_s is not None and (
            apart < CAUGHT_UP_DISTANCE or t - self._change_s > FOLLOW_S
        ):
            self._change_s = None
        return main if self._change_s is None else fast

    def _is_clearly_outside(self, point: Intervals, margin: float) -> bool:
        """Return whether a point is outside the current word's region by more than a margin."""
        distance = _distance(point)
        if self.word == NEUTRAL:
            return distance > LEAVE_NEUTRAL_DISTANCE
        radius, angle = _polar(point)
        middle = SECTORS.index(str(self.word)) * _SECTOR_ANGLE
        apart = abs(math.remainder(angle - middle, math.tau))
        beyond = apart - _SECTOR_ANGLE / 2
        if beyond <= 0.0:  # within the sector, but near the centre
            return distance < ENTER_NEUTRAL_DISTANCE
        to_edge = radius * math.sin(min(beyond, math.pi / 2))
        return to_edge > margin * sum(_half_widths(point)) / 2


def _polar(intervals: Intervals) -> tuple[float, float]:
    """Return the distance from the centre and the angle of a point of the plane."""
    valence, arousal = (clip(value) for value, *_ in intervals)
    return math.hypot(valence, arousal), math.atan2(arousal, valence)


def _half_widths(intervals: Intervals) -> list[float]:
    return [max((high - low) / 2, _MIN_HALF_WIDTH) for _, low, high in intervals]


def _distance(intervals: Intervals, origin: Sequence[Sequence[float]] = ((0.0,), (0.0,))) -> float:
    """Return the distance of a point from another one, in half-widths of its intervals."""
    parts = [
        (value - other) / half
        for (value, *_), (other, *_), half in zip(
            intervals, origin, _half_widths(intervals), strict=True
        )
    ]
    return math.hypot(*parts)
