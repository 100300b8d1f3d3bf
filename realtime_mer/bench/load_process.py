"""The other side of a benchmark in a process of its own, which reports in lines of JSON."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from realtime_mer.errors import UserError


@contextlib.contextmanager
def load_process(module: str, **options: float | None) -> Iterator[subprocess.Popen[str]]:
    """Runs a module of this package, `--name value` for each option that is not None.

    It is ended with the block.
    """
    given = [(f"--{name}", str(value)) for name, value in options.items() if value is not None]
    command = [sys.executable, "-m", f"realtime_mer.benchmarks.{module}", *sum(given, ())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(process: subprocess.Popen[str], kind: str) -> dict[str, Any]:
    """The next report of some kind, without its `kind`.

    Raises:
        UserError: the process ended before.
    """
    assert process.stdout is not None
    for line in process.stdout:
        report: dict[str, Any] = json.loads(line)
        if report.pop("kind") == kind:
            return report
    raise UserError("the load of the benchmark ended early; what it said stands above")
