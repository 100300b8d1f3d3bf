"""A text file that holds whole lines, even when the disk is full."""

from __future__ import annotations

import contextlib
import io
import os

from realtime_mer.closable import Closable


class LineFile(Closable):
    """Appends lines to a file.

    Args:
        file: open for writing at its end, without a buffer, so that the size after a failure is
            known; the object closes it.

    Attributes:
        lines: whole lines that were written.
        size: bytes in the file.
    """

    def __init__(self, file: io.FileIO) -> None:
        self._file = file
        self.lines = 0
        self.size = os.fstat(file.fileno()).st_size

    def write(self, data: bytes) -> None:
        """Write lines.

        Args:
            data: ends with a newline, or is empty.

        Raises:
            OSError: the disk is full or gone; the file ends after the last line that fitted.
        """
        written = 0
        try:
            while written < len(data):
                written += self._file.write(data[written:])
        except OSError:
            written = data.rfind(b"\n", 0, written) + 1
            with contextlib.suppress(OSError):  # not a regular file
                self._file.truncate(self.size + written)
            raise
        finally:
            self.size += written
            self.lines += data.count(b"\n", 0, written)

    def close(self) -> None:
        self._file.close()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._file.closed

    def fileno(self) -> int:
        """Return the number of the open file."""
        return self._file.fileno()
