"""The live view in the terminal, and the lines in its place."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from realtime_mer.clock import clock_text, duration_text, exact_clock_text
from realtime_mer.core.events import Event, EventKind, Marker
from realtime_mer.core.types import VALUES, Estimate, FastValues, ScaledValues, State
from realtime_mer.errors import printable, printable_line
from realtime_mer.live.show import Health
from realtime_mer.live.stats import NOTHING_LOST

# Okabe and Ito's sky blue and orange: distinguishable with every common colour vision.
COLOURS = {"valence": "#56b4e9", "arousal": "#e69f00"}
DIM = "bright_black"
STATE_STYLES = {
    State.TRACKING: "green",
    State.SETTLING: "yellow",
    State.SILENCE: DIM,
    State.SPEECH: DIM,
    State.NOISE: DIM,
    State.STALLED: "bold red",
}
STATE_TEXTS = {
    State.TRACKING: "tracking",
    State.SETTLING: "settling: the window is not full of music yet",
    State.SILENCE: "no music",
    State.SPEECH: "someone talks",
    State.NOISE: "no music",
    State.STALLED: "no audio arrives",
}
ENGINE_STALLED = "the engine does not work"
# Notices that say whether a stall is the engine's or that of the audio.
_ENGINE_FAILS = {
    "engine_failed": True,
    "engine_stalled": True,
    "engine_back": False,
    "stalled": False,
    "input_lost": False,
}
# As on the page. A mood that ends is followed by the next one, and is not shown.
_CHANGES = {
    EventKind.RISE: "energy rises",
    EventKind.DROP: "energy falls",
    EventKind.SECTION: "another part begins",
    EventKind.SILENCE: "the music stops",
    EventKind.MUSIC: "music begins",
    EventKind.MOOD_ENTER: "mood",
}
NO_MOOD = "–"  # before any music was heard
SPARKS = "▁▂▃▄▅▆▇█"
NO_LEVEL_DB = -120.0  # of an estimate that heard nothing
QUIETEST_DB = -60.0
LOUD_DB = -3.0

MAX_WIDTH = 100
LEAST_SCALE = 7
_LABEL, _NUMBER, _INTERVAL = 7, 6, 14  # columns of the rows of values
_BORDERED_WIDTH = 30  # a narrower terminal has no border
_EVENTS = 3
_NOTICE_LINES = 3
LINE_EVERY_S = 1.0

# The order in which rows stay in a low terminal; what comes last is left out first.
_PROMPT, _VALUES, _HEAD, _TROUBLE, _LEVEL, _WHY, _NEWEST, _TARGET, _FAST, _AXIS = range(10)
_BORDER, _OLDER, _OUTPUTS, _TRAIL, _HEALTH, _LATENCY, _SPACE = range(10, 17)


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of the view.

    Attributes:
        rank: rows of a lower one stay longer in a low terminal.
        text: at most as wide as the view.
    """

    rank: int
    text: Text


