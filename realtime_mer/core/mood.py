"""Mood words for points on the valence-arousal plane."""

from __future__ import annotations

import math

# Points within this distance of the centre are neutral: music rated as neutral lies here.
NEUTRAL_RADIUS = 0.08

# Eight sectors of 45 degrees, counter-clockwise from positive valence, in the order of Russell's
# circumplex (1980). The diagonals are the four quadrants that listeners distinguish best.
SECTORS = ("pleased", "joyful", "excited", "tense", "uneasy", "sad", "still", "calm")
WORDS = ("neutral", *SECTORS)


def mood_word(valence: float, arousal: float) -> str:
    """Return the word for a point: its sector, or `neutral` near the centre.

    Args:
        valence, arousal: the point, each in [-1, 1].
    """
    if math.hypot(valence, arousal) < NEUTRAL_RADIUS:
        return WORDS[0]
    sector = round(math.atan2(arousal, valence) / (math.pi / 4)) % 8
    return SECTORS[sector]
