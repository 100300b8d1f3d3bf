"""Records every estimate of a running session in a file."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from realtime_mer.closable import Closable
from realtime_mer.core.types import Estimate
from realtime_mer.errors import UserError
from realtime_mer.live.hub import Hub
from realtime_mer.outputs.table import FORMAT_OF_SUFFIX
from realtime_mer.outputs.table_file import TableFile


class Recorder(Closable):
    """Subscribes without loss and appends a row per estimate.

    Args:
        hub: the session's hub.
        path: ends in `.csv`, `.jsonl` or `.ndjson`; must not exist: no recording is overwritten.

    Raises:
        UserError: the path has another ending, exists or cannot be written.
    """

    def __init__(self, hub: Hub, path: Path) -> None:
        row_format = FORMAT_OF_SUFFIX.get(path.suffix.lower())
        if row_format is None:
            *first, last = FORMAT_OF_SUFFIX
            raise UserError(f"the recording {path} must end in {', '.join(first)} or {last}")
        try:
            self._table = TableFile(path, row_format, new=True)
        except FileExistsError:
            raise UserError(
                f"{path} exists already and is not overwritten; choose another file"
            ) from None
        except OSError as error:
            raise UserError(f"{path} cannot be written ({error.strerror})") from error
        self.path = path
        self._closed = False
        self._hub = hub
        self._subscription = hub.subscribe_lossless()

    @property
    def rows(self) -> int:
        """Estimates in the file."""
        return self._table.rows

    def drain(self) -> None:
        """Write the estimates published since the last call.

        Raises:
            UserError: writing failed, for example on a full disk. The recording has ended; its
                earlier rows remain, and no later call raises.
        """
        if self._closed:
            return
        with self._ending_on_failure():
            for item in self._subscription.take():
                if isinstance(item, Estimate):
                    self._table.write(item)
            self._table.flush()

    def close(self) -> None:
        """Write the remaining estimates and close the file; safe to call twice.

        Raises:
            UserError: as for `drain`.
        """
        self._hub.unsubscribe(self._subscription)
        self.drain()
        if self._closed:
            return
        self._closed = True
        with self._ending_on_failure():
            try:
                os.fsync(self._table.fileno())
            except OSError as error:
                # Some file systems cannot; others report only here that the disk is full.
                if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                    raise
            self._table.close()

    @contextlib.contextmanager
    def _ending_on_failure(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._closed = True
            self._hub.unsubscribe(self._subscription)
            with contextlib.suppress(OSError):
                self._table.close()
            raise UserError(
                f"recording to {self.path} stopped after {self.rows} rows ({error.strerror})"
            ) from error
