"""Notices when the wall clock is set, and when the computer has slept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from realtime_mer.clock import Clock, iso_utc
from realtime_mer.live.hub import Notice

# A clock that is only corrected (slewed) gains or loses less than 1 ms in a second.
MIN_CHANGE_S = 2.0
# Between the readings of two clocks, the program may be stopped; then they are read again.
_MAX_READING_S = 0.1
_MAX_READINGS = 3


@dataclass(frozen=True, slots=True)
class Gap:
    """What happened to the clocks since the last look.

    Attributes:
        slept_s: seconds that the computer slept and `Clock.monotonic` stood still; 0 if it did not.
        notices: what to tell, `computer_slept` before `clock_changed`.
    """

    slept_s: float
    notices: tuple[Notice, ...]


class ClockWatch:
    """Compares the clocks again and again; call `look` every second or more often.

    Only steps are seen, not the small corrections of a clock that is kept right. Where the
    monotonic clock goes on during sleep (Windows), sleep looks like a program that was stopped.

    Args:
        clock: gives the times.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = self._read()

    def look(self) -> Gap:
        """Return what happened since the last look."""
        before, now = self._last, self._read()
        self._last = now
        passed_s = now.boottime - before.boottime
        slept_s = passed_s - (now.monotonic - before.monotonic)
        if slept_s < MIN_CHANGE_S:
            slept_s = 0.0
        notices = []
        if slept_s:
            notices.append(
                Notice("computer_slept", f"the computer slept for {slept_s:.0f} s (until {now})")
            )
        expected = before.utc + timedelta(seconds=passed_s)
        if abs((now.utc - expected).total_seconds()) >= MIN_CHANGE_S:
            notices.append(
                Notice(
                    "clock_changed",
                    f"the computer's clock was set from {iso_utc(expected)} to {now}; "
                    "times from here on follow it",
                )
            )
        return Gap(slept_s, tuple(notices))

    def _read(self) -> _Times:
        for _ in range(_MAX_READINGS):
            monotonic = self._clock.monotonic()
            times = _Times(monotonic, self._clock.boottime(), self._clock.utc())
            if self._clock.monotonic() - monotonic < _MAX_READING_S:
                break
        return times


@dataclass(frozen=True, slots=True)
class _Times:
    monotonic: float
    boottime: float
    utc: datetime

    def __str__(self) -> str:
        return iso_utc(self.utc)
