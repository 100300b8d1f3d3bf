"""What scenes do, in the terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from realtime_mer.errors import printable_line


def print_message(message: str) -> None:
    """Print a line on standard error, over the status of `serve`. Callable from any thread."""
    start = "\r\x1b[K" if sys.stderr.isatty() else ""
    # In one piece: between text and `end`, another thread may print.
    print(f"{start}{message}\n", end="", file=sys.stderr, flush=True)


@contextmanager
def scene_messages(tell: Callable[[str], None] = print_message) -> Iterator[None]:
    """Tell when a scene starts and ends, with the reason, until the `with` block ends.

    Args:
        tell: is called in the thread of the scenes.
    """
    scenes = logging.getLogger("realtime_mer.scenes")
    handler, level = _Messages(tell), scenes.level
    scenes.addHandler(handler)
    scenes.setLevel(logging.INFO)
    try:
        yield
    finally:
        scenes.removeHandler(handler)
        scenes.setLevel(level)


class _Messages(logging.Handler):
    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__()
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(printable_line(record.getMessage()))
