"""How many viewers of one stream get each update in time, and what one that stalls costs.

The real `serve` plays the demo in a process of its own; the viewers are raw sockets of a second
process, which only notes what comes and when. An update's delay at a viewer is from the moment that
stands in the estimate (`utc`, milliseconds) until the viewer's process has read it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import selectors
import subprocess
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from mer_engine import load_engine

from realtime_mer.bench.load_process import load_process, wait_for
from realtime_mer.bench.machine import describe_machine
from realtime_mer.bench.percentiles import percentiles_ms
from realtime_mer.bench.raw_websocket import RawWebSocket, allow_sockets, own_cpu_s
from realtime_mer.bench.server_process import ServerProcess, serving
from realtime_mer.errors import UserError

GOAL_VIEWERS, GOAL_MS, GOAL_STALLED_KB = 3000, 100.0, 64.0
LEVELS = (100, 300, 1000, 2000, 3000, 4000, 5000)
QUICK_LEVELS = (20,)
# Little room in the kernel, so that a viewer that does not read is a burden soon.
STALLED_RECEIVE_BUFFER = 4096
# More than the kernel holds for a viewer.
PAST_ESTIMATES = 400
SETTLE_S = 2.0


def measure_viewers(
    *,
    levels: Sequence[int] = LEVELS,
    seconds: float = 10.0,
    stalled: int = 200,
    past: int = PAST_ESTIMATES,
) -> dict[str, Any]:
    """All figures of `realtime-mer bench viewers` as one JSON-ready object.

    Args:
        levels: numbers of viewers, ascending; those above the first that fails are left out.
        seconds: how long each level lasts, at an update a second.
        stalled: viewers that read nothing, and as many that do, in the second part.
        past: estimates that there are to tell them.

    Raises:
        UserError: this process may not have so many sockets.
    """
    if (allowed := allow_sockets(max(levels))) < max(levels):
        raise UserError(
            f"{max(levels)} viewers need as many open files and this process may have {allowed}; "
            "raise the limit (ulimit -n) or measure fewer (--most)"
        )
    info = load_engine().info
    rows: list[dict[str, Any]] = []
    for viewers in levels:
        rows.append(_level(viewers, seconds))
        if not rows[-1]["in_time"]:
            break
    return {
        "levels": rows,
        "most_viewers_in_time": max((r["viewers"] for r in rows if r["in_time"]), default=0),
        "stalled": _measure_stalled(stalled, seconds, past),
        "goal": {"viewers": GOAL_VIEWERS, "p99_ms": GOAL_MS, "stalled_kb": GOAL_STALLED_KB},
        "method": {
            "viewers": f"`serve --input demo`, an update a second for {seconds:g} s a level; raw "
            "sockets of one other process on the same machine; delay from the estimate's own time "
            "(milliseconds) until it was read; health messages go out in between",
            "in time": f"p99 over all updates at all viewers under {GOAL_MS:g} ms, and none missed",
            "stalled": f"{stalled} viewers that shake hands and read nothing, at an estimate every "
            "20 ms with a long past to tell; resident memory of the server per viewer, "
            "its growth without them taken off",
        },
        "model": {"name": info.name, "sha256": info.sha256},
        "machine": describe_machine(),
    }


def _level(viewers: int, seconds: float) -> dict[str, Any]:
    """One number of viewers at one server."""
    with serving("--input", "demo", "--max-viewers", str(viewers + 1)) as server:
        _wait_for_estimates(server, 2)
        before_mb = server.rss_mb
        with _crowd(server.port, viewers, seconds) as crowd:
            wait_for(crowd, "connected")
            memory_mb = server.rss_mb - before_mb
            cpu_s, began = server.cpu_s, time.monotonic()
            report = wait_for(crowd, "report")
            share = (server.cpu_s - cpu_s) / (time.monotonic() - began)
    delays = report["delays_ms"]
    return {
        "viewers": viewers,
        "delay_ms": delays,
        "worst_ms": report["worst_ms"],
        "updates": report["updates"],
        "missed": report["missed"],
        "lost_connections": report["lost_connections"],
        "in_time": delays["p99"] < GOAL_MS and not report["missed"],
        "server_core_share": round(share, 4),
        "client_core_share": report["core_share"],
        "memory_per_viewer_kb": round(memory_mb * 1e3 / viewers, 1),
    }


def _measure_stalled(count: int, seconds: float, past: int) -> dict[str, Any]:
    """What viewers that read nothing cost, and what as many others see beside them."""
    fast = ("--input", "demo", "--hop", "0.1", "--speed", "5", "--max-viewers", str(2 * count + 1))
    with serving(*fast) as server:
        _wait_for_estimates(server, past)
        began, at_first = time.monotonic(), server.rss_mb
        time.sleep(SETTLE_S)
        drift = (server.rss_mb - at_first) / (time.monotonic() - began)
        began, at_first = time.monotonic(), server.rss_mb
        with contextlib.ExitStack() as stack:
            for _ in range(count):
                one = RawWebSocket.open(server.port, receive_buffer=STALLED_RECEIVE_BUFFER)
                stack.callback(one.close)
            time.sleep(SETTLE_S)
            grown = server.rss_mb - at_first - drift * (time.monotonic() - began)
            beside = _delays_of(server, count, seconds / 2)
        without = _delays_of(server, count, seconds / 2)
    return {
        "viewers": count,
        "memory_per_viewer_kb": round(grown * 1e3 / count, 1),
        "others": count,
        "others_delay_ms_without": without,
        "others_delay_ms_beside": beside,
    }


def _wait_for_estimates(server: ServerProcess, count: int) -> None:
    """Waits until the server has told so many estimates."""
    listener = RawWebSocket.open(server.port)
    selector = selectors.DefaultSelector()
    selector.register(listener.socket, selectors.EVENT_READ)
    estimates = 0
    while estimates < count:
        selector.select()
        if not listener.read(time.time()):
            raise UserError("the server closed a viewer's connection while it played the demo")
        estimates = sum(data.count(b'"type":"estimate"') for _, data in listener.heard)
    listener.close()


def _delays_of(server: ServerProcess, viewers: int, seconds: float) -> dict[str, float]:
    with _crowd(server.port, viewers, seconds) as crowd:
        delays: dict[str, float] = wait_for(crowd, "report")["delays_ms"]
    return delays


def _crowd(
    port: int, viewers: int, seconds: float
) -> contextlib.AbstractContextManager[subprocess.Popen[str]]:
    return load_process("viewers", port=port, viewers=viewers, settle=SETTLE_S, seconds=seconds)


# The crowd: a process of its own.


def main(arguments: Sequence[str] | None = None) -> int:
    """The process of the viewers: connects, listens, tells what it saw as lines of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--viewers", type=int, required=True)
    parser.add_argument("--settle", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    args = parser.parse_args(arguments)
    allow_sockets(args.viewers)
    selector = selectors.DefaultSelector()
    crowd = []
    for _ in range(args.viewers):
        crowd.append(RawWebSocket.open(args.port))
        selector.register(crowd[-1].socket, selectors.EVENT_READ, crowd[-1])
    lost = _listen(selector, args.settle)
    print(json.dumps({"kind": "connected"}), flush=True)
    from_s, cpu_s = time.time(), own_cpu_s()
    lost += _listen(selector, args.seconds)
    report = _sum_up(crowd, from_s, time.time())
    share = round((own_cpu_s() - cpu_s) / args.seconds, 4)
    print(json.dumps({"kind": "report", **report, "lost_connections": lost, "core_share": share}))
    return 0


def _listen(selector: selectors.BaseSelector, seconds: float) -> int:
    """Reads whatever comes; returns how many connections the server closed."""
    lost = 0
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0.0:
        for key, _ in selector.select(left):
            if not key.data.read(time.time()):
                lost += 1
                selector.unregister(key.fileobj)
    return lost


def _sum_up(crowd: Sequence[RawWebSocket], from_s: float, to_s: float) -> dict[str, Any]:
    """Delays over all updates at all viewers, and what did not come.

    An update counts that was made a second or more before the end, so that all could have it.
    """
    made: dict[int, float] = {}
    delays: list[float] = []
    for one in crowd:
        for now, estimate in _estimates(one):
            at = datetime.fromisoformat(estimate["utc"]).timestamp()
            if from_s <= at < to_s - 1.0:
                made[estimate["seq"]] = at
                delays.append(now - at)
    if not delays:
        raise UserError("no update came while the viewers listened; measure for longer")
    return {
        "updates": len(made),
        "missed": len(made) * len(crowd) - len(delays),
        "delays_ms": percentiles_ms(delays),
        "worst_ms": round(max(delays) * 1e3, 3),
    }


def _estimates(viewer: RawWebSocket) -> Iterator[tuple[float, dict[str, Any]]]:
    for now, text in viewer.texts():
        if text.startswith('{"type":"estimate"'):
            yield now, json.loads(text)


if __name__ == "__main__":
    raise SystemExit(main())
