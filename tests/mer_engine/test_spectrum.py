import threading

import numpy as np
from mer_engine.spectrum import Scratch, power_spectrum


def test_the_power_of_the_selected_bins() -> None:
    windows = np.random.default_rng(0).standard_normal((5, 64)).astype(np.float32)
    scratch = Scratch()
    exact = np.abs(np.fft.rfft(windows.astype(np.float64), axis=1)) ** 2
    for bins in (slice(0, 33), slice(3, 20)):
        for rows in (5, 2):
            found = power_spectrum(windows[:rows], bins, scratch)
            np.testing.assert_allclose(found, exact[:rows, bins], rtol=1e-4, atol=1e-5)


def test_memory_is_reused_by_the_same_thread_only() -> None:
    scratch = Scratch()
    first = scratch.array("any", 4, 8)
    assert np.shares_memory(scratch.array("any", 3, 8), first)
    assert not np.shares_memory(scratch.array("other", 4, 8), first)
    assert scratch.array("any", 6, 8).shape == (6, 8)
    first = scratch.array("any", 4, 8)
    others: list[bool] = []
    thread = threading.Thread(
        target=lambda: others.append(np.shares_memory(scratch.array("any", 4, 8), first))
    )
    thread.start()
    thread.join()
    assert others == [False]
