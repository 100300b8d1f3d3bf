import numpy as np
import pytest
from support import music

from realtime_mer.core.polyphase import Polyphase, has_polyphase, polyphase


@pytest.mark.parametrize(("rate_hz", "up", "down"), [(48_000, 1, 3), (44_100, 160, 441)])
def test_outputs_are_sums_over_the_filter(rate_hz: int, up: int, down: int) -> None:
    own = polyphase(rate_hz, 16_000)
    assert (own.up, own.down) == (up, down)
    assert own.block * down == own.advance * up
    signal = music(0.1, rate_hz)[:, 0]
    ready = own.ready(len(signal))
    out = own.outputs(signal, 0, ready)
    # What an output makes of each input is what it makes of that input alone.
    index = ready // 2
    alone = np.zeros_like(signal)
    first = index * down // up
    weights = np.zeros(2 * own.reach + 1)
    for tap in range(len(weights)):
        alone[first + tap] = 1.0
        weights[tap] = own.outputs(alone, 0, ready)[index]
        alone[first + tap] = 0.0
    assert weights.sum() == pytest.approx(1.0, abs=1e-6)
    reached = signal[first : first + len(weights)].astype(np.float64)
    assert out[index] == pytest.approx(reached @ weights, abs=1e-6)


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 22_050, 44_100, 48_000, 88_200, 176_400])
def test_outputs_that_are_ready_need_nothing_further(rate_hz: int) -> None:
    own = polyphase(rate_hz, 16_000)
    signal = music(0.2, rate_hz)[:, 0]
    for count in (0, 1, 2 * own.reach, 2 * own.reach + 1, 2 * own.reach + 2, len(signal) // 2):
        ready = own.ready(count)
        assert ready == sum(
            index * own.down // own.up + 2 * own.reach < count for index in range(ready + 2)
        )
        if ready:
            np.testing.assert_allclose(
                own.outputs(signal[:count], 0, ready),
                own.outputs(signal, 0, ready),
                rtol=0,
                atol=1e-6,
            )


@pytest.mark.parametrize("rate_hz", [11_025, 44_100, 48_000, 88_200])
def test_any_part_is_that_part_of_the_whole(rate_hz: int) -> None:
    own = polyphase(rate_hz, 16_000)
    signal = music(0.3, rate_hz)[:, 0]
    ready = own.ready(len(signal))
    whole = own.outputs(signal, 0, ready)
    for first in {0, 1, own.block // 2, own.block - 1}:
        for last in (first + 1, first + 33, first + own.block, ready):
            found = own.outputs(signal, first, last)
            np.testing.assert_allclose(found, whole[first:last], rtol=0, atol=1e-6)


def test_ratios_of_large_numbers_have_none() -> None:
    assert has_polyphase(11_025, 16_000)
    assert has_polyphase(192_000, 16_000)
    assert not has_polyphase(44_101, 16_000)


def test_tables_are_shared_and_small() -> None:
    assert polyphase(44_100, 16_000) is polyphase(44_100, 16_000)
    for rate_hz in (8_000, 11_025, 44_100, 192_000):
        own = Polyphase(rate_hz, 16_000)
        assert own.reach / rate_hz < 0.010
        assert own.block <= 640
