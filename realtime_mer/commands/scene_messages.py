"""What scenes do, in the terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from realtime_mer.errors import printable_line


def _print(message: str) -> None:
    start = "\r\x1b[K" if sys.stderr.isatty() else ""  # over the status of `serve`
    print(f"{start}{message}", file=sys.stderr)


@contextmanager
def scene_messages(tell: Callable[[str], None] = _print) -> Iterator[None]:
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
