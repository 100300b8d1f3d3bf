"""A plot of an analysis: valence and arousal over time with their intervals, and the moods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

from mer_engine.draft import draft_of
from PIL import Image, ImageDraw, ImageFont

from realtime_mer.clock import clock_text
from realtime_mer.core.types import Estimate, State
from realtime_mer.errors import UserError, printable

WIDTH, HEIGHT = 1600, 900
# Drawn this much larger and scaled down, because Pillow does not antialias lines.
OVERSAMPLING = 2

PAPER, INK, FAINT, GRID = "#ffffff", "#1c2330", "#5a6474", "#d5dbe4"
# Okabe and Ito's blue and vermilion: distinguishable with every common colour vision.
SERIES = {"valence": ("#0072b2", "#cfe3f0"), "arousal": ("#c2500a", "#f6dcc9")}
SETTLING_SHADE = "#f3f4f6"

LEFT, RIGHT, TOP = 110, WIDTH - 40, 96
PANEL_HEIGHT, PANEL_GAP = 330, 44
STRIP_TOP = TOP + 2 * PANEL_HEIGHT + PANEL_GAP + 40
STRIP_HEIGHT = 40
# Seconds between ticks: the first value that gives at most twelve ticks on the axis.
TICK_SPACINGS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)

Point = tuple[float, float]


def save_plot(estimates: Sequence[Estimate], title: str, path: Path) -> None:
    """Plot the estimates of one stream into a PNG file.

    Args:
        estimates: in order of time, at least one.
        title: name of the input.
        path: ends in `.png`; a missing folder is created.

    Raises:
        UserError: there are no estimates, or the file cannot be written.
    """
    if not estimates:
        raise UserError(f"there is nothing to plot for {title}: it has no estimates")
    plot = _Plot(estimates[0].t, estimates[-1].t)
    plot.heading(title, estimates)
    for index, name in enumerate(SERIES):
        plot.panel(index, name, estimates)
    plot.moods(estimates)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft_of(path) as draft:
            plot.image().save(draft, format="PNG", optimize=True)
    except OSError as error:
        raise UserError(
            f"the plot cannot be written to {path} ({error.strerror or error})"
        ) from error


class _Plot:
    def __init__(self, start_s: float, end_s: float) -> None:
        self._start_s = start_s
        self._span_s = max(end_s - start_s, 1.0)
        self._image = Image.new("RGB", (WIDTH * OVERSAMPLING, HEIGHT * OVERSAMPLING), PAPER)
        self._draw = ImageDraw.Draw(self._image)

    def image(self) -> Image.Image:
        return self._image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)

    def heading(self, title: str, estimates: Sequence[Estimate]) -> None:
        self._text((LEFT, 22), _shorten(printable(title), 90), 30, INK)
        rows = f"{len(estimates)} estimates, lag window {estimates[0].latency.window_s:g} s"
        self._text((LEFT, 62), f"{rows}; bands: 80 % interval; grey: not full of music", 18, FAINT)

    def panel(self, index: int, name: str, estimates: Sequence[Estimate]) -> None:
        top = TOP + index * (PANEL_HEIGHT + PANEL_GAP)
        bottom = top + PANEL_HEIGHT

        def y(value: float) -> float:
            return top + (1.0 - value) / 2.0 * PANEL_HEIGHT

        for state, run in groupby(estimates, key=lambda e: e.state):
            if state is not State.TRACKING:
                stretch = list(run)
                left, right = self._x(stretch[0].t), self._x(stretch[-1].t)
                self._box((left, top), (max(right, left + 2), bottom), SETTLING_SHADE)
        colour, pale = SERIES[name]
        low, high, middle = (_getter(f"{name}{end}") for end in ("_low", "_high", ""))
        band = [(self._x(e.t), y(high(e))) for e in estimates]
        band += [(self._x(e.t), y(low(e))) for e in reversed(estimates)]
        line = [(self._x(e.t), y(middle(e))) for e in estimates]
        if len(estimates) > 1:
            self._draw.polygon([_scaled(p) for p in band], fill=pale)
        else:
            self._line([band[0], band[1]], pale, 12)
        for value in (-1.0, -0.5, 0.0, 0.5, 1.0):
            self._line([(LEFT, y(value)), (RIGHT, y(value))], FAINT if value == 0 else GRID, 1)
            label = f"{value:+.1f}" if value else "0"
            self._text((LEFT - 12, y(value)), label, 18, FAINT, anchor="rm")
        for second in self._ticks():
            self._line([(self._x(second), top), (self._x(second), bottom)], GRID, 1)
            self._text((self._x(second), bottom + 8), clock_text(second), 18, FAINT, anchor="mt")
        self._line(line, colour, 3)
        self._dot(line[-1], 6, colour)
        self._text((LEFT + 10, top + 8), name, 24, colour)
        self._text(
            (RIGHT - 10, top + 8), f"mean {_mean(middle, estimates):+.2f}", 20, colour, anchor="ra"
        )

    def moods(self, estimates: Sequence[Estimate]) -> None:
        """Draw a strip of the mood words, each over its duration."""
        self._text((LEFT - 12, STRIP_TOP + STRIP_HEIGHT / 2), "mood", 18, FAINT, anchor="rm")
        runs = [(word, list(run)) for word, run in groupby(estimates, key=lambda e: e.mood)]
        for index, (word, run) in enumerate(runs):
            left = self._x(run[0].t)
            after = runs[index + 1][1][0].t if index + 1 < len(runs) else run[-1].t
            right = max(self._x(after), left + 2)
            shade = GRID if index % 2 else SETTLING_SHADE
            self._box((left, STRIP_TOP), (right, STRIP_TOP + STRIP_HEIGHT), shade)
            if word is not None and self._width(word, 18) < right - left - 8:
                centre = ((left + right) / 2, STRIP_TOP + STRIP_HEIGHT / 2)
                self._text(centre, word, 18, INK, anchor="mm")

    def _x(self, second: float) -> float:
        return LEFT + (second - self._start_s) / self._span_s * (RIGHT - LEFT)

    def _ticks(self) -> list[int]:
        spacing = next((s for s in TICK_SPACINGS_S if self._span_s / s <= 12), TICK_SPACINGS_S[-1])
        first = -int(-self._start_s // spacing) * spacing
        return list(range(first, int(self._start_s + self._span_s) + 1, spacing))

    def _line(self, points: list[Point], colour: str, width: float) -> None:
        scaled = [_scaled(point) for point in points]
        self._draw.line(scaled, fill=colour, width=round(width * OVERSAMPLING), joint="curve")

    def _box(self, corner: Point, opposite: Point, colour: str) -> None:
        self._draw.rectangle([_scaled(corner), _scaled(opposite)], fill=colour)

    def _dot(self, centre: Point, radius: float, colour: str) -> None:
        x, y = centre
        box = [_scaled((x - radius, y - radius)), _scaled((x + radius, y + radius))]
        self._draw.ellipse(box, fill=colour)

    def _text(self, place: Point, text: str, size: int, colour: str, *, anchor: str = "la") -> None:
        self._draw.text(_scaled(place), text, fill=colour, font=_font(size), anchor=anchor)

    def _width(self, text: str, size: int) -> float:
        return float(_font(size).getlength(text)) / OVERSAMPLING


def _scaled(point: Point) -> Point:
    return point[0] * OVERSAMPLING, point[1] * OVERSAMPLING


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size * OVERSAMPLING)


def _getter(name: str) -> Callable[[Estimate], float]:
    return lambda estimate: float(getattr(estimate, name))


def _mean(read: Callable[[Estimate], float], estimates: Sequence[Estimate]) -> float:
    return sum(read(e) for e in estimates) / len(estimates)


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
