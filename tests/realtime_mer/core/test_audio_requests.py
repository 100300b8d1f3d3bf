"""What is wrong with a file is said after all of its estimates."""

import numpy as np
import pytest
from mer_engine import Engine
from support import FaultInjector, FaultyEngine, blocks, music, values

from realtime_mer.core.audio_requests import analyze_requests
from realtime_mer.core.pipeline import Pipeline
from realtime_mer.core.requests import run
from realtime_mer.core.types import Estimate
from realtime_mer.errors import EngineError, UserError

RATE = 16_000


def analyze(engine: Engine, samples: np.ndarray) -> tuple[list[Estimate], str]:
    """Return the estimates and the error of a recording; the error is empty if there is none."""
    estimates: list[Estimate] = []
    try:
        analyze_all(engine, samples, estimates)
    except UserError as error:
        return estimates, str(error)
    return estimates, ""


def analyze_all(engine: Engine, samples: np.ndarray, estimates: list[Estimate]) -> None:
    pipeline = Pipeline(engine, sample_rate_hz=RATE)
    run(
        engine,
        analyze_requests("song", blocks(samples, (RATE,)), pipeline, estimates.extend),
    )


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


def test_a_failing_engine_ends_a_recording_without_repeated_values(engine: Engine) -> None:
    samples = music(5.0, RATE)
    with pytest.raises(EngineError) as raised:
        analyze_all(FaultyEngine(engine, "steps", {2, 3}), samples, estimates := list[Estimate]())
    expected, _ = analyze(engine, samples)
    np.testing.assert_array_equal(values(estimates), values(expected[:2]))
    assert str(raised.value) == (
        f"song: the backend {engine.backend} failed (NotFiniteError: it returned numbers that are "
        "not finite) after 3.0 s of the audio, also when the call was repeated; try again, or "
        "choose another --backend"
    )
    assert raised.value.exit_code == 1


def test_a_call_that_works_when_it_is_repeated_changes_nothing(engine: Engine) -> None:
    injector = FaultInjector(engine)
    injector.failing = {1, 4}
    samples = music(5.0, RATE)
    analyze_all(injector, samples, estimates := list[Estimate]())
    expected, _ = analyze(engine, samples)
    np.testing.assert_array_equal(values(estimates), values(expected))
    assert injector.calls == 7
