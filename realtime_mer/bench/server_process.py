"""The real server in a process of its own, and what a process costs, seen from outside."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from realtime_mer.errors import UserError

SERVE_START_TIMEOUT_S = 30.0
ADDRESS = re.compile(r"http://[^\s/]+:(\d+)")


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A running `serve`.

    Attributes:
        process: its standard input is a pipe.
        port: where it listens.
        start_s: from starting the process until it said where it is.
    """

    process: subprocess.Popen[bytes]
    port: int
    start_s: float

    @property
    def cpu_s(self) -> float:
        """Processor time so far, in seconds."""
        return cpu_s(self.process.pid)

    @property
    def rss_mb(self) -> float:
        """Resident memory, in MB."""
        return rss_mb(self.process.pid)


@contextlib.contextmanager
def serving(*arguments: str) -> Iterator[ServerProcess]:
    """Runs `realtime-mer serve --port 0` with more arguments until the end of the block.

    Raises:
        UserError: it did not start; with what it said.
    """
    command = [sys.executable, "-m", "realtime_mer", "serve", "--port", "0", *arguments]
    started = time.monotonic()
    with subprocess.Popen(
        command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        # What it prints after its address must not fill the pipe.
        drain = threading.Thread(target=process.stdout.read, daemon=True)
        try:
            port = _port(process.stdout)
            start_s = time.monotonic() - started
            drain.start()
            yield ServerProcess(process, port, start_s)
        finally:
            process.kill()
            if drain.is_alive():
                drain.join()


def _port(output: IO[bytes]) -> int:
    """The port from the line in which the server says where it is."""
    printed = []
    deadline = time.monotonic() + SERVE_START_TIMEOUT_S
    while time.monotonic() < deadline:
        line = output.readline().decode(errors="replace")
        if not line:
            break
        printed.append(line)
        if found := ADDRESS.search(line):
            return int(found[1])
    raise UserError(f"the server did not start; it said: {''.join(printed).strip() or 'nothing'}")


def cpu_s(pid: int) -> float:
    """Processor time of a process in seconds; 0 where the system has no /proc."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return 0.0
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / float(os.sysconf("SC_CLK_TCK"))


def rss_mb(pid: int, *, peak: bool = False) -> float:
    """Resident memory of a process in MB (10^6 bytes), now or at its peak; 0 without /proc."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return 0.0
    for line in status.read_text().splitlines():
        if line.startswith("VmHWM:" if peak else "VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0
