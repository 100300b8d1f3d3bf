"""The tables of what a person's map is worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markdown import table

Result = Mapping[str, Any]


def gains(result: Result) -> str:
    """Return errors and coverage before and after, by the number of taps."""
    groups = (
        ("simulated, film music", "film", "taps"),
        ("simulated, DEAM", "deam", "taps"),
        ("real, film music", "real", "other_excerpts"),
    )
    rows = []
    for title, key, count in groups:
        for row in result[key]:
            unit = "taps" if count == "taps" else "other excerpts"
            gain = row["distance_model"] - row["distance_map"]
            rows.append([
                title,
                f"{row[count]} {unit}",
                str(row["listeners"]),
                f"{row['distance_model']:.3f}",
                f"{row['distance_map']:.3f}",
                f"{gain:+.3f} ± {row['gain_error']:.3f}",
                f"{row['better_for']:.0%}",
                f"{row['worth_using']:.0%}",
                f"{row['distance_used']:.3f}",
                f"{row['covered_model']:.0%}",
                f"{row['covered_map']:.0%}",
            ])  # fmt: skip
    return table(
        "listeners | made from | number | distance, model | map | gain | better for | "
        "worth using | where worth using | in interval, model | map",
        rows,
    )


def priors(result: Result) -> str:
    """Return how listeners differ."""
    rows = [
        [axis, *(f"{prior[name]:.2f}" for name in ("shift", "scale", "piece", "tap", "widen"))]
        for axis, prior in result["priors"].items()
    ]
    return table("axis | shift | scale | piece | tap | widen", rows)


def delays(result: Result) -> str:
    """Return the error by the delay between estimate and mark."""
    return table(
        "estimate of so long before the mark | error within an excerpt",
        [[f"{row['delay_s']:g} s", f"{row['rmse']:.3f}"] for row in result["delay"]],
    )


TABLES = {
    "personal map": ("personal", gains),
    "personal priors": ("personal", priors),
    "personal delay": ("personal", delays),
}
