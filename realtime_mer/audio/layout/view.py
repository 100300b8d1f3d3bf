"""A part of a file as a file of its own, for libsndfile."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from realtime_mer.audio.layout.types import Part

_OVERSIZE_FACTOR = 64


class FileView(io.RawIOBase):
    """The bytes of a part, read-only, with its patches.

    libsndfile derives the length of an MP3 without a length tag from the file's size and the bit
    rate of the first frame, and stops there. For such a part the view states a size that is larger
    by `_OVERSIZE_FACTOR`, by which the mean bit rate may be lower; reading ends at the real end.

    A read that fails ends the view; `error` holds the reason.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: Path, part: Part) -> None:
        self._file = path.open("rb")
        self._ranges = part.ranges
        self._patches = part.patches
        self._real_size = sum(stop - start for start, stop in part.ranges)
        self._size = self._real_size * (_OVERSIZE_FACTOR if part.is_guessed else 1)
        self._offset = 0
        self.error: OSError | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._offset, os.SEEK_END: self._size}[whence]
        self._offset = max(0, base + offset)
        return self._offset

    def tell(self) -> int:
        return self._offset

    def readinto(self, buffer: Any) -> int:
        # The decoder looks for a tag in the last 128 bytes and fails if it cannot read them.
        if self._size > self._real_size and self._offset >= self._size - 128:
            count = min(len(buffer), self._size - self._offset)
            buffer[:count] = bytes(count)
            self._offset += count
            return count
        view = memoryview(buffer)
        count = 0
        try:
            while count < len(view) and (read := self._read_range(view[count:])):
                count += read
        except OSError as error:  # raised into libsndfile it would only be printed
            self.error = error
        return count

    def _read_range(self, buffer: memoryview) -> int:
        """Read within one range at the current offset; return the number of bytes."""
        before = 0
        for start, stop in self._ranges:
            inside = self._offset - before
            if inside < stop - start:
                self._file.seek(start + inside)
                count = self._file.readinto(buffer[: stop - start - inside])
                self._patch(buffer[:count], start + inside)
                self._offset += count
                return count
            before += stop - start
        return 0

    def _patch(self, buffer: memoryview, position: int) -> None:
        for at, new in self._patches:
            first, last = max(at, position), min(at + len(new), position + len(buffer))
            if first < last:
                buffer[first - position : last - position] = new[first - at : last - at]

    def close(self) -> None:
        self._file.close()
        super().close()
