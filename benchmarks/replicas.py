"""Measures for how long clients are without estimates when one of two servers goes away.

Two servers listen to the demo behind nginx (deploy/nginx.conf.template). In turn each is stopped,
by SIGTERM with --drain or by SIGKILL, and started again, while viewers follow them (`connect`) and
clients send music. A gap is the longest time between two estimates of a client around the stop;
the hop, one second, is part of it. The exit code is 1 when a client was without estimates for
longer than three seconds, or when an estimate of the servers' own input is missing after a SIGTERM.

python benchmarks/replicas.py [--viewers 40] [--senders 4] [--restarts 5] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from local_nginx import missing_for_nginx
from mer_engine import load_engine
from replica_clients import DRAIN_S, Replicas, Sender, Watcher, clients, get, viewers

from realtime_mer.bench.machine import describe_machine
from realtime_mer.errors import UserError

HOP_S = 1.0
MAX_GAP_S = 3.0
# After a stop: what comes later belongs to no gap of it. As long before it, for comparison.
PERIOD_S = 6.0
TIMEOUT_S = 60.0
SIGNALS = {"SIGTERM": signal.SIGTERM, "SIGKILL": signal.SIGKILL}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--viewers", type=int, default=40, help="default: 40")
    parser.add_argument("--senders", type=int, default=4, help="default: 4")
    parser.add_argument("--restarts", type=int, default=5, help="of each kind (default: 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    args = parser.parse_args(arguments)
    if min(args.viewers, args.senders) < 1:
        parser.error("--viewers and --senders must be at least 1")
    if args.restarts < 2:
        parser.error("--restarts must be at least 2, so that every client has to move")
    if missing := missing_for_nginx():
        print(f"{missing}; Debian has it in the package nginx-light", file=sys.stderr)
        return 2
    info = load_engine().info
    rows = [measure(name, args.viewers, args.senders, args.restarts) for name in SIGNALS]
    result = {
        "viewers": args.viewers,
        "senders": args.senders,
        "hop_s": HOP_S,
        "rows": rows,
        "drain_s": DRAIN_S,
        "niceness": os.nice(0),
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "model": {"name": info.name, "sha256": info.sha256},
        "machine": describe_machine(),
    }
    print(json.dumps(result, indent=1))
    if args.json is not None:
        args.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    widest_s = max(row[kind]["max_s"] for row in rows for kind in ("viewers", "senders"))
    return int(widest_s > MAX_GAP_S or rows[0]["missing"] > 0)


def measure(name: str, watching: int, sending: int, restarts: int) -> dict[str, Any]:
    """Stop and start servers in turn, while clients are there.

    Args:
        name: of the signal.
        watching: number of viewers.
        sending: number of clients that send music.
        restarts: number of stops.

    Returns:
        Gaps of viewers and senders that had to move, gaps of the same clients in the seconds
        before, seconds until the server had ended, and the number of estimates that are missing at
        the viewers.
    """
    gaps_s: dict[str, list[float]] = {"viewers": [], "senders": [], "before": []}
    ended_s: list[float] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        Replicas(Path(folder), "--input", "demo", "--no-token") as where,
        clients(where, watching, sending) as running,
    ):
        _wait_for(lambda: all(len(each.arrived_at) > 2 for each in running), "estimates")
        for number in range(restarts):
            index = number % 2
            leaving = where.servers[index]
            time.sleep(PERIOD_S)
            before = [_sessions(each) for each in running]
            stopped_at = time.monotonic()
            leaving.process.send_signal(SIGNALS[name])
            leaving.process.wait(TIMEOUT_S)
            ended_s.append(time.monotonic() - stopped_at)
            _wait_for(
                lambda: viewers(where.servers[1 - index]) == watching + sending,  # noqa: B023
                "all clients at the other server",
            )
            time.sleep(max(0.0, stopped_at + PERIOD_S - time.monotonic()))
            for each, sessions in zip(running, before, strict=True):
                if _sessions(each) != sessions:
                    kind = "viewers" if isinstance(each, Watcher) else "senders"
                    gaps_s[kind].append(_gap_s(each.arrived_at, stopped_at))
                    gaps_s["before"].append(_gap_s(each.arrived_at, stopped_at - PERIOD_S))
            where.restart(index)
            _wait_for(lambda: get(where.servers[index], "/readyz")[0] == 200, "a ready server")  # noqa: B023
        missing = sum(each.connection.missed for each in running if isinstance(each, Watcher))
    return {
        "signal": name,
        "restarts": restarts,
        **{kind: _summary(values) for kind, values in gaps_s.items()},
        "ended_max_s": round(max(ended_s), 2),
        "missing": missing,
    }


def _sessions(client: Watcher | Sender) -> object:
    """Return what changes when a client moves."""
    return len(client.estimates) if isinstance(client, Sender) else client.connection.session


def _gap_s(arrived_at: Sequence[float], since: float) -> float:
    """Return the longest time between two estimates, the later of which came in a period."""
    times = np.asarray(arrived_at)
    first = max(0, int(np.searchsorted(times, since)) - 1)
    last = int(np.searchsorted(times, since + PERIOD_S))
    return float(np.diff(times[first:last]).max(initial=0.0))


def _summary(gaps_s: Sequence[float]) -> dict[str, float]:
    return {
        "count": len(gaps_s),
        "p50_s": round(float(np.percentile(gaps_s, 50)), 3),
        "max_s": round(max(gaps_s), 3),
    }


def _wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        if time.monotonic() > deadline:
            raise UserError(f"not within {TIMEOUT_S:g} s: {what}")
        time.sleep(0.02)


if __name__ == "__main__":
    sys.exit(main())
