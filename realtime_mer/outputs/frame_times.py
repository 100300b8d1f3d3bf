"""When the frames of an output are due."""

from __future__ import annotations

import math

from realtime_mer.outputs.output import MAX_RATE_HZ

_EARLIEST = 0.75
"""The share of a pause after which one estimate follows another at once; sooner in a burst only."""


class FrameTimes:
    """Spreads frames evenly between estimates, which come every hop and are sent at once.

    A frame that is due about when the next estimate is expected waits for it, so that each hop has
    the same number of frames. If the estimate does not come, the frames go on without it.

    Args:
        rate_hz: frames per second at most.
        hop_s: seconds between estimates.
        now_s: monotonic time in seconds.

    Attributes:
        due_s: monotonic time of the next frame if no estimate comes, in seconds; infinite before
            the first estimate.
    """

    def __init__(self, rate_hz: float, hop_s: float, now_s: float) -> None:
        self._per_hop = int(rate_hz * hop_s + 1e-6)
        self._pause_s = hop_s / self._per_hop if self._per_hop else 1.0 / rate_hz
        self._hop_s = hop_s
        self._left = 0
        self._sent_s = self._estimate_s = now_s - self._pause_s
        # Of frames that are rarer than estimates: when the next one may be sent.
        self._next_s = now_s
        self.due_s = math.inf

    def due_with_estimate(self, now_s: float) -> bool:
        """Return whether a frame is sent for a new estimate; it then counts as sent."""
        if not self._per_hop:
            if now_s < self._next_s - self._hop_s / 2.0:
                return False
            self._next_s = max(self._next_s + self._pause_s, now_s + self._pause_s / 2.0)
            self.due_s = self._next_s + self._hop_s
            return True
        self._left = self._per_hop - 1
        if now_s < self._estimate_s + _EARLIEST * self._pause_s:
            self._await_next(self._sent_s)
            return False
        self._sent_s = self._estimate_s = now_s
        self._await_next(now_s)
        return True

    def due_without_estimate(self, now_s: float) -> bool:
        """Return whether a frame is due; it then counts as sent."""
        if now_s < self.due_s:
            return False
        self._sent_s = now_s
        if not self._per_hop:
            self._next_s = now_s + self._pause_s
            self.due_s = self._next_s
            return True
        self._left -= 1
        # From when it was due, so that the delays of the scheduler do not add up.
        self._await_next(max(self.due_s, now_s - self._pause_s / 2.0))
        return True

    def hurry(self, now_s: float) -> None:
        """Make a frame due now, or as soon as the highest rate allows, if there was an estimate."""
        if self.due_s != math.inf:
            self.due_s = min(self.due_s, max(now_s, self._sent_s + 1.0 / MAX_RATE_HZ))

    def _await_next(self, last_s: float) -> None:
        """Set when the next frame is due after one at `last_s`."""
        pauses = 1.5 if self._left == 0 else 1.0
        self.due_s = last_s + pauses * self._pause_s
