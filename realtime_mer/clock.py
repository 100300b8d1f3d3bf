"""Clocks: monotonic time for durations, ISO 8601 UTC for output, and one that counts sleep."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """A source of time, so that tests can set it."""

    def monotonic(self) -> float:
        """Return seconds since an arbitrary start; never decreases."""
        ...

    def utc(self) -> datetime:
        """Return the current time as an aware datetime in UTC."""
        ...

    def boottime(self) -> float:
        """Return seconds as `monotonic`, from another start, and those of the computer's sleep."""
        ...


class SystemClock:
    """The clocks of the machine."""

    def monotonic(self) -> float:
        return time.monotonic()

    def utc(self) -> datetime:
        return datetime.now(UTC)

    def boottime(self) -> float:
        if sys.platform == "linux":
            return time.clock_gettime(time.CLOCK_BOOTTIME)
        if sys.platform == "darwin":  # where `time.monotonic` is another clock, which stops
            return time.clock_gettime(time.CLOCK_MONOTONIC)
        return time.monotonic()  # of Windows: it goes on during sleep


def iso_utc(moment: datetime) -> str:
    """Format a time as ISO 8601 UTC with milliseconds, such as `2026-05-01T20:15:00.250Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
