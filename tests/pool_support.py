"""Work for worker processes, which import it by name."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

Work = Callable[[str], tuple[int, str]]


def make_work(log: Path) -> Work:
    """Return work that does what its task says and writes its tasks into a file."""

    def work(task: str) -> tuple[int, str]:
        with log.open("a") as file:
            file.write(f"{task} {os.getpid()}\n")
        if task == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if task == "die once" and log.read_text().count("die once") == 1:
            os._exit(7)
        if task.startswith("wait"):
            try:
                if task == "wait in a callback":
                    _wait_in_a_callback()
                threading.Event().wait()
            except KeyboardInterrupt:
                with log.open("a") as file:
                    file.write("interrupted\n")
                raise
        return os.getpid(), os.environ["OMP_NUM_THREADS"]

    return work


def _wait_in_a_callback() -> None:
    """Return when a signal has come, whose exception gets lost."""
    event = threading.Event()

    def compare(left: int | None, right: int | None) -> int:
        event.wait()
        return 0

    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(compare)
    ctypes.CDLL(None).qsort(ctypes.create_string_buffer(2), 2, 1, callback)


def fail_to_start() -> Work:
    raise ValueError("the model is damaged")


def die_at_start() -> Work:
    os._exit(3)
