"""What many streams take, on paper, from what was measured: cores, cost, and what breaks first.

python benchmarks/scale.py [--price 0.04] [--cores 8] [--memory 16] [--network 1]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from realtime_mer.bench.stream_load import BROWSER_RATE_HZ

RESULTS = Path(__file__).parent / "results"
NEEDED = ("latency", "engine", "streams", "viewers")
# Of a browser's stream: float 32, mono, with a websocket's, TCP's and IP's headers on each frame.
BYTES_PER_S = BROWSER_RATE_HZ * 4 * (1 + 60 / 4096)
OPEN_FILES = 65_536
# What a process needs before any stream, in GB.
BASE_GB = 0.2


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--price", type=float, default=0.04, help="of a core-hour (default: 0.04)")
    parser.add_argument("--cores", type=int, default=8, help="of the machine (default: 8)")
    parser.add_argument("--memory", type=float, default=16.0, help="its GB (default: 16)")
    parser.add_argument("--network", type=float, default=1.0, help="its Gbit/s (default: 1)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the parts are")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: scale.json among them")
    args = parser.parse_args(arguments)
    for name in ("price", "cores", "memory", "network"):
        if getattr(args, name) <= 0:
            parser.error(f"--{name} must be above 0")
    missing = [name for name in NEEDED if not (args.results / f"{name}.json").is_file()]
    if missing:
        print(
            f"{', '.join(missing)}: not measured yet; 'realtime-mer bench NAME --json' does it",
            file=sys.stderr,
        )
        return 2
    parts = {
        name: json.loads((args.results / f"{name}.json").read_text(encoding="utf-8"))
        for name in NEEDED
    }
    result = scale(
        parts, price=args.price, cores=args.cores, memory_gb=args.memory, network_gbit=args.network
    )
    out = args.out or args.results / "scale.json"
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"breaks first: {result['breaks_first']}")
    return 0


def scale(
    parts: dict[str, Any], *, price: float, cores: int, memory_gb: float, network_gbit: float
) -> dict[str, Any]:
    """The whole reckoning.

    Args:
        parts: results by name.
        price: of a core-hour.
        cores, memory_gb, network_gbit: of the machine that is asked about.
    """
    engine, streams = parts["engine"], parts["streams"]
    by_websocket = _busiest(streams["websockets"])
    inside = _busiest(streams["inside"])
    one_core = [
        row for row in engine["rows"] if row["threads"] == 1 and row["backend"] == "onnxruntime"
    ]
    best = min(one_core, key=lambda row: float(row["ms_per_window"]))
    ways = [
        _way(
            "one stream by itself",
            1.0 / parts["latency"]["real_time_factor"],
            "the mean time of an update",
            price,
        ),
        _way(
            "over websockets, many in one process",
            by_websocket["streams"] / by_websocket["core_share"],
            f"processor time of {by_websocket['streams']} streams",
            price,
        ),
        _way(
            "decoded blocks, many in one process",
            inside["streams"] / inside["core_share"],
            f"processor time of {inside['streams']} streams",
            price,
        ),
        _way(
            "the engine alone, in batches",
            1e3 / best["ms_per_window"],
            f"batch {best['batch']}, one thread",
            price,
        ),
    ]
    memory_kb = by_websocket["memory_per_stream_kb"]
    bit_per_s = BYTES_PER_S * 8
    limits = [
        _limit(
            "processor",
            f"{cores} cores, a process on each two",
            f"{by_websocket['core_share'] / by_websocket['streams']:.2%} of one",
            cores * ways[1]["streams_per_core"],
        ),
        _limit(
            "memory",
            f"{memory_gb:g} GB",
            f"{memory_kb / 1e3:.1f} MB",
            (memory_gb - BASE_GB * cores / 2) * 1e6 / memory_kb,
        ),
        _limit(
            "network, inwards",
            f"{network_gbit:g} Gbit/s",
            f"{bit_per_s / 1e6:.2f} Mbit/s",
            network_gbit * 1e9 / bit_per_s,
        ),
        _limit("open sockets", f"{OPEN_FILES} files", "1", OPEN_FILES),
        _limit(
            "one process",
            "one interpreter",
            "its share of it",
            streams["most_websocket_streams"] * cores / 2,
        ),
    ]
    return {
        "ways": ways,
        "limits": limits,
        "breaks_first": min(limits, key=lambda row: float(row["streams"]))["what"],
        "gpu": [
            {
                "backend": row["backend"],
                "batch": row["batch"],
                "windows_per_s": round(1e3 / row["ms_per_window"], 1),
            }
            for row in engine["rows"]
            if row.get("device") == "gpu"
        ],
        "machine_asked_for": {
            "cores": cores,
            "memory_gb": memory_gb,
            "network_gbit": network_gbit,
            "price_per_core_hour": price,
        },
        "model": engine["model"],
        "machine": engine["machine"],
    }


def _busiest(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The level with the most streams that was in time; the least of all where none was."""
    held = [row for row in rows if row["in_time"]] or rows[:1]
    return max(held, key=lambda row: int(row["streams"]))


def _way(way: str, streams_per_core: float, rests_on: str, price: float) -> dict[str, Any]:
    return {
        "way": way,
        "streams_per_core": round(streams_per_core, 1),
        "cost_per_1000_stream_hours": round(1000 / streams_per_core * price, 4),
        "rests_on": rests_on,
    }


def _limit(what: str, has: str, takes: str, streams: float) -> dict[str, Any]:
    return {"what": what, "has": has, "a_stream_takes": takes, "streams": round(streams, 1)}


if __name__ == "__main__":
    raise SystemExit(main())
