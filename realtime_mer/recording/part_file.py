"""The file of a part of a recording, and the lock of its folder."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from realtime_mer.closable import Closable
from realtime_mer.errors import UserError
from realtime_mer.outputs.line_file import LineFile


class PartFile(LineFile):
    """A part of a recording that is written: a new file, or one of this run that was closed.

    Args:
        path: of the file.
        header: its first line, for a new file; None to go on with `before`.
        before: this file as it was, closed.

    Raises:
        FileExistsError: a new file is wanted, and there is one.
        OSError: it cannot be written, or is not the file that it was.
    """

    def __init__(self, path: Path, header: bytes | None, before: PartFile | None = None) -> None:
        self.path = path
        file = path.open("xb" if before is None else "r+b", buffering=0)
        try:
            super().__init__(file)
            if before is None:
                assert header is not None
                self.write(header)
            elif self.size != before.size or self.identity != before.identity:
                raise OSError("it is another file")
            else:
                file.seek(0, os.SEEK_END)
        except BaseException:
            file.close()
            if before is None:  # without a header it is no part
                with contextlib.suppress(OSError):
                    path.unlink()
            raise

    @property
    def identity(self) -> tuple[int, int]:
        """Which file it is: device and inode."""
        if not self.closed:
            status = os.fstat(self.fileno())
            self._identity = (status.st_dev, status.st_ino)
        return self._identity

    @property
    def moved(self) -> bool:
        """Whether the path is now another file or none, or lost lines: it was moved or emptied.

        Raises:
            OSError: the file system does not say.
        """
        return is_gone(self.path, self.fileno(), self.size)

    def close(self) -> None:
        if not self.closed:
            _ = self.identity
        super().close()


def is_gone(path: Path, descriptor: int, size: int = 0) -> bool:
    """Return whether a path is another file than the open one or none, or shorter than `size`.

    Raises:
        OSError: the file system does not say.
    """
    try:
        there = path.stat()
    except FileNotFoundError:
        return True
    return not os.path.samestat(os.fstat(descriptor), there) or there.st_size < size


class FolderLock(Closable):
    """Keeps other programs from recording into the same folder, where the system can.

    Args:
        folder: that exists.

    Raises:
        UserError: another program records into it.
        OSError: it cannot be opened.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor = -1
        if sys.platform == "win32":  # which cannot open folders
            return
        import fcntl

        self._descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise UserError(
                f"another program records into {folder}; choose another folder"
            ) from None
        except OSError:
            pass  # some network drives have no locks

    @property
    def holds(self) -> bool:
        """Whether the folder at the path is still the one that is locked.

        Raises:
            OSError: the file system does not say.
        """
        return self._descriptor < 0 or not is_gone(self._folder, self._descriptor)

    def sync(self) -> None:
        """Wait until the names of new files are on the disk, where the system can."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.fsync(self._descriptor)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
