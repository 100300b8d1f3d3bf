"""The drawing of a session on the plane: where it was for how long, and the way it took."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from realtime_mer.clock import clock_text
from realtime_mer.core.colour import hex_colour
from realtime_mer.core.mood import SECTORS
from realtime_mer.core.target import TargetTrajectory
from realtime_mer.report.lanes import TimeAxis, target_times
from realtime_mer.report.markup import escaped
from realtime_mer.report.measures import Means, Point
from realtime_mer.report.session import Session

SIZE = 420.0
_MARGIN, _RIM = 30.0, 8.0  # left and below, above and right
_SIDE = SIZE - _MARGIN - _RIM
_CELLS = 28
# The way is drawn through the means of this many equal parts of the session.
_PARTS = 48
_LABEL_WIDTH, _LABEL_HEIGHT = 56.0, 16.0
# Where the colour and the word of a mood are, from the centre.
_COLOUR_RADIUS = 0.75
_WORD_RADIUS, _WORD_HEIGHT = 0.82, 0.9


def mood_point(word: str) -> Point:
    """Return the place on the plane in whose colour a mood is drawn."""
    if word not in SECTORS:
        return 0.0, 0.0
    angle = SECTORS.index(word) * math.tau / len(SECTORS)
    return _COLOUR_RADIUS * math.cos(angle), _COLOUR_RADIUS * math.sin(angle)


def plane_drawing(session: Session, target: TargetTrajectory | None, label: str) -> str:
    """Return an SVG element.

    Args:
        session: the recording.
        target: is drawn dotted; None for none.
        label: the drawing in words.
    """
    parts = [
        f'<svg class="plane" viewBox="0 0 {SIZE:g} {SIZE:g}" role="img" '
        f'aria-label="{escaped(label)}">',
        f'<rect class="field" x="{_MARGIN:g}" y="{_RIM:g}" width="{_SIDE:g}" height="{_SIDE:g}" '
        'rx="6"/>',
        *_density(session),
        f'<path class="cross" d="M{_x(-1):g} {_y(0):g}H{_x(1):g}M{_x(0):g} {_y(1):g}V{_y(-1):g}"/>',
        *_words(),
        *([] if target is None else _target(target, session.duration_s)),
        *_way(session),
        "</svg>",
    ]
    return "".join(parts)


def _density(session: Session) -> list[str]:
    """Return cells in the colour of their place, the stronger the longer the session was there."""
    music = session.is_music
    cell = ((np.clip(session.shown[music, :2], -1.0, 1.0) + 1.0) / 2.0 * _CELLS).astype(int)
    seconds = np.zeros((_CELLS, _CELLS))
    np.add.at(seconds, tuple(np.minimum(cell, _CELLS - 1).T), session.seconds[music])
    size = 2.0 / _CELLS
    drawn = []
    for column, row in np.argwhere(seconds > 0.0).tolist():
        left, bottom = column * size - 1.0, row * size - 1.0
        fill = hex_colour(left + size / 2.0, bottom + size / 2.0)
        strength = 0.18 + 0.82 * math.sqrt(seconds[column, row] / seconds.max())
        drawn.append(
            f'<rect x="{_x(left):.1f}" y="{_y(bottom + size):.1f}" width="{_SIDE / _CELLS:.1f}" '
            f'height="{_SIDE / _CELLS:.1f}" fill="{fill}" opacity="{strength:.2f}"/>'
        )
    return drawn


def _target(target: TargetTrajectory, end_s: float) -> list[str]:
    places = [target.at(t_s) for t_s in target_times(target, end_s)]
    goals = [
        f'<rect class="goal" x="{_x(v) - 3:.1f}" y="{_y(a) - 3:.1f}" width="6" height="6"/>'
        for v, a in places
    ]
    return [f'<path class="target" d="M{_path(places)}"/>', *goals]


def _way(session: Session) -> list[str]:
    """Return the way through the means of equal parts, the later the stronger, with times."""
    end_s = session.duration_s
    edges = np.linspace(0.0, end_s, _PARTS + 1)
    seconds, means = Means(session).between(edges[:-1], edges[1:])
    middles, stops = (edges[:-1] + end_s / _PARTS / 2.0)[seconds > 0.0], means[seconds > 0.0]
    if not len(stops):
        return []
    drawn = [
        f'<path class="way" d="M{_path([a, b])}" opacity="{0.3 + 0.7 * number / len(stops):.2f}"/>'
        for number, (a, b) in enumerate(pairwise(stops.tolist()))
    ]
    labelled: list[Point] = []
    for t_s in (0.0, end_s, *TimeAxis(end_s).ticks()[1:]):
        if np.abs(middles - t_s).min() > end_s / _PARTS:  # without music
            continue
        valence, arousal = (float(np.interp(t_s, middles, values)) for values in stops.T)
        x, y = _x(valence), _y(arousal)
        kind, radius = ("last", 5) if t_s == end_s else ("stop", 3)
        drawn.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"/>')
        if all(abs(x - a) > _LABEL_WIDTH or abs(y - b) > _LABEL_HEIGHT for a, b in labelled):
            labelled.append((x, y))
            anchor, shift = ("end", -8.0) if x > SIZE - 90.0 else ("start", 8.0)
            above = -6.0 if y > _MARGIN else 16.0
            drawn.append(
                f'<text class="time" x="{x + shift:.1f}" y="{y + above:.1f}" '
                f'text-anchor="{anchor}">{clock_text(t_s)}</text>'
            )
    return drawn


def _words() -> list[str]:
    """Return the names of the axes and the moods around the rim."""
    texts = [
        f'<text x="{_x(0):g}" y="{SIZE - 8:g}" text-anchor="middle">'
        "valence: unpleasant to pleasant</text>",
        f'<text x="{-_y(0):g}" y="16" text-anchor="middle" transform="rotate(-90)">'
        "arousal: calm to energetic</text>",
    ]
    for number, word in enumerate(SECTORS):
        angle = number * math.tau / len(SECTORS)
        x, y = _x(_WORD_RADIUS * math.cos(angle)), _y(_WORD_HEIGHT * math.sin(angle)) + 4.0
        texts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{word}</text>')
    return texts


def _path(places: list[Point]) -> str:
    return "L".join(f"{_x(valence):.1f} {_y(arousal):.1f}" for valence, arousal in places)


def _x(valence: float) -> float:
    return _MARGIN + (min(1.0, max(-1.0, valence)) + 1.0) / 2.0 * _SIDE


def _y(arousal: float) -> float:
    return _RIM + (1.0 - min(1.0, max(-1.0, arousal))) / 2.0 * _SIDE
