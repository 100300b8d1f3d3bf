"""Attacks a real server, and measures what its honest viewers notice of it.

python benchmarks/attack.py [--only NAME ...] [--seconds 10] [--json results/attack.json]

`realtime-mer serve --input demo --hop 0.5` runs in one process, the attack in a second, at full
speed, from 127.0.0.1, and honest viewers in two more, from 127.0.0.2 and 127.0.0.1. All share the
cores of this machine. The musts, under each attack: at most a second between two estimates, new
viewers of another address get in, no exception in the log, and the server goes on. The exit code is
1 when a must is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mer_engine import load_engine
from offenders import OFFENCES
from target_server import TargetServer, serve_has, target_server

from realtime_mer.bench.load_process import wait_for
from realtime_mer.bench.machine import describe_machine
from realtime_mer.errors import UserError

HERE = Path(__file__).parent
HOP_S = 0.5
MAX_INTERVAL_S = 1.0
RECOVERY_S = 2.0
"""How long after the attack the viewers are still watched, in seconds."""
OTHER, SAME = "127.0.0.2", "127.0.0.1"
QUIET = "none"
TOKEN = "a-token-for-the-attack-only"
TITLES = ("attack", "p95", "max", "same", "new", "log", "exc", "MB", "closed with")
WIDTHS = (12, 5, 5, 5, 5, 5, 4, 5, 24)


@dataclass(frozen=True)
class Setting:
    """How the server of an attack is started.

    Attributes:
        needs: options that `serve` must know, or the attack is left out.
        open_files: the server's limit of open files; None: that of this process.
        arguments: makes further arguments of `serve`.
        token: of the viewers and the server; None: none is needed.
        tls: whether the viewers speak TLS.
    """

    needs: tuple[str, ...] = ()
    open_files: int | None = None
    arguments: Callable[[], list[str]] = list
    token: str | None = None
    tls: bool = False


SETTINGS = {
    "silent": Setting(open_files=1024),
    "wrong-tokens": Setting(
        needs=("--token",), arguments=lambda: ["--token", "env"], token=TOKEN
    ),
    "taps": Setting(needs=("--person",), arguments=lambda: ["--person", "anna"]),
    "broken-tls": Setting(
        needs=("--tls",), arguments=lambda: ["--tls", "self-signed"], tls=True
    ),
}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    names = (QUIET, *OFFENCES)
    parser.add_argument(
        "--only", nargs="+", choices=names, metavar="NAME",
        help=f"the attacks (default: all): {', '.join(names)}",
    )  # fmt: skip
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="length of each attack (default: 10)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    args = parser.parse_args(arguments)
    if not 1.0 <= args.seconds <= 3600.0:
        parser.error(f"--seconds is {args.seconds:g}; it must lie between 1 and 3600")
    rows = []
    print(_line(TITLES), flush=True)
    try:
        for name in args.only or names:
            setting = SETTINGS.get(name, Setting())
            if missing := [option for option in setting.needs if not serve_has(option)]:
                print(f"{name}: left out, this serve has no {' '.join(missing)}", flush=True)
                continue
            rows.append(measure(name, args.seconds, setting))
            print(_line(_cells(rows[-1])), flush=True)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    for row in rows:
        for sentence in row["missed"]:
            print(f"missed: {row['attack']}: {sentence}")
    if args.json is not None:
        info = load_engine().info
        result = {
            "rows": rows,
            "seconds": args.seconds,
            "hop_s": HOP_S,
            "goal": {"max_interval_s": MAX_INTERVAL_S},
            "model": {"name": info.name, "sha256": info.sha256},
            "machine": describe_machine(),
        }
        args.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return int(any(row["missed"] for row in rows))


def measure(name: str, seconds: float, setting: Setting) -> dict[str, Any]:
    """Run one attack against a new server and return its figures.

    Args:
        name: of the attack; `none` measures the viewers alone.
        seconds: its length.
        setting: how the server is started.

    Raises:
        UserError: the server did not start, or the viewers got no estimate before the attack.
    """
    # The server reads no file of the user and writes none.
    with tempfile.TemporaryDirectory() as folder:
        environment = {"XDG_CONFIG_HOME": folder}
        if setting.token is not None:
            environment["REALTIME_MER_TOKEN"] = setting.token
        options = ("--input", "demo", "--hop", str(HOP_S), "--quiet", *setting.arguments())
        with (
            target_server(
                *options, open_files=setting.open_files, environment=environment
            ) as server,
            _honest_viewer(server.port, OTHER, setting) as other,
            _honest_viewer(server.port, SAME, setting) as same,
        ):
            wait_for(other, "watching")
            wait_for(same, "watching")
            return _attack(name, seconds, server, {OTHER: other, SAME: same})


def _attack(
    name: str, seconds: float, server: TargetServer, viewers: dict[str, subprocess.Popen[str]]
) -> dict[str, Any]:
    before, lines_before = server.usage(), server.log_lines()
    started = time.monotonic()
    offender: dict[str, Any] = {"endings": {}, "sent_bytes": 0}
    if name == QUIET:
        time.sleep(seconds)
    else:
        offender = _run_offender(name, server.port, seconds)
    ended = time.monotonic()
    attacked = server.usage()
    time.sleep(RECOVERY_S)
    until = time.monotonic()
    reports = {}
    for source, viewer in viewers.items():
        assert viewer.stdin is not None
        viewer.stdin.close()
        reports[source] = wait_for(viewer, "report")
    intervals = {
        source: intervals_s(report["arrivals"], started, until)
        for source, report in reports.items()
    }
    waits = [
        waited for came_at, waited in reports[OTHER]["newcomers"] if started <= came_at < ended
    ]
    row: dict[str, Any] = {
        "attack": name,
        "p95_s": round(float(np.percentile(intervals[OTHER], 95)), 3),
        "max_s": round(max(intervals[OTHER]), 3),
        "same_address_max_s": round(max(intervals[SAME]), 3),
        "newcomers": len(waits),
        "newcomers_refused": waits.count(None),
        "newcomer_max_s": round(max((wait for wait in waits if wait is not None), default=0.0), 3),
        "log_lines": server.log_lines() - lines_before,
        "exceptions": server.tracebacks(),
        "rss_growth_mb": round(attacked["rss_mb"] - before["rss_mb"], 1),
        "sent_mb": round(offender["sent_bytes"] / 1e6, 1),
        "endings": offender["endings"],
    }
    return {**row, "missed": missed(row, alive=server.alive)}


def intervals_s(arrivals: Sequence[float], started: float, until: float) -> list[float]:
    """Return the times between estimates, in seconds; a viewer that gets no more waits on.

    Args:
        arrivals: of the estimates, ascending, in seconds.
        started, until: the measured time; an interval counts if it ends in it.
    """
    times = [*(arrival for arrival in arrivals if arrival < until), until]
    # The last interval is cut off by the end of the measurement.
    return [b - a for a, b in itertools.pairwise(times) if b >= started]


def missed(row: dict[str, Any], *, alive: bool) -> list[str]:
    """Return one sentence for each must that a row misses."""
    sentences = []
    if row["max_s"] > MAX_INTERVAL_S:
        sentences.append(f"{row['max_s']:.2f} s between two estimates at another address")
    if row["same_address_max_s"] > MAX_INTERVAL_S:
        seconds = row["same_address_max_s"]
        sentences.append(f"{seconds:.2f} s between two estimates at the same address")
    if row["newcomers_refused"] or not row["newcomers"]:
        sentences.append(
            f"{row['newcomers_refused']} of {row['newcomers']} new viewers did not get in"
        )
    if row["exceptions"]:
        sentences.append(f"{row['exceptions']} exceptions in the log")
    if not alive:
        sentences.append("the server ended")
    return sentences


def _run_offender(name: str, port: int, seconds: float) -> dict[str, Any]:
    command = [sys.executable, str(HERE / "offenders.py"), name]
    command += ["--port", str(port), "--seconds", str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            return wait_for(process, "report")
        finally:
            process.kill()


@contextlib.contextmanager
def _honest_viewer(port: int, source: str, setting: Setting) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(HERE / "honest_viewer.py")]
    command += ["--port", str(port), "--source", source, *(["--tls"] if setting.tls else [])]
    environment = {name: text for name, text in os.environ.items() if name != "REALTIME_MER_TOKEN"}
    if setting.token is not None:
        environment["REALTIME_MER_TOKEN"] = setting.token
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _cells(row: dict[str, Any]) -> list[str]:
    refused = row["newcomers_refused"]
    endings = sorted(row["endings"].items(), key=lambda ending: -ending[1])
    return [
        row["attack"],
        f"{row['p95_s']:.2f}",
        f"{row['max_s']:.2f}",
        f"{row['same_address_max_s']:.2f}",
        f"-{refused}" if refused else f"{row['newcomer_max_s']:.2f}",
        str(row["log_lines"]),
        str(row["exceptions"]),
        f"{row['rss_growth_mb']:.0f}",
        ", ".join(f"{how} x{count}" for how, count in endings),
    ]


def _line(cells: Sequence[str]) -> str:
    first, *numbers, last = zip(cells, WIDTHS, strict=True)
    return " ".join(
        [
            first[0].ljust(first[1]),
            *(cell.rjust(width) for cell, width in numbers),
            last[0][: last[1]],
        ]
    ).rstrip()


if __name__ == "__main__":
    raise SystemExit(main())
