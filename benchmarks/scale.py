"""Calculates cores, cost and the first limit of many streams from the measured figures.

python benchmarks/scale.py [--price 0.04] [--cores 8] [--memory 16] [--network 1]

All figures must be of one model. Those of a card (`on_card.sh`) are used if they are of the same.
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
# A browser's stream: float32, mono, with the headers of websocket, TCP and IP on each frame.
BYTES_PER_S = BROWSER_RATE_HZ * 4 * (1 + 60 / 4096)
OPEN_FILES = 65_536
# Memory of a process without streams, in GB.
BASE_GB = 0.2


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--price", type=float, default=0.04, help="price of a core-hour (default: 0.04)"
    )
    parser.add_argument("--cores", type=int, default=8, help="cores of the machine (default: 8)")
    parser.add_argument("--memory", type=float, default=16.0, help="its memory in GB (default: 16)")
    parser.add_argument(
        "--network", type=float, default=1.0, help="its network in Gbit/s (default: 1)"
    )
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="folder of the measured results"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="default: scale.json in that folder"
    )
    args = parser.parse_args(arguments)
    for name in ("price", "cores", "memory", "network"):
        if getattr(args, name) <= 0:
            parser.error(f"--{name} must be above 0")
    missing = [name for name in NEEDED if not (args.results / f"{name}.json").is_file()]
    if missing:
        print(
            f"{', '.join(missing)}: not measured yet; run 'realtime-mer bench NAME --json'",
            file=sys.stderr,
        )
        return 2
    parts = {
        name: json.loads((args.results / f"{name}.json").read_text(encoding="utf-8"))
        for name in NEEDED
    }
    if mixed := _different_models(parts):
        print(mixed, file=sys.stderr)
        return 2
    card_file = args.results / "card.json"
    if card_file.is_file():
        parts["card"] = json.loads(card_file.read_text(encoding="utf-8"))
    result = scale(
        parts, price=args.price, cores=args.cores, memory_gb=args.memory, network_gbit=args.network
    )
    out = args.out or args.results / "scale.json"
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"first limit: {result['first_limit']}")
    return 0


def _different_models(parts: dict[str, Any]) -> str:
    """Return a sentence that names files and models, if these are not all of one; else ""."""
    hashes = {name: part["model"]["sha256"] for name, part in parts.items()}
    if len(set(hashes.values())) == 1:
        return ""
    listed = ", ".join(f"{name}.json of {sha256[:12]}" for name, sha256 in hashes.items())
    return f"the results are of different models ({listed}); measure the older ones again"


def scale(
    parts: dict[str, Any], *, price: float, cores: int, memory_gb: float, network_gbit: float
) -> dict[str, Any]:
    """Calculate streams per core, cost and limits.

    Args:
        parts: measured results by name; "card" may be missing, and is left out where its model is
            another one.
        price: of a core-hour.
        cores, memory_gb, network_gbit: of the assumed machine.

    Returns:
        The contents of scale.json.
    """
    engine, streams = parts["engine"], parts["streams"]
    by_websocket = _busiest(streams["websockets"])
    inside = _busiest(streams["inside"])
    one_core = [
        row
        for row in engine["rows"]
        if row["threads"] == 1 and row["backend"].startswith("onnxruntime")
    ]
    best = min(one_core, key=lambda row: float(row["ms_per_window"]))
    configurations = [
        _configuration(
            "a single stream",
            1.0 / parts["latency"]["real_time_factor"],
            "mean time of an update",
            price,
        ),
        _configuration(
            "streams over websockets",
            by_websocket["streams"] / by_websocket["core_share"],
            f"processor time of {by_websocket['streams']} streams",
            price,
        ),
        _configuration(
            "streams in one process",
            inside["streams"] / inside["core_share"],
            f"processor time of {inside['streams']} streams",
            price,
        ),
        _configuration(
            "the engine alone, in batches",
            1e3 / best["ms_per_window"],
            f"batch {best['batch']}, one thread",
            price,
        ),
    ]
    card = parts.get("card")
    if card is not None and card.get("model") != engine["model"]:
        card = None
    if card is not None:
        configurations[2]["streams_per_card"] = _streams_of(card)
        configurations[3]["streams_per_card"] = _windows_of(card)
    memory_kb = by_websocket["memory_per_stream_kb"]
    bit_per_s = BYTES_PER_S * 8
    limits = [
        _limit(
            "processor",
            f"{cores} cores, one process per two cores",
            f"{by_websocket['core_share'] / by_websocket['streams']:.2%} of a core",
            cores * configurations[1]["streams_per_core"],
        ),
        _limit(
            "memory",
            f"{memory_gb:g} GB",
            f"{memory_kb / 1e3:.1f} MB",
            (memory_gb - BASE_GB * cores / 2) * 1e6 / memory_kb,
        ),
        _limit(
            "incoming network",
            f"{network_gbit:g} Gbit/s",
            f"{bit_per_s / 1e6:.2f} Mbit/s",
            network_gbit * 1e9 / bit_per_s,
        ),
        _limit("open files", f"{OPEN_FILES}", "1", OPEN_FILES),
        _limit(
            "one process",
            "one interpreter",
            "its share",
            streams["most_websocket_streams"] * cores / 2,
        ),
    ]
    return {
        "configurations": configurations,
        "limits": limits,
        "first_limit": min(limits, key=lambda row: float(row["streams"]))["resource"],
        "card": None if card is None else card["card"]["name"],
        "measured_with": {
            name: parts[name]["model"]["sha256"]
            for name in (*NEEDED, *(["card"] if card is not None else []))
        },
        "assumed_machine": {
            "cores": cores,
            "memory_gb": memory_gb,
            "network_gbit": network_gbit,
            "price_per_core_hour": price,
        },
        "model": engine["model"],
        "machine": engine["machine"],
    }


def _busiest(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the level with the most streams in time; the lowest level if none was in time."""
    passed = [row for row in rows if row["in_time"]] or rows[:1]
    return max(passed, key=lambda row: int(row["streams"]))


def _streams_of(card: dict[str, Any]) -> int | None:
    """Return the most streams in time in one process with a card; None if not measured."""
    rows = [
        row
        for part in card["parts"].get("streams", {}).values()
        for row in part["rows"]
        if row["in_time"]
    ]
    return max((row["streams"] for row in rows), default=None)


def _windows_of(card: dict[str, Any]) -> float | None:
    """Return the windows a second of the fastest batch on a card; None if not measured."""
    rows = [
        row
        for name, part in card["parts"].get("batches", {}).items()
        if name != "onnxruntime"  # the processor
        for row in part["rows"]
    ]
    fastest = min((row["ms_per_window"] for row in rows), default=None)
    return None if fastest is None else round(1e3 / fastest, 1)


def _configuration(
    name: str, streams_per_core: float, based_on: str, price: float
) -> dict[str, Any]:
    return {
        "configuration": name,
        "streams_per_core": round(streams_per_core, 1),
        "cost_per_1000_stream_hours": round(1000 / streams_per_core * price, 4),
        "based_on": based_on,
    }


def _limit(resource: str, capacity: str, per_stream: str, streams: float) -> dict[str, Any]:
    return {
        "resource": resource,
        "capacity": capacity,
        "per_stream": per_stream,
        "streams": round(streams, 1),
    }


if __name__ == "__main__":
    raise SystemExit(main())
