"""The ticks at which a pipeline has work to do."""

from __future__ import annotations

import math

from realtime_mer.core.ticks import TICKS_PER_STEP


class Schedule:
    """The ticks of estimates and of the steps between them.

    An estimate is due every `hops_per_estimate` hops. The steps of later windows end
    `spacing_ticks` apart. Where that is less than a step, the windows interleave, and the
    embeddings of the steps in between are needed too.

    Args:
        hop_ticks: ticks between two estimates at the full rate.

    Attributes:
        hops_per_estimate: 1 at the full rate.
        spacing_ticks: ticks between the ends of the steps of all windows: 1 or a step.
    """

    def __init__(self, hop_ticks: int) -> None:
        self._hop_ticks = hop_ticks
        self.set_rate(1)

    def set_rate(self, hops_per_estimate: int) -> None:
        """Change the number of hops between two estimates."""
        self.hops_per_estimate = hops_per_estimate
        self._period_ticks = hops_per_estimate * self._hop_ticks
        self.spacing_ticks = math.gcd(self._period_ticks, TICKS_PER_STEP)

    @property
    def interleaved(self) -> bool:
        """Whether windows need steps that end between two estimates."""
        return self.spacing_ticks < TICKS_PER_STEP

    def is_hop(self, tick: int) -> bool:
        """Return whether an estimate would be due at `tick` at the full rate."""
        return tick % self._hop_ticks == 0

    def is_estimate(self, tick: int) -> bool:
        """Return whether an estimate is due at `tick`."""
        return tick % self._period_ticks == 0

    def next_estimate(self, tick: int) -> int:
        """Return the tick of the first estimate after `tick`."""
        return (tick // self._period_ticks + 1) * self._period_ticks

    def last_estimate(self, tick: int) -> int:
        """Return the tick of the last estimate up to and including `tick`."""
        return tick // self._period_ticks * self._period_ticks

    def next_event(self, tick: int) -> int:
        """Return the first tick after `tick` with any work, at most a hop later."""
        period = self.spacing_ticks if self.interleaved else self._hop_ticks
        return (tick // period + 1) * period
