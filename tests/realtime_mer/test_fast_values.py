"""The second answer of every estimate: what the newest three seconds alone say."""

import numpy as np
import pytest
from mer_engine import Engine
from support import ManualClock, blocks, fast_values, music, values

from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.pipeline import Pipeline
from realtime_mer.core.types import Estimate, State

RATE_HZ = 16_000
TOLERANCE = 1e-5


def pipeline(engine: Engine, hop_s: float = 0.5, lag_order: int | None = None) -> Pipeline:
    config = PipelineConfig(hop_s=hop_s, lag_order=lag_order)
    return Pipeline(engine, sample_rate_hz=RATE_HZ, config=config, clock=ManualClock())


def run(made: Pipeline, signal: np.ndarray, size: int = 1600) -> list[Estimate]:
    estimates = [e for block in blocks(signal, [size]) for e in made.feed(block)]
    return estimates + made.finish()


def fast_table(estimates: list[Estimate]) -> np.ndarray:
    return np.array([fast_values(e) for e in estimates])


@pytest.mark.parametrize("hop_s", [0.1, 0.5, 1.0])
def test_fast_values_are_those_of_a_lag_order_of_six(fast_engine: Engine, hop_s: float) -> None:
    # Another piece after 7 s, and after it a pause and a third: the window fills, changes, refills.
    rest = np.zeros((4 * RATE_HZ, 1), np.float32)
    parts = [music(7.0, RATE_HZ), music(6.0, RATE_HZ, seed=4), rest, music(5.0, RATE_HZ, seed=5)]
    signal = np.concatenate(parts)
    both = run(pipeline(fast_engine, hop_s), signal)
    short = run(pipeline(fast_engine, hop_s, lag_order=6), signal)
    got, expected = fast_table(both), values(short)[:, 1:7]
    np.testing.assert_allclose(got, expected, atol=TOLERANCE)
    assert all(e.fast is not None and e.fast.window_s == 3.0 for e in both)
    # They are values of their own once the window is longer, and the same before.
    main = values(both)[:, 1:7]
    away = np.abs(main - got).max(1)
    heard_s = np.array([e.t for e in both])
    assert away[heard_s <= 3.0].max() < TOLERANCE
    assert away[(heard_s >= 9.0) & (heard_s <= 12.0)].min() > 1e-3
    assert got[:, 0].std() > 1e-3


@pytest.mark.parametrize("hop_s", [0.1, 0.3])
def test_block_sizes_change_nothing(fast_engine: Engine, hop_s: float) -> None:
    signal = music(12.0, RATE_HZ)
    whole = run(pipeline(fast_engine, hop_s), signal, len(signal))
    for size in (333, 4410, 16_001):
        other = run(pipeline(fast_engine, hop_s), signal, size)
        np.testing.assert_allclose(fast_table(other), fast_table(whole), atol=TOLERANCE)


def test_what_was_before_a_change_is_forgotten_sooner(fast_engine: Engine) -> None:
    before, after = music(10.0, RATE_HZ), music(10.0, RATE_HZ, seed=9)
    changed = {e.t: e for e in run(pipeline(fast_engine), np.concatenate([before, after]))}
    others = run(pipeline(fast_engine), np.concatenate([music(10.0, RATE_HZ, seed=2), after]))
    by_time = {e.t: e for e in others}

    def away(t: float) -> tuple[float, float]:
        """How much of what was before the change is left in the fast and in the main values."""
        one, other = changed[t], by_time[t]
        fast = np.subtract(fast_values(one), fast_values(other))
        return float(np.abs(fast).max()), abs(one.valence - other.valence)

    assert min(away(11.0)) > 1e-4
    # Three seconds of steps, and not quite three more that the encoder hears before the first.
    fast, main = away(16.0)
    assert fast < TOLERANCE < main
    assert max(away(20.0)) < max(away(11.0))


def test_silence_and_a_stall_hold_them(fast_engine: Engine) -> None:
    made = pipeline(fast_engine)
    signal = np.concatenate([music(8.0, RATE_HZ), np.zeros((3 * RATE_HZ, 1), np.float32)])
    estimates = {e.t: e for e in run(made, signal)}
    silent = [e for e in estimates.values() if e.state is State.SILENCE]
    assert len(silent) >= 4
    assert {e.fast for e in silent} == {estimates[8.5].fast}
    assert estimates[8.5].fast != estimates[7.5].fast
    held = made.hold(State.STALLED)
    assert held.fast == silent[-1].fast
    made.reset()
    assert made.hold(State.STALLED).fast == pipeline(fast_engine).hold(State.STALLED).fast


def test_before_any_music_they_are_the_prior_like_the_others(fast_engine: Engine) -> None:
    (first, *_) = run(pipeline(fast_engine), np.zeros((RATE_HZ, 1), np.float32))
    assert first.state is State.SILENCE
    assert first.fast is not None
    assert fast_values(first) == tuple(values([first])[0, 1:7])
    prior = fast_engine.info.prior["arousal"]
    assert (first.fast.arousal_low, first.fast.arousal_high) == (prior.low, prior.high)


def test_a_long_loss_settles_them_again(fast_engine: Engine) -> None:
    made = pipeline(fast_engine)
    run(made, music(8.0, RATE_HZ))
    made.skip(60 * RATE_HZ)
    after = made.feed(music(2.0, RATE_HZ, seed=3))[-1]
    assert after.state is State.SETTLING
    # All that was heard since is within three seconds: both answers are one.
    np.testing.assert_allclose(fast_values(after), values([after])[0, 1:7], atol=TOLERANCE)


@pytest.mark.parametrize("lag_order", [1, 5, 6])
def test_a_window_no_longer_than_theirs_has_none(fast_engine: Engine, lag_order: int) -> None:
    estimates = run(pipeline(fast_engine, lag_order=lag_order), music(4.0, RATE_HZ))
    assert {e.fast for e in estimates} == {None}
    assert "fast" not in estimates[-1].to_dict()
    longer = run(pipeline(fast_engine, lag_order=7), music(4.0, RATE_HZ))
    assert all(e.fast is not None for e in longer)
