"""`realtime-mer bench`: speed, measured on this machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from realtime_mer.errors import UserError

HELP = "measure speed and latency"
DESCRIPTION = """\
Measures this machine with the shipped model and the built-in piece. Close other
programs first: they distort the figures.

latency   the cost of an update (resampler, front-end, engine, message; 50th,
          95th and 99th percentile on one core), memory that an update leaves
          behind, the delay to a websocket client, and the share of a core that
          a running server uses. About 90 seconds.
engine    milliseconds per window for batches of 1 to 256 with one and two
          threads, and the share of the peak arithmetic rate. 30 seconds.
streams   the number of live streams that one process serves in time, over
          websockets and inside the process. About 4 minutes.
viewers   the number of viewers of one stream that get each update in time, and
          the memory of a viewer that reads nothing. About 3 minutes.
start-up  the time until the program listens, and until the first estimate.
          30 seconds.
"""
EXAMPLES = """\
  realtime-mer bench latency
  realtime-mer bench streams --quick
  realtime-mer bench latency --json > latency.json
"""
MIN_SECONDS = 12.0
DEFAULT_SECONDS, QUICK_SECONDS = 30.0, 12.0
MEASUREMENTS = ("latency", "engine", "streams", "viewers", "start-up")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("measurement", choices=MEASUREMENTS, help="what to measure")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--quick", action="store_true",
        help="a few short measurements: shows that it works, not how fast",
    )  # fmt: skip
    parser.add_argument(
        "--seconds", type=float, metavar="S",
        help="latency: length of each of the two live runs, at least 12 (default: 30)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    if args.seconds is not None and args.measurement != "latency":
        raise UserError(
            f"--seconds belongs to 'bench latency'; use --quick with 'bench {args.measurement}'"
        )
    if args.seconds is None:
        args.seconds = QUICK_SECONDS if args.quick else DEFAULT_SECONDS
    if not MIN_SECONDS <= args.seconds <= 3600.0:
        raise UserError(
            f"--seconds is {args.seconds:g}; it must be {MIN_SECONDS:g} or more, so that the "
            "window of 10 s fills, and at most 3600"
        )
    from mer_engine.strict_json import to_json

    if sys.stderr.isatty():
        print("measuring ...", file=sys.stderr)
    measure, report = _MEASUREMENTS[args.measurement]
    result = measure(args)
    print(to_json(result, indent=2) if args.json else "\n".join(report(result)))
    return 0


def _latency(args: argparse.Namespace) -> dict[str, Any]:
    from realtime_mer.bench.latency import measure_latency

    return measure_latency(seconds=args.seconds, updates=30 if args.quick else 300)


def _engine(args: argparse.Namespace) -> dict[str, Any]:
    from realtime_mer.bench.engine import measure_engine

    return measure_engine(batches=(1, 4), seconds=0.05) if args.quick else measure_engine()


def _streams(args: argparse.Namespace) -> dict[str, Any]:
    from realtime_mer.bench.streams import QUICK_LEVELS, measure_streams

    if not args.quick:
        return measure_streams()
    return measure_streams(
        levels=QUICK_LEVELS, inside_levels=QUICK_LEVELS, seconds=2.0, settle_s=0.5, bisections=0
    )


def _viewers(args: argparse.Namespace) -> dict[str, Any]:
    from realtime_mer.bench.viewers import QUICK_LEVELS, QUICK_PULSE_LEVELS, measure_viewers

    if not args.quick:
        return measure_viewers()
    return measure_viewers(
        levels=QUICK_LEVELS,
        pulse_levels=QUICK_PULSE_LEVELS,
        seconds=3.0,
        settle_s=0.5,
        stalled=10,
        past=50,
    )


def _start_up(args: argparse.Namespace) -> dict[str, Any]:
    from realtime_mer.bench.start_up import measure_start_up

    return measure_start_up(runs=2 if args.quick else 15)


def _latency_report(result: dict[str, Any]) -> list[str]:
    names = {
        "resample_ms": "resampler, 1 s of audio",
        "frontend_ms": "front-end, 1 s of audio",
        "engine_ms": "engine, a full window",
        "publish_ms": "message to one viewer",
        "update_ms": "full update, 1 s of audio",
        "end_to_end_ms": "sample in to message out",
    }
    growth = result["allocations"]["traced_bytes_per_update"]
    return [
        *_percentiles("ms", [(name, result[key]) for key, name in names.items()]),
        "",
        f"real-time factor             {result['real_time_factor']:.4f}",
        f"share of one core            {result['core_share']:.2%}",
        f"resident memory              {result['rss_mb']:.0f} MB",
        f"memory left by an update     {growth:.0f} bytes",
        f"start to first estimate      {result['first_estimate_s']:.2f} s",
        f"full window to tracking      {result['window_full_to_tracking_s']:.2f} s",
        "",
        f"{_machine(result)}, {result['backend']} {result['machine']['onnxruntime']}",
    ]


def _engine_report(result: dict[str, Any]) -> list[str]:
    lines = [f"{'backend':<16}{'threads':>8}{'batch':>7}{'ms per window':>15}{'of the peak':>13}"]
    for row in result["rows"]:
        share = "" if row["peak_share"] is None else f"{row['peak_share']:.0%}"
        lines.append(
            f"{row['backend']:<16}{row['threads']:>8}{row['batch']:>7}"
            f"{row['ms_per_window']:>15.3f}{share:>13}"
        )
    mflop = result["mflop_per_window"]
    return [
        *lines,
        "",
        "operations per window        "
        + ("not counted: needs the onnx package" if mflop is None else f"{mflop:.1f} MFLOP"),
        f"peak of one thread           {result['peak_gflops_one_thread']:.0f} GFLOP/s",
        "",
        _machine(result),
    ]


def _streams_report(result: dict[str, Any]) -> list[str]:
    lines = []
    for key, name in (("websockets", "over websockets"), ("inside", "inside the process")):
        lines += _percentiles(
            f"{name}, ms late",
            [(f"{row['streams']} streams", row["lateness_ms"]) for row in result[key]],
        )
        lines.append("")
    return [
        *lines,
        f"maximum in time              {result['most_websocket_streams']} over websockets, "
        f"{result['most_inside_streams']} inside the process",
        "",
        _machine(result),
    ]


def _viewers_report(result: dict[str, Any]) -> list[str]:
    stalled = result["stalled"]
    return [
        *_percentiles(
            "ms from the estimate",
            [(f"{row['viewers']} viewers", row["delay_ms"]) for row in result["levels"]],
        ),
        "",
        f"maximum in time              {result['most_viewers_in_time']} viewers",
        f"a viewer that reads nothing  {stalled['memory_per_viewer_kb']:.0f} kB",
        *(
            f"{row['viewers']} viewers with pulses".ljust(29)
            + f"{row['ratio']:.2f} times the processor time without, "
            f"{row['messages_per_s']:g} messages a second"
            for row in result["pulses"]
        ),
        "",
        _machine(result),
    ]


def _start_up_report(result: dict[str, Any]) -> list[str]:
    names = {
        "listening_ms": "start to listening",
        "first_estimate_ms": "start to an estimate",
        "least_ms": "numpy and onnxruntime alone",
        "python_ms": "Python alone",
    }
    return [
        *_percentiles("ms", [(name, result[key]) for key, name in names.items()]),
        "",
        _machine(result),
    ]


def _percentiles(title: str, rows: list[tuple[str, dict[str, float]]]) -> list[str]:
    lines = [f"{title:<28}{'p50':>9}{'p95':>9}{'p99':>9}"]
    for name, row in rows:
        lines.append(f"{name:<28}{row['p50']:>9.2f}{row['p95']:>9.2f}{row['p99']:>9.2f}")
    return lines


def _machine(result: dict[str, Any]) -> str:
    machine = result["machine"]
    return (
        f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}, "
        f"{machine['date_utc']}"
    )


_MEASUREMENTS: dict[
    str,
    tuple[Callable[[argparse.Namespace], dict[str, Any]], Callable[[dict[str, Any]], list[str]]],
] = {
    "latency": (_latency, _latency_report),
    "engine": (_engine, _engine_report),
    "streams": (_streams, _streams_report),
    "viewers": (_viewers, _viewers_report),
    "start-up": (_start_up, _start_up_report),
}
