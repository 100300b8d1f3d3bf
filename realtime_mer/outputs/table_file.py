"""A table in a file, which holds whole rows even when the disk is full."""

from __future__ import annotations

from pathlib import Path

from realtime_mer.closable import Closable
from realtime_mer.core.types import Estimate
from realtime_mer.outputs.line_file import LineFile
from realtime_mer.outputs.table import RowFormat

_BUFFER_BYTES = 65_536


class TableFile(Closable):
    """Writes estimates to a file, in UTF-8.

    Args:
        path: the file, which is replaced if it exists.
        row_format: `csv` or `jsonl`.

    Raises:
        OSError: the file cannot be written.

    Attributes:
        rows: complete rows in the file.
    """

    def __init__(self, path: Path, row_format: str) -> None:
        self._format = RowFormat(row_format)
        self._rows = bytearray(self._format.header)
        self._file = LineFile(path.open("wb", buffering=0))
        try:
            self.flush()
        except OSError:
            self._file.close()
            raise

    @property
    def rows(self) -> int:
        return max(0, self._file.lines - bool(self._format.header))

    def write(self, estimate: Estimate) -> None:
        """Add a row, which reaches the file at the latest with `flush` or `close`.

        Raises:
            OSError: as for `flush`.
        """
        self._rows += self._format.line(estimate)
        if len(self._rows) > _BUFFER_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the rows that are not in the file yet.

        Raises:
            OSError: the disk is full or gone; the file ends after the last row that fitted.
        """
        data, self._rows = bytes(self._rows), bytearray()
        self._file.write(data)

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
