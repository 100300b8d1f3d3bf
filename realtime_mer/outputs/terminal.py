"""The live view in the terminal."""

from __future__ import annotations

from collections import deque

from rich.align import Align
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from realtime_mer.clock import exact_clock_text
from realtime_mer.core.types import Estimate, State
from realtime_mer.errors import printable
from realtime_mer.live.show import Health
from realtime_mer.live.stats import NOTHING_LOST

# Okabe and Ito's sky blue and orange: distinguishable with every common colour vision.
COLOURS = {"valence": "#56b4e9", "arousal": "#e69f00"}
STATE_STYLES = {
    State.TRACKING: "green",
    State.SETTLING: "yellow",
    State.SILENCE: "bright_black",
    State.SPEECH: "bright_black",
    State.NOISE: "bright_black",
    State.STALLED: "bold red",
}
STATE_TEXTS = {
    State.TRACKING: "tracking",
    State.SETTLING: "settling: the window is not full of music yet",
    State.SILENCE: "silence: last values",
    State.SPEECH: "speech: last values",
    State.NOISE: "noise: last values",
    State.STALLED: "stalled: no audio arrives, last values",
}
ENGINE_STALLED = "stalled: the engine does not work, last values"
# Notices that say whether a stall is the engine's or that of the audio.
_ENGINE_FAILS = {
    "engine_failed": True,
    "engine_stalled": True,
    "engine_back": False,
    "stalled": False,
    "input_lost": False,
}
NO_MOOD = "–"  # before any music was heard
SCALE_WIDTH = 37  # fits 80 columns; odd, so that zero has a column of its own
HISTORY = SCALE_WIDTH
SPARKS = "▁▂▃▄▅▆▇█"
NO_LEVEL_DB = -120.0  # of an estimate that heard nothing
QUIETEST_DB = -60.0
LOUD_DB = -3.0


