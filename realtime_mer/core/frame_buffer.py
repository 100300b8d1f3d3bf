"""The feature frames that are not encoded yet."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class FrameBuffer:
    """Keeps the newest frames of a stream until they are encoded.

    Usually these are the frames since the last update, so the buffer is small. Frames are numbered
    from 0 at the start of the stream.

    Args:
        capacity: maximum number of frames; the oldest are overwritten.
        width: numbers per frame.

    Attributes:
        start: number of the oldest frame in the buffer.
        end: number of frames of the stream so far.
        overwritten: frames that were overwritten before they were released.
    """

    def __init__(self, capacity: int, width: int) -> None:
        self.capacity = capacity
        self._empty = np.empty((0, width), dtype=np.float32)
        self.reset()

    def reset(self) -> None:
        """Start a new stream at frame 0."""
        self._rows: NDArray[np.float32] = self._empty
        self.start = self.end = 0
        self.overwritten = 0

    def append(self, frames: NDArray[np.float32]) -> None:
        """Append the next frames.

        Args:
            frames: float32 [n, width]; copied, so that no larger array stays in memory.
        """
        rows = np.concatenate((self._rows, frames))
        self.end += len(frames)
        excess = len(rows) - self.capacity
        if excess > 0:
            self.overwritten += excess
            self.start += excess
            rows = rows[excess:].copy()
        self._rows = rows

    def release(self, frame: int) -> None:
        """Discard the frames before `frame`."""
        if frame > self.start:
            self._rows = self._rows[frame - self.start :].copy()
            self.start = min(frame, self.end)

    def skip(self, count: int) -> None:
        """Advance by `count` frames that were lost, and discard all frames before them."""
        self._rows = self._empty
        self.end += count
        self.start = self.end

    def view(self, start: int, end: int) -> NDArray[np.float32]:
        """Return frames `start` to `end` (exclusive) as a view: float32 [end - start, width].

        Raises:
            IndexError: the buffer does not hold all of these frames.
        """
        if not self.start <= start <= end <= self.end:
            raise IndexError(
                f"frames {start} to {end} of a buffer that holds {self.start} to {self.end}"
            )
        return self._rows[start - self.start : end - self.start]
