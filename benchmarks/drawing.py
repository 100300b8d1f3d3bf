"""Size, colours and background that all plots share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Distinct for colour-blind readers and in greyscale.
COLOURS = {"arousal": "#c1440e", "valence": "#2166ac"}
GREY = "#5b6470"
_DPI = 110


def figure_of(
    columns: int, *, height: float = 3.4, share_y: bool = False
) -> tuple[Figure, list[Axes]]:
    """Return an empty figure with panels side by side.

    Args:
        columns: number of panels.
        height: of the figure, in inches.
        share_y: whether all panels share one y axis.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)  # no window, no global state
    axes = [figure.add_subplot(1, columns, 1)]
    axes += [
        figure.add_subplot(1, columns, column, sharey=axes[0] if share_y else None)
        for column in range(2, columns + 1)
    ]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="both", color="#e6e8eb", linewidth=0.6)
        axis.set_axisbelow(True)
    return figure, axes


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=_DPI, metadata={"Software": None})
