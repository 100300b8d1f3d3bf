"""The ring of feature frames: fixed memory, one writer, one reader."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class FrameRing:
    """Holds the newest frames of a stream; the writer never waits and overwrites the oldest.

    Every frame is stored twice, one capacity apart, so that any run of frames is one contiguous
    view and reading copies nothing.

    Frames are counted from 0 at the start of the stream. The reader says with `release` how far it
    is done; frames that are overwritten before that are counted in `overwritten`.

    Args:
        capacity: number of frames that are kept.
        width: numbers in a frame.
    """

    def __init__(self, capacity: int, width: int) -> None:
        self.capacity = capacity
        self.width = width
        self._memory = np.zeros((2 * capacity, width), dtype=np.float32)
        self.reset()

    def reset(self) -> None:
        """Empties the ring; what lies before frame 0 is silence (zeros)."""
        self._memory[:] = 0.0
        self.written = 0
        self.released = 0
        self.overwritten = 0

    def append(self, frames: NDArray[np.float32]) -> None:
        """Writes frames.

        Args:
            frames: float32 [n, width], n up to the capacity.

        Raises:
            ValueError: more frames than the ring holds.
        """
        count = len(frames)
        if count > self.capacity:
            raise ValueError(f"{count} frames at once into a ring of {self.capacity}")
        start = self.written % self.capacity
        first = min(count, self.capacity - start)
        for offset in (start, start + self.capacity):
            self._memory[offset : offset + first] = frames[:first]
        for offset in (0, self.capacity):
            self._memory[offset : offset + count - first] = frames[first:]
        # Published last: a reader on another thread never sees a frame that is half written.
        self.written += count
        lost = self.written - self.capacity - self.released
        if lost > 0:
            self.overwritten += lost
            self.released += lost

    def release(self, end: int) -> None:
        """Says that the reader needs no frame before `end` any more."""
        self.released = max(self.released, min(end, self.written))

    def jump(self, count: int) -> None:
        """Moves on by frames that were never heard; everything kept becomes silence."""
        self._memory[:] = 0.0
        self.written += count
        self.released = self.written

    def view(self, start: int, end: int) -> NDArray[np.float32]:
        """Frames `start` to `end` (exclusive); frames before the stream's start read as silence.

        Args:
            start: may be negative, for context before the stream.
            end: at most `written`.

        Returns:
            float32 [end - start, width], a view that is valid until the next `append`.

        Raises:
            IndexError: frames that are not written yet, or overwritten already.
        """
        if end > self.written or start < self.written - self.capacity or start > end:
            raise IndexError(
                f"frames {start} to {end} of a ring that holds "
                f"{self.written - self.capacity} to {self.written}"
            )
        offset = start % self.capacity
        return self._memory[offset : offset + end - start]
