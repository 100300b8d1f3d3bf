"""The level of the last seconds relative to the music so far."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mer_engine import Engine

from realtime_mer.core.movement import MAX_DB, PAST_TICKS, RECENT_TICKS, Movement
from realtime_mer.core.pipeline import Pipeline

QUIET = 1e-7


def movement_after(powers: list[float]) -> Movement:
    movement = Movement(QUIET)
    for power in powers:
        movement.add(power)
    return movement


def test_there_is_no_change_before_music_and_in_steady_music() -> None:
    assert Movement(QUIET).level_change_db == 0.0
    assert movement_after([0.01] * 200).level_change_db == pytest.approx(0.0, abs=1e-9)


def test_the_last_three_seconds_are_compared_with_everything_so_far() -> None:
    movement = movement_after([0.01] * 70 + [0.04] * RECENT_TICKS)
    expected = 10 * np.log10(0.04 / (0.7 * 0.01 + 0.3 * 0.04))
    assert movement.level_change_db == pytest.approx(expected)


@pytest.mark.parametrize("gain", [1e-3, 1.0, 30.0])
def test_gain_does_not_matter(gain: float) -> None:
    powers = [0.01 * gain] * 100 + [0.02 * gain] * 20
    assert movement_after(powers).level_change_db == pytest.approx(
        movement_after([0.01] * 100 + [0.02] * 20).level_change_db
    )


def test_music_of_more_than_a_minute_ago_does_not_count() -> None:
    loud_before = movement_after([1.0] * 500 + [0.01] * PAST_TICKS)
    assert loud_before.level_change_db == pytest.approx(0.0, abs=1e-9)


def test_quiet_ticks_do_not_count_and_a_new_piece_forgets() -> None:
    with_pause = movement_after([0.01] * 100 + [QUIET / 10] * 50 + [0.02] * 30)
    assert with_pause.level_change_db == pytest.approx(
        movement_after([0.01] * 100 + [0.02] * 30).level_change_db
    )
    with_pause.start_piece()
    assert with_pause.level_change_db == 0.0


def test_the_change_is_bounded() -> None:
    assert movement_after([1e-5] * 500 + [1.0] * 10).level_change_db == MAX_DB
    assert movement_after([1.0] * 500 + [1e-5] * 60).level_change_db == -MAX_DB


def test_louder_music_moves_the_settled_values_of_the_pipeline(engine: Engine) -> None:
    rng = np.random.default_rng(1)
    rate = 16_000
    samples = 0.05 * rng.standard_normal(12 * rate).astype(np.float32)
    samples[9 * rate :] *= 3.0

    class Moved:
        """The engine with another slope."""

        info = replace(engine.info, movement={"arousal": 0.02}, sounds=())
        backend = engine.backend
        infer = staticmethod(engine.infer)

    class Still(Moved):
        info = replace(engine.info, movement={}, sounds=())

    moved = Pipeline(Moved(), sample_rate_hz=rate).feed(samples)[-1]
    still = Pipeline(Still(), sample_rate_hz=rate).feed(samples)[-1]
    change = movement_after([0.0025] * 90 + [0.0225] * 30).level_change_db
    assert moved.arousal - still.arousal == pytest.approx(0.02 * change, abs=0.005)
    assert moved.valence == still.valence
    assert moved.fast is not None
    assert still.fast is not None
    assert moved.fast.arousal == still.fast.arousal
