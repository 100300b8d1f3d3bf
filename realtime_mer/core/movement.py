"""How much louder the music is at the moment than it was so far, which moves the settled values."""

from __future__ import annotations

import math

import numpy as np

from realtime_mer.core.ticks import TICKS_PER_SECOND

# The moment, and the music that it is compared with.
MOMENT_TICKS = 3 * TICKS_PER_SECOND
MUSIC_TICKS = 60 * TICKS_PER_SECOND
# A larger difference counts as this one.
MAX_RISE_DB = 12.0


class Movement:
    """Compares the level of the newest three seconds of a piece with that of its last minute.

    Only a difference counts, so the gain of the microphone does not matter.
    """

    def __init__(self) -> None:
        self._powers = np.zeros(MUSIC_TICKS)
        self.restart()

    def restart(self) -> None:
        """Forget the music so far."""
        self._count = 0

    def add(self, power: float) -> None:
        """Add a tick of music; silent ticks are left out.

        Args:
            power: audible power of the tick, above 0 (see `audible_powers`).
        """
        self._powers[self._count % MUSIC_TICKS] = power
        self._count += 1

    @property
    def rise_db(self) -> float:
        """Level of the moment minus level of the music so far, -12 to 12 dB; 0 without music."""
        if self._count == 0:
            return 0.0
        newest = np.arange(max(0, self._count - MOMENT_TICKS), self._count) % MUSIC_TICKS
        moment = float(self._powers[newest].mean())
        music = float(self._powers[: min(self._count, MUSIC_TICKS)].mean())
        if moment <= 0.0 or music <= 0.0:  # digital silence, with a silence level of -120 dB
            return 0.0
        return min(max(10.0 * math.log10(moment / music), -MAX_RISE_DB), MAX_RISE_DB)
