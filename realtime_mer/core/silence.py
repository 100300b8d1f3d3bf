"""Segmentation of a stream into pieces of music and silence."""

from __future__ import annotations

import math

import numpy as np

from realtime_mer.core.config import MIN_LEVEL_DB
from realtime_mer.core.ticks import TICKS_PER_SECOND

# A pause of this length counts as silence.
SILENCE_TICKS = 1 * TICKS_PER_SECOND
# Music after a pause of this length is a new piece, with an empty lag window.
NEW_PIECE_TICKS = 3 * TICKS_PER_SECOND


class SilenceDetector:
    """Finds silence and the starts of pieces from the level of each tick.

    Args:
        silence_db: RMS level in dBFS below which a tick is quiet.
        level_ticks: number of ticks that `level_db` averages.
    """

    def __init__(self, silence_db: float, level_ticks: int) -> None:
        self._threshold = 10.0 ** (silence_db / 10.0)
        self._powers = np.zeros(level_ticks)
        self.reset()

    def reset(self) -> None:
        """Start a new stream."""
        self._powers[:] = 0.0
        self._quiet_ticks = 0
        self._piece_start: int | None = None

    def forget_piece(self) -> None:
        """End the current piece, because audio was lost; what was lost has no level."""
        self._piece_start = None
        self._powers[:] = 0.0

    def add(self, power: float, tick: int) -> bool:
        """Add the tick that ends at `tick`.

        Args:
            power: audible power of the tick (see `audible_powers`).
            tick: number of complete ticks of the stream, this one included.

        Returns:
            Whether a new piece starts with this tick.
        """
        self._powers[(tick - 1) % len(self._powers)] = power
        if power < self._threshold:
            self._quiet_ticks += 1
            return False
        starts = self.between_pieces
        if starts:
            self._piece_start = tick - 1
        self._quiet_ticks = 0
        return starts

    @property
    def quiet(self) -> bool:
        """Whether the last tick was quiet, or there was none."""
        return self._piece_start is None or self._quiet_ticks > 0

    @property
    def silent(self) -> bool:
        """Whether the input is silent, or no piece has started yet."""
        return self._piece_start is None or self._quiet_ticks >= SILENCE_TICKS

    @property
    def between_pieces(self) -> bool:
        """Whether the last piece is over: music that follows starts a new one."""
        return self._piece_start is None or self._quiet_ticks >= NEW_PIECE_TICKS

    def piece_ticks(self, tick: int) -> int:
        """Return the number of ticks from the start of the current piece to `tick`."""
        return 0 if self._piece_start is None else tick - self._piece_start

    @property
    def level_db(self) -> float:
        """RMS level of the last `level_ticks` ticks in dBFS, at least `MIN_LEVEL_DB`.

        Mains hum does not count."""
        power = float(self._powers.mean())
        return max(10.0 * math.log10(power), MIN_LEVEL_DB) if power > 0.0 else MIN_LEVEL_DB
