import numpy as np

from realtime_mer.core.lag_window import LagWindow


def embedding(tick: int) -> np.ndarray:
    return np.full((1, 2), tick, dtype=np.float32)


def test_all_steps_of_an_empty_window_are_new() -> None:
    past, new = LagWindow(4, 2).past(20, 4)
    assert past.shape == (0, 2)
    assert new == 4


def test_encoded_steps_are_reused() -> None:
    window = LagWindow(4, 2)
    for tick in (5, 10, 15, 20):
        window.put(tick, embedding(tick))
    past, new = window.past(25, 4)
    np.testing.assert_array_equal(past[:, 0], [10, 15, 20])
    assert new == 1


def test_several_steps_are_stored_at_once() -> None:
    window = LagWindow(6, 2)
    window.put(10, np.array([[5, 5], [10, 10]], dtype=np.float32))
    past, new = window.past(20, 4)
    np.testing.assert_array_equal(past[:, 0], [5, 10])
    assert new == 2


def test_all_steps_after_a_gap_are_new() -> None:
    window = LagWindow(4, 2)
    for tick in (5, 15, 20):
        window.put(tick, embedding(tick))
    past, new = window.past(20, 4)
    np.testing.assert_array_equal(past[:, 0], [5])
    assert new == 3


def test_interleaved_windows_do_not_mix() -> None:
    window = LagWindow(4, 2)
    for tick in range(1, 41):
        window.put(tick, embedding(tick))
    past, new = window.past(41, 4)
    np.testing.assert_array_equal(past[:, 0], [26, 31, 36])
    assert new == 1


def test_old_embeddings_are_not_reused() -> None:
    window = LagWindow(4, 2)
    window.put(5, embedding(5))
    past, new = window.past(5 + 21 * 5, 4)  # the same slot, much later
    assert len(past) == 0
    assert new == 4


def test_windows_that_do_not_interleave() -> None:
    window = LagWindow(4, 2, spacing_ticks=5)
    for tick in range(5, 41, 5):
        window.put(tick, embedding(tick))
    past, new = window.past(40, 4)
    np.testing.assert_array_equal(past[:, 0], [25, 30, 35])
    assert new == 1
    # A stream can end between two steps.
    assert window.past(42, 4)[1] == 4


def test_clear_discards_all_embeddings() -> None:
    window = LagWindow(4, 2)
    window.put(5, embedding(5))
    window.clear()
    assert window.past(10, 2)[1] == 2
