"""Pace audio to real time, so that a file or a fast pipe plays as if it were live."""

from __future__ import annotations

from realtime_mer.clock import Clock

DRIFT_TOLERANCE = 1.002
"""How much faster than the clock a live producer may run: sound cards differ by up to 0.1 %.

With exact pacing, the data of a fast producer would pile up in the pipe until it overflows. With
this tolerance the reader always catches up; a file plays at most 0.2 % fast.
"""


LIVE_LEAD_S = 1.0
"""How far ahead of real time a live producer may run before it is delayed.

Data that piled up in the pipe during the start, or that arrives in bursts, passes at once and adds
no permanent delay. A file that `cat` feeds is still paced.
"""


class Pacer:
    """Computes how long to wait before each block.

    A block is due when its last sample would have been captured. Blocks of a live producer are due
    `LIVE_LEAD_S` earlier and are never late. A stream that is late by more than `catch_up_s`
    (standby, a paused producer) restarts its schedule instead of catching up.

    Args:
        sample_rate_hz: of the stream.
        clock: gives the time.
        exact: True for files, which have no clock; False for live producers with their own clock
            (`Input.live`), which get `DRIFT_TOLERANCE`.
        catch_up_s: how late, in seconds, a stream may be and still catch up.

    Attributes:
        late_s: how late, in seconds, the newest block of an exact stream is.
    """

    def __init__(
        self, sample_rate_hz: int, clock: Clock, *, exact: bool = True, catch_up_s: float = 1.0
    ) -> None:
        self._seconds_per_frame = 1.0 / (sample_rate_hz * (1.0 if exact else DRIFT_TOLERANCE))
        self._clock = clock
        self._exact = exact
        self._catch_up_s = catch_up_s
        self._anchor: float | None = None
        self._frames = 0
        self.late_s = 0.0

    def delay_s(self, n_frames: int) -> float:
        """Return the seconds (>= 0) to wait before a block of `n_frames`; call once per block."""
        now = self._clock.monotonic()
        if self._anchor is None:
            self._anchor = now
        self._frames += n_frames
        due = self._anchor + self._frames * self._seconds_per_frame
        if not self._exact:
            if due < now:
                # The producer is slower than real time: restart the schedule.
                self._anchor, self._frames, due = now, 0, now
            return max(0.0, due - LIVE_LEAD_S - now)
        if now - due > self._catch_up_s:
            self._anchor = now
            self._frames = 0
            self.late_s = 0.0
            return 0.0
        self.late_s = max(0.0, now - due)
        return max(0.0, due - now)
