import numpy as np
import pytest
from support import music

from realtime_mer.core.polyphase import Polyphase, has_polyphase, polyphase


@pytest.mark.parametrize(("rate_hz", "up", "down"), [(48_000, 1, 3), (44_100, 160, 441)])
def test_an_output_is_the_weighted_sum_of_its_inputs(rate_hz: int, up: int, down: int) -> None:
    filter_ = polyphase(rate_hz, 16_000)
    assert (filter_.up, filter_.down) == (up, down)
    assert filter_.block * down == filter_.advance * up
    signal = music(0.1, rate_hz)[:, 0]
    ready = filter_.ready(len(signal))
    out = filter_.outputs(signal, 0, ready)
    # The weight of each input is the output for an impulse at that input.
    index = ready // 2
    impulse = np.zeros_like(signal)
    first = index * down // up
    weights = np.zeros(2 * filter_.reach + 1)
    for tap in range(len(weights)):
        impulse[first + tap] = 1.0
        weights[tap] = filter_.outputs(impulse, 0, ready)[index]
        impulse[first + tap] = 0.0
    assert weights.sum() == pytest.approx(1.0, abs=1e-6)
    inputs = signal[first : first + len(weights)].astype(np.float64)
    assert out[index] == pytest.approx(inputs @ weights, abs=1e-6)


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 22_050, 44_100, 48_000, 88_200, 176_400])
def test_ready_outputs_do_not_depend_on_later_samples(rate_hz: int) -> None:
    filter_ = polyphase(rate_hz, 16_000)
    signal = music(0.2, rate_hz)[:, 0]
    for count in (
        0,
        1,
        2 * filter_.reach,
        2 * filter_.reach + 1,
        2 * filter_.reach + 2,
        len(signal) // 2,
    ):
        ready = filter_.ready(count)
        assert ready == sum(
            index * filter_.down // filter_.up + 2 * filter_.reach < count
            for index in range(ready + 2)
        )
        if ready:
            np.testing.assert_allclose(
                filter_.outputs(signal[:count], 0, ready),
                filter_.outputs(signal, 0, ready),
                rtol=0,
                atol=1e-6,
            )


@pytest.mark.parametrize("rate_hz", [11_025, 44_100, 48_000, 88_200])
def test_any_range_of_outputs_equals_that_range_of_all_outputs(rate_hz: int) -> None:
    filter_ = polyphase(rate_hz, 16_000)
    signal = music(0.3, rate_hz)[:, 0]
    ready = filter_.ready(len(signal))
    expected = filter_.outputs(signal, 0, ready)
    for first in {0, 1, filter_.block // 2, filter_.block - 1}:
        for last in (first + 1, first + 33, first + filter_.block, ready):
            part = filter_.outputs(signal, first, last)
            np.testing.assert_allclose(part, expected[first:last], rtol=0, atol=1e-6)


def test_ratios_of_large_numbers_have_no_filter() -> None:
    assert has_polyphase(11_025, 16_000)
    assert has_polyphase(192_000, 16_000)
    assert not has_polyphase(44_101, 16_000)


def test_filters_are_shared_and_small() -> None:
    assert polyphase(44_100, 16_000) is polyphase(44_100, 16_000)
    for rate_hz in (8_000, 11_025, 44_100, 192_000):
        filter_ = Polyphase(rate_hz, 16_000)
        assert filter_.reach / rate_hz < 0.010
        assert filter_.block <= 640
