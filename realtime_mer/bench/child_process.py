"""Processes that end with the benchmark that started them."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from typing import Any


@contextlib.contextmanager
def child_process(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """Run a process in a process group of its own, and kill it at the end of the block.

    Ctrl-C reaches only the benchmark. A signal that arrives while the process starts is handled
    when it has, so that no process is left behind.

    Args:
        command: the program and its arguments.
        options: of `subprocess.Popen`.
    """
    process: subprocess.Popen[Any] | None = None
    try:
        with _signals_held_back():
            process = subprocess.Popen(command, process_group=0, **options)
        yield process
    finally:
        if process is not None:
            process.kill()
            with process:  # closes the pipes and waits
                pass


@contextlib.contextmanager
def _signals_held_back() -> Iterator[None]:
    """Handle SIGINT, SIGTERM and SIGHUP at the end of the block."""
    if threading.current_thread() is not threading.main_thread():  # signals are not ours
        yield
        return
    arrived: list[int] = []
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    previous = {
        number: signal.signal(number, lambda number, frame: arrived.append(number))
        for number in numbers
        # None: a handler that is not Python's.
        if signal.getsignal(number) not in (signal.SIG_IGN, None)
    }
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        for number in arrived[:1]:
            signal.raise_signal(number)
