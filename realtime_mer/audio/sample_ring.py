"""Carries samples from the audio callback to a reader without ever making the callback wait."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realtime_mer.audio.source import Samples


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What a reader took: samples float32 [n, channels], n >= 1, and how many were lost before."""

    samples: Samples
    dropped_before: int


class SampleRing:
    """The newest sample frames, in memory that is laid out once.

    One thread writes, one thread reads. When the reader is late the oldest frames are overwritten
    and counted. The writer takes no lock that the reader holds: the positions are plain integers
    that only one side changes, and the reader checks after copying whether the writer has run
    over what it copied.

    Args:
        capacity_frames: how many sample frames are kept.
        channels: samples of a frame.
    """

    def __init__(self, capacity_frames: int, channels: int) -> None:
        if capacity_frames < 1 or channels < 1:
            raise ValueError(f"a ring of {capacity_frames} frames of {channels} channels")
        self._buffer = np.zeros((capacity_frames, channels), np.float32)
        self._capacity = capacity_frames
        self._claimed = 0  # the writer is overwriting everything before claimed - capacity
        self._written = 0  # frames before this one are complete
        self._read = 0
        self._lost = 0  # frames lost and not yet told
        # Locked means "nothing new". Only the reader locks it (waiting), others only unlock it,
        # and unlocking never waits.
        self._news = threading.Lock()
        self._news.acquire()

    @property
    def channels(self) -> int:
        """Samples of a frame."""
        return int(self._buffer.shape[1])

    @property
    def written(self) -> int:
        """Sample frames written since the start."""
        return self._written

    def write(self, samples: NDArray[np.float32]) -> None:
        """Add sample frames [n, channels]; never waits. Called by one thread only."""
        n = len(samples)
        if n > self._capacity:  # only the newest fit; the others count as overwritten
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

    def read(self, max_frames: int) -> Reading | None:
        """Take up to `max_frames` of the oldest frames, or None where there are none."""
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
            # What the writer claimed meanwhile may be half old and half new: it counts as lost.
            spoilt = min(n, max(0, self._claimed - self._capacity - start))
            self._lost += start + spoilt - self._read
            self._read = start + n
            if spoilt < n:
                lost, self._lost = self._lost, 0
                return Reading(samples[spoilt:], lost)

    def wait(self, timeout_s: float) -> bool:
        """Sleep until something was written (or `wake` was called); False after `timeout_s`."""
        return self._news.acquire(timeout=max(0.0, timeout_s))

    def wake(self) -> None:
        """End the reader's waiting, now or when it next begins."""
        if self._news.locked():
            with contextlib.suppress(RuntimeError):  # somebody else woke it in between
                self._news.release()
