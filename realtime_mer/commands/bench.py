"""`realtime-mer bench`: speed, measured on this machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mer_engine.backends.registry import AUTO, NAMES
from mer_engine.errors import ModelError

from realtime_mer.errors import UserError

if TYPE_CHECKING:
    from realtime_mer.bench.measurement import Measurement

HELP = "measure speed and latency"
DESCRIPTION = """\
Measures this machine with the shipped model and the built-in piece. Close other
programs first: they distort the figures.

latency   the cost of an update (resampler, front-end, engine, message; 50th,
          95th and 99th percentile on one core), memory that an update leaves
          behind, the delay to a websocket client, and the share of a core that
          a running server uses. About 90 seconds.
engine    milliseconds per window for batches of 1 to 256, with one and two
          threads and with each backend that runs here, and the share of the
          peak arithmetic rate. Up to two minutes.
streams   the number of live streams that one process serves in time, over
          websockets and inside the process. About 5 minutes.
viewers   the number of viewers of one stream that get each update in time, the
          cost of pulses, and the memory of a viewer that reads nothing. About 5
          minutes.
start-up  the time until the program listens, and until the first estimate.
          30 seconds.

Each figure is told on standard error as soon as it is measured. Ctrl-C or
SIGTERM ends the measurement and prints what there is so far (with --json,
"stopped" is true).
"""
EXAMPLES = """\
  realtime-mer bench latency
  realtime-mer bench streams --quick
  realtime-mer bench streams --backend onnxruntime-cuda
  realtime-mer bench latency --json > latency.json
