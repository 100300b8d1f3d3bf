"""The shipped model distinguishes the moods of the demo piece."""

from itertools import pairwise

import numpy as np
import pytest
from mer_engine import Engine
from numpy.typing import NDArray

from realtime_mer.audio.demo import CHANNELS, SAMPLE_RATE_HZ, render_demo
from realtime_mer.audio.demo_piece import PASSAGES
from realtime_mer.core.mood import FOLLOW_S
from realtime_mer.core.pipeline import Pipeline
from realtime_mer.core.types import Estimate, State


@pytest.fixture(scope="module")
def estimates(engine: Engine) -> list[Estimate]:
    """The estimates of the demo piece, one a second."""
    pipeline = Pipeline(engine, sample_rate_hz=SAMPLE_RATE_HZ, channels=CHANNELS)
    piece = render_demo().astype(np.float32) / np.float32(32768)
    return [*pipeline.feed(piece), *pipeline.finish()]


@pytest.fixture(scope="module")
def moods(estimates: list[Estimate]) -> dict[str, NDArray[np.float64]]:
    """Mean valence and arousal of every passage, over windows that lie completely within it."""
    window_s = estimates[0].latency.window_s
    means = {}
    for passage in PASSAGES:
        inside = [
            (estimate.valence, estimate.arousal)
            for estimate in estimates
            if passage.start_s + window_s <= estimate.t <= passage.end_s
            and estimate.state == State.TRACKING
        ]
        assert len(inside) > 8
        means[passage.name] = np.mean(inside, axis=0)
    return means


MARGIN = 0.1


def test_joyful_has_higher_valence_and_arousal_than_sad(
    moods: dict[str, NDArray[np.float64]],
) -> None:
    assert (moods["joyful"] > moods["sad"] + 2 * MARGIN).all()


def test_tense_and_joyful_have_higher_arousal_than_calm_and_sad(
    moods: dict[str, NDArray[np.float64]],
) -> None:
    low = max(moods["calm"][1], moods["sad"][1])
    assert min(moods["tense"][1], moods["joyful"][1]) > low + MARGIN


def test_joyful_has_the_highest_valence_and_sad_the_lowest(
    moods: dict[str, NDArray[np.float64]],
) -> None:
    for other in ("calm", "tense"):
        assert moods["sad"][0] + MARGIN < moods[other][0] < moods["joyful"][0] - MARGIN


def test_the_word_follows_a_change_of_passage_within_three_seconds(
    estimates: list[Estimate],
) -> None:
    words = {estimate.t: estimate.mood for estimate in estimates}
    for passage in PASSAGES[1:]:
        before = words[np.floor(passage.start_s)]
        assert words[np.floor(passage.start_s + 3.0)] != before, passage.name


def test_the_word_changes_at_most_three_times_a_minute_within_passages(
    estimates: list[Estimate],
) -> None:
    changes_s = [b.t for a, b in pairwise(estimates) if a.mood != b.mood]
    # Each of the three changes of passage crosses one sector, so it makes one change of word, or
    # two where it shows the word of that sector. The start and a passage may add one each.
    assert len(PASSAGES) - 1 <= len(changes_s) <= 2 * (len(PASSAGES) - 1) + 2
    # Where the main values have caught up with the passage, the word is steady.
    steady_s = sum(passage.end_s - passage.start_s - FOLLOW_S for passage in PASSAGES)
    steady = [t for t in changes_s for p in PASSAGES if p.start_s + FOLLOW_S < t <= p.end_s]
    assert len(steady) <= 3 * steady_s / 60
