"""What scenes do, on standard error."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from realtime_mer.errors import printable_line


@contextmanager
def scene_messages() -> Iterator[None]:
    """Print when a scene starts and ends, with the reason, until the `with` block ends."""
    scenes = logging.getLogger("realtime_mer.scenes")
    handler, level = _Messages(), scenes.level
    scenes.addHandler(handler)
    scenes.setLevel(logging.INFO)
    try:
        yield
    finally:
        scenes.removeHandler(handler)
        scenes.setLevel(level)


class _Messages(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        print(printable_line(record.getMessage()), file=sys.stderr)
