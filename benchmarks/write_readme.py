"""Writes the tables of benchmarks/README.md from the results beside it.

realtime-mer bench latency --json > benchmarks/results/latency.json
realtime-mer evaluate --data DIR --json > benchmarks/results/accuracy.json
python benchmarks/write_readme.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
GOALS = {
    "engine_ms": ("engine, one update of a full window", "p99 under 5"),
    "frontend_ms": ("front-end, one second of audio", ""),
    "update_ms": ("whole update, one second of audio", "p99 under 10"),
    "end_to_end_ms": ("sample in to websocket message out, less the block", "p95 under 30"),
}
INTRODUCTION = """\
# Benchmarks

Every figure comes from a command that anyone can run again; the machine stands beside it. This file
is written by `python benchmarks/write_readme.py` from `results/`.
"""


def main() -> None:
    parts = [INTRODUCTION]
    for name, section in (("latency", _latency), ("accuracy", _accuracy)):
        path = HERE / "results" / f"{name}.json"
        if path.exists():
            parts.append(section(json.loads(path.read_text(encoding="utf-8"))))
    (HERE / "README.md").write_text("\n".join(parts), encoding="utf-8")


def _latency(result: dict[str, Any]) -> str:
    lines = [
        "## Latency\n",
        "`realtime-mer bench latency --json`\n",
        "| milliseconds | p50 | p95 | p99 | goal |",
        "|---|---|---|---|---|",
    ]
    for key, (name, goal) in GOALS.items():
        row = result[key]
        lines.append(
            f"| {name} | {row['p50']:.2f} | {row['p95']:.2f} | {row['p99']:.2f} | {goal} |"
        )
    lines += [
        "",
        "| | | goal |",
        "|---|---|---|",
        f"| share of one core, one stream | {result['core_share']:.2%} | under 3 % |",
        f"| resident memory of the server | {result['rss_mb']:.0f} MB | under 200 MB |",
        f"| real-time factor | {result['real_time_factor']:.4f} | |",
        f"| start of the process to the first estimate (hop 1 s) | "
        f"{result['first_estimate_s']:.2f} s | |",
        f"| window full to the first estimate on it, start of the process included | "
        f"{result['window_full_to_tracking_s']:.2f} s | under 2 s |",
        "",
        f"Measured: {'; '.join(f'{k}: {v}' for k, v in result['method'].items())}.",
        "",
        _machine(result),
    ]
    return "\n".join(lines) + "\n"


def _accuracy(result: dict[str, Any]) -> str:
    lines = [
        "## Accuracy by song\n",
        f"`realtime-mer evaluate --data DIR --json`: split {result['split']}, "
        f"{result['songs']} songs that the model never heard.\n",
        "| | R2 | RMSE | CCC | r |",
        "|---|---|---|---|---|",
    ]
    for kind, unit in (("dynamic", "[-1, 1]"), ("static", "1 to 9")):
        for dimension in ("arousal", "valence"):
            row = result[kind][dimension]
            figures = " | ".join(f"{row[name]:.3f}" for name in ("r2", "rmse", "ccc", "r"))
            lines.append(f"| {kind} {dimension} (scale {unit}) | {figures} |")
    coverage = result["coverage"]
    lines += [
        "",
        f"Coverage of the 80 % interval: arousal {coverage['arousal']:.1%}, "
        f"valence {coverage['valence']:.1%}.",
        "",
        _machine(result),
    ]
    return "\n".join(lines) + "\n"


def _machine(result: dict[str, Any]) -> str:
    machine = result.get("machine", {})
    return "Machine: " + ", ".join(f"{name} {value}" for name, value in machine.items()) + "."


if __name__ == "__main__":
    main()
