"""Attacks, soak and random input as Markdown: one function per table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from markdown import bullets, paragraph, table

Result = Any  # the return type of json.loads
_MOST_ENDINGS = 3
_GROWTH = {"rss_mb": "MB/h", "handles": "files/h", "threads": "threads/h"}


def attacks(result: Result) -> str:
    rows = []
    for row in result["rows"]:
        refused = row["newcomers_refused"]
        newcomer = f"{refused} of {row['newcomers']} not" if refused else _s(row["newcomer_max_s"])
        rows.append(
            [
                row["attack"], _s(row["p95_s"]), _s(row["max_s"]), _s(row["same_address_max_s"]),
                newcomer, str(row["log_lines"]), f"{row['rss_growth_mb']:+.0f}",
                _endings(row["endings"], _MOST_ENDINGS),
            ]
        )  # fmt: skip
    parts = [
        table("attack | p95 | max | same | new | log | MB | closed with", rows),
        paragraph(
            f"{result['seconds']:g} s each. p95 and max: seconds between two estimates (hop "
            f"{result['hop_s']:g} s) at a viewer of another address than the attacker's; same: max "
            "at a viewer of the attacker's address; new: the longest time until a new viewer's "
            "first message; log: lines of the server; closed with: close codes and HTTP statuses "
            "that the attacker got (open: still open at the end)."
        ),
    ]
    missed = [f"{row['attack']}: {text}" for row in result["rows"] for text in row["missed"]]
    if missed:
        parts += ["Goals missed:", bullets(missed)]
    return "\n\n".join(parts)


def soak(result: Result) -> str:
    rows = [
        [
            name, f"{run['hours']:.2f} h", f"{run['estimates']:,}", str(run["missed"]),
            *(_slope(run["growth_per_hour"][key], run["hours"]) for key in _GROWTH),
        ]
        for name, run in result["servers"].items()
    ]  # fmt: skip
    visits = sum(result["visits"].values())
    parts = [
        table(f"input | stream | estimates | missed | {' | '.join(_GROWTH.values())}", rows),
        paragraph(
            f"{visits:,} visits of guests; the demo at pace {result['pace']:g}. Growth: linear fit "
            "over stream time, without the first quarter; only of runs of at least half an hour."
        ),
    ]
    if result["violations"]:
        parts += ["Violations:", bullets(result["violations"])]
    return "\n\n".join(parts)


def soak_faults(result: Result) -> str:
    rows = [
        [name, str(fault["times"]), _s(fault["longest_s"])]
        for name, fault in result["faults"].items()
    ]
    parts = [table("fault | times | right again, or told (longest)", rows)]
    if result["left_out"]:
        parts.append(
            bullets([f"{name}: left out, {why}" for name, why in result["left_out"].items()])
        )
    return "\n\n".join(parts)


def fuzz(result: Result) -> str:
    calls = ", ".join(f"`{name}` {count:,}" for name, count in result["calls"].items())
    faults = len(result["faults"])
    parts = [
        paragraph(
            f"{result['messages']:,} messages in {result['seconds']:.0f} s, {faults} faults. "
            f"Functions: {calls}. Connections ended with "
            f"{_endings(result['endings'], len(result['endings']))}."
        )
    ]
    if result["faults"]:
        parts.append(bullets(result["faults"]))
    return "\n\n".join(parts)


def replicas(result: Result) -> str:
    rows = [
        [row["signal"], name, str(row[kind]["count"]), _s(row[kind]["p50_s"]),
         _s(row[kind]["max_s"]), goal]
        for row in result["rows"]
        for kind, name, goal in (
            ("viewers", "viewers", "up to 3 s"),
            ("senders", "senders", "up to 3 s"),
            ("before", "both, before the stop", ""),
        )
    ]  # fmt: skip
    missing = {row["signal"]: row["missing"] for row in result["rows"]}
    ended_s = max(row["ended_max_s"] for row in result["rows"])
    return "\n\n".join(
        [
            table("stopped by | clients | measured | p50 | max | goal", rows),
            paragraph(
                f"{result['viewers']} viewers and {result['senders']} clients that send music; "
                f"{result['rows'][0]['restarts']} stops of each kind. The longest time between two "
                f"estimates (hop {result['hop_s']:g} s, which is part of it) of the clients that "
                "had to move, and of the same clients before. Estimates that are missing at the "
                "viewers: "
                + ", ".join(f"{count} after {name}" for name, count in missing.items())
                + f". The stopped server had ended after {ended_s:.1f} s at most. Load average "
                f"{result['load_average'][0]:g}, niceness {result['niceness']}."
            ),
        ]
    )


def _s(seconds: float) -> str:
    return f"{seconds:.2f} s"


def _slope(slope: float | None, hours: float) -> str:
    return "" if slope is None or hours < 0.5 else f"{slope:+.1f}"


def _endings(endings: dict[str, int], most: int) -> str:
    ordered = sorted(endings.items(), key=lambda ending: -ending[1])
    return ", ".join(f"{how} ×{count:,}" for how, count in ordered[:most])


# For each marker: the result file (benchmarks/results/NAME.json) and the function for the table.
TABLES: dict[str, tuple[str, Callable[[Result], str | None]]] = {
    "attacks": ("attack", attacks),
    "soak": ("soak", soak),
    "soak faults": ("soak", soak_faults),
    "fuzz": ("fuzz", fuzz),
    "replicas": ("replicas", replicas),
}
