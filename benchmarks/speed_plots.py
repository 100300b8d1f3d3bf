"""Results about speed as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drawing import COLOURS, GREY, figure_of, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PERCENTILES = (("p50", ":"), ("p95", "--"), ("p99", "-"))
_MORE = ("#c1440e", "#2166ac", "#4d7c0f", "#7b3f9e", "#5b6470")


def engine(result: dict[str, Any], path: Path) -> None:
    """Milliseconds a window over the batch, a line for each backend and its threads."""
    figure, (axis,) = figure_of(1, height=3.2)
    ways = list(dict.fromkeys((row["backend"], row["threads"]) for row in result["rows"]))
    for colour, (backend, threads) in zip(_MORE * 3, ways, strict=False):
        rows = [r for r in result["rows"] if (r["backend"], r["threads"]) == (backend, threads)]
        label = backend if threads is None else f"{backend}, {threads} thread" + "s" * (threads > 1)
        axis.plot(
            [row["batch"] for row in rows], [row["ms_per_window"] for row in rows], "o-",
            color=colour, markersize=3.5, label=label,
        )  # fmt: skip
    if result["lower_bound_ms"] is not None:
        axis.axhline(result["lower_bound_ms"], color=GREY, linewidth=0.8, linestyle=":")
    axis.set_xscale("log", base=2)
    _whole_numbers(axis, sorted({row["batch"] for row in result["rows"]}))
    axis.set_ylim(bottom=0)
    axis.set_xlabel("windows in a call (dotted: the operations at one thread's peak)")
    axis.set_ylabel("ms a window")
    axis.legend(frameon=False)
    save(figure, path)


def streams(result: dict[str, Any], path: Path) -> None:
    """Lateness over the number of streams."""
    figure, axes = figure_of(2)
    for axis, key, colour, title in (
        (axes[0], "websockets", COLOURS["arousal"], "PCM over websockets"),
        (axes[1], "inside", COLOURS["valence"], "decoded blocks, one process"),
    ):
        _percentiles(axis, result[key], "streams", "lateness_ms", colour)
        axis.axhline(result["goal"]["p99_ms"], color=GREY, linewidth=0.8, linestyle=":")
        axis.axvline(result["goal"][key], color=GREY, linewidth=0.8, linestyle=":")
        axis.set_yscale("log")
        axis.set_xlim(left=0)
        axis.set_title(title, fontsize=10, loc="left")
        axis.set_xlabel("streams (dotted: the goal)")
        axis.legend(frameon=False)
    axes[0].set_ylabel("ms late")
    save(figure, path)


def viewers(result: dict[str, Any], path: Path) -> None:
    """Delay over the number of viewers."""
    figure, (axis,) = figure_of(1, height=3.2)
    _percentiles(axis, result["levels"], "viewers", "delay_ms", COLOURS["valence"])
    axis.axhline(result["goal"]["p99_ms"], color=GREY, linewidth=0.8, linestyle=":")
    axis.axvline(result["goal"]["viewers"], color=GREY, linewidth=0.8, linestyle=":")
    axis.set_xlim(left=0)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("viewers of one stream (dotted: the goal)")
    axis.set_ylabel("ms from the estimate")
    axis.legend(frameon=False, loc="upper left")
    save(figure, path)


def side_by_side(result: dict[str, Any], path: Path) -> None:
    """Compute per second of audio, a bar for each tool."""
    names = {"ours": "realtime-mer", "vibenet": "VibeNet", "essentia": "essentia\n(MusiCNN)"}
    rows = result["rows"]
    bars = [(names[row["tool"]], row["update_ms"]["p50"], row["tool"] == "ours") for row in rows]
    _bars(bars, "{:.1f} ms", "ms of compute for each new value, one a second", path)


def latency(result: dict[str, Any], path: Path) -> None:
    """What each step of an update takes, a bar for each, and the least that it could take."""
    names = {
        "resample_ms": "resampler", "frontend_ms": "front-end", "engine_ms": "engine",
        "publish_ms": "message", "update_ms": "whole update",
    }  # fmt: skip
    known = [key for key in names if key in result]
    bars = [(names[key], result[key]["p50"], key == "update_ms") for key in known]
    least = [result.get("bounds", {}).get(key) for key in known]
    what = "ms for one second of audio, median (line: the least that it could take)"
    _bars(bars, "{:.2f} ms", what, path, least)


def start_up(result: dict[str, Any], path: Path) -> None:
    """Time from the start of the process, a bar for each kind of start."""
    names = {
        "python_ms": "Python alone", "least_ms": "numpy and\nonnxruntime",
        "first_estimate_ms": "to an estimate", "listening_ms": "to listening",
    }  # fmt: skip
    bars = [(name, result[key]["p50"], key == "listening_ms") for key, name in names.items()]
    goal = [None, None, None, result["goal"]["listening_ms"]]
    _bars(bars, "{:.0f} ms", "ms from starting the process, median (line: the goal)", path, goal)


def scale(result: dict[str, Any], path: Path) -> None:
    """Streams that a core carries, a bar for each way."""
    bars = [(row["way"], row["streams_per_core"], False) for row in result["ways"]]
    _bars(bars, "{:.0f}", "streams a core", path)


# By file name: the result it comes from and what draws it.
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
    what: str,
    path: Path,
    lines: Sequence[float | None] = (),
) -> None:
    """A picture of bars from above, each with its value; some stand out, some have a line."""
    figure, (axis,) = figure_of(1, height=0.5 * len(bars) + 1.0)
    places = range(len(bars) - 1, -1, -1)
    values = [value for _, value, _ in bars]
    colours = [COLOURS["arousal"] if out else GREY for _, _, out in bars]
    axis.barh(places, values, height=0.6, color=colours)
    marks = [(place, line) for place, line in zip(places, lines, strict=False) if line is not None]
    for place, line in marks:
        axis.plot([line, line], [place - 0.4, place + 0.4], color="black", linewidth=1.2)
    widest = max(*values, *(line for _, line in marks))
    for place, value in zip(places, values, strict=True):
        axis.text(value + widest / 80, place, text.format(value), va="center", fontsize=9)
    axis.set_yticks(places, [name for name, _, _ in bars])
    axis.set_xlim(0, widest * 1.12)
    axis.set_xlabel(what)
    save(figure, path)


def _percentiles(axis: Axes, rows: list[dict[str, Any]], x: str, y: str, colour: str) -> None:
    for name, style in _PERCENTILES:
        axis.plot(
            [row[x] for row in rows], [row[y][name] for row in rows], style, marker="o",
            color=colour, markersize=3.0, label=name,
        )  # fmt: skip


def _whole_numbers(axis: Axes, values: list[int]) -> None:
    axis.set_xticks(values, [str(value) for value in values])
    axis.minorticks_off()
