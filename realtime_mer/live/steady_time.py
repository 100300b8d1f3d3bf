"""A time for what lasts: it also passes while no audio arrives."""

from __future__ import annotations

from realtime_mer.core.types import Estimate, State

_LONGEST_HOP_S = 1.0


class SteadyTime:
    """Stream time that goes on in a stall, in which the stream's own time stands still.

    A stall has one estimate per hop. If the stream time jumps after it, because the audio was lost,
    the jump counts only as far as the stall did not.

    Attributes:
        now_s: seconds since the first estimate.
    """

    def __init__(self) -> None:
        self.now_s = 0.0
        self._t: float | None = None
        self._hop_s = _LONGEST_HOP_S
        self._stalled_s = 0.0

    def update(self, estimate: Estimate) -> float:
        """Take in the next estimate of a stream; return `now_s`."""
        step_s = 0.0 if self._t is None else estimate.t - self._t
        self._t = estimate.t
        if step_s > 0.0:
            counted_s = min(self._stalled_s, max(0.0, step_s - self._hop_s))
            self._stalled_s = 0.0
            self._hop_s = min(step_s - counted_s, _LONGEST_HOP_S)
            self.now_s += step_s - counted_s
        elif estimate.state is State.STALLED:
            self._stalled_s += self._hop_s
            self.now_s += self._hop_s
        return self.now_s
