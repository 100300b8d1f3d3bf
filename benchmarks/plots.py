"""Accuracy results as plots: PNG on a light background, legible at the width of a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import speed_plots
from drawing import COLOURS, GREY, figure_of, save
from tables import ALLOWED_LOSS, DIMENSIONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def robustness(result: dict[str, Any], path: Path) -> None:
    """Plot the R2 that each condition loses."""
    rows = result["conditions"][::-1]
    figure, axes = figure_of(1, height=0.32 * len(rows) + 1.0)
    axis = axes[0]
    for shift, name in ((0.19, "arousal"), (-0.19, "valence")):
        loss = [row[name]["r2_loss"] or 0.0 for row in rows]
        places = [place + shift for place in range(len(rows))]
        axis.barh(places, loss, height=0.36, color=COLOURS[name], label=name)
    axis.axvline(0, color=GREY, linewidth=0.8)
    axis.axvline(ALLOWED_LOSS, color=GREY, linewidth=0.8, linestyle=":")
    axis.set_yticks(range(len(rows)), [row["name"] for row in rows])
    axis.set_ylim(-0.6, len(rows) - 0.4)
    axis.set_xlabel(f"R2 loss against the unchanged clip (dotted: {ALLOWED_LOSS})")
    axis.legend(frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2)
    save(figure, path)


def lag(result: dict[str, Any], path: Path) -> None:
    """Plot R2 over the length of the window and over the hop."""
    figure, axes = figure_of(2, share_y=True)
    for name in DIMENSIONS:
        orders, hops = result["lag_orders"], result["hops"]
        _line(axes[0], [r["window_s"] for r in orders], [r[name]["r2"] for r in orders], name)
        _line(axes[1], [r["hop_s"] for r in hops], [r[name]["r2"] for r in hops], name)
    axes[0].set_xlabel("window, seconds (hop 0.5 s)")
    axes[0].set_ylabel("R2 from 5 to 10 s")
    axes[1].set_xlabel("hop, seconds (default window)")
    axes[0].legend(frameon=False, loc="lower right")
    save(figure, path)


def step_response(result: dict[str, Any], path: Path) -> None:
    """Plot the median of the estimates after a change, a line per window."""
    figure, axes = figure_of(2, share_y=True)
    styles = ("-", "--", "-.", ":")
    windows = list(dict.fromkeys(curve["window_s"] for curve in result["curves"]))
    for axis, name in zip(axes, DIMENSIONS, strict=True):
        for curve in result["curves"]:
            if curve["dimension"] == name:
                style = styles[windows.index(curve["window_s"]) % len(styles)]
                axis.plot(
                    curve["seconds"], curve["way"], style, color=COLOURS[name],
                    label=f"window {curve['window_s']:g} s",
                )  # fmt: skip
        for share in (0.5, 0.9):
            axis.axhline(share, color=GREY, linewidth=0.6, linestyle=":")
        axis.set_title(name, fontsize=10, loc="left")
        axis.set_xlabel("seconds after the change")
        if axis.get_legend_handles_labels()[0]:
            axis.legend(frameon=False, loc="lower right")
    axes[0].set_ylabel("share of the step (median)")
    save(figure, path)


def accuracy_over_time(result: dict[str, Any], path: Path) -> None:
    """Plot R2 over the seconds of audio."""
    figure, axes = figure_of(1, height=3.0)
    for name in DIMENSIONS:
        rows = [row for row in result["by_duration"] if name in row]
        _line(axes[0], [row["seconds"] for row in rows], [row[name]["r2"] for row in rows], name)
    axes[0].set_xlabel("seconds of audio")
    axes[0].set_ylabel("R2 at that time")
    axes[0].legend(frameon=False, loc="lower right")
    save(figure, path)


# For each file name: the result file and the function that draws it.
PLOTS = {
    "accuracy_over_time": ("accuracy", accuracy_over_time),
    "robustness": ("robustness", robustness),
    "lag": ("lag", lag),
    "step_response": ("step_response", step_response),
    **speed_plots.PLOTS,
}


def _line(axis: Axes, x: list[float], y: list[float | None], name: str) -> None:
    points = [(a, b) for a, b in zip(x, y, strict=True) if b is not None]
    axis.plot(*zip(*points, strict=True), "o-", color=COLOURS[name], markersize=3.5, label=name)
