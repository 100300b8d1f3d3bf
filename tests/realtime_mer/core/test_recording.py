"""What is wrong with a recording is said after all of its estimates."""

import numpy as np
import pytest
from mer_engine import Engine
from support import FaultyEngine, blocks, music, values

from realtime_mer.core.pipeline import Pipeline
from realtime_mer.core.recording import analyze_requests
from realtime_mer.core.requests import run
from realtime_mer.core.types import Estimate
from realtime_mer.errors import UserError

RATE = 16_000


def analyze(engine: Engine, samples: np.ndarray) -> tuple[list[Estimate], str]:
    """Return the estimates and the error of a recording; the error is empty if there is none."""
    estimates: list[Estimate] = []
    pipeline = Pipeline(engine, sample_rate_hz=RATE)
    requests = analyze_requests("song", blocks(samples, (RATE,)), pipeline, estimates.extend)
    try:
        run(engine, requests)
    except UserError as error:
        return estimates, str(error)
    return estimates, ""


def test_far_too_large_samples_are_told_once_with_the_place_of_the_first(engine: Engine) -> None:
    broken, silenced = music(5.0, RATE), music(5.0, RATE)
    broken[[40_000, 70_000]], silenced[[40_000, 70_000]] = 1e20, 0.0
    estimates, error = analyze(engine, broken)
    expected, no_error = analyze(engine, silenced)
    np.testing.assert_array_equal(values(estimates), values(expected))
    assert error.startswith("song: sample 40000 is 1e+20, far above the full scale of 1")
    assert no_error == ""


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_recording_ends_at_a_sample_that_is_not_finite(engine: Engine, value: float) -> None:
    samples = music(5.0, RATE)
    samples[40_000] = value
    estimates, error = analyze(engine, samples)
    assert [e.t for e in estimates] == [1.0, 2.0]
    assert error.startswith(f"song: sample 40000 is not a finite number ({value})")


def test_a_faulty_engine_is_told(engine: Engine) -> None:
    estimates, error = analyze(FaultyEngine(engine, "steps", {1, 2}), music(5.0, RATE))
    assert len(estimates) == 5
    assert error == (
        f"song: the backend {engine.backend} returned numbers that are not finite, and the last "
        "values were repeated instead; if it goes on, choose another --backend"
    )
