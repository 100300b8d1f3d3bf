"""A ring buffer from the audio callback to a reader; the callback never waits."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realtime_mer.audio.source import Samples


@dataclass(frozen=True, slots=True, eq=False)
class RingRead:
    """Samples that were read from a ring.

    Attributes:
        samples: float32 [n, channels], n >= 1.
        dropped_before: sample frames that were lost before these.
    """

    samples: Samples
    dropped_before: int


class SampleRing:
    """Keeps the newest sample frames in memory that is allocated once.

    One thread writes, one thread reads. When the reader is late, the oldest frames are overwritten
    and counted as lost. The writer never waits for a lock: each position is an integer that only
    one side changes, and the reader checks after copying whether the writer has overwritten what
    it copied.

    Args:
        capacity_frames: size of the ring in sample frames.
        channels: samples per frame.
    """

    def __init__(self, capacity_frames: int, channels: int) -> None:
        if capacity_frames < 1 or channels < 1:
            raise ValueError(f"a ring of {capacity_frames} frames of {channels} channels")
        self._buffer = np.zeros((capacity_frames, channels), np.float32)
        self._capacity = capacity_frames
        self._claimed = 0  # frames before claimed - capacity may be overwritten at any time
        self._written = 0  # frames before this position are complete
        self._read = 0
        self._lost = 0  # lost frames that are not reported yet
        # Locked means "no new data". Only the reader locks it (by waiting); others only unlock it,
        # which never waits.
        self._new_data = threading.Lock()
        self._new_data.acquire()

    @property
    def channels(self) -> int:
        """Samples per frame."""
        return int(self._buffer.shape[1])

    @property
    def written(self) -> int:
        """Sample frames written since the start."""
        return self._written

    def write(self, samples: NDArray[np.float32]) -> None:
        """Add sample frames [n, channels]; never waits. Called by one thread only."""
        n = len(samples)
        if n > self._capacity:  # only the newest fit; the others count as lost
            self._claimed = self._written = self._written + n - self._capacity
            samples = samples[n - self._capacity :]
            n = self._capacity
        end = self._written + n
        self._claimed = end
        at = self._written % self._capacity
        first = min(n, self._capacity - at)
        self._buffer[at : at + first] = samples[:first]
        if first < n:
            self._buffer[: n - first] = samples[first:]
        self._written = end
        self.wake()

    def read(self, max_frames: int) -> RingRead | None:
        """Remove and return up to `max_frames` of the oldest frames; None if there are none."""
        while True:
            written = self._written
            start = max(self._read, written - self._capacity)
            n = min(written - start, max_frames)
            if n <= 0:
                return None
            at = start % self._capacity
            samples = np.empty((n, self._buffer.shape[1]), np.float32)
            first = min(n, self._capacity - at)
            samples[:first] = self._buffer[at : at + first]
            samples[first:] = self._buffer[: n - first]
            # Frames that the writer claimed meanwhile may be half overwritten: count them as lost.
            overwritten = min(n, max(0, self._claimed - self._capacity - start))
            self._lost += start + overwritten - self._read
            self._read = start + n
            if overwritten < n:
                lost, self._lost = self._lost, 0
                return RingRead(samples[overwritten:], lost)

    def wait(self, timeout_s: float) -> bool:
        """Wait until samples are written or `wake` is called; return False after `timeout_s`."""
        return self._new_data.acquire(timeout=max(0.0, timeout_s))

    def wake(self) -> None:
        """End the current or the next `wait`."""
        if self._new_data.locked():
            with contextlib.suppress(RuntimeError):  # another thread woke it in between
                self._new_data.release()
