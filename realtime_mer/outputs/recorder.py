"""Records every estimate of a running session in a file."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from realtime_mer.closable import Closable
from realtime_mer.core.types import Estimate
from realtime_mer.errors import UserError
from realtime_mer.live.hub import Hub
from realtime_mer.outputs.table import table_writer

SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


class Recorder(Closable):
    """Subscribes without loss and appends a row per estimate.

    Args:
        hub: the session's hub.
        path: ends in `.csv`, `.jsonl` or `.ndjson`; must not exist: no recording is overwritten.

    Raises:
        UserError: the path has another ending, exists or cannot be written.
    """

    def __init__(self, hub: Hub, path: Path) -> None:
        row_format = SUFFIXES.get(path.suffix.lower())
        if row_format is None:
            *first, last = SUFFIXES
            raise UserError(f"the recording {path} must end in {', '.join(first)} or {last}")
        try:
            self._stream = path.open("x", encoding="utf-8", newline="")
        except FileExistsError:
            raise UserError(
                f"{path} exists already and is not overwritten; choose another file"
            ) from None
        except OSError as error:
            raise UserError(f"{path} cannot be written ({error.strerror})") from error
        self.path = path
        self.rows = 0
        self._hub = hub
        self._writer = table_writer(row_format, self._stream)
        self._subscription = hub.subscribe_lossless()

    def drain(self) -> None:
        """Write the estimates published since the last call, and flush the file.

        Raises:
            UserError: writing failed, for example on a full disk; earlier rows remain.
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
        """Write the remaining estimates and close the file; safe to call twice."""
        if self._stream.closed:
            return
        self._hub.unsubscribe(self._subscription)
        try:
            self.drain()
            with contextlib.suppress(OSError):
                os.fsync(self._stream.fileno())
        finally:
            self._stream.close()
