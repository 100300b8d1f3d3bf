"""A simulated NVIDIA card: a stream and a program that run in host memory, without CUDA.

Work is queued and runs when the stream is waited for. The program computes with ONNX Runtime. Use
of freed memory, of memory that is too small, or of a shape outside the profile is an assertion.
"""

from __future__ import annotations

import ctypes
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from mer_engine.backends.onnxruntime import OnnxRuntimeEngine
from mer_engine.backends.onnxruntime_cuda import CudaEngine
from mer_engine.backends.shapes import (
    INPUTS,
    Profile,
    Shape,
    output_shapes,
    profiles,
)
from mer_engine.backends.tensorrt.engine import TensorRtEngine
from mer_engine.engine import output_names
from mer_engine.errors import BackendError
from numpy.typing import NDArray

Work = Callable[[], None]
WORK_BYTES_PER_WINDOW = 1000


class SimulatedStream:
    """The interface of `mer_engine.backends.cuda.Cuda` in host memory.

    Attributes:
        allocations: number of allocations so far, of both kinds of memory.
        launches: number of replays so far.
        records: recorded work that was not freed.
        refuse_records: whether `record` fails.
        device_blocks, host_blocks: memory that is allocated now, by address.
    """

    stream = 7

    def __init__(self) -> None:
        self.allocations = 0
        self.launches = 0
        self.records: list[list[Work]] = []
        self.refuse_records = False
        self.device_blocks: dict[int, ctypes.Array[ctypes.c_char]] = {}
        self.host_blocks: dict[int, NDArray[np.uint8]] = {}
        self._queue: list[Work] = []
        self._recording: list[Work] | None = None

    def host(self, size: int) -> NDArray[np.uint8]:
        memory = np.full(size, 0xFF, np.uint8)  # NaN as float32, so missing writes are noticed
        self.host_blocks[memory.ctypes.data] = memory
        self.allocations += 1
        return memory

    def free_host(self, memory: NDArray[np.uint8]) -> None:
        del self.host_blocks[memory.ctypes.data]

    def device(self, size: int) -> int:
        block = ctypes.create_string_buffer(b"\xff" * size, size)
        address = ctypes.addressof(block)
        self.device_blocks[address] = block
        self.allocations += 1
        return address

    def free_device(self, address: int) -> None:
        assert not self._queue, "memory is freed while work is queued"
        del self.device_blocks[address]

    def memory(self, address: int, size: int) -> NDArray[np.uint8]:
        """Return a view of the card's memory, which must be allocated."""
        for start, block in self.device_blocks.items():
            if start <= address and address + size <= start + len(block):
                whole: NDArray[np.uint8] = np.ctypeslib.as_array(block).view(np.uint8)
                return whole[address - start : address - start + size]
        raise AssertionError(f"{size} bytes at {address:#x} are not allocated on the card")

    def upload(self, memory: NDArray[np.uint8], address: int, size: int) -> None:
        assert memory.ctypes.data in self.host_blocks, "not page-locked"
        self.queue(lambda: np.copyto(self.memory(address, size), memory[:size]))

    def download(self, address: int, memory: NDArray[np.uint8], size: int) -> None:
        assert memory.ctypes.data in self.host_blocks, "not page-locked"
        self.queue(lambda: np.copyto(memory[:size], self.memory(address, size)))

    def queue(self, work: Work) -> None:
        (self._queue if self._recording is None else self._recording).append(work)

    def wait(self) -> None:
        assert self._recording is None, "wait during a recording"
        queue, self._queue = self._queue, []
        for work in queue:
            work()

    def record(self, work: Work) -> Any:
        if self.refuse_records:
            raise BackendError("CUDA: operation not permitted when stream is capturing")
        self._recording = []
        work()
        recorded, self._recording = self._recording, None
        self.records.append(recorded)
        return recorded

    def replay(self, recorded: list[Work]) -> None:
        assert any(recorded is entry for entry in self.records), "freed record"
        self.launches += 1
        self._queue.extend(recorded)

    def free_recorded(self, recorded: list[Work]) -> None:
        self.records = [entry for entry in self.records if entry is not recorded]


class SimulatedProgram:
    """A compiled engine that computes with ONNX Runtime.

    Args:
        path: the model file.
        stream: the card's stream.
        records_itself: see `mer_engine.backends.tensorrt.engine.Program`.

    Attributes:
        contexts: number of contexts created so far.
        broken: whether its contexts refuse to run.
    """

    def __init__(self, path: Path, stream: SimulatedStream, *, records_itself: bool) -> None:
        self.engine = OnnxRuntimeEngine(path)
        self.stream = stream
        self.records_itself = records_itself
        self.contexts = 0
        self.broken = False

    def context(self, profile: int, stream: int) -> SimulatedContext:
        assert stream == self.stream.stream
        self.contexts += 1
        return SimulatedContext(self, profiles(self.engine.info)[profile])


