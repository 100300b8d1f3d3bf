"""An NVIDIA card in ordinary memory: queues what it is told and does it when it is waited for.

It computes with ONNX Runtime. It is strict where a card would only go wrong: memory that was given
back, memory that is too small, a shape that was not announced.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mer_engine.backends.onnxruntime import OnnxRuntimeEngine
from mer_engine.backends.tensorrt.shapes import INPUTS, OUTPUTS, Profile, Shape, output_shapes
from numpy.typing import NDArray

Work = Callable[[], None]
WORK_BYTES_PER_WINDOW = 1000


class SimulatedStream:
    """What `mer_engine.backends.cuda.Cuda` does, without a card.

    Attributes:
        allocations: blocks of memory that were ever asked for, on both sides.
        launches: records that were replayed.
        records: records that are not forgotten.
        refuse_records: whether nothing can be recorded.
    """

    stream = 7

    def __init__(self) -> None:
        self.allocations = 0
        self.launches = 0
        self.records: list[list[Work]] = []
        self.refuse_records = False
        self._device: dict[int, ctypes.Array[ctypes.c_char]] = {}
        self._host: dict[int, NDArray[np.uint8]] = {}
        self._queue: list[Work] = []
        self._recording: list[Work] | None = None

    def host(self, size: int) -> NDArray[np.uint8]:
        memory = np.full(size, 0xFF, np.uint8)  # NaN as floats: what is not written is noticed
        self._host[memory.ctypes.data] = memory
        self.allocations += 1
        return memory

    def free_host(self, memory: NDArray[np.uint8]) -> None:
        del self._host[memory.ctypes.data]

    def device(self, size: int) -> int:
        block = ctypes.create_string_buffer(b"\xff" * size, size)
        address = ctypes.addressof(block)
        self._device[address] = block
        self.allocations += 1
        return address

    def free_device(self, address: int) -> None:
        assert not self._queue, "memory is given back while work is queued"
        del self._device[address]

    def memory(self, address: int, size: int) -> NDArray[np.uint8]:
        """A view of the card's memory, which must be its own."""
        for start, block in self._device.items():
            if start <= address and address + size <= start + len(block):
                return np.frombuffer(block, np.uint8, size, address - start)
        raise AssertionError(f"{size} bytes at {address:#x} are not the card's")

    def upload(self, memory: NDArray[np.uint8], address: int, size: int) -> None:
        assert memory.ctypes.data in self._host, "not page-locked"
        self.queue(lambda: np.copyto(self.memory(address, size), memory[:size]))

    def download(self, address: int, memory: NDArray[np.uint8], size: int) -> None:
        assert memory.ctypes.data in self._host, "not page-locked"
        self.queue(lambda: np.copyto(memory[:size], self.memory(address, size)))

    def queue(self, work: Work) -> None:
        (self._queue if self._recording is None else self._recording).append(work)

    def wait(self) -> None:
        assert self._recording is None, "waited while recording"
        queue, self._queue = self._queue, []
        for work in queue:
            work()

    def record(self, work: Work) -> Any:
        from mer_engine.errors import BackendError

        if self.refuse_records:
            raise BackendError("CUDA: operation not permitted when stream is capturing")
        self._recording = []
        work()
        recorded, self._recording = self._recording, None
        self.records.append(recorded)
        return recorded

    def replay(self, recorded: list[Work]) -> None:
        assert any(recorded is entry for entry in self.records), "forgotten"
        self.launches += 1
        self._queue.extend(recorded)

    def forget(self, recorded: list[Work]) -> None:
        self.records = [entry for entry in self.records if entry is not recorded]


class SimulatedProgram:
    """A compiled engine that computes with ONNX Runtime.

    Args:
        path: the model file.
        stream: of the card.
        ranges: its profiles.
        records_itself: as of the library.

    Attributes:
        contexts: those that were made.
        broken: whether it refuses to run.
    """

    def __init__(
        self,
        path: Path,
        stream: SimulatedStream,
        ranges: tuple[Profile, ...],
        *,
        records_itself: bool = False,
    ) -> None:
        self.engine = OnnxRuntimeEngine(path)
        self.stream = stream
        self.ranges = ranges
        self.records_itself = records_itself
        self.contexts = 0
        self.broken = False

    def context(self, profile: int, stream: int) -> SimulatedContext:
        assert stream == self.stream.stream
        self.contexts += 1
        return SimulatedContext(self, self.ranges[profile])


class SimulatedContext:
    """Shapes and addresses of a call."""

    def __init__(self, program: SimulatedProgram, profile: Profile) -> None:
        self._program = program
        self._profile = profile
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._work = (0, 0)

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shapes[name] = shape
        return True

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return memory % 4 == 0

    def update_device_memory_size_for_shapes(self) -> int:
        return WORK_BYTES_PER_WINDOW * self._shape().batch

    def set_device_memory(self, memory: int, size: int) -> None:
        self._work = (memory, size)

    def execute_async_v3(self, stream_handle: int) -> bool:
        if self._program.broken:
            return False
        assert self._profile.holds(self._shape()), self._shape()
        self._program.stream.memory(*self._work)
        assert self._work[1] >= self.update_device_memory_size_for_shapes()
        self._program.stream.queue(self._run)
        return True

    def _shape(self) -> Shape:
        frames, cached_maps, past = (self._shapes[name] for name in INPUTS)
        return Shape(frames[0], frames[1], cached_maps[1], past[1])

    def _run(self) -> None:
        inputs = [self._tensor(name, self._shapes[name]).copy() for name in INPUTS]
        told = self._program.engine.infer(*inputs)
        shapes = output_shapes(self._program.engine.info, self._shape())
        for name, array, shape in zip(OUTPUTS, told, shapes, strict=True):
            assert array.shape == shape
            self._tensor(name, shape)[...] = array

    def _tensor(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        size = 4 * int(np.prod(shape))
        memory = self._program.stream.memory(self._addresses[name], size)
        return memory.view(np.float32).reshape(shape)
