"""What scenes do, and which outputs fail, in the terminal."""

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
def show_messages(tell: Callable[[str], None] = _print) -> Iterator[None]:
    """Tell when a scene starts and ends, and when an output fails and works again, with the reason.

    It does so until the `with` block ends.

    Args:
        tell: is called in the threads of the scenes and the outputs.
    """
    handler = _Messages(tell)
    loggers = [logging.getLogger(f"realtime_mer.{part}") for part in ("scenes", "outputs")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)


class _Messages(logging.Handler):
    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__()
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(printable_line(record.getMessage()))
        if record.exc_info and logging.lastResort:  # a fault of the program: the whole traceback
            logging.lastResort.handle(record)
