import numpy as np
import pytest

from realtime_mer.core.level import audible_powers
from realtime_mer.core.tick_buffer import TickBuffer


@pytest.mark.parametrize("size", [1, 7, 100, 250, 1000])
def test_samples_and_powers_do_not_depend_on_the_block_size(size: int) -> None:
    signal = np.random.default_rng(0).standard_normal(1040).astype(np.float32)
    buffer = TickBuffer(100)
    powers: list[float] = []
    taken: list[np.ndarray] = []
    for start in range(0, len(signal), size):
        powers += buffer.append(signal[start : start + size])
        samples = buffer.take()
        if samples is not None:
            assert len(samples) % 100 == 0
            taken.append(samples)
    np.testing.assert_array_equal(np.concatenate(taken), signal[:1000])
    np.testing.assert_allclose(powers, audible_powers(signal[:1000].reshape(10, 100)), rtol=1e-5)
    assert buffer.take() is None
    assert buffer.samples_until(1) == 60


def test_counts_of_ticks_and_samples() -> None:
    buffer = TickBuffer(100)
    assert buffer.append(np.zeros(250, np.float32)) == [0.0, 0.0]
    assert (buffer.ticks_after(49), buffer.ticks_after(50)) == (0, 1)
    assert buffer.samples_until(3) == 250
    buffer.reset()
    assert buffer.take() is None
    assert buffer.samples_until(1) == 100
