"""Files that are written beside the file that they replace, and renamed when they are complete."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

# Directly written: what a shell has opened, devices.
_SPECIAL_FOLDERS = (Path("/dev"), Path("/proc"))
# Leaves room for the rest of the draft's name.
_NAME_LIMIT = 100


class Draft:
    """A file that replaces another one when it is complete.

    An interruption or a full disk leaves the old file as it was. The new one gets its permissions;
    where the path is a link, the file behind it is replaced. FIFOs, devices, and files in a folder
    where no new one may be made, are written directly. Drafts that a killed program left are
    removed.

    Args:
        target: the file to replace, or a new file in an existing folder.

    Raises:
        OSError: it cannot be written.

    Attributes:
        path: where to write; an empty file.
    """

    def __init__(self, target: Path) -> None:
        mode = None
        with contextlib.suppress(FileNotFoundError):
            mode = target.stat().st_mode
        self._target = Path(os.path.realpath(target))  # Path.resolve raises for a circle of links
        self.path = target
        self._is_draft = False
        self._mode = None if mode is None else stat.S_IMODE(mode)
        if mode is not None and not stat.S_ISREG(mode):
            return
        if any(target.absolute().is_relative_to(folder) for folder in _SPECIAL_FOLDERS):
            return
        if mode is not None and not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target))
        prefix = f".{self._target.name[:_NAME_LIMIT]}.realtime-mer-"
        draft = self._target.with_name(f"{prefix}{os.getpid()}")
        with contextlib.suppress(OSError):
            _remove_old(self._target.parent, prefix)
        try:
            os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        except PermissionError:
            if mode is None:
                raise
            return
        self.path = draft
        self._is_draft = True

    def commit(self) -> None:
        """Replace the file. If that fails, remove the draft.

        Raises:
            OSError: it cannot be replaced, or the disk is full.
        """
        if not self._is_draft:
            return
        try:
            with self.path.open("r+b") as file:
                sync(file.fileno())
            with contextlib.suppress(OSError):  # a file system without permissions
                if self._mode is not None:
                    self.path.chmod(self._mode)
            self.path.replace(self._target)
        except OSError:
            self.discard()
            raise

    def discard(self) -> None:
        """Remove the draft and leave the old file as it was."""
        if self._is_draft:
            self.path.unlink(missing_ok=True)


@contextlib.contextmanager
def draft_of(target: Path) -> Iterator[Path]:
    """Yield the path of a draft, which replaces the target at the end of the block.

    Raises:
        OSError: as for `Draft`. After any error the target is as before.
    """
    draft = Draft(target)
    try:
        yield draft.path
    except BaseException:
        draft.discard()
        raise
    draft.commit()


def sync(descriptor: int) -> None:
    """Wait until what was written to a file is on the disk, on file systems that can.

    Raises:
        OSError: writing failed; some file systems report only here that the disk is full.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


def _remove_old(folder: Path, prefix: str) -> None:
    """Remove drafts of programs that are gone."""
    for path in folder.iterdir():
        found = re.fullmatch(re.escape(prefix) + r"(\d+)", path.name)
        if found and not _runs(int(found[1])):
            path.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    """Return whether another process with this number runs; where unknown, True."""
    if process == os.getpid():
        return False
    if sys.platform == "win32":  # os.kill would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
