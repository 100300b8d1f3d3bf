import dataclasses
import math

import numpy as np
import pytest
from fast_support import tones
from mer_engine import Engine
from support import ManualClock, blocks, music, values

from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.movement import MAX_RISE_DB, MOMENT_TICKS, MUSIC_TICKS, Movement
from realtime_mer.core.pipeline import Pipeline
from realtime_mer.core.types import Estimate, State

RATE_HZ = 16_000
MOVEMENT = {"arousal": 0.02, "valence": 0.012}


def play(movement: Movement, power: float, ticks: int) -> float:
    for _ in range(ticks):
        movement.add(power)
    return movement.rise_db


def test_steady_music_does_not_move() -> None:
    movement = Movement()
    assert movement.rise_db == 0.0
    assert play(movement, 0.01, 7) == pytest.approx(0.0)
    assert play(movement, 0.01, 2 * MUSIC_TICKS) == pytest.approx(0.0)


@pytest.mark.parametrize("gain", [1.0, 1e-3])
def test_the_rise_is_that_over_the_music_so_far_at_any_gain(gain: float) -> None:
    movement = Movement()
    play(movement, 0.01 * gain, 270)
    # 30 ticks of the quadruple power: the mean of all 300 is 1.3 times that before.
    assert play(movement, 0.04 * gain, MOMENT_TICKS) == pytest.approx(10 * math.log10(4 / 1.3))
    assert play(movement, 0.04 * gain, MUSIC_TICKS) == pytest.approx(0.0)
    movement.restart()
    assert play(movement, 0.01 * gain, 1) == 0.0


def test_the_rise_is_bounded() -> None:
    movement = Movement()
    play(movement, 1e-6, 600)
    assert play(movement, 1.0, MOMENT_TICKS) == MAX_RISE_DB
    play(movement, 1.0, 600)
    assert play(movement, 1e-6, MOMENT_TICKS) == -MAX_RISE_DB


def moving(engine: Engine) -> Engine:
    """Return an engine of the same model whose file has a movement."""
    made = object.__new__(type(engine))
    made.__dict__.update(engine.__dict__)
    made.info = dataclasses.replace(engine.info, movement=MOVEMENT)
    return made


def analyze(
    engine: Engine, signal: np.ndarray, sizes: list[int], lag_order: int | None = None
) -> list[Estimate]:
    config = PipelineConfig(hop_s=0.5, lag_order=lag_order)
    made = Pipeline(engine, sample_rate_hz=RATE_HZ, config=config, clock=ManualClock())
    return [e for block in blocks(signal, sizes) for e in made.feed(block)] + made.finish()


def song() -> np.ndarray:
    """Return 8 s of quiet and 4 s of loud music, a pause and a new loud piece."""
    quiet = 0.25 * music(8.0, RATE_HZ)
    pause = np.zeros((4 * RATE_HZ, 1), np.float32)
    loud = [music(4.0, RATE_HZ, seed=1), pause, music(3.0, RATE_HZ, seed=2)]
    return np.concatenate([quiet, *loud])


def test_only_settled_values_move_and_intervals_with_them(fast_engine: Engine) -> None:
    with_movement = analyze(moving(fast_engine), song(), [1600])
    still = analyze(fast_engine, song(), [1600])
    shift = values(with_movement) - values(still)
    np.testing.assert_array_equal(shift[:, 7:], 0.0)  # level and fast values
    valence, arousal = shift[:, 1], shift[:, 2]
    np.testing.assert_allclose(valence * 0.02, arousal * 0.012, atol=1e-9)
    np.testing.assert_allclose(shift[:, 3:5], np.stack([valence] * 2, 1), atol=1e-9)
    np.testing.assert_allclose(shift[:, 5:7], np.stack([arousal] * 2, 1), atol=1e-9)
    by_time = {e.t: moved for e, moved in zip(still, arousal, strict=True)}
    assert abs(by_time[3.0]) < 1e-6
    assert 0.05 < by_time[11.0] <= 0.02 * MAX_RISE_DB
    # Silence repeats the value as it was moved; a new piece starts without movement.
    silent = [e for e in with_movement if e.state is State.SILENCE]
    assert len(silent) >= 4
    assert len({e.arousal for e in silent}) == 1
    assert max(abs(by_time[t]) for t in (17.0, 18.0, 19.0)) < 2e-3


def test_block_sizes_do_not_change_the_movement(fast_engine: Engine) -> None:
    engine = moving(fast_engine)
    reference = values(analyze(engine, song(), [19 * RATE_HZ]))
    for sizes in ([333], [4410, 16_001]):
        np.testing.assert_allclose(values(analyze(engine, song(), sizes)), reference, atol=2e-5)


def test_short_windows_do_not_move(fast_engine: Engine) -> None:
    moved = values(analyze(moving(fast_engine), song(), [1600], lag_order=6))
    np.testing.assert_array_equal(moved, values(analyze(fast_engine, song(), [1600], lag_order=6)))


def test_speech_restarts_the_comparison(sound_engine: Engine) -> None:
    parts = [("speech", 12.0), ("music", 12.0)]
    signal = tones(parts, RATE_HZ) * np.repeat([0.05, 1.0], 12 * RATE_HZ)[:, None]
    signal = signal.astype(np.float32)
    still = analyze(sound_engine, signal, [1600])
    moved = analyze(moving(sound_engine), signal, [1600])
    heard = [(a, b) for a, b in zip(still, moved, strict=True) if a.t > 16 and not a.state.repeats]
    assert any(e.state is State.SPEECH for e in still)
    assert len(heard) >= 10
    assert max(abs(a.arousal - b.arousal) for a, b in heard) < 0.02 * 1.0  # 1 dB
