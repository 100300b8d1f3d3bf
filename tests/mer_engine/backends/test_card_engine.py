import numpy as np
import pytest
from card_support import SimulatedStream
from mer_engine.backends.card_engine import Buffers, Copier
from mer_engine.errors import BackendError


@pytest.mark.parametrize("method", ["host", "device"])
@pytest.mark.parametrize("good", [0, 1])
def test_buffers_that_the_card_has_no_memory_for_fit_nothing_and_leave_nothing(
    monkeypatch: pytest.MonkeyPatch, method: str, good: int
) -> None:
    stream = SimulatedStream()
    buffers = Buffers(stream)
    buffers.grow(256, 256, 256)
    allocate, sizes = getattr(stream, method), list[int]()

    def full(size: int) -> object:
        sizes.append(size)
        if len(sizes) > good:
            raise BackendError("CUDA: out of memory")
        return allocate(size)

    monkeypatch.setattr(stream, method, full)
    with pytest.raises(BackendError, match="out of memory"):
        buffers.grow(1024, 1024, 1024)
    assert not buffers.fit(256, 256, 256)
    buffers.free()
    assert not stream.device_blocks
    assert not stream.host_blocks


@pytest.mark.parametrize("threads", [0, 1, 4])
@pytest.mark.parametrize("rows", [1, 3, 257])
def test_arrays_are_copied_whole_by_any_number_of_threads(threads: int, rows: int) -> None:
    source = np.arange(rows * 10_000, dtype=np.float32).reshape(rows, 10, 1000)
    target = np.zeros((rows + 1, 10, 1000), np.float32)
    Copier(threads).copy(target[:rows], source)
    assert np.array_equal(target[:rows], source)
    assert not target[rows:].any()
