"""A table in a file, which holds whole rows even when the disk is full."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

from realtime_mer.closable import Closable
from realtime_mer.core.types import Estimate
from realtime_mer.outputs.table import table_writer

_BUFFER_CHARACTERS = 65_536


class TableFile(Closable):
    """Writes estimates to a file, in UTF-8.

    Args:
        path: the file.
        row_format: `csv` or `jsonl`.
        new: fail if the file exists, instead of replacing it.

    Raises:
        OSError: the file exists or cannot be written.

    Attributes:
        rows: complete rows in the file.
    """

    def __init__(self, path: Path, row_format: str, *, new: bool = False) -> None:
        self._text = io.StringIO(newline="")
        self._writer = table_writer(row_format, self._text)
        self._header_lines = self._text.getvalue().count("\n")
        self._lines = 0
        self._size = 0
        # Without a buffer, so that the size after a failure is known.
        self._file = path.open("xb" if new else "wb", buffering=0)
        try:
            self.flush()
        except OSError:
            self._file.close()
            if new:
                path.unlink(missing_ok=True)
            raise

    @property
    def rows(self) -> int:
        return max(0, self._lines - self._header_lines)

    def write(self, estimate: Estimate) -> None:
        """Add a row, which reaches the file at the latest with `flush` or `close`.

        Raises:
            OSError: as for `flush`.
        """
        self._writer.write(estimate)
        if self._text.tell() > _BUFFER_CHARACTERS:
            self.flush()

    def flush(self) -> None:
        """Write the rows that are not in the file yet.

        Raises:
            OSError: the disk is full or gone; the file ends after the last row that fitted.
        """
        data = self._text.getvalue().encode("utf-8", "replace")
        self._text.seek(0)
        self._text.truncate()
        written = 0
        try:
            while written < len(data):
                written += self._file.write(data[written:])
        except OSError:
            written = data.rfind(b"\n", 0, written) + 1
            with contextlib.suppress(OSError):  # not a regular file
                self._file.truncate(self._size + written)
            raise
        finally:
            self._size += written
            self._lines += data.count(b"\n", 0, written)

    def close(self) -> None:
        """Write the remaining rows and close the file; safe to call twice.

        Raises:
            OSError: as for `flush`.
        """
        if self._file.closed:
            return
        try:
            self.flush()
        finally:
            self._file.close()

    def fileno(self) -> int:
        """Return the number of the open file."""
        return self._file.fileno()
