import numpy as np
import pytest

from realtime_mer.core.frame_buffer import FrameBuffer


def frames(start: int, count: int) -> np.ndarray:
    return np.repeat(np.arange(start, start + count, dtype=np.float32)[:, None], 3, axis=1)


def test_views_do_not_depend_on_the_sizes_of_appended_arrays() -> None:
    buffer = FrameBuffer(10, 3)
    total = 0
    for count in (1, 4, 7, 10, 3, 0, 9, 23, 2):
        buffer.append(frames(total, count))
        total += count
        kept = min(total, 10)
        assert (buffer.start, buffer.end) == (total - kept, total)
        np.testing.assert_array_equal(buffer.view(total - kept, total), frames(total - kept, kept))
        np.testing.assert_array_equal(buffer.view(total - 1, total), frames(total - 1, 1))


def test_released_frames_are_discarded() -> None:
    buffer = FrameBuffer(10, 3)
    buffer.append(frames(0, 6))
    buffer.release(4)
    buffer.release(2)
    np.testing.assert_array_equal(buffer.view(4, 6), frames(4, 2))
    with pytest.raises(IndexError, match="frames 3 to 5 of a buffer that holds 4 to 6"):
        buffer.view(3, 5)
    buffer.append(frames(6, 8))
    assert buffer.overwritten == 0
    np.testing.assert_array_equal(buffer.view(4, 14), frames(4, 10))


def test_overwritten_frames_are_counted() -> None:
    buffer = FrameBuffer(10, 3)
    buffer.append(frames(0, 12))
    buffer.append(frames(12, 1))
    assert buffer.overwritten == 3


def test_future_frames_are_an_error() -> None:
    buffer = FrameBuffer(10, 3)
    buffer.append(frames(0, 2))
    with pytest.raises(IndexError, match="frames 1 to 3"):
        buffer.view(1, 3)


def test_skip_advances_and_discards_all_frames() -> None:
    buffer = FrameBuffer(10, 3)
    buffer.append(frames(0, 5))
    buffer.skip(100)
    buffer.append(frames(105, 2))
    np.testing.assert_array_equal(buffer.view(105, 107), frames(105, 2))
    assert (buffer.start, buffer.overwritten) == (105, 0)


def test_reset_starts_a_new_stream() -> None:
    buffer = FrameBuffer(10, 3)
    buffer.append(frames(0, 12))
    buffer.reset()
    assert (buffer.start, buffer.end, buffer.overwritten) == (0, 0, 0)
    buffer.append(frames(0, 1))
    np.testing.assert_array_equal(buffer.view(0, 1), frames(0, 1))


def test_frames_are_copied_and_keep_no_larger_array_in_memory() -> None:
    buffer = FrameBuffer(10, 3)
    given = frames(0, 8)
    buffer.append(given)
    given[:] = -1.0
    np.testing.assert_array_equal(buffer.view(0, 8), frames(0, 8))
    buffer.release(7)
    kept = buffer.view(7, 8)
    assert kept.base is None or kept.base.nbytes == kept.nbytes
