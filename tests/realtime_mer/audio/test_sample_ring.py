import threading

import numpy as np
import pytest

from realtime_mer.audio.sample_ring import SampleRing


def ramp(start: int, n: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Return frames with their own number as value, exact in float32."""
    column = np.arange(start, start + n, dtype=np.float32)
    return np.stack([column, -column], axis=1)


def test_frames_are_read_in_order() -> None:
    ring = SampleRing(10, 2)
    assert ring.read(100) is None
    ring.write(ramp(0, 7))
    reading = ring.read(4)
    assert reading is not None
    np.testing.assert_array_equal(reading.samples, ramp(0, 4))
    ring.write(ramp(7, 6))  # wraps around
    reading = ring.read(100)
    assert reading is not None
    np.testing.assert_array_equal(reading.samples, ramp(4, 9))
    assert reading.dropped_before == 0
    assert ring.read(100) is None


def test_a_late_reader_loses_the_oldest_frames() -> None:
    ring = SampleRing(10, 2)
    ring.write(ramp(0, 8))
    ring.write(ramp(8, 8))
    reading = ring.read(100)
    assert reading is not None
    np.testing.assert_array_equal(reading.samples, ramp(6, 10))
    assert reading.dropped_before == 6


def test_more_than_fits_at_once_keeps_the_newest() -> None:
    ring = SampleRing(10, 2)
    ring.write(ramp(0, 3))
    ring.write(ramp(3, 25))
    reading = ring.read(100)
    assert reading is not None
    np.testing.assert_array_equal(reading.samples, ramp(18, 10))
    assert reading.dropped_before == 18
    assert ring.written == 28


def test_samples_that_were_read_are_not_overwritten() -> None:
    ring = SampleRing(4, 2)
    ring.write(ramp(0, 4))
    reading = ring.read(4)
    assert reading is not None
    ring.write(ramp(100, 4))
    np.testing.assert_array_equal(reading.samples, ramp(0, 4))


def test_waiting_ends_with_data_or_a_timeout() -> None:
    ring = SampleRing(10, 2)
    assert not ring.wait(0)
    ring.write(ramp(0, 1))
    ring.write(ramp(1, 1))  # a second call does no harm
    assert ring.wait(0)
    assert not ring.wait(0)
    woken = threading.Event()
    waiting = threading.Thread(target=lambda: woken.set() if ring.wait(60) else None)
    waiting.start()
    ring.wake()
    waiting.join(60)
    assert woken.is_set()


@pytest.mark.parametrize(("capacity", "channels"), [(0, 1), (1, 0)])
def test_invalid_shapes(capacity: int, channels: int) -> None:
    with pytest.raises(ValueError, match="a ring of"):
        SampleRing(capacity, channels)


@pytest.mark.parametrize("capacity", [1_000, 200_000])
def test_two_threads_never_see_torn_or_uncounted_frames(capacity: int) -> None:
    """With the fastest possible writer, every frame is read correctly or counted as lost."""
    ring = SampleRing(capacity, 2)
    total = 2_000_000  # float32 counts exactly to 16 million
    rng = np.random.default_rng(1)
    sizes = rng.integers(1, 900, 10_000)
    frames = ramp(0, total)

    def write() -> None:
        at = 0
        for size in sizes:
            ring.write(frames[at : at + size])
            at += min(size, total - at)
            if at == total:
                return

    writer = threading.Thread(target=write)
    writer.start()
    position = read = lost = 0
    while writer.is_alive() or position < ring.written:
        reading = ring.read(7_000)
        if reading is None:
            ring.wait(0.01)
            continue
        position += reading.dropped_before
        n = len(reading.samples)
        np.testing.assert_array_equal(reading.samples, frames[position : position + n])
        position += n
        read += n
        lost += reading.dropped_before
    writer.join()
    assert read + lost == ring.written
    assert read > 0
