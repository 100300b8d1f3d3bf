"""Holds audio back to real time, so that a file or a fast pipe plays as if it were live."""

from __future__ import annotations

from realtime_mer.clock import Clock

DRIFT_TOLERANCE = 1.002
"""How much faster than our clock a live producer may run: sound cards differ by up to 0.1 %.

Exact pacing would let such a producer back up in the pipe, a little later every minute, until it
overruns; this much faster, we always catch up, and a file plays 0.2 % fast at most.
"""


LIVE_LEAD_S = 1.0
"""How far ahead of real time a live producer may run before it is held back.

What piled up in the pipe while we started, or arrives in bursts, goes through at once instead of
staying between the producer and us as a delay for good; a file that `cat` feeds is still paced.
"""


class Pacer:
    """Says how long to wait before each block may go on.

    A block is due when its last sample would have been captured; a live producer's may go on
    `LIVE_LEAD_S` sooner, and are never late. A stream that falls behind by more
    than `catch_up_s` (the machine slept, the producer paused) starts afresh from then instead of
    rushing through what it missed.

    Args:
        sample_rate_hz: of the stream.
        clock: what tells the time.
        exact: True for files (our clock is the only one), False for live producers with a clock
            of their own (`InputInfo.live`), which get `DRIFT_TOLERANCE`.
        catch_up_s: how far behind, in seconds, a stream may be and still catch up at full speed.

    Attributes:
        late_s: how far behind, in seconds, the newest block of an exact stream is.
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
        """Seconds (>= 0) to wait before the block of `n_frames` may go on; call once a block."""
        now = self._clock.monotonic()
        if self._anchor is None:
            self._anchor = now
        self._frames += n_frames
        due = self._anchor + self._frames * self._seconds_per_frame
        if not self._exact:
            if due < now:
                # The producer is the slower one: from now on its lead counts afresh.
                self._anchor, self._frames, due = now, 0, now
            return max(0.0, due - LIVE_LEAD_S - now)
        if now - due > self._catch_up_s:
            self._anchor = now
            self._frames = 0
            self.late_s = 0.0
            return 0.0
        self.late_s = max(0.0, now - due)
        return max(0.0, due - now)
