"""Measures how many live streams one process serves in time, over websockets and in-process."""

from __future__ import annotations

import time
from bisect import insort
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mer_engine import load_engine
from mer_engine.backends.registry import AUTO

from realtime_mer.bench import stream_load
from realtime_mer.bench.load_process import load_process, wait_for
from realtime_mer.bench.measurement import Measurement
from realtime_mer.bench.server_process import serving

GOAL_STREAMS, GOAL_INSIDE, GOAL_MS = 400, 1000, 250.0
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
    backend: str = AUTO,
    measurement: Measurement | None = None,
) -> dict[str, Any]:
    """Return all figures of `realtime-mer bench streams` as one JSON-ready object.

    Args:
        levels: numbers of streams over websockets to try, ascending; may be empty.
        inside_levels: numbers of streams inside the process to try, ascending.
        seconds: measuring time of each level.
        settle_s: seconds before the measurement of each level.
        bisections: further levels between the last that passed and the first that failed.
        backend: one of `mer_engine.backends.registry.NAMES`, for the server and for the pool.
        measurement: receives the figures as they come.

    Raises:
        UserError: the server did not start, or no estimate arrived.
        ModelError: the backend cannot run here.
    """
    measurement = measurement or Measurement()
    result = measurement.result
    # Says what is wrong with the backend before anything is measured.
    measurement.describe(load_engine(backend=backend, announce=measurement.say).info)
    result |= {
        "backend": backend,
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
        # A measurement that is stopped has both, whichever it was at.
        "websockets": [],
        "inside": [],
    }

    def search(
        measure: Callable[[int], dict[str, Any]], tried: Sequence[int], kind: str, where: str
    ) -> None:
        for row in _search(measure, tried, bisections):
            insort(result[kind], row, key=lambda row: int(row["streams"]))
            measurement.say(
                f"{row['streams']} streams {where} with {row['backend']}: "
                f"p99 {row['lateness_ms']['p99']:.0f} ms late, {row['core_share']:.2f} cores, "
                + ("in time" if row["in_time"] else "not in time")
            )

    search(
        lambda count: _over_websockets(count, settle_s, seconds, backend),
        levels, "websockets", "over websockets",
    )  # fmt: skip
    result["most_websocket_streams"] = most_in_time(result["websockets"])
    search(
        lambda count: _inside(count, settle_s, seconds, backend),
        inside_levels, "inside", "inside the process",
    )  # fmt: skip
    result["most_inside_streams"] = most_in_time(result["inside"])
    return result


def most_in_time(rows: Sequence[dict[str, Any]]) -> int:
    """Return the largest number of streams that were in time; 0 if none was."""
    return max((row["streams"] for row in rows if row["in_time"]), default=0)


def _search(
    measure: Callable[[int], dict[str, Any]], levels: Sequence[int], bisections: int
) -> Iterator[dict[str, Any]]:
    """Measure levels until one fails, then bisect; yield the rows as they come."""
    low, high = 0, None
    for level in levels:
        row = measure(level)
        yield row
        if not row["in_time"]:
            high = level
            break
        low = level
    for _ in range(bisections):
        if high is None or high - low < max(2, low // 20):
            break
        middle = (low + high) // 2
        row = measure(middle)
        yield row
        low, high = (middle, high) if row["in_time"] else (low, middle)


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


def _over_websockets(count: int, settle_s: float, seconds: float, backend: str) -> dict[str, Any]:
    limits = ("--max-sessions", str(count), "--max-viewers", str(count + 1))
    with serving("--input", "browser", "--quiet", "--backend", backend, *limits) as server:
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


def _inside(count: int, settle_s: float, seconds: float, backend: str) -> dict[str, Any]:
    with load_process(
        "stream_load", streams=count, settle=settle_s, seconds=seconds, backend=backend
    ) as load:
        report = wait_for(load, "report")
    return {"streams": count, "in_time": in_time(report), **report}
