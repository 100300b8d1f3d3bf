"""The map from raw values to their place among music, and how it adapts to a stream."""

from dataclasses import replace

import numpy as np
import pytest
from mer_engine import Engine, ModelInfo
from numpy.typing import NDArray

from realtime_mer.core.decoder import Intervals
from realtime_mer.core.value_range import (
    ADAPT_AFTER_S,
    ADAPT_S,
    AxisRange,
    ValueRange,
    axis_range,
    clipped,
)

# Even from -0.5 to 0.5: the rim is at -0.45 and 0.45.
EVEN = tuple(np.linspace(-0.5, 0.5, 41).tolist())
SKEWED = tuple(np.linspace(-0.2, 0.6, 41).tolist())


@pytest.fixture
def info(engine: Engine) -> ModelInfo:
    return replace(engine.info, distribution={"valence": EVEN, "arousal": SKEWED})


def at(valence: float, arousal: float) -> Intervals:
    return tuple((value, value - 0.1, value + 0.1) for value in (valence, arousal))


@pytest.mark.parametrize("quantiles", [EVEN, SKEWED])
def test_a_twentieth_of_music_lies_at_each_end_and_zero_stays_zero(
    quantiles: tuple[float, ...],
) -> None:
    axis = axis_range(quantiles)
    low, high = np.quantile(quantiles, [0.05, 0.95])
    assert axis.place(low) == pytest.approx(-1.0)
    assert axis.place(high) == pytest.approx(1.0)
    assert axis.place(0.0) == 0.0
    assert axis.place(high / 2) == pytest.approx(0.5)


@pytest.mark.parametrize(
    "quantiles",
    [
        EVEN,
        SKEWED,
        (0.2, 0.3, 0.4),  # zero lies outside
        (-0.3, 0.0, 0.0, 0.0, 0.0, 0.4),
        (0.1, 0.1, 0.1),
        (-1.0, -1.0, 1.0, 1.0),
    ],
)
def test_the_map_is_continuous_and_monotone(quantiles: tuple[float, ...]) -> None:
    axis = axis_range(quantiles)
    places = np.array([axis.place(value) for value in np.linspace(-1.0, 1.0, 20_001)])
    steps = np.diff(places)
    assert (steps > 0.0).all()
    assert steps.max() <= 0.0101  # at most 100 times as steep: finite everywhere


def test_the_centre_lies_inside_the_range_where_zero_does_not() -> None:
    axis = axis_range(tuple(np.linspace(0.1, 0.6, 41).tolist()))
    assert axis.below == pytest.approx(0.045)
    assert axis.place(0.125) == pytest.approx(-1.0)
    assert axis.place(0.575) == pytest.approx(1.0)


def test_bounds_map_like_values_and_are_clipped(info: ModelInfo) -> None:
    placed = ValueRange(info, adapt=False).place(at(0.4, -0.1))
    (valence, valence_low, valence_high), (arousal, *_) = placed
    assert valence_low < valence < 1.0 < valence_high
    (valence_again, low_again, high), (arousal_again, *_) = clipped(placed)
    assert (valence_again, low_again, high) == (valence, valence_low, 1.0)
    assert arousal_again == arousal < 0.0


def test_without_adapt_the_map_stays(info: ModelInfo) -> None:
    value_range = ValueRange(info, adapt=False)
    before = value_range.place(at(0.1, 0.2))
    for _ in range(1000):
        value_range.update(at(0.3, 0.3), 1.0)
    assert value_range.place(at(0.1, 0.2)) == before


def adapted(info: ModelInfo, values: NDArray[np.float64]) -> ValueRange:
    value_range = ValueRange(info, adapt=True)
    for value in values:
        value_range.update(at(value, value), 1.0)
    return value_range


def test_the_map_adapts_only_after_a_minute_of_music(info: ModelInfo) -> None:
    value_range = ValueRange(info, adapt=True)
    before = value_range.place(at(0.1, 0.2))
    for _ in range(round(ADAPT_AFTER_S)):
        value_range.update(at(0.3, 0.3), 1.0)
    assert value_range.place(at(0.1, 0.2)) == before
    value_range.update(at(0.3, 0.3), 1.0)
    assert value_range.place(at(0.1, 0.2)) < before


def test_the_map_moves_slowly_and_at_most_half_of_the_way(info: ModelInfo) -> None:
    middle = 0.3
    values = middle + np.random.default_rng(2).uniform(-0.2, 0.2, 7200)
    centres = []
    for seconds in (120, 420, 7200):
        (axis, _) = adapted(info, values[:seconds])._axes
        centres.append(axis.centre)
    assert centres == sorted(centres)
    assert centres[0] < 0.2 * middle < centres[1]
    assert centres[2] == pytest.approx(middle / 2, abs=0.02)


def test_the_width_moves_at_most_to_its_half_and_its_double(info: ModelInfo) -> None:
    rng = np.random.default_rng(3)
    (steady, _) = adapted(info, np.full(7200, 0.1))._axes
    assert steady.below + steady.above == pytest.approx(0.9 / 2)
    (wide, _) = adapted(info, rng.uniform(-1.0, 1.0, 7200))._axes
    assert 0.9 < wide.below + wide.above < 1.8


@pytest.mark.parametrize("hop_s", [0.1, 5.0])
def test_adaptation_hardly_depends_on_the_hop(info: ModelInfo, hop_s: float) -> None:
    def axis(step_s: float) -> AxisRange:
        value_range = ValueRange(info, adapt=True)
        for t in np.arange(step_s, 2 * ADAPT_S, step_s):
            value = 0.2 + 0.1 * np.sin(t / 20.0)
            value_range.update(at(value, value), step_s)
        return value_range._axes[0]

    expected, got = axis(1.0), axis(hop_s)
    assert got.centre == pytest.approx(expected.centre, abs=5e-3)
    assert got.above == pytest.approx(expected.above, rel=0.03)


def test_a_reset_forgets_the_stream(info: ModelInfo) -> None:
    value_range = adapted(info, np.full(600, 0.3))
    value_range.reset()
    assert value_range.place(at(0.1, 0.2)) == ValueRange(info, adapt=True).place(at(0.1, 0.2))
