"""Figures of the results, as PNG and SVG. The title of each panel names the protocol."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mer_engine.draft import draft_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Result = dict[str, Any]

_COLOURS = {"arousal": "#c1440e", "valence": "#2166ac"}
_STYLES = {"train": ":", "validation": "--", "test": "-"}
_GREY = "#5b6470"
_DPI = 110
_TOP = 25


def draw(result: Result, folder: Path) -> list[Path]:
    """Draw the figures of a result.

    Returns:
        The files; empty for experiments without figures.
    """
    paths = []
    for name, plot in _FIGURES.get(result["experiment"], {}).items():
        figure = plot(result)
        # One layout for both files.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        for suffix in ("png", "svg"):
            path = folder / f"{name}.{suffix}"
            _save(figure, path)
            paths.append(path)
    return paths


def _lag_measures(result: Result) -> Figure:
    """Plot four measures of three parts over the lag order (the paper's Fig. 6)."""
    measures = {"r2": "R2", "mae": "MAE", "rmse": "RMSE", "mape": "MAPE"}
    figure, axes = _panels(len(measures), 2, (9.2, 10.5))
    for column, (protocol, title) in enumerate(result["titles"].items()):
        for row, (measure, name) in enumerate(measures.items()):
            axis = axes[row][column]
            for dimension, colour in _COLOURS.items():
                for part, style in _STYLES.items():
                    points = [
                        (r["lag"], r[part][measure]) for r in result["rows"]
                        if r["protocol"] == protocol and r["dimension"] == dimension
                    ]  # fmt: skip
                    axis.plot(
                        *zip(*points, strict=True), style, color=colour, linewidth=1.3,
                        label=f"{dimension}, {part}",
                    )  # fmt: skip
            axis.set_ylabel(name)
        axes[0][column].set_title(title, fontsize=10, loc="left")
        axes[-1][column].set_xlabel("lag order, half seconds")
        for row_axes in axes:
            row_axes[column].locator_params(axis="x", integer=True)
    axes[0][0].legend(frameon=False, fontsize=7, ncols=2)
    return figure


def _lag_scores(result: Result) -> Figure:
    """Plot the comprehensive score over the lag order (the paper's Fig. 7)."""
    figure, axes = _panels(1, 2, (9.2, 3.4))
    for axis, (protocol, title) in zip(axes[0], result["titles"].items(), strict=True):
        for dimension, colour in _COLOURS.items():
            points = [
                (s["lag"], s["score"]) for s in result["scores"]
                if s["protocol"] == protocol and s["dimension"] == dimension
            ]  # fmt: skip
            axis.plot(*zip(*points, strict=True), "o-", color=colour, markersize=3, label=dimension)
        axis.set_title(title, fontsize=10, loc="left")
        axis.set_xlabel("lag order, half seconds")
        axis.locator_params(axis="x", integer=True)
        axis.set_ylabel("comprehensive score")
    axes[0][0].legend(frameon=False)
    return figure


def _weights(result: Result) -> Figure:
    """Plot the indicators by weight (the paper's Figs. 4 and 5)."""
    figure, axes = _panels(2, 2, (9.2, 6.6))
    for row in result["weights"]:
        percents = {name: 100 * value for name, value in row["weights"].items()}
        axis = _ranked_bars(axes, result, row, percents)
        axis.set_xlabel("weight, %")
        axis.tick_params(axis="y", labelsize=8)
    return figure


def _importances(result: Result) -> Figure:
    """Plot the most important features, and the threshold."""
    figure, axes = _panels(2, 2, (9.6, 10.0))
    for row in result["rows"]:
        axis = _ranked_bars(axes, result, row, row["importances"])
        axis.axvline(result["threshold"], color=_GREY, linewidth=1, linestyle=":")
        axis.set_xscale("log")
        axis.set_xlabel(f"importance ({row['kept']} of {len(row['importances'])} are kept)")
        axis.tick_params(axis="y", labelsize=7)
    return figure


def _ranked_bars(
    axes: list[list[Axes]], result: Result, row: Result, values: dict[str, float]
) -> Axes:
    """Plot the largest values by name, in the panel of the row's dimension and protocol."""
    column = list(result["titles"]).index(row["protocol"])
    axis = axes[list(_COLOURS).index(row["dimension"])][column]
    ranked = sorted(values.items(), key=lambda item: item[1])[-_TOP:]
    names, lengths = zip(*ranked, strict=True)
    axis.barh(names, lengths, color=_COLOURS[row["dimension"]])
    title = f"{row['dimension']}, {result['titles'][row['protocol']]}"
    axis.set_title(title, fontsize=10, loc="left")
    return axis


def _searches(result: Result) -> Figure:
    """Plot the best value so far over the trials."""
    figure, axes = _panels(1, 2, (9.2, 3.4))
    for axis, (protocol, title) in zip(axes[0], result["titles"].items(), strict=True):
        for row in result["rows"]:
            if row["protocol"] == protocol:
                axis.step(
                    range(1, len(row["course"]) + 1), row["course"], where="post",
                    color=_COLOURS[row["dimension"]],
                    linestyle="-" if row["search"] == "sparrow search" else "--",
                    label=f"{row['dimension']}, {row['search']}",
                )  # fmt: skip
        axis.set_title(title, fontsize=10, loc="left")
        axis.set_xlabel("tries")
        axis.set_ylabel("best validation RMSE")
    axes[0][0].legend(frameon=False, fontsize=7)
    return figure


_FIGURES: dict[str, dict[str, Callable[[Result], Any]]] = {
    "lag-order": {"lag_order": _lag_measures, "lag_order_score": _lag_scores},
    "entropy-weights": {"entropy_weights": _weights},
    "feature-importance": {"feature_importance": _importances},
    "tuning": {"tuning": _searches},
}


def _panels(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, list[list[Axes]]]:
    # It warns where it finds no folder for its cache, and uses another one.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Use the resolution of the file: text widths depend on it.
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)  # no window, no global state
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="both", color="#e6e8eb", linewidth=0.6)
        axis.set_axisbelow(True)
    return figure, [list(row) for row in axes]


def _save(figure: Figure, path: Path) -> None:
    import matplotlib

    # No dates and no random ids: the same result gives the same file.
    metadata = {"Software": None} if path.suffix == ".png" else {"Date": None}
    with (
        matplotlib.rc_context({"svg.hashsalt": "realtime-mer", "svg.fonttype": "none"}),
        draft_of(path) as draft,
    ):
        figure.savefig(draft, format=path.suffix[1:], dpi=_DPI, metadata=metadata)
