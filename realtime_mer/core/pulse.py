"""The pulse of a stream between its estimates: level, bands and onsets, for what moves with it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realtime_mer.core.config import MIN_LEVEL_DB
from realtime_mer.core.onset_detector import FRAMES_PER_SECOND, Frame

FRAMES_PER_PULSE = 2
PULSES_PER_SECOND = FRAMES_PER_SECOND // FRAMES_PER_PULSE
# Each band is 1.37 octaves wide: 40, 103, 268, 693, 1,793, 4,639 and 12,000 Hz.
BANDS = 6
EDGES_HZ = 40.0 * 300.0 ** (np.arange(BANDS + 1) / BANDS)
# A sine at 1.0 has the power 1.5 in the bands of a frame, and a mean square of 0.5.
POWER_OF_MEAN_SQUARE = 3.0
# Only what is above tells whether there is sound at all: mains hum is below, and what the window
# spreads of it is 50 dB weaker there.
HUM_HZ = 180.0
# From the level of silence to this much above it, the bands fade in.
FADE_IN_DB = 10.0
# The reference of a band rises to its peaks within a tenth of a second and falls slowly; it stays
# near the loudest band and above the noise of a room.
REFERENCE_RISE = 1.0 - math.exp(-1.0 / (0.1 * PULSES_PER_SECOND))
REFERENCE_FALL_DB = 2.0 / PULSES_PER_SECOND
MAX_BELOW_LOUDEST_DB = 40.0
MIN_REFERENCE_DB = -45.0


@dataclass(frozen=True, slots=True)
class Pulse:
    """The sound of 20 ms. It is shown and never stored.

    Attributes:
        t: stream time of its end in seconds.
        level_db: RMS level of what is from 40 Hz to 12 kHz, dBFS; -120 in silence and mains hum.
        bands: six values, 0 to 1, from 40 Hz up: how loud each band is, relative to how loud it was
            in the last seconds.
        onset: strength, 0 to 1, of an onset 30 to 45 ms before `t`; 0 for none.
    """

    t: float
    level_db: float
    bands: tuple[float, ...]
    onset: float

    def to_dict(self) -> dict[str, object]:
        """Return the pulse as in messages."""
        return {
            "t": round(self.t, 2),
            "level_db": round(self.level_db, 1),
            "bands": [round(band, 2) for band in self.bands],
            "onset": round(self.onset, 2),
        }


class PulseMeter:
    """Makes 50 pulses a second of the frames of an `OnsetDetector`. The same samples give the same.

    Bands have a slow automatic gain, so that quiet and loud music look alive: each is its amplitude
    relative to its reference, at most 1. The reference rises to louder sound within 0.1 s and falls
    by 2 dB a second, but not below -45 dBFS and not 40 dB below that of the loudest band.
    Below the level of silence everything is 0, and up to 10 dB above it the bands fade in, so that
    the gain never shows noise.

    Args:
        edges_hz: limits of the bands of a frame (`SpectralFlux.edges_hz`), float64 [n + 1].
        silence_db: level below which there is no sound, dBFS.
    """

    def __init__(self, edges_hz: NDArray[np.float64], *, silence_db: float) -> None:
        middles_hz = np.sqrt(edges_hz[:-1] * edges_hz[1:])
        places = np.clip(np.searchsorted(EDGES_HZ, middles_hz) - 1, 0, BANDS - 1)
        self._sums = (places == np.arange(BANDS)[:, None]).astype(np.float32)
        self._above_hum = int(np.searchsorted(edges_hz[:-1], HUM_HZ))
        self._silence_db = silence_db
        self._reference_db = [MIN_REFERENCE_DB] * BANDS
        self._powers: list[NDArray[np.float32]] = []
        self._onset = 0.0

    def follow(self, frames: Iterable[Frame]) -> list[Pulse]:
        """Take in the next frames and return the pulses that they complete, in order."""
        pulses = []
        for frame in frames:
            self._powers.append(frame.powers)
            self._onset = max(self._onset, frame.onset or 0.0)
            if frame.number % FRAMES_PER_PULSE == 0:
                pulses.append(self._pulse(frame.t))
        return pulses

    def _pulse(self, t: float) -> Pulse:
        powers = np.maximum.reduce(self._powers)
        onset, self._onset = self._onset, 0.0
        self._powers.clear()
        audible_db = _db(float(powers[self._above_hum :].sum()))
        fade = min(1.0, max(0.0, (audible_db - self._silence_db) / FADE_IN_DB))
        if fade == 0.0:
            return Pulse(t, MIN_LEVEL_DB, (0.0,) * BANDS, 0.0)
        sums = (self._sums @ powers).tolist()
        bands_db = [_db(power) for power in sums]
        moved_db = []
        for db, reference_db in zip(bands_db, self._reference_db, strict=True):
            rise_db = REFERENCE_RISE * (db - reference_db)
            moved_db.append(reference_db + (rise_db if rise_db > 0.0 else -REFERENCE_FALL_DB))
        least_db = max(MIN_REFERENCE_DB, max(moved_db) - MAX_BELOW_LOUDEST_DB)
        self._reference_db = [max(least_db, db) for db in moved_db]
        bands = tuple(
            fade * min(1.0, 10.0 ** ((db - reference_db) / 20.0))
            for db, reference_db in zip(bands_db, self._reference_db, strict=True)
        )
        return Pulse(t, _db(sum(sums)), bands, fade * onset)


def _db(power: float) -> float:
    """Return the level of a power of bands in dBFS, -120 to 0."""
    return min(0.0, 10.0 * math.log10(power / POWER_OF_MEAN_SQUARE + 1e-12))