class TerminalView:
    """Shows the newest estimate, the recent history, events, outputs and losses.

    It fits into any width from 20 columns on and into any height: a low terminal shows fewer rows.

    Args:
        title: name of the input.
        hop_s: seconds between estimates.
        coverage: coverage of the intervals, 0 to 1.
    """

    def __init__(self, title: str, *, hop_s: float, coverage: float) -> None:
        self._keys = "Ctrl-C ends"
        self._prompt = ""
        self._title = title
        self._hop_s = hop_s
        self._coverage = coverage
        self._latest: Estimate | None = None
        self._history: deque[Estimate | ScaledValues] = deque(maxlen=MAX_WIDTH)
        self._events: deque[Event | Marker] = deque(maxlen=_EVENTS)
        self._losses = NOTHING_LOST
        self._outputs = ""
        self._target = ""
        self._notice = ""
        self._engine_fails = False

    def add(self, estimate: Estimate) -> None:
        """Add the newest estimate."""
        self._latest = estimate
        self._history.append(estimate.scaled or estimate)

    def add_event(self, event: Event | Marker) -> None:
        """Add an event or a marker; a mood that ends is left out."""
        if event_text(event):
            self._events.append(event)

    def show_notice(self, sentence: str, code: str = "") -> None:
        """Show a sentence, such as a warning, until the next one.

        Args:
            sentence: the sentence.
            code: of the notice; tells whether the audio or the engine stalls.
        """
        self._notice = sentence
        self._engine_fails = _ENGINE_FAILS.get(code, self._engine_fails)

    def set_losses(self, losses: str) -> None:
        """Set the losses, in words (`Stats.loss_text`)."""
        self._losses = losses

    def set_outputs(self, outputs: str) -> None:
        """Set how the outputs do, in words (`outputs_text`); "" without outputs."""
        self._outputs = outputs

    def set_target(self, target: str) -> None:
        """Set where the values should be now, in words; "" without a target."""
        self._target = target

    def set_keys(self, keys: str) -> None:
        """Set what keys do, in words."""
        self._keys = keys

    def set_prompt(self, prompt: str) -> None:
        """Set what the user is typing; "" for nothing."""
        self._prompt = prompt

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        yield self.drawn(console, options.max_width, options.max_height)

    def drawn(self, console: Console, width: int, height: int | None) -> RenderableType:
        """Return the view for a terminal.

        Args:
            console: that of the terminal.
            width: columns of the terminal.
            height: lines of the terminal; None for all rows.
        """
        width = min(width, MAX_WIDTH)
        border = width >= _BORDERED_WIDTH
        pad = (2 if width >= 70 else 1) if border else 0
        inner = max(1, width - 2 * border - 2 * pad)
        rows = [
            row
            for block in self._blocks(console, inner)
            for row in (*block, *([_Row(_SPACE, Text())] if block else []))
        ]
        if height is not None:
            if height < 2:
                return self._one_line(inner)
            rows, border = _fitting(rows, height, border=border)
        shown = _without_double_spaces(rows)
        for text in shown:
            text.no_wrap = True
            text.overflow = "ellipsis"
        if not border:
            return Group(*shown)
        title = Text(printable_line(self._title), style="bold")
        title.truncate(width - 6, overflow="ellipsis")  # a longer one would widen the panel
        return Panel(
            Group(*shown),
            title=title,
            title_align="left",
            subtitle=Text(self._keys, style=DIM),
            subtitle_align="right",
            border_style=DIM,
            padding=(0, pad),
            width=width,
        )

    def _blocks(self, console: Console, width: int) -> Iterator[list[_Row]]:
        """Return the rows in groups, which an empty row keeps apart."""
        latest = self._latest
        if latest is None:
            yield [_Row(_HEAD, Text("listening…", style=DIM))]
        else:
            yield self._head(latest, width)
            yield self._values(latest, width)
            yield self._trail(latest, width)
            yield self._remarks(latest, width)
        yield [
            *self._status(console, width),
            *self._wrapped(console, width, self._notice, "yellow", _TROUBLE),
            *(_Row(_PROMPT, line) for line in _lines(console, width, self._prompt, "bold")),
        ]
        if latest is not None:
            yield self._latency(latest, width)

    def _head(self, latest: Estimate, width: int) -> list[_Row]:
        word = _word(latest)
        left = Text.assemble(
            ("● ", latest.color) if latest.mood else "",
            (word, STATE_STYLES[latest.state] if latest.state.repeats else "bold"),
        )
        why = self._why(latest)
        clock = exact_clock_text(latest.t)
        room = width - left.cell_len - len(clock) - 4
        short = why if len(why) <= room else str(latest.state)
        right = Text.assemble((short, STATE_STYLES[latest.state]), f"  {clock}")
        if right.cell_len > width - left.cell_len - 1:
            right = Text(clock)
        head = _spread(left, right, width)
        if short == why:
            return [_Row(_HEAD, head)]
        return [_Row(_HEAD, head), _Row(_WHY, Text(why, style=STATE_STYLES[latest.state]))]

    def _why(self, latest: Estimate) -> str:
        text = STATE_TEXTS[latest.state]
        # Only an engine that fails leaves a level in a stall.
        if latest.state is State.STALLED and (self._engine_fails or latest.level_db > NO_LEVEL_DB):
            text = ENGINE_STALLED
        if latest.state.repeats:
            text += f"; last values: {latest.mood or NO_MOOD}"
        return text

    def _values(self, latest: Estimate, width: int) -> list[_Row]:
        values, fast = latest.scaled or latest, _shown_fast(latest)
        columns = scale_width(width)
        gap = _gap(width)
        with_interval = _has_interval(width)
        rows = []
        for name, colour in COLOURS.items():
            value = float(getattr(values, name))
            low, high = (float(getattr(values, f"{name}_{end}")) for end in ("low", "high"))
            style = DIM if latest.state.repeats else f"bold {colour}"
            fast_value = None if fast is None else float(getattr(fast, name))
            row = Text.assemble(
                (f"{name:<{_LABEL}}", colour), gap,
                scale(value, low, high, colour, columns, fast=fast_value), gap,
                " ", (f"{value:+.2f}", style),
            )  # fmt: skip
            if with_interval:
                row.append(f"{gap}{low:+.2f} to {high:+.2f}", style=DIM)
            rows.append(_Row(_VALUES, row))
        axis = Text(" " * _LABEL + gap + axis_line(columns), style=DIM)
        if with_interval:
            axis.append(f"{gap}{' ' * _NUMBER}{gap}{self._coverage * 100:.0f} % interval")
        rows.append(_Row(_AXIS, axis))
        rows.append(
            _Row(
                _LEVEL,
                Text.assemble(
                    f"{'level':<{_LABEL}}", gap, level_meter(latest.level_db, columns), gap,
                    f"{latest.level_db:.0f} dB".rjust(_NUMBER),
                ),
            )
        )  # fmt: skip
        if fast is not None and latest.fast is not None:
            span = f"{latest.fast.window_s:g} s"
            words = f"valence {fast.valence:+.2f}", f"arousal {fast.arousal:+.2f}"
            line = f"○ last {span}: {', '.join(words)}"
            if len(line) > width:
                line = f"○ {span}: {' '.join(words)}"
            rows.append(_Row(_FAST, Text(line, style=DIM if latest.state.repeats else "")))
        return rows

    def _trail(self, latest: Estimate, width: int) -> list[_Row]:
        columns, gap = scale_width(width), _gap(width)
        past = list(self._history)[-columns:]
        span = _span(self._hop_s * columns)
        if _has_interval(width):
            span = f"last {span}"
        return [
            _Row(
                _TRAIL,
                Text.assemble(
                    (f"{name:<{_LABEL}}", colour), gap,
                    (sparkline([float(getattr(each, name)) for each in past]).rjust(columns),
                     colour),
                    gap, (span if _has_interval(width) else span.rjust(_NUMBER), DIM),
                ),
            )
            for name, colour in COLOURS.items()
        ]  # fmt: skip

    def _remarks(self, latest: Estimate, width: int) -> list[_Row]:
        rows = []
        for number, event in enumerate(reversed(self._events)):
            age = Text(f"{duration_text(max(0.0, latest.t - event.t))} ago", style=DIM)
            what = Text.assemble((f"{clock_text(event.t)}  ", DIM), event_text(event))
            what.truncate(max(1, width - age.cell_len - 1), overflow="ellipsis")
            rows.append(_Row(_OLDER if number else _NEWEST, _spread(what, age, width)))
        if self._target:
            rows.append(_Row(_TARGET, Text(self._target)))
        return rows

    def _status(self, console: Console, width: int) -> Iterator[_Row]:
        if self._outputs:
            fails = Health.FAILING in self._outputs
            style, rank = ("yellow", _TROUBLE) if fails else (DIM, _OUTPUTS)
            yield from self._wrapped(console, width, f"show: {self._outputs}", style, rank)
        loses = self._losses != NOTHING_LOST
        style, rank = ("yellow", _TROUBLE) if loses else (DIM, _HEALTH)
        yield from self._wrapped(console, width, f"health: {self._losses}", style, rank)

    def _wrapped(
        self, console: Console, width: int, sentence: str, style: str, rank: int
    ) -> Iterator[_Row]:
        """Return the lines of a sentence; all but the first are left out sooner."""
        lines = _lines(console, width, sentence, style)
        if len(lines) > _NOTICE_LINES:
            lines = lines[:_NOTICE_LINES]
            lines[-1].truncate(width - 1)
            lines[-1].append("…")
        for number, line in enumerate(lines):
            yield _Row(max(rank, _WHY) if number else rank, line)

    def _latency(self, latest: Estimate, width: int) -> list[_Row]:
        latency = latest.latency
        adds_ms = latency.buffer_ms + latency.compute_ms + latency.queue_ms
        parts = (
            f"buffer {latency.buffer_ms:.1f}, compute {latency.compute_ms:.1f}, "
            f"queue {latency.queue_ms:.1f}"
        )
        kind = "raw" if latest.scaled is None else "music"
        lines = [f"range: {kind}, looks back {latency.window_s:g} s", f"adds {adds_ms:.1f} ms"]
        if len(lines[1]) + len(parts) + 3 <= width:
            lines[1] += f" ({parts})"
        return [_Row(_LATENCY, Text(line, style=DIM)) for line in lines]

    def _one_line(self, width: int) -> Text:
        if self._latest is None:
            line = "listening…"
        else:
            values = self._latest.scaled or self._latest
            line = (
                f"{_word(self._latest).lower()}  v {values.valence:+.2f}  a {values.arousal:+.2f}"
            )
        text = Text(line)
        text.truncate(width)
        return text


