"""How often something may happen."""

from __future__ import annotations

from realtime_mer.clock import Clock


class RateLimit:
    """Lets things through at a steady rate, and a burst of them at once.

    What happens is measured by its cost in seconds: with a rate of 20 a second each costs 0.05 s.

    Args:
        burst_s: cost that may be spent at once.
        clock: tells the time.
    """

    def __init__(self, burst_s: float, clock: Clock) -> None:
        self._burst_s = burst_s
        self._clock = clock
        self._paid_until = clock.monotonic()

    def delay_s(self, cost_s: float) -> float:
        """Spends a cost; how long to wait before going on (0 while within the burst)."""
        now = self._clock.monotonic()
        self._paid_until = max(self._paid_until, now) + cost_s
        return max(0.0, self._paid_until - now - self._burst_s)

    def allows(self, cost_s: float) -> bool:
        """Spends a cost where that needs no waiting; otherwise spends nothing and says no."""
        now = self._clock.monotonic()
        if max(self._paid_until, now) + cost_s - now > self._burst_s:
            return False
        self._paid_until = max(self._paid_until, now) + cost_s
        return True
