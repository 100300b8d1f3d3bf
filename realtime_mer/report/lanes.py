"""The drawings of a report over time: SVG paths that the page stretches to its width.

Every drawing is 1000 wide and 100 high. Of hours of estimates each column keeps the lowest and the
highest value, so that no peak is lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from realtime_mer.core.target import TargetTrajectory
from realtime_mer.report.session import Mask, Session, Span, Values

WIDTH, HEIGHT = 1000.0, 100.0
COLUMNS = 1000
MAX_SPANS = 500
# Seconds between ticks: the first that gives at most this many.
_TICK_SPACINGS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
_MAX_TICKS = 10


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """The common time axis of all drawings: from 0 to `end_s` seconds."""

    end_s: float

    def share(self, t_s: float) -> float:
        """Return the place of a time, 0 to 1."""
        return min(1.0, max(0.0, t_s / self.end_s))

    def x(self, t_s: Values) -> Values:
        """Return the places of times in a drawing."""
        return np.clip(t_s / self.end_s, 0.0, 1.0) * WIDTH

    def ticks(self) -> list[int]:
        """Return round times in seconds."""
        fits = (s for s in _TICK_SPACINGS_S if self.end_s / s <= _MAX_TICKS)
        spacing = next(fits, -(-int(self.end_s) // _MAX_TICKS))
        return list(range(0, int(self.end_s) + 1, spacing))


def y_of(values: Values) -> Values:
    """Return the places of values in [-1, 1] in a drawing; what lies outside is at the rim."""
    return (1.0 - np.clip(values, -1.0, 1.0)) / 2.0 * HEIGHT


def curve(axis: TimeAxis, t_s: Values, y: Values, drawn: Mask, starts: Mask) -> str:
    """Return a path through points, broken where nothing is drawn.

    Args:
        axis: of time.
        t_s, y: the points, [N].
        drawn: which of them are drawn, [N].
        starts: before which of them the line is broken, [N].
    """
    return "".join("M" + _points(*_line(axis, t_s[run], y[run])) for run in _runs(drawn, starts))


def band(axis: TimeAxis, t_s: Values, low: Values, high: Values, drawn: Mask, starts: Mask) -> str:
    """Return a closed path between two curves; arguments as for `curve`."""
    parts = []
    for run in _runs(drawn, starts):
        x, column = _columns(axis, t_s[run])
        upper = np.minimum.reduceat(high[run], column)  # y grows downwards
        lower = np.maximum.reduceat(low[run], column)
        if len(x) == 1:  # else it has no width
            x, upper, lower = np.array([x[0] - 1.0, x[0]]), np.repeat(upper, 2), np.repeat(lower, 2)
        there, back = _points(x, upper), _points(x[::-1], lower[::-1])
        parts.append(f"M{there}L{back}Z")
    return "".join(parts)


def target_curve(axis: TimeAxis, target: TargetTrajectory, dimension: int, end_s: float) -> str:
    """Return the path of a target up to a time; `dimension` is 0 for valence, 1 for arousal."""
    times = target_times(target, end_s)
    values = np.array([target.at(t)[dimension] for t in times])
    return "M" + _points(axis.x(np.array(times)), y_of(values))


def target_times(target: TargetTrajectory, end_s: float) -> list[float]:
    """Return the times between which a target moves straight, from 0 to `end_s`."""
    return sorted({0.0, end_s, *(point.t_s for point in target.points if point.t_s < end_s)})


def uprights(axis: TimeAxis, times_s: Iterable[float], top: float, bottom: float) -> str:
    """Return a path of upright strokes; those in the same column are one."""
    places = sorted({round(float(x)) for x in axis.x(np.array(list(times_s), dtype=float))})
    return "".join(f"M{x} {top:g}V{bottom:g}" for x in places)


def drawn_spans(session: Session) -> list[Span]:
    """Return the spans of a session, of a long one the word with the most time in each column."""
    if len(session.spans) <= MAX_SPANS:
        return session.spans
    step_s = session.duration_s / MAX_SPANS
    longest: dict[int, tuple[float, Span]] = {}
    for span in session.spans:
        after = min(MAX_SPANS, int(span.end_s / step_s) + 1)
        for column in range(int(span.start_s / step_s), after):
            inside_s = min(span.end_s, (column + 1) * step_s) - max(span.start_s, column * step_s)
            if column not in longest or inside_s > longest[column][0]:
                longest[column] = inside_s, span
    found: list[Span] = []
    for column, (_, span) in sorted(longest.items(), key=lambda item: item[0]):
        start_s = column * step_s
        if found and found[-1].word == span.word:
            start_s = found.pop().start_s
        found.append(replace(span, start_s=start_s, end_s=(column + 1) * step_s))
    return found


def _runs(drawn: Mask, starts: Mask) -> Iterator[slice]:
    """Return the stretches to draw without a break."""
    edges = np.flatnonzero(np.diff(drawn, prepend=False) | (starts & drawn)).tolist()
    for first, after in pairwise([*edges, len(drawn)]):
        if drawn[first]:
            yield slice(first, after)


def _columns(axis: TimeAxis, t_s: Values) -> tuple[Values, NDArray[np.intp]]:
    """Return the x of each column and the index of its first point; few points stay apart."""
    x = axis.x(t_s)
    first = np.flatnonzero(np.diff(np.floor(x / WIDTH * COLUMNS), prepend=-1.0))
    return (x[first], first) if len(x) > 2 * len(first) else (x, np.arange(len(x)))


def _line(axis: TimeAxis, t_s: Values, y: Values) -> tuple[Values, Values]:
    x, first = _columns(axis, t_s)
    if len(x) == len(t_s):
        return (x, y) if len(x) > 1 else (np.array([x[0] - 1.0, x[0]]), np.repeat(y, 2))
    ends = np.stack([np.minimum.reduceat(y, first), np.maximum.reduceat(y, first)], axis=1)
    ends[::2] = ends[::2, ::-1]  # there and back, so that strokes between columns are short
    return np.repeat(x, 2), ends.ravel()


def _points(x: Values, y: Values) -> str:
    return " ".join(f"{a:.5g} {b:.4g}" for a, b in zip(x.tolist(), y.tolist(), strict=True))