def _fitting(rows: list[_Row], height: int, *, border: bool) -> tuple[list[_Row], bool]:
    """Return the rows that a terminal has room for, in their order, and whether it has a border."""
    ranks = sorted({row.rank for row in rows} | ({_BORDER} if border else set()))
    left, chosen, has_border = height, set[int](), False
    for rank in ranks:
        if rank == _BORDER:
            if left >= 2:
                has_border = True
                left -= 2
            continue
        same = [index for index, row in enumerate(rows) if row.rank == rank]
        # The parts of one whole stay together; of other rows, those that fit.
        if rank in (_VALUES, _TRAIL, _LATENCY) and len(same) > left:
            continue
        chosen.update(same[:left])
        left -= min(left, len(same))
    return [row for index, row in enumerate(rows) if index in chosen], has_border


def _without_double_spaces(rows: list[_Row]) -> list[Text]:
    """Return the texts without empty ones at both ends and in a row."""
    shown: list[Text] = []
    for row in rows:
        if row.rank != _SPACE or (shown and shown[-1].plain):
            shown.append(row.text)
    while shown and not shown[-1].plain:
        shown.pop()
    return shown


def _word(latest: Estimate) -> str:
    return (str(latest.state) if latest.state.repeats else latest.mood or NO_MOOD).upper()