class SimulatedContext:
    """An execution context: shapes, addresses and working memory of a call."""

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
        assert self._profile.contains(self._shape()), self._shape()
        self._program.stream.memory(*self._work)
        assert self._work[1] >= self.update_device_memory_size_for_shapes()
        self._program.stream.queue(self._run)
        return True

    def _shape(self) -> Shape:
        frames, cached_maps, past = (self._shapes[name] for name in INPUTS)
        return Shape(frames[0], frames[1], cached_maps[1], past[1])

    def _run(self) -> None:
        inputs = [self._tensor(name, self._shapes[name]).copy() for name in INPUTS]
        outputs = self._program.engine.infer(*inputs)
        info = self._program.engine.info
        shapes = output_shapes(info, self._shape())
        for name, shape in zip(output_names(info), shapes, strict=True):
            array = getattr(outputs, name)
            assert array.shape == shape
            self._tensor(name, shape)[...] = array

    def _tensor(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        size = 4 * int(np.prod(shape))
        memory = self._program.stream.memory(self._addresses[name], size)
        return memory.view(np.float32).reshape(shape)


class SimulatedCard:
    """An engine on a simulated card.

    Args:
        path: the model file.
        records_itself: see `mer_engine.backends.tensorrt.engine.Program`.
    """

    def __init__(self, path: Path, *, records_itself: bool = False) -> None:
        self.stream = SimulatedStream()
        self.program = SimulatedProgram(path, self.stream, records_itself=records_itself)
        info = self.program.engine.info
        self.engine = TensorRtEngine(info, self.program, self.stream, "fp32", "a simulated card")


# Runs that allocate memory, before ONNX Runtime records one.
_REGULAR_RUNS = 2


class SimulatedBinding:
    """Inputs and outputs of a session, bound to memory of the simulated card.

    Attributes:
        binding: the real binding, to the same memory.
        tensors: address and shape of each tensor, by name.
    """

    def __init__(self, binding: Any, stream: SimulatedStream) -> None:
        self.binding = binding
        self.tensors: dict[str, tuple[int, tuple[int, ...]]] = {}
        self._stream = stream

    def bind_input(
        self, name: str, device: str, number: int, kind: Any, shape: list[int], address: int
    ) -> None:
        self._check(name, device, number, shape, address)
        self.binding.bind_input(name, "cpu", 0, kind, shape, address)

    def bind_output(
        self, name: str, device: str, number: int, kind: Any, shape: list[int], address: int
    ) -> None:
        self._check(name, device, number, shape, address)
        self.binding.bind_output(name, "cpu", 0, kind, shape, address)

    def _check(self, name: str, device: str, number: int, shape: list[int], address: int) -> None:
        assert (device, number) == ("cuda", 0)
        self._stream.memory(address, 4 * int(np.prod(shape)))
        self.tensors[name] = (address, tuple(shape))


class SimulatedSession:
    """A session of ONNX Runtime with the CUDA provider, and with its rules for recorded work.

    It computes with the provider for the processor, on memory of the simulated card.

    Args:
        model: the content of a model file, or a part of its graph.
        stream: the card's stream.
        threads: receives the threads of the runs.

    Attributes:
        one_by_one: whether each call does one of the steps of a recording, as in some versions.
        regular: runs without recorded work.
        replays: runs of recorded work, by number of the recording.
        bindings: bindings created so far.
        error: message of the error that each run raises; empty for none.
        refuses_records: whether recording fails.
        damages_records: whether recorded work computes other numbers.
    """

    def __init__(
        self, model: bytes, stream: SimulatedStream, threads: set[threading.Thread] | None = None
    ) -> None:
        self._session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
        self._stream = stream
        self._runs: Counter[int] = Counter()
        self._records: dict[int, tuple[SimulatedBinding, dict[str, Any]]] = {}
        self._threads: set[threading.Thread] = set()
        self._all_threads = set() if threads is None else threads
        self.one_by_one = False
        self.regular = 0
        self.replays: Counter[int] = Counter()
        self.bindings = 0
        self.error = ""
        self.refuses_records = False
        self.damages_records = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def get_providers(self) -> list[str]:
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def io_binding(self) -> SimulatedBinding:
        self.bindings += 1
        return SimulatedBinding(self._session.io_binding(), self._stream)

    def run(self, *arguments: Any) -> Any:
        self._all_threads.add(threading.current_thread())
        if self.error:
            raise RuntimeError(self.error)
        self.regular += 1
        return self._session.run(*arguments)

    def run_with_iobinding(self, binding: SimulatedBinding, options: ort.RunOptions) -> None:
        self._all_threads.add(threading.current_thread())
        self._threads.add(threading.current_thread())
        assert len(self._threads) == 1, "recorded work belongs to one thread"
        if self.error:
            raise RuntimeError(self.error)
        number = int(options.get_run_config_entry("gpu_graph_id"))
        if number == -1:
            self._run(binding)
            return
        if number not in self._records:
            while self._runs[number] < _REGULAR_RUNS:
                self._runs[number] += 1
                self._run(binding)
                if self.one_by_one:
                    return
            if self.refuses_records:
                raise RuntimeError("CUDA failure 900: operation not permitted when capturing")
            self._records[number] = (binding, dict(binding.tensors))
        recorded, tensors = self._records[number]
        assert recorded is binding, "recorded work has the addresses of another binding"
        assert recorded.tensors == tensors
        self.replays[number] += 1
        self._stream.queue(lambda: self._session.run_with_iobinding(binding.binding))
        if self.damages_records:
            address, shape = tensors["steps"]
            view = self._stream.memory(address, 4 * int(np.prod(shape))).view(np.float32)
            self._stream.queue(lambda: view.fill(9.0))
        self._stream.wait()  # as ONNX Runtime does, whatever the options of the run

    def _run(self, binding: SimulatedBinding) -> None:
        self.regular += 1
        self._stream.queue(lambda: self._session.run_with_iobinding(binding.binding))


class SimulatedCudaCard:
    """ONNX Runtime's engine on a simulated card; `path` is the model file."""

    def __init__(self, path: Path) -> None:
        self.stream = SimulatedStream()
        self.session = SimulatedSession(path.read_bytes(), self.stream)
        info = OnnxRuntimeEngine(path).info
        self.engine = CudaEngine(info, self.session, self.stream, "a simulated card", path)
