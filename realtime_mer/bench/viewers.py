"""Measures how many viewers of one stream get each update in time, and the cost of stalled viewers.

The real `serve` plays the demo in a separate process. The viewers are raw sockets of a second
process, which only stores the messages and their times. The delay of an update is the time from the
estimate's own time stamp (`utc`, in milliseconds) until the viewers' process has read it.
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
from realtime_mer.bench.measurement import Measurement
from realtime_mer.bench.percentiles import percentiles_ms
from realtime_mer.bench.process_usage import own_cpu_s
from realtime_mer.bench.raw_websocket import (
    OTHER_FILES,
    TEXT,
    RawWebSocket,
    allow_sockets,
    masked_frame,
)
from realtime_mer.bench.server_process import ServerProcess, serving
from realtime_mer.errors import UserError

GOAL_VIEWERS, GOAL_MS, GOAL_STALLED_KB = 5000, 100.0, 64.0
LEVELS = (100, 300, 1000, 2000, 3000, 4000, 5000)
QUICK_LEVELS = (20,)
# Numbers of viewers with and without pulses.
PULSE_LEVELS = (1, 1000, 5000)
QUICK_PULSE_LEVELS = (5,)
GOAL_PULSE_RATIO = 2.0
# A small kernel buffer, so that unread messages soon collect in the server.
STALLED_RECEIVE_BUFFER = 4096
# More than the kernel buffers for a viewer.
PAST_ESTIMATES = 400
SETTLE_S = 2.0
# A measurement leaves its last second out.
SHORTEST_S = 1.5
# Over less time, the growth of the server's memory says nothing.
MEMORY_S = 1.0


def measure_viewers(
    *,
    levels: Sequence[int] = LEVELS,
    pulse_levels: Sequence[int] = PULSE_LEVELS,
    seconds: float = 10.0,
    settle_s: float = SETTLE_S,
    stalled: int = 200,
    past: int = PAST_ESTIMATES,
    hop_s: float = 1.0,
    measurement: Measurement | None = None,
) -> dict[str, Any]:
    """Return all figures of `realtime-mer bench viewers` as one JSON-ready object.

    Args:
        levels: numbers of viewers, ascending; levels above the first that fails are left out.
        pulse_levels: numbers of viewers of which first none and then all ask for pulses.
        seconds: measuring time of each level; more than 1 and two hops.
        settle_s: seconds before each measurement.
        stalled: number of viewers that read nothing, and of normal viewers beside them.
        past: number of past estimates that the server sends to a new viewer.
        hop_s: seconds between two updates.
        measurement: receives the figures as they come.

    Raises:
        UserError: this process may not open that many sockets, or no update arrived.
    """
    measurement = measurement or Measurement()
    result, say = measurement.result, measurement.say
    most = max(*levels, *pulse_levels)
    if (allowed := allow_sockets(most)) < most:
        raise UserError(
            f"{most} viewers need {most + OTHER_FILES} open files, but this process may open at "
            f"most {allowed + OTHER_FILES}; "
            "raise the limit with 'ulimit -n'"
            + (" or use --quick" if most > max(*QUICK_LEVELS, *QUICK_PULSE_LEVELS) else "")
        )
    measurement.describe(load_engine().info)
    result |= {
        "levels": [],
        "pulses": [],
        "goal": {
            "viewers": GOAL_VIEWERS,
            "p99_ms": GOAL_MS,
            "stalled_kb": GOAL_STALLED_KB,
            "pulse_ratio": GOAL_PULSE_RATIO,
        },
        "method": {
            "viewers": f"`serve --input demo`, an update every {hop_s:g} s for {seconds:g} s per "
            "level; raw sockets of another process on the same machine; delay from the estimate's "
            "own time stamp (in milliseconds) until it is read; health messages are sent as well",
            "in time": f"p99 over all updates at all viewers under {GOAL_MS:g} ms, none missed",
            "pulses": "processor time of one server, input and model included, with viewers that "
            "ask for pulses, then with as many that do not",
            "stalled": f"{stalled} viewers that complete the handshake and then read nothing; an "
            "estimate every 20 ms and a long history to send; growth of the server's resident "
            "memory per viewer, less its growth without them",
        },
    }
    for viewers in levels:
        with _serving(viewers, hop_s) as server:
            row = _measure_level(server, viewers, settle_s, seconds)
        result["levels"].append(row)
        say(
            f"{viewers} viewers: p99 {row['delay_ms']['p99']:.1f} ms, "
            + ("in time" if row["in_time"] else "not in time")
        )
        if not row["in_time"]:
            break
    result["most_viewers_in_time"] = most_in_time(result["levels"])
    for viewers in pulse_levels:
        row = _measure_pulses(viewers, settle_s, seconds, hop_s)
        result["pulses"].append(row)
        say(f"{viewers} viewers with pulses: {row['ratio']:.2f} times the processor time without")
    result["stalled"] = _measure_stalled(stalled, settle_s, seconds, past)
    memory_kb = result["stalled"]["memory_per_viewer_kb"]
    say(f"a viewer that reads nothing: {memory_kb:.0f} kB")
    return result


def most_in_time(rows: Sequence[dict[str, Any]]) -> int:
    """Return the largest number of viewers that were in time; 0 if none was."""
    return max((row["viewers"] for row in rows if row["in_time"]), default=0)


def _serving(viewers: int, hop_s: float) -> contextlib.AbstractContextManager[ServerProcess]:
    return serving("--input", "demo", "--hop", str(hop_s), "--max-viewers", str(viewers + 1))


def _measure_level(
    server: ServerProcess, viewers: int, settle_s: float, seconds: float, *, pulses: bool = False
) -> dict[str, Any]:
    """Measure one number of viewers at one server."""
    _wait_for_estimates(server, 2)
    rss_before_mb = server.rss_mb
    with _viewers(server, viewers, settle_s, seconds, pulses=pulses) as process:
        wait_for(process, "connected")
        memory_mb = server.rss_mb - rss_before_mb
        cpu_before_s, started = server.cpu_s, time.monotonic()
        report = wait_for(process, "report")
        share = (server.cpu_s - cpu_before_s) / (time.monotonic() - started)
    delays = report["delays_ms"]
    return {
        "viewers": viewers,
        "delay_ms": delays,
        "worst_ms": report["worst_ms"],
        "updates": report["updates"],
        "missed": report["missed"],
        "lost_connections": report["lost_connections"],
        "pulse_messages_per_s": report["pulse_messages_per_s"],
        "in_time": delays["p99"] < GOAL_MS and not report["missed"],
        "server_core_share": round(share, 4),
        "client_core_share": report["core_share"],
        "memory_per_viewer_kb": round(memory_mb * 1e3 / viewers, 1),
    }


def _measure_pulses(viewers: int, settle_s: float, seconds: float, hop_s: float) -> dict[str, Any]:
    """Measure the same number of viewers with and without pulses at one server."""
    with _serving(viewers, hop_s) as server:
        # A server that has just started does more than it does later.
        _measure_level(server, viewers, settle_s, seconds)
        asking = _measure_level(server, viewers, settle_s, seconds, pulses=True)
        plain = _measure_level(server, viewers, settle_s, seconds)
    return {
        "viewers": viewers,
        "server_core_share_without": plain["server_core_share"],
        "server_core_share_with": asking["server_core_share"],
        "ratio": round(asking["server_core_share"] / plain["server_core_share"], 2),
        "messages_per_s": asking["pulse_messages_per_s"],
        "delay_ms_without": plain["delay_ms"],
        "delay_ms_with": asking["delay_ms"],
        "missed": asking["missed"],
    }


def _measure_stalled(count: int, settle_s: float, seconds: float, past: int) -> dict[str, Any]:
    """Measure the memory of viewers that read nothing, and the delay of others beside them."""
    short_s = max(seconds / 2, SHORTEST_S)
    fast = ("--input", "demo", "--hop", "0.1", "--speed", "5", "--max-viewers", str(2 * count + 1))
    with serving(*fast) as server:
        _wait_for_estimates(server, past)
        started, rss_before_mb = time.monotonic(), server.rss_mb
        time.sleep(max(settle_s, MEMORY_S))
        drift_mb_per_s = (server.rss_mb - rss_before_mb) / (time.monotonic() - started)
        started, rss_before_mb = time.monotonic(), server.rss_mb
        with contextlib.ExitStack() as stack:
            for _ in range(count):
                viewer = RawWebSocket.open(server.port, receive_buffer=STALLED_RECEIVE_BUFFER)
                stack.callback(viewer.close)
            time.sleep(max(settle_s, MEMORY_S))
            growth_mb = server.rss_mb - rss_before_mb
            growth_mb -= drift_mb_per_s * (time.monotonic() - started)
            beside = _delays(server, count, settle_s, short_s)
        without = _delays(server, count, settle_s, short_s)
    return {
        "viewers": count,
        "memory_per_viewer_kb": round(growth_mb * 1e3 / count, 1),
        "others": count,
        "others_delay_ms_without": without,
        "others_delay_ms_beside": beside,
    }


def _wait_for_estimates(server: ServerProcess, count: int) -> None:
    """Wait until the server has sent `count` estimates."""
    viewer = RawWebSocket.open(server.port)
    selector = selectors.DefaultSelector()
    selector.register(viewer.socket, selectors.EVENT_READ)
    estimates = 0
    while estimates < count:
        selector.select()
        if not viewer.read(time.time()):
            raise UserError("the server closed a viewer's connection while it played the demo")
        estimates = sum(data.count(b'"type":"estimate"') for _, data in viewer.received)
    viewer.close()


def _delays(
    server: ServerProcess, viewers: int, settle_s: float, seconds: float
) -> dict[str, float]:
    with _viewers(server, viewers, settle_s, seconds) as process:
        delays: dict[str, float] = wait_for(process, "report")["delays_ms"]
    return delays


def _viewers(
    server: ServerProcess, viewers: int, settle_s: float, seconds: float, *, pulses: bool = False
) -> contextlib.AbstractContextManager[subprocess.Popen[str]]:
    return load_process(
        "viewers",
        port=server.port,
        viewers=viewers,
        settle=settle_s,
        seconds=seconds,
        pulses=int(pulses),
    )


# The process of the viewers.


def main(arguments: Sequence[str] | None = None) -> int:
    """Connect the viewers, read their messages and print the measurements as lines of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--viewers", type=int, required=True)
    parser.add_argument("--settle", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--pulses", type=int, required=True)
    args = parser.parse_args(arguments)
    allow_sockets(args.viewers)
    selector = selectors.DefaultSelector()
    viewers = []
    for _ in range(args.viewers):
        viewers.append(RawWebSocket.open(args.port))
        selector.register(viewers[-1].socket, selectors.EVENT_READ, viewers[-1])
        if args.pulses:
            viewers[-1].send(masked_frame(TEXT, b'{"type":"pulse","on":true}'))
    lost = _read_for(selector, args.settle)
    print(json.dumps({"kind": "connected"}), flush=True)
    from_s, cpu_before_s = time.time(), own_cpu_s()
    lost += _read_for(selector, args.seconds)
    report = delay_summary(viewers, from_s, time.time())
    share = round((own_cpu_s() - cpu_before_s) / args.seconds, 4)
    pulses = sum(
        now >= from_s and text.startswith('{"type":"pulse"')
        for viewer in viewers
        for now, text in viewer.texts()
    )
    report["pulse_messages_per_s"] = round(pulses / len(viewers) / args.seconds, 1)
    print(json.dumps({"kind": "report", **report, "lost_connections": lost, "core_share": share}))
    return 0


def _read_for(selector: selectors.BaseSelector, seconds: float) -> int:
    """Read from all sockets; return how many connections the server closed."""
    lost = 0
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0.0:
        for key, _ in selector.select(left):
            if not key.data.read(time.time()):
                lost += 1
                selector.unregister(key.fileobj)
    return lost


def delay_summary(viewers: Sequence[RawWebSocket], from_s: float, to_s: float) -> dict[str, Any]:
    """Return the delays over all updates at all viewers, and how many updates were missed.

    Updates of the last second do not count, so that each had time to reach every viewer.

    Args:
        viewers: the connections with all they received.
        from_s, to_s: start and end of the measurement (`time.time`).

    Raises:
        UserError: no update arrived.
    """
    sent_at: dict[int, float] = {}
    delays: list[float] = []
    for viewer in viewers:
        for now, estimate in _estimates(viewer):
            sent = datetime.fromisoformat(estimate["utc"]).timestamp()
            if from_s <= sent < to_s - 1.0:
                sent_at[estimate["seq"]] = sent
                delays.append(now - sent)
    if not delays:
        raise UserError("no update arrived at the viewers; measure longer")
    return {
        "updates": len(sent_at),
        "missed": len(sent_at) * len(viewers) - len(delays),
        "delays_ms": percentiles_ms(delays),
        "worst_ms": round(max(delays) * 1e3, 3),
    }


def _estimates(viewer: RawWebSocket) -> Iterator[tuple[float, dict[str, Any]]]:
    for now, text in viewer.texts():
        if text.startswith('{"type":"estimate"'):
            yield now, json.loads(text)


if __name__ == "__main__":
    raise SystemExit(main())