def _shown_fast(latest: Estimate) -> ScaledValues | FastValues | None:
    return None if latest.fast is None else latest.fast.scaled or latest.fast


def _spread(left: Text, right: Text, width: int) -> Text:
    """Return a line with one text at its start and one at its end."""
    return Text.assemble(left, " " * max(1, width - left.cell_len - right.cell_len), right)


def _lines(console: Console, width: int, sentence: str, style: str) -> list[Text]:
    """Return a sentence in lines that fit; none for an empty one."""
    text = Text(printable(sentence), style=style)
    return [*text.wrap(console, width)] if sentence else []


def _gap(width: int) -> str:
    return "  " if width >= 44 else " "


def _has_interval(width: int) -> bool:
    return width >= 64


def scale_width(width: int) -> int:
    """Return the columns of a scale in a view; odd, so that zero has a column of its own.

    Args:
        width: columns within the border.
    """
    gap = len(_gap(width))
    rest = width - _LABEL - _NUMBER - 2 * gap
    if _has_interval(width):
        rest -= _INTERVAL + gap
    rest = max(LEAST_SCALE, rest)
    return rest - 1 + rest % 2


def scale(
    value: float, low: float, high: float, colour: str, width: int, *, fast: float | None = None
) -> Text:
    """Draw a scale from -1 to 1: the interval as a bar, the value as a dot, the fast one as a ring.

    Args:
        value, low, high, fast: in [-1, 1]; values outside are at the ends.
        colour: of the bar and the dot.
        width: columns; odd.
    """
    at, start, end = (_column(x, width) for x in (value, low, high))
    ring = None if fast is None else _column(fast, width)
    text = Text()
    for column in range(width):
        if column == at:
            text.append("●", style=f"bold {colour}")
        elif column == ring:
            text.append("○", style=colour)
        elif start <= column <= end:
            text.append("━", style=colour)
        elif column == width // 2:
            text.append("┼", style=DIM)
        else:
            text.append("─", style=DIM)
    return text


