"""Writes a session's estimates into a file while it runs, losing none."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from realtime_mer.core.types import Estimate
from realtime_mer.errors import UserError
from realtime_mer.live.hub import Hub
from realtime_mer.outputs.table import table_writer

SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


class Recorder:
    """A lossless subscriber that appends a row per estimate; each row is on disk before the next.

    Args:
        hub: the session.
        path: `.csv` or `.jsonl`; must not exist yet, so that no recording is ever overwritten.

    Raises:
        UserError: another ending, the file exists, or it cannot be written.
    """

    def __init__(self, hub: Hub, path: Path) -> None:
        row_format = SUFFIXES.get(path.suffix.lower())
        if row_format is None:
            raise UserError(f"the recording {path} must end in {', '.join(SUFFIXES)}")
        try:
            self._stream = path.open("x", encoding="utf-8", newline="")
        except FileExistsError:
            raise UserError(
                f"{path} exists already; a recording is never overwritten: name another file"
            ) from None
        except OSError as error:
            raise UserError(f"{path} cannot be written ({error.strerror})") from error
        self.path = path
        self.rows = 0
        self._hub = hub
        self._writer = table_writer(row_format, self._stream)
        self._subscription = hub.subscribe_lossless()

    def drain(self) -> None:
        """Writes what has come since the last call.

        Raises:
            UserError: the disk is full or gone; what was written before stays.
        """
        try:
            for item in self._subscription.take():
                if isinstance(item, Estimate):
                    self._writer.write(item)
                    self.rows += 1
            self._stream.flush()
        except OSError as error:
            raise UserError(
                f"recording to {self.path} stopped after {self.rows} rows ({error.strerror})"
            ) from error

    def close(self) -> None:
        """Writes the rest and closes the file; safe to call twice."""
        if self._stream.closed:
            return
        self._hub.unsubscribe(self._subscription)
        try:
            self.drain()
            with contextlib.suppress(OSError):
                os.fsync(self._stream.fileno())
        finally:
            self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
