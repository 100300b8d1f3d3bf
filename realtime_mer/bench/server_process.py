"""Runs the real server in a separate process."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from realtime_mer.bench.child_process import child_process
from realtime_mer.bench.process_usage import cpu_s, rss_mb
from realtime_mer.errors import UserError

SERVE_START_TIMEOUT_S = 30.0
ADDRESS = re.compile(r"http://[^\s/]+:(\d+)")


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A running `serve`.

    Attributes:
        process: the process; its standard input is a pipe.
        port: TCP port on which it listens.
        start_s: seconds from starting the process until it printed its address.
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
        """Resident memory, in MB (10^6 bytes)."""
        return rss_mb(self.process.pid)


@contextlib.contextmanager
def serving(*arguments: str) -> Iterator[ServerProcess]:
    """Run `realtime-mer serve --port 0` with further arguments until the end of the block.

    Raises:
        UserError: the server did not start; the message contains its output.
    """
    command = [sys.executable, "-m", "realtime_mer", "serve", "--port", "0", *arguments]
    started = time.monotonic()
    with child_process(
        command,
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout is not None
        # Read what follows the address, so that the pipe does not fill up.
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
    """Return the port from the line in which the server prints its address."""
    printed = []
    deadline = time.monotonic() + SERVE_START_TIMEOUT_S
    while time.monotonic() < deadline:
        line = output.readline().decode(errors="replace")
        if not line:
            break
        printed.append(line)
        if found := ADDRESS.search(line):
            return int(found[1])
    raise UserError(f"the server did not start; its output: {''.join(printed).strip() or 'none'}")
