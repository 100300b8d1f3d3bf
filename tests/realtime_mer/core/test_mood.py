import math

import pytest

from realtime_mer.core.mood import NEUTRAL_RADIUS, WORDS, mood_word


@pytest.mark.parametrize(
    ("valence", "arousal", "word"),
    [
        (0.0, 0.0, "neutral"),
        (0.05, -0.05, "neutral"),
        (0.5, 0.5, "joyful"),
        (-0.4, 0.4, "tense"),
        (-0.3, -0.3, "sad"),
        (0.3, -0.3, "calm"),
        (0.0, 0.9, "excited"),
        (0.9, 0.0, "pleased"),
        (-0.9, 0.0, "uneasy"),
        (0.0, -0.9, "still"),
        (-1.0, -0.0, "uneasy"),
    ],
)
def test_words_of_points(valence: float, arousal: float, word: str) -> None:
    assert mood_word(valence, arousal) == word


def test_all_words_are_used() -> None:
    angles = [math.radians(degree) for degree in range(360)]
    found = {mood_word(math.cos(angle), math.sin(angle)) for angle in angles}
    assert found | {"neutral"} == set(WORDS)
    assert mood_word(NEUTRAL_RADIUS * 1.01, 0.0) == "pleased"
