"""When a lost input is tried again, and which reasons for its absence are told."""

from __future__ import annotations

import random

from realtime_mer.clock import Clock

FIRST_RETRY_S = 0.5
LAST_RETRY_S = 10.0
MAX_RETRY_AFTER_S = 600.0
"""The longest pause that a server may ask for (`Retry-After`), in seconds."""
NEWS_PAUSE_S = 60.0
"""A new reason is told at most this often, in seconds."""
_JITTER = 0.2  # so that many listeners of a server do not all come back in the same moment
_STEADY_S = 10.0  # an input that is lost again sooner never really came back


class Retry:
    """The pauses between attempts to reopen an input: they grow until it plays for ten seconds.

    Args:
        clock: gives the time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pause_s = FIRST_RETRY_S
        self._back_at = -_STEADY_S
        self._told: set[str] = set()
        self._told_at = 0.0

    def lost(self, reason: str) -> None:
        """Note that the input is lost and that the reason is told."""
        now = self._clock.monotonic()
        if now - self._back_at >= _STEADY_S:
            self._pause_s = FIRST_RETRY_S
        self._told = {reason}
        self._told_at = now

    def back(self) -> None:
        """Note that audio arrives again."""
        self._back_at = self._clock.monotonic()

    def next_pause_s(self, retry_after_s: float | None = None) -> float:
        """Return how long to wait before the next attempt, in seconds.

        Args:
            retry_after_s: the shortest pause that the server asks for, or None.
        """
        pause_s = self._pause_s * (1.0 - _JITTER * random.random())
        self._pause_s = min(2.0 * self._pause_s, LAST_RETRY_S)
        return max(pause_s, min(retry_after_s or 0.0, MAX_RETRY_AFTER_S))

    def is_news(self, reason: str) -> bool:
        """Return whether a reason of a failed attempt is to be told now; it then counts as told."""
        now = self._clock.monotonic()
        if reason in self._told or now - self._told_at < NEWS_PAUSE_S:
            return False
        self._told.add(reason)
        self._told_at = now
        return True
