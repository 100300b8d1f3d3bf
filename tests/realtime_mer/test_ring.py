import threading

import numpy as np
import pytest

from realtime_mer.ring import FrameRing


def frames(start: int, count: int) -> np.ndarray:
    return np.repeat(np.arange(start, start + count, dtype=np.float32)[:, None], 3, axis=1)


def test_views_are_the_frames_written_whatever_the_sizes() -> None:
    ring = FrameRing(10, 3)
    written = 0
    for count in (1, 4, 7, 10, 3, 9, 10, 2):
        ring.append(frames(written, count))
        written += count
        kept = min(written, 10)
        np.testing.assert_array_equal(
            ring.view(written - kept, written), frames(written - kept, kept)
        )
        np.testing.assert_array_equal(ring.view(written - 1, written), frames(written - 1, 1))


def test_before_the_stream_is_silence() -> None:
    ring = FrameRing(10, 3)
    ring.append(frames(5, 2))
    np.testing.assert_array_equal(ring.view(-3, 1), [[0] * 3] * 3 + [[5] * 3])


def test_a_view_copies_nothing() -> None:
    ring = FrameRing(10, 3)
    ring.append(frames(0, 4))
    assert np.shares_memory(ring.view(0, 4), ring.view(1, 3))


def test_overwrites_the_oldest_and_counts_what_nobody_read() -> None:
    ring = FrameRing(10, 3)
    ring.append(frames(0, 8))
    ring.release(5)
    ring.append(frames(8, 7))  # 15 written, 10 kept: 0 to 4 are gone and were released
    assert ring.overwritten == 0
    ring.append(frames(15, 4))  # 5 to 8 are gone unread
    assert ring.overwritten == 4
    with pytest.raises(IndexError, match="holds 9 to 19"):
        ring.view(8, 12)


@pytest.mark.parametrize(("start", "end"), [(0, 6), (4, 3)])
def test_refuses_what_is_not_there(start: int, end: int) -> None:
    ring = FrameRing(10, 3)
    ring.append(frames(0, 5))
    with pytest.raises(IndexError):
        ring.view(start, end)


def test_refuses_more_than_it_holds() -> None:
    with pytest.raises(ValueError, match="11 frames at once"):
        FrameRing(10, 3).append(frames(0, 11))


def test_a_jump_leaves_silence_and_moves_on() -> None:
    ring = FrameRing(10, 3)
    ring.append(frames(1, 5))
    ring.jump(1000)
    assert ring.written == 1005
    assert not ring.view(996, 1005).any()
    ring.append(frames(7, 2))
    np.testing.assert_array_equal(ring.view(1005, 1007), frames(7, 2))
    assert ring.overwritten == 0


def test_a_reader_on_another_thread_sees_only_whole_frames() -> None:
    ring = FrameRing(64, 3)
    done = threading.Event()
    torn: list[np.ndarray] = []

    seen: list[int] = []

    def read() -> None:
        while not done.is_set():
            end = ring.written
            start = max(end - 8, 0)
            try:
                view = ring.view(start, end).copy()
            except IndexError:  # overwritten already: the writer does not wait
                continue
            # An append writes 8 frames before it says so; what it may have touched does not count.
            if start < ring.written + 8 - ring.capacity:
                continue
            seen.append(end)
            if not (view == frames(start, end - start)).all():
                torn.append(view)

    reader = threading.Thread(target=read)
    reader.start()
    for start in range(0, 20_000, 8):
        ring.append(frames(start, 8))
    done.set()
    reader.join()
    assert torn == []
    assert seen