def axis_line(width: int) -> str:
    """Return the ends and the middle of a scale of so many columns."""
    half = width // 2
    return "-1" + " " * (half - 2) + "0" + " " * (half - 2) + "+1"


def level_meter(level_db: float, width: int) -> Text:
    """Draw the level from -60 to 0 dBFS as a bar; red above -3 dB warns of clipping."""
    share = (max(level_db, QUIETEST_DB) - QUIETEST_DB) / -QUIETEST_DB
    filled = round(min(share, 1.0) * width)
    style = "red" if level_db > LOUD_DB else "green"
    return Text.assemble(("█" * filled, style), ("░" * (width - filled), DIM))


def sparkline(values: list[float]) -> str:
    """Draw values in [-1, 1], one character each."""
    top = len(SPARKS) - 1
    return "".join(SPARKS[round((min(max(v, -1.0), 1.0) + 1.0) / 2.0 * top)] for v in values)


def event_text(event: Event | Marker) -> str:
    """Return what happened, in words; "" for a mood that ends, which the next one follows."""
    if isinstance(event, Marker):
        return f"marker: {printable_line(event.text)}"
    text = _CHANGES.get(event.kind, "")
    return f"{text}: {event.mood}" if event.kind is EventKind.MOOD_ENTER else text


class PlainLines:
    """Makes lines of text of estimates and events, for output that is no display.

    A line comes when something that it shows has changed, apart from the level, and for estimates
    at most once in a second of the stream.
    """

    def __init__(self) -> None:
        self._shown: tuple[object, ...] = ()
        self._next_t = float("-inf")

    def estimate(self, estimate: Estimate) -> str:
        """Return the line of an estimate; "" for none."""
        values = _shown_in_line(estimate)
        if estimate.t < self._next_t - 1e-6 or values == self._shown:
            return ""
        self._shown, self._next_t = values, estimate.t + LINE_EVERY_S
        return plain_line(estimate)

    def event(self, event: Event) -> str:
        """Return the line of an event; "" for none."""
        text = event_text(event)
        return f"{exact_clock_text(event.t)}  event: {text}" if text else ""


def _shown_in_line(estimate: Estimate) -> tuple[object, ...]:
    values = estimate.scaled or estimate
    numbers = (f"{getattr(values, name):+.2f}" for name in VALUES)
    return (*numbers, estimate.mood, estimate.state)


def plain_line(estimate: Estimate) -> str:
    """Return an estimate as a line of text, with the values that displays show."""
    values = estimate.scaled or estimate
    return (
        f"{exact_clock_text(estimate.t)}  valence {values.valence:+.2f} "
        f"[{values.valence_low:+.2f}, {values.valence_high:+.2f}]  "
        f"arousal {values.arousal:+.2f} "
        f"[{values.arousal_low:+.2f}, {values.arousal_high:+.2f}]  "
        f"{estimate.mood or NO_MOOD:<8} {estimate.state:<9} {estimate.level_db:6.1f} dB"
    )


def _column(value: float, width: int) -> int:
    return round((min(max(value, -1.0), 1.0) + 1.0) / 2.0 * (width - 1))


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
