"""Limits how often something may happen."""

from __future__ import annotations

from realtime_mer.clock import Clock


class RateLimit:
    """A token bucket: allows a steady rate, and a burst on top of it.

    Each event has a cost in seconds: at a rate of 20 a second an event costs 0.05 s.

    Args:
        burst_s: cost that may be spent at once, in seconds.
        clock: the time source.
    """

    def __init__(self, burst_s: float, clock: Clock) -> None:
        self._burst_s = burst_s
        self._clock = clock
        self._paid_until = clock.monotonic()

    def delay_s(self, cost_s: float) -> float:
        """Spend a cost and return how many seconds to wait before going on (0 within the burst)."""
        now = self._clock.monotonic()
        self._paid_until = max(self._paid_until, now) + cost_s
        return max(0.0, self._paid_until - now - self._burst_s)

    def allows(self, cost_s: float) -> bool:
        """Spend a cost if that needs no waiting; otherwise spend nothing and return False."""
        now = self._clock.monotonic()
        if max(self._paid_until, now) + cost_s - now > self._burst_s:
            return False
        self._paid_until = max(self._paid_until, now) + cost_s
        return True
