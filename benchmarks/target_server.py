"""Starts a real `realtime-mer serve` whose log is kept, for attack.py, soak.py and fuzz.py."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import psutil

from realtime_mer.errors import UserError

START_TIMEOUT_S = 180.0
_ADDRESS = re.compile(r"https?://[^\s/]+:(\d+)")
_TRACEBACK = "Traceback (most recent call last)"


@dataclass(frozen=True, slots=True)
class TargetServer:
    """A running server.

    Attributes:
        process: of the server.
        port: TCP port on 127.0.0.1.
        log_path: file with all that it printed.
    """

    process: subprocess.Popen[bytes]
    port: int
    log_path: Path

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self.process.poll() is None

    def log(self) -> str:
        """Return all that the server has printed."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def log_lines(self) -> int:
        """Return the number of printed lines."""
        return self.log().count("\n")

    def tracebacks(self) -> int:
        """Return the number of exceptions in the log."""
        return self.log().count(_TRACEBACK)

    def usage(self) -> dict[str, float]:
        """Return `rss_mb` (10^6 bytes), `handles` and `threads` of the process, 0 once it ended."""
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.process.pid)
            return {
                "rss_mb": round(process.memory_info().rss / 1e6, 2),
                "handles": process.num_fds(),
                "threads": process.num_threads(),
            }
        return {"rss_mb": 0.0, "handles": 0, "threads": 0}


@contextlib.contextmanager
def target_server(
    *arguments: str, open_files: int | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[TargetServer]:
    """Run `realtime-mer serve --port 0` on 127.0.0.1 until the end of the block.

    Args:
        arguments: further options.
        open_files: its limit of open files (`ulimit -n`); None: that of this process.
        environment: further environment variables.

    Raises:
        UserError: the server did not start; the message contains its output.
    """
    command = [sys.executable, "-m", "realtime_mer", "serve", "--port", "0", *arguments]
    with tempfile.TemporaryDirectory() as folder:
        log_path = Path(folder) / "log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                preexec_fn=None if open_files is None else partial(_limit_files, open_files),
            )
        try:
            yield TargetServer(process, _port(process, log_path), log_path)
        finally:
            process.kill()
            process.wait()


@cache
def serve_has(option: str) -> bool:
    """Return whether `realtime-mer serve` knows an option, for example `--tls-cert`."""
    shown = subprocess.run(
        [sys.executable, "-m", "realtime_mer", "serve", "--help"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return f"{option} " in shown.stdout


def _limit_files(count: int) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))


def _port(process: subprocess.Popen[bytes], log_path: Path) -> int:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        if found := _ADDRESS.search(log_path.read_text(encoding="utf-8", errors="replace")):
            return int(found[1])
        time.sleep(0.05)
    printed = log_path.read_text(encoding="utf-8", errors="replace").strip()
    raise UserError(f"the server did not start; its output: {printed or 'none'}")
