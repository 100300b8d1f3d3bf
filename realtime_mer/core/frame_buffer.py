"""The frames that the network has not heard yet."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class FrameBuffer:
    """Keeps the newest frames of a stream until their maps are made.

    Usually that is what came since the last update, so a stream needs little memory. Frames are
    counted from 0 at the start of the stream.

    Args:
        capacity: number of frames that are kept at most; the oldest give way.
        width: numbers in a frame.

    Attributes:
        start: the oldest frame that is kept.
        end: frames that have come.
        overwritten: frames that gave way before they were released.
    """

    def __init__(self, capacity: int, width: int) -> None:
        self.capacity = capacity
        self._none = np.empty((0, width), dtype=np.float32)
        self.reset()

    def reset(self) -> None:
        """Begins anew at frame 0."""
        self._rows: NDArray[np.float32] = self._none
        self.start = self.end = 0
        self.overwritten = 0

    def append(self, frames: NDArray[np.float32]) -> None:
        """Takes the next frames.

        Args:
            frames: float32 [n, width]; copied, so that no larger array is kept alive for them.
        """
        rows = np.concatenate((self._rows, frames))
        self.end += len(frames)
        lost = len(rows) - self.capacity
        if lost > 0:
            self.overwritten += lost
            self.start += lost
            rows = rows[lost:].copy()
        self._rows = rows

    def release(self, frame: int) -> None:
        """Says that no frame before `frame` is needed any more."""
        if frame > self.start:
            self._rows = self._rows[frame - self.start :].copy()
            self.start = min(frame, self.end)

    def jump(self, count: int) -> None:
        """Moves on by frames that were never heard; nothing before them is kept."""
        self._rows = self._none
        self.end += count
        self.start = self.end

    def view(self, start: int, end: int) -> NDArray[np.float32]:
        """Frames `start` to `end` (exclusive): float32 [end - start, width], not to be changed.

        Raises:
            IndexError: frames that have not come yet, or are not kept any more.
        """
        if not self.start <= start <= end <= self.end:
            raise IndexError(
                f"frames {start} to {end} of a stream that keeps {self.start} to {self.end}"
            )
        return self._rows[start - self.start : end - self.start]
