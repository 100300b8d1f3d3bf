import numpy as np

from realtime_mer.core.lag_window import LagWindow


def embedding(tick: int) -> np.ndarray:
    return np.full((1, 2), tick, dtype=np.float32)


def test_an_empty_window_is_encoded_whole() -> None:
    past, new = LagWindow(4, 2).past(20, 4)
    assert past.shape == (0, 2)
    assert new == 4


def test_what_was_encoded_is_not_encoded_again() -> None:
    window = LagWindow(4, 2)
    for tick in (5, 10, 15, 20):
        window.put(tick, embedding(tick))
    past, new = window.past(25, 4)
    np.testing.assert_array_equal(past[:, 0], [10, 15, 20])
    assert new == 1


def test_several_steps_at_once() -> None:
    window = LagWindow(6, 2)
    window.put(10, np.array([[5, 5], [10, 10]], dtype=np.float32))
    past, new = window.past(20, 4)
    np.testing.assert_array_equal(past[:, 0], [5, 10])
    assert new == 2


def test_after_a_hole_everything_newer_is_encoded_again() -> None:
    window = LagWindow(4, 2)
    for tick in (5, 15, 20):
        window.put(tick, embedding(tick))
    past, new = window.past(20, 4)
    np.testing.assert_array_equal(past[:, 0], [5])
    assert new == 3


def test_interleaved_combs_do_not_mix() -> None:
    window = LagWindow(4, 2)
    for tick in range(1, 41):
        window.put(tick, embedding(tick))
    past, new = window.past(41, 4)
    np.testing.assert_array_equal(past[:, 0], [26, 31, 36])
    assert new == 1


def test_old_embeddings_do_not_come_back() -> None:
    window = LagWindow(4, 2)
    window.put(5, embedding(5))
    past, new = window.past(5 + 21 * 5, 4)  # the same slot of the memory, long after
    assert len(past) == 0
    assert new == 4


def test_on_one_comb_fewer_are_kept_and_told_apart() -> None:
    window = LagWindow(4, 2, comb_ticks=5)
    for tick in range(5, 41, 5):
        window.put(tick, embedding(tick))
    past, new = window.past(40, 4)
    np.testing.assert_array_equal(past[:, 0], [25, 30, 35])
    assert new == 1
    # A stream may end between two steps.
    assert window.past(42, 4)[1] == 4


def test_clear_forgets() -> None:
    window = LagWindow(4, 2)
    window.put(5, embedding(5))
    window.clear()
    assert window.past(10, 2)[1] == 2
