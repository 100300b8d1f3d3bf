"""Clocks: monotonic, UTC, and one that counts sleep; times and durations as people read them."""

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


def clock_text(t_s: float) -> str:
    """Return a stream time such as `4:05` or `1:04:05`; the second that it falls in."""
    minutes, seconds = divmod(int(t_s + 1e-6), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def exact_clock_text(t_s: float) -> str:
    """Return a stream time such as `4:05.3`; the tenth of a second that it falls in."""
    tenths = int(10.0 * t_s + 1e-5)
    return f"{clock_text(tenths // 10)}.{tenths % 10}"


def duration_text(seconds: float) -> str:
    """Return a duration such as `45 s`, `2 min 5 s`, `12 min` or `1 h 2 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s" if whole or not seconds else f"{seconds:.1f} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 10 and rest:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(whole / 60), 60)
    if not hours:
        return f"{minutes} min"
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
