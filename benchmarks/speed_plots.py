"""Results about speed as pictures."""

from __future__ import annotations

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
    rows = result["rows"][::-1]
    figure, (axis,) = figure_of(1, height=0.5 * len(rows) + 1.0)
    times = [row["update_ms"]["p50"] for row in rows]
    colours = [COLOURS["arousal"] if row["tool"] == "ours" else GREY for row in rows]
    axis.barh(range(len(rows)), times, height=0.6, color=colours)
    for place, took in enumerate(times):
        axis.text(took + max(times) / 80, place, f"{took:.1f} ms", va="center", fontsize=9)
    axis.set_yticks(range(len(rows)), [names[row["tool"]] for row in rows])
    axis.set_xlim(0, max(times) * 1.12)
    axis.set_xlabel("ms of compute for each new value, one a second")
    save(figure, path)


# By file name: the result it comes from and what draws it.
PLOTS = {
    "engine": ("engine", engine),
    "streams": ("streams", streams),
    "viewers": ("viewers", viewers),
    "side_by_side": ("side_by_side", side_by_side),
}


def _percentiles(axis: Axes, rows: list[dict[str, Any]], x: str, y: str, colour: str) -> None:
    for name, style in _PERCENTILES:
        axis.plot(
            [row[x] for row in rows], [row[y][name] for row in rows], style, marker="o",
            color=colour, markersize=3.0, label=name,
        )  # fmt: skip


def _whole_numbers(axis: Axes, values: list[int]) -> None:
    axis.set_xticks(values, [str(value) for value in values])
    axis.minorticks_off()
