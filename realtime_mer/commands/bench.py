"""`realtime-mer bench`: speed, measured on this machine."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from realtime_mer.errors import UserError

HELP = "measure speed and latency"
DESCRIPTION = """\
Measures on this machine, with the shipped model and the built-in music.

latency: what an update costs (engine, front-end, whole update: 50th, 95th and 99th
percentile on one core), how late an estimate arrives at a websocket, the share of a
core and the memory of a running server. Takes about a minute and a half; let the
machine rest meanwhile.
"""
EXAMPLES = """\
  realtime-mer bench latency
  realtime-mer bench latency --json > latency.json
"""
MIN_SECONDS = 12.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("question", choices=("latency",), help="what to measure")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--seconds", type=float, default=30.0, metavar="S",
        help="length of each of the two live runs, 12 or more (default: 30)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    from realtime_mer.benchmarks.latency import measure_latency

    if not MIN_SECONDS <= args.seconds <= 3600.0:
        raise UserError(
            f"--seconds is {args.seconds:g}; it must be {MIN_SECONDS:g} or more, so that the "
            "window of 10 s fills, and at most 3600"
        )
    if sys.stderr.isatty():
        print(f"measuring; this takes about {2 * args.seconds + 15:.0f} s …", file=sys.stderr)
    result = measure_latency(seconds=args.seconds)
    print(json.dumps(result, indent=2) if args.json else _report(result))
    return 0


def _report(result: dict[str, Any]) -> str:
    names = {
        "engine_ms": "engine, a full window",
        "frontend_ms": "front-end, 1 s of audio",
        "update_ms": "whole update, 1 s of audio",
        "end_to_end_ms": "sample in to message out",
    }
    lines = [f"{'ms':<28}{'p50':>9}{'p95':>9}{'p99':>9}"]
    for key, name in names.items():
        row = result[key]
        lines.append(f"{name:<28}{row['p50']:>9.2f}{row['p95']:>9.2f}{row['p99']:>9.2f}")
    machine = result["machine"]
    lines += [
        "",
        f"real-time factor             {result['real_time_factor']:.4f}",
        f"share of one core            {result['core_share']:.2%}",
        f"resident memory              {result['rss_mb']:.0f} MB",
        f"start to first estimate      {result['first_estimate_s']:.2f} s",
        f"full window to tracking      {result['window_full_to_tracking_s']:.2f} s",
        "",
        f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}, "
        f"{result['backend']} {machine['onnxruntime']}, {machine['date_utc']}",
    ]
    return "\n".join(lines)
