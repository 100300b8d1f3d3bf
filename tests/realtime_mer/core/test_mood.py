"""Words of points, and how a stream's word changes."""

import math
from itertools import pairwise

import numpy as np
import pytest

from realtime_mer.core.decoder import Intervals
from realtime_mer.core.mood import (
    CHANGE_S,
    DWELL_S,
    ENTER_NEUTRAL_DISTANCE,
    HOLD_S,
    LEAVE_NEUTRAL_DISTANCE,
    NEUTRAL_DISTANCE,
    WORDS,
    Mood,
    mood_word,
)

HALF = 0.2


def at(valence: float, arousal: float, half: float = HALF) -> Intervals:
    """Return a point whose intervals have the same width."""
    return tuple((value, value - half, value + half) for value in (valence, arousal))


def polar(degrees: float, radius: float = 0.4) -> Intervals:
    """Return a point by its direction."""
    angle = math.radians(degrees)
    return at(radius * math.cos(angle), radius * math.sin(angle))


def follow(
    mood: Mood, points: list[Intervals], *, hop_s: float = 1.0, start_s: float = 0.0
) -> list[str | None]:
    """Feed points whose fast values are the same; return the word after each."""
    words = []
    for number, point in enumerate(points, 1):
        mood.update(start_s + number * hop_s, point, point)
        words.append(mood.word)
    return words


@pytest.mark.parametrize(
    ("valence", "arousal", "word"),
    [
        (0.0, 0.0, "neutral"),
        (0.02, -0.02, "neutral"),
        (0.03, -0.03, "calm"),
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
    assert mood_word(at(valence, arousal)) == word


def test_all_words_are_used() -> None:
    found = {mood_word(polar(degrees)) for degrees in range(360)}
    assert found | {"neutral"} == set(WORDS)


def test_neutral_depends_on_the_width_of_the_intervals() -> None:
    assert mood_word(at(0.05, 0.0, half=0.1)) == "pleased"
    assert mood_word(at(0.05, 0.0, half=0.4)) == "neutral"
    edge = HALF * NEUTRAL_DISTANCE
    assert mood_word(at(0.0, edge * 0.99)) == "neutral"
    assert mood_word(at(0.0, edge * 1.01)) == "excited"


def test_points_beyond_the_rim_count_as_at_the_rim() -> None:
    assert mood_word(at(3.0, 1.0)) == "joyful"
    assert mood_word(at(-3.0, -0.1)) == "uneasy"


def test_intervals_without_width_are_allowed() -> None:
    assert mood_word(at(0.1, 0.1, half=0.0)) == "joyful"


def test_no_word_before_the_first_music() -> None:
    mood = Mood()
    assert mood.word is None
    mood.update(0.5, polar(45), None)
    assert mood.word == "joyful"
    mood.reset()
    assert mood.word is None


def test_a_point_that_wavers_across_a_border_does_not_change_the_word() -> None:
    mood = Mood()
    words = follow(mood, [polar(67.5 + (4 if n % 2 else -4)) for n in range(120)])
    assert len(set(words)) == 1


def test_a_word_is_left_at_once_where_the_point_is_clearly_outside() -> None:
    mood = Mood()
    follow(mood, [polar(45)] * 10)
    assert follow(mood, [polar(115)], start_s=10.0) == ["tense"]


@pytest.mark.parametrize("hop_s", [0.1, 0.5, 1.0, 3.0])
def test_a_word_is_left_after_a_time_that_does_not_depend_on_the_hop(hop_s: float) -> None:
    mood = Mood()
    count = round(60.0 / hop_s)
    follow(mood, [polar(45)] * count, hop_s=hop_s)
    words = follow(mood, [polar(72)] * count, hop_s=hop_s, start_s=60.0)
    assert (words.index("excited")) * hop_s == pytest.approx(DWELL_S)


@pytest.mark.parametrize("hop_s", [0.1, 1.0])
def test_words_stay_for_some_seconds(hop_s: float) -> None:
    mood = Mood()
    words = follow(
        mood, [polar(45 if n % 2 else 225) for n in range(round(60 / hop_s))], hop_s=hop_s
    )
    changes = [n for n, (a, b) in enumerate(pairwise(words)) if a != b]
    assert len(changes) > 2
    assert min(np.diff(changes)) * hop_s >= HOLD_S - 1e-6


def test_neutral_has_hysteresis() -> None:
    mood = Mood()
    leave, enter = LEAVE_NEUTRAL_DISTANCE, ENTER_NEUTRAL_DISTANCE
    between = (NEUTRAL_DISTANCE + leave) / 2
    distances = [0.0, between, 0.0, leave * 0.96, 0.0, leave * 1.04]
    distances += [between, enter * 1.1, between, enter * 0.9]
    words = []
    for number, distance in enumerate(distances):
        mood.update(10.0 * number, at(distance * HALF, 0.0), None)
        words.append(mood.word)
    assert words == [*["neutral"] * 5, *["pleased"] * 4, "neutral"]


def test_fast_values_change_the_word_after_a_change_of_the_music() -> None:
    mood = Mood()
    follow(mood, [polar(45)] * 20)
    words = []
    for second in range(1, 15):
        # The main values need 10 s for the way, the fast ones 3 s.
        main, fast = (min(second / length, 1.0) for length in (10.0, CHANGE_S))
        mood.update(20.0 + second, *(at(0.3 - 0.6 * x, 0.3 - 0.6 * x) for x in (main, fast)))
        words.append(mood.word)
    assert words[2] == "sad"
    assert set(words[2:]) == {"sad"}


def test_without_fast_values_the_main_ones_decide() -> None:
    mood = Mood()
    for second in range(20):
        mood.update(second, polar(45), None)
    mood.update(21.0, polar(225), None)
    assert mood.word == "sad"


def test_a_new_piece_chooses_its_word_freely() -> None:
    mood = Mood()
    follow(mood, [polar(45)] * 20)
    mood.start_piece()
    assert mood.word == "joyful"
    assert follow(mood, [polar(72)], start_s=25.0) == ["excited"]


def test_noise_around_any_point_changes_the_word_at_most_three_times_a_minute() -> None:
    # The spread that the shipped model has within a piece, at an estimate a second.
    rng = np.random.default_rng(1)
    changes = minutes = 0
    for degrees in range(0, 360, 15):
        mood = Mood()
        valence, arousal = 0.2 * np.cos(np.radians(degrees)), 0.2 * np.sin(np.radians(degrees))
        steps = 0.03 * rng.standard_normal((240, 2))
        words = follow(mood, [at(valence + v, arousal + a) for v, a in steps])
        changes += sum(a != b for a, b in pairwise(words))
        minutes += 4
    assert changes / minutes < 3.0
