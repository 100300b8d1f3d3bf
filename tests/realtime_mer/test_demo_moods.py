"""The demo is meant to be understood by everybody, so also by the model that ships."""

import numpy as np
import pytest
from mer_engine import Engine
from numpy.typing import NDArray

from realtime_mer.audio.demo import CHANNELS, SAMPLE_RATE_HZ, render_demo
from realtime_mer.audio.demo_piece import PASSAGES
from realtime_mer.core.pipeline import Pipeline
from realtime_mer.core.types import State


@pytest.fixture(scope="module")
def heard(engine: Engine) -> dict[str, NDArray[np.float64]]:
    """Valence and arousal of every passage, where the window lies in it as a whole."""
    pipeline = Pipeline(engine, sample_rate_hz=SAMPLE_RATE_HZ, channels=CHANNELS)
    piece = render_demo().astype(np.float32) / np.float32(32768)
    estimates = [*pipeline.feed(piece), *pipeline.finish()]
    moods = {}
    for passage in PASSAGES:
        inside = [
            (estimate.valence, estimate.arousal)
            for estimate in estimates
            if passage.start_s + pipeline.window_s <= estimate.t <= passage.end_s
            and estimate.state == State.TRACKING
        ]
        assert len(inside) > 8
        moods[passage.name] = np.mean(inside, axis=0)
    return moods


MARGIN = 0.1


def test_joy_is_livelier_and_brighter_than_sadness(heard: dict[str, NDArray[np.float64]]) -> None:
    assert (heard["joyful"] > heard["sad"] + 2 * MARGIN).all()


def test_tension_and_joy_are_more_aroused_than_calm_and_sadness(
    heard: dict[str, NDArray[np.float64]],
) -> None:
    low = max(heard["calm"][1], heard["sad"][1])
    assert min(heard["tense"][1], heard["joyful"][1]) > low + MARGIN


def test_joy_is_the_most_pleasant_and_sadness_the_least(
    heard: dict[str, NDArray[np.float64]],
) -> None:
    for other in ("calm", "tense"):
        assert heard["sad"][0] + MARGIN < heard[other][0] < heard["joyful"][0] - MARGIN
