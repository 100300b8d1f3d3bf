"""Runs the load generator of a benchmark in a separate process that reports lines of JSON."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from realtime_mer.bench.child_process import child_process
from realtime_mer.errors import UserError


@contextlib.contextmanager
def load_process(module: str, **options: float | str | None) -> Iterator[subprocess.Popen[str]]:
    """Run a module of this package and kill it at the end of the block.

    Args:
        module: name of the module in `realtime_mer.bench`.
        options: passed as `--name value`; those that are None are left out.
    """
    given = [(f"--{name}", str(value)) for name, value in options.items() if value is not None]
    command = [sys.executable, "-m", f"realtime_mer.bench.{module}", *sum(given, ())]
    with child_process(command, stdout=subprocess.PIPE, text=True) as process:
        yield process


def wait_for(process: subprocess.Popen[str], kind: str) -> dict[str, Any]:
    """Return the next report of a kind, without its `kind`.

    Raises:
        UserError: the process ended first.
    """
    assert process.stdout is not None
    for line in process.stdout:
        report: dict[str, Any] = json.loads(line)
        if report.pop("kind") == kind:
            return report
    raise UserError("the load generator ended early; see its messages above")
