"""The course of a piece's loudness: the last seconds relative to the music so far."""

from __future__ import annotations

import math

import numpy as np

from realtime_mer.core.ticks import TICKS_PER_SECOND

RECENT_TICKS = 3 * TICKS_PER_SECOND
PAST_TICKS = 60 * TICKS_PER_SECOND
# More than this does not move the values further.
MAX_DB = 12.0


class Movement:
    """Compares the level of the last three seconds with that of the last minute of a piece.

    Only a difference of levels counts, so the gain of a microphone has no effect. Quiet ticks do
    not count.

    Args:
        quiet_power: audible power (see `audible_powers`) below which a tick is quiet.
    """

    def __init__(self, quiet_power: float) -> None:
        self._quiet_power = quiet_power
        self._powers = np.zeros(PAST_TICKS)
        self.start_piece()

    def start_piece(self) -> None:
        """Forget the music so far."""
        self._count = 0

    def add(self, power: float) -> None:
        """Add a tick of this audible power."""
        if power >= self._quiet_power:
            self._powers[self._count % PAST_TICKS] = power
            self._count += 1

    @property
    def level_change_db(self) -> float:
        """Level of the last seconds minus level so far, within `MAX_DB` of 0; 0 before music."""
        if not self._count:
            return 0.0
        past = self._powers[: min(self._count, PAST_TICKS)]
        recent = np.arange(max(0, self._count - RECENT_TICKS), self._count) % PAST_TICKS
        change = 10.0 * math.log10(float(self._powers[recent].mean()) / float(past.mean()))
        return min(max(change, -MAX_DB), MAX_DB)
