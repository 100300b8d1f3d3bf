"""The fast values of an estimate, which are based on the newest three seconds."""

import numpy as np
import pytest
from mer_engine import Engine
from support import ManualClock, blocks, fast_values, music, values

from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.pipeline import Pipeline
from realtime_mer.core.types import Estimate, State

RATE_HZ = 16_000
TOLERANCE = 1e-5


def make_pipeline(engine: Engine, hop_s: float = 0.5, lag_order: int | None = None) -> Pipeline:
    config = PipelineConfig(hop_s=hop_s, lag_order=lag_order)
    return Pipeline(engine, sample_rate_hz=RATE_HZ, config=config, clock=ManualClock())


def analyze(pipeline: Pipeline, signal: np.ndarray, size: int = 1600) -> list[Estimate]:
    estimates = [e for block in blocks(signal, [size]) for e in pipeline.feed(block)]
    return estimates + pipeline.finish()


def fast_table(estimates: list[Estimate]) -> np.ndarray:
    return np.array([fast_values(e) for e in estimates])


@pytest.mark.parametrize("hop_s", [0.1, 0.5, 1.0])
def test_fast_values_equal_a_lag_order_of_six(fast_engine: Engine, hop_s: float) -> None:
    # Two pieces, a pause and a third piece: the window fills, changes and refills.
    pause = np.zeros((4 * RATE_HZ, 1), np.float32)
    parts = [music(7.0, RATE_HZ), music(6.0, RATE_HZ, seed=4), pause, music(5.0, RATE_HZ, seed=5)]
    signal = np.concatenate(parts)
    both = analyze(make_pipeline(fast_engine, hop_s), signal)
    short = analyze(make_pipeline(fast_engine, hop_s, lag_order=6), signal)
    got, expected = fast_table(both), values(short)[:, 1:7]
    np.testing.assert_allclose(got, expected, atol=TOLERANCE)
    assert all(e.fast is not None and e.fast.window_s == 3.0 for e in both)
    # They equal the main values up to three seconds and differ afterwards.
    main = values(both)[:, 1:7]
    difference = np.abs(main - got).max(1)
    times_s = np.array([e.t for e in both])
    assert difference[times_s <= 3.0].max() < TOLERANCE
    assert difference[(times_s >= 9.0) & (times_s <= 12.0)].min() > 1e-3
    assert got[:, 0].std() > 1e-3


@pytest.mark.parametrize("hop_s", [0.1, 0.3])
def test_block_sizes_do_not_change_fast_values(fast_engine: Engine, hop_s: float) -> None:
    signal = music(12.0, RATE_HZ)
    reference = analyze(make_pipeline(fast_engine, hop_s), signal, len(signal))
    for size in (333, 4410, 16_001):
        other = analyze(make_pipeline(fast_engine, hop_s), signal, size)
        np.testing.assert_allclose(fast_table(other), fast_table(reference), atol=TOLERANCE)


def test_fast_values_forget_earlier_music_sooner(fast_engine: Engine) -> None:
    before, after = music(10.0, RATE_HZ), music(10.0, RATE_HZ, seed=9)
    changed = {e.t: e for e in analyze(make_pipeline(fast_engine), np.concatenate([before, after]))}
    others = analyze(
        make_pipeline(fast_engine), np.concatenate([music(10.0, RATE_HZ, seed=2), after])
    )
    by_time = {e.t: e for e in others}

    def difference(t: float) -> tuple[float, float]:
        """Return how much the music before the change affects the fast and the main values."""
        one, other = changed[t], by_time[t]
        fast = np.subtract(fast_values(one), fast_values(other))
        return float(np.abs(fast).max()), abs(one.valence - other.valence)

    assert min(difference(11.0)) > 1e-4
    # Three seconds of steps, and nearly three seconds of context of the first step.
    fast, main = difference(16.0)
    assert fast < TOLERANCE < main
    assert max(difference(20.0)) < max(difference(11.0))


def test_silence_and_a_stall_repeat_fast_values(fast_engine: Engine) -> None:
    made = make_pipeline(fast_engine)
    signal = np.concatenate([music(8.0, RATE_HZ), np.zeros((3 * RATE_HZ, 1), np.float32)])
    estimates = {e.t: e for e in analyze(made, signal)}
    silent = [e for e in estimates.values() if e.state is State.SILENCE]
    assert len(silent) >= 4
    assert {e.fast for e in silent} == {estimates[8.5].fast}
    assert estimates[8.5].fast != estimates[7.5].fast
    assert made.repeat_last(State.STALLED).fast == silent[-1].fast
    made.reset()
    new = make_pipeline(fast_engine)
    assert made.repeat_last(State.STALLED).fast == new.repeat_last(State.STALLED).fast


def test_before_any_music_fast_values_are_the_prior(fast_engine: Engine) -> None:
    (first, *_) = analyze(make_pipeline(fast_engine), np.zeros((RATE_HZ, 1), np.float32))
    assert first.state is State.SILENCE
    assert first.fast is not None
    assert fast_values(first) == tuple(values([first])[0, 1:7])
    prior = fast_engine.info.prior["arousal"]
    assert (first.fast.arousal_low, first.fast.arousal_high) == (prior.low, prior.high)


def test_a_long_loss_empties_the_window_of_fast_values(fast_engine: Engine) -> None:
    made = make_pipeline(fast_engine)
    analyze(made, music(8.0, RATE_HZ))
    made.skip(60 * RATE_HZ)
    after = made.feed(music(2.0, RATE_HZ, seed=3))[-1]
    assert after.state is State.SETTLING
    # All music since the loss is within three seconds, so both values are equal.
    np.testing.assert_allclose(fast_values(after), values([after])[0, 1:7], atol=TOLERANCE)


@pytest.mark.parametrize("lag_order", [1, 5, 6])
def test_short_windows_have_no_fast_values(fast_engine: Engine, lag_order: int) -> None:
    estimates = analyze(make_pipeline(fast_engine, lag_order=lag_order), music(4.0, RATE_HZ))
    assert {e.fast for e in estimates} == {None}
    assert "fast" not in estimates[-1].to_dict()
    longer = analyze(make_pipeline(fast_engine, lag_order=7), music(4.0, RATE_HZ))
    assert all(e.fast is not None for e in longer)
