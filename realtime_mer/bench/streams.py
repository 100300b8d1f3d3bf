"""Measures how many live streams one process serves in time, over websockets and in-process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from mer_engine import load_engine

from realtime_mer.bench import stream_load
from realtime_mer.bench.load_process import load_process, wait_for
from realtime_mer.bench.machine import describe_machine
from realtime_mer.bench.server_process import serving

GOAL_STREAMS, GOAL_INSIDE, GOAL_MS = 300, 1000, 250.0
LEVELS = (25, 50, 100, 200, 300, 400, 500)
INSIDE_LEVELS = (50, 100, 300, 600, 1000, 1400)
QUICK_LEVELS = (2,)
# Further levels between the last that passed and the first that failed.
BISECTIONS = 2
SETTLE_S = 4.0


def measure_streams(
    *,
    levels: Sequence[int] = LEVELS,
    inside_levels: Sequence[int] = INSIDE_LEVELS,
    seconds: float = 8.0,
    settle_s: float = SETTLE_S,
    bisections: int = BISECTIONS,
) -> dict[str, Any]:
    """Return all figures of `realtime-mer bench streams` as one JSON-ready object.

    Args:
        levels: numbers of streams over websockets to try, ascending.
        inside_levels: numbers of streams inside the process to try, ascending.
        seconds: measuring time of each level.
        settle_s: seconds before the measurement of each level.
        bisections: further levels between the last that passed and the first that failed.

    Raises:
        UserError: the server did not start, or no estimate arrived.
    """
    info = load_engine().info

    def over_websockets(count: int) -> dict[str, Any]:
        return _over_websockets(count, settle_s, seconds)

    def inside(count: int) -> dict[str, Any]:
        return _inside(count, settle_s, seconds)

    rows = _search(over_websockets, levels, bisections)
    inside_rows = _search(inside, inside_levels, bisections)
    return {
        "websockets": rows,
        "most_websocket_streams": _most(rows),
        "inside": inside_rows,
        "most_inside_streams": _most(inside_rows),
        "goal": {"websockets": GOAL_STREAMS, "inside": GOAL_INSIDE, "p99_ms": GOAL_MS},
        "method": {
            "websockets": "`serve --input browser`; each stream as a browser sends it: "
            f"{stream_load.BROWSER_RATE_HZ} Hz float32 mono in frames of "
            f"{stream_load.BROWSER_BLOCK} samples, in real time, with random phases, from raw "
            "sockets of another process on the same machine, whose processor time is given "
            "separately",
            "inside": f"blocks of {stream_load.INSIDE_BLOCK} samples at "
            f"{stream_load.INSIDE_RATE_HZ} Hz, pushed to a SessionPool by a thread of the same "
            "process, whose processor time is given separately",
            "lateness": "from sending the block with an estimate's last sample until the estimate "
            f"arrives; hop {stream_load.HOP_S:g} s, {seconds:g} s per level after {settle_s:g} s",
            "in time": f"p99 under {GOAL_MS:g} ms, every estimate arrived, no audio was dropped, "
            "no stream was slowed down",
        },
        "model": {"name": info.name, "sha256": info.sha256},
        "machine": describe_machine(),
    }


def _most(rows: Sequence[dict[str, Any]]) -> int:
    return max((row["streams"] for row in rows if row["in_time"]), default=0)


def _search(
    measure: Callable[[int], dict[str, Any]], levels: Sequence[int], bisections: int
) -> list[dict[str, Any]]:
    """Measure levels until one fails, then bisect; return the rows in ascending order."""
    rows: list[dict[str, Any]] = []

    def passes(count: int) -> bool:
        rows.append(measure(count))
        return bool(rows[-1]["in_time"])

    low, high = 0, None
    for level in levels:
        if not passes(level):
            high = level
            break
        low = level
    for _ in range(bisections):
        if high is None or high - low < max(2, low // 20):
            break
        middle = (low + high) // 2
        low, high = (middle, high) if passes(middle) else (low, middle)
    return sorted(rows, key=lambda row: int(row["streams"]))


def in_time(report: dict[str, Any]) -> bool:
    """Return whether all estimates were in time, nothing was lost and no stream slowed down."""
    return not (
        report["missed"]
        or report["losses"]
        or report["notices"]
        or report.get("not_sent_samples")
        or report.get("closed")
        or report["lateness_ms"]["p99"] >= GOAL_MS
    )


def _over_websockets(count: int, settle_s: float, seconds: float) -> dict[str, Any]:
    limits = ("--max-sessions", str(count), "--max-viewers", str(count + 1))
    with serving("--input", "browser", "--quiet", *limits) as server:
        rss_before_mb = server.rss_mb
        with load_process(
            "stream_load", streams=count, settle=settle_s, seconds=seconds, port=server.port
        ) as load:
            wait_for(load, "connected")
            cpu_before_s, started = server.cpu_s, time.monotonic()
            wait_for(load, "sent")
            share = (server.cpu_s - cpu_before_s) / (time.monotonic() - started)
            memory_mb = server.rss_mb - rss_before_mb
            report = wait_for(load, "report")
    return {
        "streams": count,
        "in_time": in_time(report),
        **report,
        "core_share": round(share, 4),
        "memory_per_stream_kb": round(memory_mb * 1e3 / count, 1),
    }


def _inside(count: int, settle_s: float, seconds: float) -> dict[str, Any]:
    with load_process("stream_load", streams=count, settle=settle_s, seconds=seconds) as load:
        report = wait_for(load, "report")
    return {"streams": count, "in_time": in_time(report), **report}
