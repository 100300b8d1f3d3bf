import numpy as np
import pytest

from realtime_mer.core.frame_buffer import FrameBuffer


def frames(start: int, count: int) -> np.ndarray:
    return np.repeat(np.arange(start, start + count, dtype=np.float32)[:, None], 3, axis=1)


def test_views_are_the_frames_that_came_whatever_the_sizes() -> None:
    waiting = FrameBuffer(10, 3)
    came = 0
    for count in (1, 4, 7, 10, 3, 0, 9, 23, 2):
        waiting.append(frames(came, count))
        came += count
        kept = min(came, 10)
        assert (waiting.start, waiting.end) == (came - kept, came)
        np.testing.assert_array_equal(waiting.view(came - kept, came), frames(came - kept, kept))
        np.testing.assert_array_equal(waiting.view(came - 1, came), frames(came - 1, 1))


def test_what_was_released_is_gone_and_what_is_left_is_not() -> None:
    waiting = FrameBuffer(10, 3)
    waiting.append(frames(0, 6))
    waiting.release(4)
    waiting.release(2)
    np.testing.assert_array_equal(waiting.view(4, 6), frames(4, 2))
    with pytest.raises(IndexError, match="frames 3 to 5 of a stream that keeps 4 to 6"):
        waiting.view(3, 5)
    waiting.append(frames(6, 8))
    assert waiting.overwritten == 0
    np.testing.assert_array_equal(waiting.view(4, 14), frames(4, 10))


def test_frames_that_give_way_unreleased_are_counted() -> None:
    waiting = FrameBuffer(10, 3)
    waiting.append(frames(0, 12))
    waiting.append(frames(12, 1))
    assert waiting.overwritten == 3


def test_what_has_not_come_cannot_be_seen() -> None:
    waiting = FrameBuffer(10, 3)
    waiting.append(frames(0, 2))
    with pytest.raises(IndexError, match="frames 1 to 3"):
        waiting.view(1, 3)


def test_a_jump_moves_on_and_keeps_nothing() -> None:
    waiting = FrameBuffer(10, 3)
    waiting.append(frames(0, 5))
    waiting.jump(100)
    waiting.append(frames(105, 2))
    np.testing.assert_array_equal(waiting.view(105, 107), frames(105, 2))
    assert (waiting.start, waiting.overwritten) == (105, 0)


def test_reset_begins_anew() -> None:
    waiting = FrameBuffer(10, 3)
    waiting.append(frames(0, 12))
    waiting.reset()
    assert (waiting.start, waiting.end, waiting.overwritten) == (0, 0, 0)
    waiting.append(frames(0, 1))
    np.testing.assert_array_equal(waiting.view(0, 1), frames(0, 1))


def test_what_is_kept_is_a_copy_that_holds_nothing_larger_alive() -> None:
    waiting = FrameBuffer(10, 3)
    given = frames(0, 8)
    waiting.append(given)
    given[:] = -1.0
    np.testing.assert_array_equal(waiting.view(0, 8), frames(0, 8))
    waiting.release(7)
    kept = waiting.view(7, 8)
    assert kept.base is None or kept.base.nbytes == kept.nbytes