"""
MIN_SECONDS = 12.0
DEFAULT_SECONDS = 30.0
# A short run has a short window, which fills in time.
QUICK_SECONDS, QUICK_LAG_ORDER = 3.0, 4
MEASUREMENTS = ("latency", "engine", "streams", "viewers", "start-up")
WITH_BACKEND = ("latency", "streams")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("measurement", choices=MEASUREMENTS, help="what to measure")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--quick", action="store_true",
        help="a few short measurements, under 20 seconds: shows that it works, not how fast",
    )  # fmt: skip
    parser.add_argument(
        "--seconds", type=float, metavar="S",
        help="latency: length of each of the two live runs, at least 12 (default: 30)",
    )  # fmt: skip
    parser.add_argument(
        "--backend", choices=NAMES, metavar="NAME",
        help=f"latency, streams: what runs the model: {', '.join(NAMES)} (default: auto)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    if args.seconds is not None and args.measurement != "latency":
        raise UserError(
            f"--seconds belongs to 'bench latency'; use --quick with 'bench {args.measurement}'"
        )
    if args.seconds is not None and not MIN_SECONDS <= args.seconds <= 3600.0:
        raise UserError(
            f"--seconds is {args.seconds:g}; it must be {MIN_SECONDS:g} or more, so that the "
            "window of 10 s fills, and at most 3600"
        )
    if args.backend is not None and args.measurement not in WITH_BACKEND:
        raise UserError(
            f"--backend belongs to 'bench latency' and 'bench streams'; 'bench {args.measurement}' "
            + ("measures every backend" if args.measurement == "engine" else "has no such choice")
        )
    args.backend = args.backend or AUTO
    from realtime_mer.bench.measurement import Measurement

    measure, report = _MEASUREMENTS[args.measurement]
    measurement = Measurement(say=_say)
    try:
        measure(args, measurement)
    except (KeyboardInterrupt, UserError, ModelError):
        measurement.result["stopped"] = True
        if "machine" in measurement.result:
            _print(measurement.result, report, as_json=args.json)
        raise
    _print(measurement.result, report, as_json=args.json)
    return 0


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _print(
    result: dict[str, Any], report: Callable[[dict[str, Any]], list[str]], *, as_json: bool
) -> None:
    from mer_engine.strict_json import to_json

    print(to_json(result, indent=2) if as_json else "\n".join(report(result)), flush=True)


def _latency(args: argparse.Namespace, measurement: Measurement) -> None:
    from realtime_mer.bench.latency import measure_latency

    short = args.quick and args.seconds is None
    measure_latency(
        seconds=args.seconds or (QUICK_SECONDS if short else DEFAULT_SECONDS),
        updates=30 if args.quick else 300,
        lag_order=QUICK_LAG_ORDER if short else None,
        backend=args.backend,
        measurement=measurement,
    )


def _engine(args: argparse.Namespace, measurement: Measurement) -> None:
    from realtime_mer.bench.engine import measure_engine

    if args.quick:
        measure_engine(batches=(1, 4), seconds=0.05, measurement=measurement)
    else:
        measure_engine(measurement=measurement)


def _streams(args: argparse.Namespace, measurement: Measurement) -> None:
    from realtime_mer.bench.streams import QUICK_LEVELS, measure_streams

    if args.quick:
        measure_streams(
            levels=QUICK_LEVELS, inside_levels=QUICK_LEVELS, seconds=2.0, settle_s=0.5,
            bisections=0, backend=args.backend, measurement=measurement,
        )  # fmt: skip
    else:
        measure_streams(backend=args.backend, measurement=measurement)


def _viewers(args: argparse.Namespace, measurement: Measurement) -> None:
    from realtime_mer.bench.viewers import QUICK_LEVELS, QUICK_PULSE_LEVELS, measure_viewers

    if args.quick:
        measure_viewers(
            levels=QUICK_LEVELS, pulse_levels=QUICK_PULSE_LEVELS, seconds=2.0, settle_s=0.2,
            stalled=10, past=50, hop_s=0.2, measurement=measurement,
        )  # fmt: skip
    else:
        measure_viewers(measurement=measurement)


def _start_up(args: argparse.Namespace, measurement: Measurement) -> None:
    from realtime_mer.bench.start_up import measure_start_up

    measure_start_up(runs=2 if args.quick else 15, measurement=measurement)


# The reports take what there is of a result: whoever stops a measurement sees the figures so far.


def _latency_report(result: dict[str, Any]) -> list[str]:
    names = {
        "resample_ms": "resampler, 1 s of audio",
        "frontend_ms": "front-end, 1 s of audio",
        "engine_ms": "engine, a full window",
        "publish_ms": "message to one viewer",
        "update_ms": "full update, 1 s of audio",
        "end_to_end_ms": "sample in to message out",
    }
    lines = _percentiles("ms", [(name, result.get(key)) for key, name in names.items()])
    lines.append("")
    if "real_time_factor" in result:
        lines.append(f"real-time factor             {result['real_time_factor']:.4f}")
    if "allocations" in result:
        growth = result["allocations"]["traced_bytes_per_update"]
        lines.append(f"memory left by an update     {growth:.0f} bytes")
    if "core_share" in result:
        lines += [
            f"share of one core            {result['core_share']:.2%}",
            f"resident memory              {result['rss_mb']:.0f} MB",
            f"start to first estimate      {result['first_estimate_s']:.2f} s",
            f"full window to tracking      {result['window_full_to_tracking_s']:.2f} s",
        ]
    return [*lines, f"backend                      {result['backend']}", *_about(result)]


def _engine_report(result: dict[str, Any]) -> list[str]:
    lines = [
        f"{'backend':<24}{'threads':>8}{'batch':>7}{'ms per window':>15}{'mean':>9}"
        f"{'of the peak':>13}"
    ]
    for row in result.get("rows", ()):
        share = "" if row["peak_share"] is None else f"{row['peak_share']:.0%}"
        threads = "" if row["threads"] is None else row["threads"]
        lines.append(
            f"{row['backend']:<24}{threads:>8}{row['batch']:>7}{row['ms_per_window']:>15.3f}"
            f"{row['mean_ms_per_window']:>9.3f}{share:>13}"
        )
    lines.append("")
    lines += [f"{what}: {why}" for what, why in result.get("not_measured", {}).items()]
    if "mflop_per_window" in result:
        mflop = result["mflop_per_window"]
        lines += [
            "operations per window        "
            + ("not counted: needs the onnx package" if mflop is None else f"{mflop:.1f} MFLOP"),
            f"peak of one thread           {result['peak_gflops_one_thread']:.0f} GFLOP/s",
        ]
    return [*lines, *_about(result)]


def _streams_report(result: dict[str, Any]) -> list[str]:
    from realtime_mer.bench.streams import most_in_time

    lines, most = [], []
    for key, name in (("websockets", "over websockets"), ("inside", "inside the process")):
        rows = result[key]
        lines += _percentiles(
            f"{name}, ms late",
            [(f"{row['streams']} streams, {row['backend']}", row["lateness_ms"]) for row in rows],
        )
        lines.append("")
        if rows:
            most.append(f"{most_in_time(rows)} {name}")
    return [
        *lines,
        f"maximum in time              {', '.join(most) or 'not measured'}",
        f"backend                      {result['backend']}",
        *_about(result),
    ]


def _viewers_report(result: dict[str, Any]) -> list[str]:
    from realtime_mer.bench.viewers import most_in_time

    levels = result["levels"]
    lines = [
        *_percentiles(
            "ms from the estimate", [(f"{r['viewers']} viewers", r["delay_ms"]) for r in levels]
        ),
        "",
        "maximum in time              "
        + (f"{most_in_time(levels)} viewers" if levels else "not measured"),
    ]
    if "stalled" in result:
        memory_kb = result["stalled"]["memory_per_viewer_kb"]
        lines.append(f"a viewer that reads nothing  {memory_kb:.0f} kB")
    lines += [
        f"{row['viewers']} viewers with pulses".ljust(29)
        + f"{row['ratio']:.2f} times the processor time without, "
        f"{row['messages_per_s']:g} messages a second"
        for row in result["pulses"]
    ]
    return [*lines, *_about(result)]


def _start_up_report(result: dict[str, Any]) -> list[str]:
    names = {
        "listening_ms": "start to listening",
        "first_estimate_ms": "start to an estimate",
        "least_ms": "numpy and onnxruntime alone",
        "python_ms": "Python alone",
    }
    return [
        *_percentiles("ms", [(name, result.get(key)) for key, name in names.items()]),
        *_about(result),
    ]


def _percentiles(title: str, rows: list[tuple[str, dict[str, float] | None]]) -> list[str]:
    """Return a table of percentiles, without the rows that were not measured."""
    lines = [f"{title:<32}{'p50':>9}{'p95':>9}{'p99':>9}"]
    for name, row in rows:
        if row is not None:
            lines.append(f"{name:<32}{row['p50']:>9.2f}{row['p95']:>9.2f}{row['p99']:>9.2f}")
    return lines


def _about(result: dict[str, Any]) -> list[str]:
    """Return lines on what was measured, and whether all of it was."""
    model, machine = result["model"], result["machine"]
    return [
        "",
        *(["stopped: the figures so far"] if result.get("stopped") else []),
        f"model {model['name']} ({model['sha256'][:12]}), realtime-mer {machine['realtime_mer']}, "
        f"onnxruntime {machine['onnxruntime']}",
        f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}, "
        f"{machine['date_utc']}",
    ]


_MEASUREMENTS: dict[
    str,
    tuple[
        Callable[[argparse.Namespace, Measurement], None],
        Callable[[dict[str, Any]], list[str]],
    ],
] = {
    "latency": (_latency, _latency_report),
    "engine": (_engine, _engine_report),
    "streams": (_streams, _streams_report),
    "viewers": (_viewers, _viewers_report),
    "start-up": (_start_up, _start_up_report),
}
