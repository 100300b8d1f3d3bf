"""The drawings of a report over time, one lane under the other on one time axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from realtime_mer.clock import clock_text
from realtime_mer.core.colour import hex_colour
from realtime_mer.core.events import EventKind
from realtime_mer.core.types import State
from realtime_mer.report.lanes import (
    HEIGHT,
    TimeAxis,
    band,
    curve,
    drawn_spans,
    target_curve,
    uprights,
    y_of,
)
from realtime_mer.report.markup import escaped, swatch
from realtime_mer.report.measures import Measures
from realtime_mer.report.plane import mood_point
from realtime_mer.report.session import GAP, Span
from realtime_mer.report.text import MINUS, percent

# Readable on every mood colour.
_INK_ON_COLOUR = "#10121c"
STATE_WORDS = {
    State.SILENCE: "silence",
    State.SPEECH: "speech without music",
    State.NOISE: "noise",
    State.STALLED: "no audio arrived",
    GAP: "no estimates",
}
"""How the parts of a session without music are named."""

DIMENSIONS = ("valence", "arousal")
# The level from the bottom to the top of its lane.
_LOW_DB, _HIGH_DB = -70.0, 0.0
# Markers nearer to each other than this share of the width share a flag.
_FLAGS_APART = 0.03
# A word of so many letters needs the width of the lane.
_LETTERS = 110
# Where strokes of changes stand in their lane.
_EVENT_STROKES = (
    (EventKind.SECTION, 0.0, HEIGHT),
    (EventKind.RISE, 0.0, 45.0),
    (EventKind.DROP, 55.0, HEIGHT),
)
_EVENT_WORDS = (
    (EventKind.RISE, "rise"),
    (EventKind.DROP, "drop"),
    (EventKind.SECTION, "new section"),
)
_GRID = '<path class="grid" d="M0 25H1000M0 75H1000"/><path class="zero" d="M0 50H1000"/>'


class Timeline:
    """The lanes of one or two sessions.

    Args:
        measures: of the sessions; the first has the intervals, markers and changes.
        coverage: of the intervals, 0 to 1.

    Attributes:
        axis: of time.
    """

    def __init__(self, measures: Sequence[Measures], coverage: float) -> None:
        self._measures = measures
        self._sessions = [each.session for each in measures]
        self._first = self._sessions[0]
        self._coverage = coverage
        self.axis = TimeAxis(max(1.0, *(each.duration_s for each in self._sessions)))
        self._target = None if measures[0].target is None else measures[0].target.target
        self._shades = self._shade_rects()
        strokes = uprights(self.axis, (m.t for m in self._first.markers), 0.0, HEIGHT)
        self._marker_strokes = f'<path class="marker" d="{strokes}"/>' if strokes else ""

    def values(self) -> str:
        """Return valence, arousal, moods, changes and level."""
        return _figure(
            "Valence and arousal over time. The arrow keys read single moments.",
            self._flags(),
            *(self._dimension(number, name) for number, name in enumerate(DIMENSIONS)),
            self._changes(),
            *(self._moods(index) for index in range(len(self._sessions))),
            self._level(),
            self._ticks(),
            '<div class="cursor" hidden></div>',
            focus=True,
        )

    def distances(self) -> str:
        """Return the distances to the target, and where it is within both intervals."""
        return _figure(
            "Distance to the target over time.",
            self._distance(),
            *(self._within(index) for index in range(len(self._sessions))),
            self._ticks(),
        )

    def legend(self) -> str:
        """Return what the lines and shades mean."""
        interval = f"{percent(self._coverage)} interval"
        keys = [f'<span class="key line"></span>values, <span class="key pale"></span>{interval}']
        if len(self._sessions) > 1:
            one, other = (escaped(session.name) for session in self._sessions)
            keys = [
                f"{swatch(0, self._sessions)}{one}, with the {interval}",
                f"{swatch(1, self._sessions)}{other}",
            ]
        if self._target is not None:
            keys.append('<span class="key dots"></span>target')
        if self._shades:
            keys.append('<span class="key shade"></span>no music')
        if self._first.loss_times_s:
            keys.append('<span class="key lost"></span>audio lost')
        times = self._event_times()
        keys += [
            f'<span class="key {kind}"></span>{word}'
            for kind, word in _EVENT_WORDS
            if kind in times
        ]
        return f'<span class="legend">{"".join(f"<span>{key}</span>" for key in keys)}</span>'

    def _dimension(self, number: int, name: str) -> str:
        parts = [self._shades, _GRID]
        for index, session in reversed(list(enumerate(self._sessions))):
            drawn, starts = session.is_music, session.is_new_stretch
            columns = (number, 2 + 2 * number, 3 + 2 * number)  # of VALUES
            value, low, high = (y_of(session.shown[:, column]) for column in columns)
            if index == 0:
                path = band(self.axis, session.t, low, high, drawn, starts)
                parts.append(f'<path class="band {name}" d="{path}"/>')
            path = curve(self.axis, session.t, value, drawn, starts)
            parts.append(f'<path class="line {name if index == 0 else "other"}" d="{path}"/>')
        if self._target is not None:
            path = target_curve(self.axis, self._target, number, self.axis.end_s)
            parts.append(f'<path class="target" d="{path}"/>')
        lost = uprights(self.axis, self._first.loss_times_s, 0.0, HEIGHT)
        parts += [self._marker_strokes, f'<path class="lost" d="{lost}"/>' if lost else ""]
        return _lane("tall", name, _svg(parts), ("+1", "0", f"{MINUS}1"), name_class=name)

    def _shade_rects(self) -> str:
        rects = []
        for span in drawn_spans(self._first):
            if not span.is_music:
                x = 1000.0 * self.axis.share(span.start_s)
                width = max(0.8, 1000.0 * self.axis.share(span.end_s) - x)
                kind = "gap" if span.word == GAP else "quiet"
                rects.append(
                    f'<rect class="{kind}" x="{x:.5g}" width="{width:.4g}" height="{HEIGHT:g}"/>'
                )
        return "".join(rects)

    def _flags(self) -> str:
        """Return the numbers of the markers, of those near to each other in one flag."""
        groups: list[tuple[float, list[int]]] = []
        for number, marker in enumerate(self._first.markers, start=1):
            share = self.axis.share(marker.t)
            if groups and share - groups[-1][0] < _FLAGS_APART:
                groups[-1][1].append(number)
            else:
                groups.append((share, [number]))
        flags = []
        for share, numbers in groups:
            markers = [self._first.markers[number - 1] for number in numbers]
            title = escaped(
                "\n".join(f"{clock_text(marker.t)} {marker.text}" for marker in markers)
            )
            text = f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]}\u2013{numbers[-1]}"
            flags.append(f'<span style="left:{100 * share:.2f}%" title="{title}">{text}</span>')
        return _lane("flags", "markers", "".join(flags)) if flags else ""

    def _event_times(self) -> dict[EventKind, list[float]]:
        times: dict[EventKind, list[float]] = {}
        for event in self._first.events:
            times.setdefault(event.kind, []).append(event.t)
        return times

    def _changes(self) -> str:
        times = self._event_times()
        paths = [
            f'<path class="{kind}" d="{uprights(self.axis, times[kind], top, bottom)}"/>'
            for kind, top, bottom in _EVENT_STROKES
            if kind in times
        ]
        return _lane("low", "changes", _svg(paths)) if paths else ""

    def _moods(self, index: int) -> str:
        session = self._sessions[index]
        spans = "".join(self._mood(span) for span in drawn_spans(session))
        return _lane("strip", self._name(index, "mood"), spans)

    def _mood(self, span: Span) -> str:
        left, right = self.axis.share(span.start_s), self.axis.share(span.end_s)
        word = span.word if span.is_music else STATE_WORDS.get(span.word, span.word)
        text = word if (right - left) * _LETTERS > len(word) else ""
        title = f"{word}, {clock_text(span.start_s)} to {clock_text(span.end_s)}"
        style = f"left:{100 * left:.3f}%;width:{100 * (right - left):.3f}%"
        kind = "gap" if span.word == GAP else "quiet"
        if span.is_music:
            kind = "mood"
            style += f";background:{hex_colour(*mood_point(span.word))};color:{_INK_ON_COLOUR}"
        return (
            f'<span class="{kind}" style="{style}" title="{escaped(title)}">{escaped(text)}</span>'
        )

    def _level(self) -> str:
        parts = []
        for index, session in reversed(list(enumerate(self._sessions))):
            level_db = np.array([e.level_db for e in session.estimates])
            share = np.clip((level_db - _LOW_DB) / (_HIGH_DB - _LOW_DB), 0.0, 1.0)
            everywhere = np.ones(len(share), dtype=bool)
            y = (1.0 - share) * HEIGHT
            path = curve(self.axis, session.t, y, everywhere, session.is_new_stretch)
            parts.append(f'<path class="line {"other" if index else "level"}" d="{path}"/>')
        scale = (f"{_HIGH_DB:g}", f"{MINUS}{-_LOW_DB:g}")
        return _lane("middle", "level, dB", _svg(parts), scale)

    def _distance(self) -> str:
        parts = [self._shades, '<path class="grid" d="M0 50H1000"/>']
        top = max((each.target.largest for each in self._measures if each.target), default=0.0)
        top = max(1.0, float(np.ceil(2.0 * top)) / 2.0)
        for index, measures in reversed(list(enumerate(self._measures))):
            session = measures.session
            if measures.target is not None:
                y = (1.0 - measures.target.distance / top) * HEIGHT
                path = curve(self.axis, session.t, y, session.is_music, session.is_new_stretch)
                parts.append(f'<path class="line {"other" if index else "distance"}" d="{path}"/>')
        parts.append(self._marker_strokes)
        return _lane("tall", "distance", _svg(parts), (f"{top:g}", "0"))

    def _within(self, index: int) -> str:
        target, session = self._measures[index].target, self._sessions[index]
        if target is None:
            return ""
        y = np.full(len(session.t), HEIGHT / 2)
        within = target.is_within & session.is_music
        path = curve(self.axis, session.t, y, within, session.is_new_stretch)
        svg = _svg([f'<path class="within" d="{path}"/>'])
        return _lane("low", self._name(index, "within"), svg)

    def _name(self, index: int, only: str) -> str:
        """Return the name of a lane that each session has."""
        if len(self._sessions) == 1:
            return only
        return f"{swatch(index, self._sessions)}{escaped(self._sessions[index].name)}"

    def _ticks(self) -> str:
        ticks = []
        for number, t_s in enumerate(self.axis.ticks()):
            share = self.axis.share(t_s)
            kinds = [*(["minor"] if number % 2 else []), *(["end"] if share > 0.97 else [])]
            ticks.append(
                f'<span class="{" ".join(kinds)}" style="left:{100 * share:.3f}%">'
                f"{clock_text(t_s)}</span>"
            )
        return _lane("ticks", "", "".join(ticks))


def _figure(label: str, *lanes: str, focus: bool = False) -> str:
    attributes = 'tabindex="0" ' if focus else ""
    return (
        f'<figure class="timeline" {attributes}aria-label="{label}">\n{"".join(lanes)}</figure>\n'
    )


def _lane(
    kind: str, name: str, plot: str, scale: Sequence[str] = (), *, name_class: str = ""
) -> str:
    """Return a lane: its name, a scale from top to bottom, and the plot."""
    labels = "".join(f"<span>{text}</span>" for text in scale)
    return (
        f'<div class="lane {kind}"><div class="name {name_class}">{name}</div>'
        f'<div class="scale">{labels}</div><div class="plot">{plot}</div></div>\n'
    )


def _svg(parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 1000 {HEIGHT:g}" preserveAspectRatio="none" aria-hidden="true">'
        f"{''.join(parts)}</svg>"
    )