class TerminalView:
    """Shows the newest estimate, the recent history and the loss counters.

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
        self._history: deque[Estimate] = deque(maxlen=HISTORY)
        self._losses = NOTHING_LOST
        self._outputs = ""
        self._target = ""
        self._notice = ""
        self._engine_fails = False

    def add(self, estimate: Estimate) -> None:
        """Add the newest estimate."""
        self._latest = estimate
        self._history.append(estimate)

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

    def __rich__(self) -> RenderableType:
        parts: list[RenderableType] = []
        if self._latest is None:
            parts.append(Text("listening…", style="bright_black"))
        else:
            parts += self._body(self._latest)
            if self._target:
                parts.append(Text(self._target))
        parts.append(self._health())
        if self._outputs:
            style = "yellow" if Health.FAILING in self._outputs else "bright_black"
            parts.append(Text(f"show: {self._outputs}", style=style))
        if self._notice:
            parts.append(Text(printable(self._notice), style="yellow"))
        if self._prompt:
            parts.append(Text(printable(self._prompt), style="bold"))
        panel = Panel(
            Group(*parts),
            title=Text(printable(self._title), style="bold"),
            title_align="left",
            subtitle=Text(self._keys, style="bright_black"),
            subtitle_align="right",
            border_style="bright_black",
            padding=(1, 2),
            width=88,
        )
        return Align.left(panel)

    def _body(self, latest: Estimate) -> list[RenderableType]:
        state_text = STATE_TEXTS[latest.state]
        # Only an engine that fails leaves a level in a stall.
        if latest.state is State.STALLED and (self._engine_fails or latest.level_db > NO_LEVEL_DB):
            state_text = ENGINE_STALLED
        head = Table.grid(expand=True)
        head.add_column()
        head.add_column(justify="right")
        head.add_row(
            Text((latest.mood or NO_MOOD).upper(), style="bold"),
            Text.assemble(
                (state_text, STATE_STYLES[latest.state]), f"   {exact_clock_text(latest.t)}"
            ),
        )
        held = latest.state.repeats
        values = Table.grid(padding=(0, 2))
        for name, colour in COLOURS.items():
            value = float(getattr(latest, name))
            low, high = (float(getattr(latest, f"{name}_{end}")) for end in ("low", "high"))
            values.add_row(
                Text(name, style=colour),
                scale(value, low, high, colour),
                Text(f"{value:+.2f}", style="bright_black" if held else f"bold {colour}"),
                Text(f"{low:+.2f} to {high:+.2f}", style="bright_black"),
            )
        values.add_row("", *self._axis())
        values.add_row("level", level_meter(latest.level_db), f"{latest.level_db:.0f} dB", "")
        for name, colour in COLOURS.items():
            trail = [float(getattr(estimate, name)) for estimate in self._history]
            values.add_row(
                Text(f"last {_span(self._hop_s * HISTORY)}" if name == "valence" else ""),
                Text(sparkline(trail[-SCALE_WIDTH:]), style=colour),
                "",
                Text(name, style="bright_black"),
            )
        latency = latest.latency
        adds_ms = latency.buffer_ms + latency.compute_ms + latency.queue_ms
        latency_line = Text(
            f"looks back {latency.window_s:g} s; adds {adds_ms:.1f} ms (buffer "
            f"{latency.buffer_ms:.1f}, compute {latency.compute_ms:.1f}, "
            f"queue {latency.queue_ms:.1f})",
            style="bright_black",
        )
        return [head, Text(), values, Text(), latency_line]

    def _axis(self) -> tuple[Text, str, Text]:
        half = SCALE_WIDTH // 2
        line = "-1" + " " * (half - 2) + "0" + " " * (half - 2) + "+1"
        coverage = Text(f"{self._coverage * 100:.0f} % interval", style="bright_black")
        return Text(line, style="bright_black"), "", coverage

    def _health(self) -> Text:
        style = "bright_black" if self._losses == NOTHING_LOST else "yellow"
        return Text(f"health: {self._losses}", style=style)


def scale(value: float, low: float, high: float, colour: str) -> Text:
    """Draw a scale from -1 to 1 with the interval as a bar and the value as a dot."""
    at, start, end = (_column(x) for x in (value, low, high))
    text = Text()
    for column in range(SCALE_WIDTH):
        if column == at:
            text.append("●", style=f"bold {colour}")
        elif start <= column <= end:
            text.append("━", style=colour)
        elif column == SCALE_WIDTH // 2:
            text.append("┼", style="bright_black")
        else:
            text.append("─", style="bright_black")
    return text


def level_meter(level_db: float) -> Text:
    """Draw the level from -60 to 0 dBFS as a bar; red above -3 dB warns of clipping."""
    share = (max(level_db, QUIETEST_DB) - QUIETEST_DB) / -QUIETEST_DB
    filled = round(min(share, 1.0) * SCALE_WIDTH)
    style = "red" if level_db > LOUD_DB else "green"
    return Text.assemble(("█" * filled, style), ("░" * (SCALE_WIDTH - filled), "bright_black"))


def sparkline(values: list[float]) -> str:
    """Draw values in [-1, 1], one character each."""
    top = len(SPARKS) - 1
    return "".join(SPARKS[round((min(max(v, -1.0), 1.0) + 1.0) / 2.0 * top)] for v in values)


def plain_line(estimate: Estimate) -> str:
    """Format an estimate as a line of text, for output that is not a terminal."""
    return (
        f"{exact_clock_text(estimate.t)}  valence {estimate.valence:+.2f} "
        f"[{estimate.valence_low:+.2f}, {estimate.valence_high:+.2f}]  "
        f"arousal {estimate.arousal:+.2f} "
        f"[{estimate.arousal_low:+.2f}, {estimate.arousal_high:+.2f}]  "
        f"{estimate.mood or NO_MOOD:<8} {estimate.state:<9} {estimate.level_db:6.1f} dB"
    )


def _column(value: float) -> int:
    return round((min(max(value, -1.0), 1.0) + 1.0) / 2.0 * (SCALE_WIDTH - 1))


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
