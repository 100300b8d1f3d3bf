"""Speed results as plots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drawing import COLOURS, GREY, figure_of, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PERCENTILES = (("p50", ":"), ("p95", "--"), ("p99", "-"))
_LINE_COLOURS = ("#c1440e", "#2166ac", "#4d7c0f", "#7b3f9e", "#5b6470")


def engine(result: dict[str, Any], path: Path) -> None:
    """Plot milliseconds per window over the batch size, a line per backend and threads."""
    figure, (axis,) = figure_of(1, height=3.2)
    variants = list(dict.fromkeys((row["backend"], row["threads"]) for row in result["rows"]))
    for colour, (backend, threads) in zip(_LINE_COLOURS * 3, variants, strict=False):
        rows = [r for r in result["rows"] if (r["backend"], r["threads"]) == (backend, threads)]
        label = backend if threads is None else f"{backend}, {threads} thread" + "s" * (threads > 1)
        axis.plot(
            [row["batch"] for row in rows], [row["ms_per_window"] for row in rows], "o-",
            color=colour, markersize=3.5, label=label,
        )  # fmt: skip
    if result["lower_bound_ms"] is not None:
        axis.axhline(result["lower_bound_ms"], color=GREY, linewidth=0.8, linestyle=":")
    axis.set_xscale("log", base=2)
    _integer_ticks(axis, sorted({row["batch"] for row in result["rows"]}))
    axis.set_ylim(bottom=0)
    axis.set_xlabel("batch size (dotted: lower bound for one thread)")
    axis.set_ylabel("ms per window")
    axis.legend(frameon=False)
    save(figure, path)


def streams(result: dict[str, Any], path: Path) -> None:
    """Plot lateness over the number of streams."""
    figure, axes = figure_of(2)
    for axis, key, colour, title in (
        (axes[0], "websockets", COLOURS["arousal"], "PCM over websockets"),
        (axes[1], "inside", COLOURS["valence"], "decoded blocks in one process"),
    ):
        _percentiles(axis, result[key], "streams", "lateness_ms", colour)
        axis.axhline(result["goal"]["p99_ms"], color=GREY, linewidth=0.8, linestyle=":")
        axis.axvline(result["goal"][key], color=GREY, linewidth=0.8, linestyle=":")
        axis.set_yscale("log")
        axis.set_xlim(left=0)
        axis.set_title(title, fontsize=10, loc="left")
        axis.set_xlabel("streams (dotted: the goal)")
        axis.legend(frameon=False)
    axes[0].set_ylabel("lateness, ms")
    save(figure, path)


def viewers(result: dict[str, Any], path: Path) -> None:
    """Plot delay over the number of viewers."""
    figure, (axis,) = figure_of(1, height=3.2)
    _percentiles(axis, result["levels"], "viewers", "delay_ms", COLOURS["valence"])
    axis.axhline(result["goal"]["p99_ms"], color=GREY, linewidth=0.8, linestyle=":")
    axis.axvline(result["goal"]["viewers"], color=GREY, linewidth=0.8, linestyle=":")
    axis.set_xlim(left=0)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("viewers of one stream (dotted: the goal)")
    axis.set_ylabel("delay, ms")
    axis.legend(frameon=False, loc="upper left")
    save(figure, path)


def side_by_side(result: dict[str, Any], path: Path) -> None:
    """Plot compute per second of audio, a bar per tool."""
    names = {"ours": "realtime-mer", "vibenet": "VibeNet", "essentia": "essentia\n(MusiCNN)"}
    rows = result["rows"]
    bars = [(names[row["tool"]], row["update_ms"]["p50"], row["tool"] == "ours") for row in rows]
    _bars(bars, "{:.1f} ms", "ms of compute per value, one value per second", path)


def latency(result: dict[str, Any], path: Path) -> None:
    """Plot the time of each step of an update, with its lower bound."""
    names = {
        "resample_ms": "resampler", "frontend_ms": "front-end", "engine_ms": "engine",
        "publish_ms": "message", "update_ms": "whole update",
    }  # fmt: skip
    keys = [key for key in names if key in result]
    bars = [(names[key], result[key]["p50"], key == "update_ms") for key in keys]
    least = [result.get("bounds", {}).get(key) for key in keys]
    label = "ms per second of audio, median (line: lower bound)"
    _bars(bars, "{:.2f} ms", label, path, least)


def start_up(result: dict[str, Any], path: Path) -> None:
    """Plot the time from the start of the process, a bar per kind of start."""
    names = {
        "python_ms": "Python alone", "least_ms": "numpy and\nonnxruntime",
        "first_estimate_ms": "to first estimate", "listening_ms": "to listening",
    }  # fmt: skip
    bars = [(name, result[key]["p50"], key == "listening_ms") for key, name in names.items()]
    goal = [None, None, None, result["goal"]["listening_ms"]]
    _bars(bars, "{:.0f} ms", "ms from process start, median (line: goal)", path, goal)


def scale(result: dict[str, Any], path: Path) -> None:
    """Plot the streams per core, a bar per configuration."""
    bars = [
        (row["configuration"], row["streams_per_core"], False) for row in result["configurations"]
    ]
    _bars(bars, "{:.0f}", "streams per core", path)


# For each file name: the result file and the function that draws it.
PLOTS = {
    "engine": ("engine", engine),
    "streams": ("streams", streams),
    "viewers": ("viewers", viewers),
    "side_by_side": ("side_by_side", side_by_side),
    "latency": ("latency", latency),
    "start_up": ("start_up", start_up),
    "scale": ("scale", scale),
}


def _bars(
    bars: list[tuple[str, float, bool]],
    text: str,
    label: str,
    path: Path,
    lines: Sequence[float | None] = (),
) -> None:
    """Draw horizontal bars.

    Args:
        bars: name, value and whether it is highlighted, from top to bottom.
        text: format of the value beside a bar.
        label: of the x axis.
        path: the PNG file.
        lines: a goal or bound for each bar, or None.
    """
    figure, (axis,) = figure_of(1, height=0.5 * len(bars) + 1.0)
    places = range(len(bars) - 1, -1, -1)
    values = [value for _, value, _ in bars]
    colours = [COLOURS["arousal"] if highlighted else GREY for _, _, highlighted in bars]
    axis.barh(places, values, height=0.6, color=colours)
    limits = [(y, line) for y, line in zip(places, lines, strict=False) if line is not None]
    for place, line in limits:
        axis.plot([line, line], [place - 0.4, place + 0.4], color="black", linewidth=1.2)
    widest = max(*values, *(line for _, line in limits))
    for place, value in zip(places, values, strict=True):
        axis.text(value + widest / 80, place, text.format(value), va="center", fontsize=9)
    axis.set_yticks(places, [name for name, _, _ in bars])
    axis.set_xlim(0, widest * 1.12)
    axis.set_xlabel(label)
    save(figure, path)


def _percentiles(axis: Axes, rows: list[dict[str, Any]], x: str, y: str, colour: str) -> None:
    for name, style in _PERCENTILES:
        axis.plot(
            [row[x] for row in rows], [row[y][name] for row in rows], style, marker="o",
            color=colour, markersize=3.0, label=name,
        )  # fmt: skip


def _integer_ticks(axis: Axes, values: list[int]) -> None:
    axis.set_xticks(values, [str(value) for value in values])
    axis.minorticks_off()
