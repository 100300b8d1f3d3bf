"""The file of a recording: new, or one that an earlier run began and this one continues."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from pathlib import Path

from realtime_mer.errors import UserError
from realtime_mer.outputs.line_file import LineFile
from realtime_mer.outputs.table import RowFormat

# A header or a row has at most a few hundred bytes.
_LINE_LIMIT = 65_536


class RecordingFile(LineFile):
    """Opens a recording for more rows.

    A row that was cut off at the end, by a power failure or a killed program, is removed.

    Args:
        path: the file.
        row_format: of its rows.

    Raises:
        UserError: the file is no recording of this format, or another program records into it.
        OSError: it cannot be written.

    Attributes:
        remark: a sentence on what was there before; empty for a new file.
    """

    def __init__(self, path: Path, row_format: RowFormat) -> None:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise UserError(f"{path} is not a regular file; choose another name")
        is_new = not path.exists()
        file = path.open("a+b", buffering=0)
        try:
            _lock(file, path)
            whole, is_cut = _whole_lines(file, path, row_format)
            if is_cut:
                file.truncate(whole)
            super().__init__(file)
            if whole == 0:
                self.write(row_format.header)
        except BaseException:
            file.close()
            if is_new:  # without a header it is no recording
                with contextlib.suppress(OSError):
                    path.unlink()
            raise
        self.lines = 0  # rows
        self._path = path
        cut = "; its last row was cut off and is removed" if is_cut else ""
        self.remark = f"{path} exists already and is continued{cut}" if whole or is_cut else ""

    @property
    def moved(self) -> bool:
        """Whether the path is now another file or none, or lost rows: it was moved or emptied.

        Raises:
            OSError: the file system does not say.
        """
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return True
        own = os.fstat(self.fileno())
        return not os.path.samestat(own, there) or there.st_size < self.size


def _whole_lines(file: io.FileIO, path: Path, row_format: RowFormat) -> tuple[int, bool]:
    """Return how many bytes at the beginning are whole lines, and whether others follow.

    Raises:
        UserError: this is no recording of this format.
    """
    file.seek(0)
    head = file.read(len(row_format.beginning))
    size = file.seek(0, os.SEEK_END)
    start = file.seek(max(0, size - _LINE_LIMIT))
    tail = file.read(_LINE_LIMIT)
    end = tail.rfind(b"\n") + 1
    if not row_format.beginning.startswith(head) or (end == 0 and size > _LINE_LIMIT):
        raise UserError(
            f"{path} exists already, is no recording of this version in this format, and is not "
            "overwritten; choose another file"
        )
    return (start + end if end else 0), end < len(tail)


def _lock(file: io.FileIO, path: Path) -> None:
    """Keep other programs from recording into the same file, where the system can."""
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"another program records into {path}; choose another file") from None
    except OSError:
        pass  # some network drives have no locks
