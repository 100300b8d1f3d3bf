"""Run a compiled engine: buffers, bound contexts and recorded work.

This module contains no call of TensorRT or CUDA. It uses them through `Program`, `Context` and
`Stream`, so that tests can run it without a card.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mer_engine.backends.tensorrt.shapes import (
    INPUTS,
    Shape,
    input_shapes,
    lay_out,
    output_shapes,
    profiles,
    split_call,
)
from mer_engine.engine import Inference, output_names
from mer_engine.errors import BackendError
from mer_engine.model_file import ModelInfo

# Shapes whose bound contexts and recorded work are kept.
MAX_BOUND_CONTEXTS = 24


class Context(Protocol):
    """The part of TensorRT's execution context that is used here."""

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool: ...
    def set_tensor_address(self, name: str, memory: int) -> bool: ...
    def update_device_memory_size_for_shapes(self) -> int: ...
    def set_device_memory(self, memory: int, size: int) -> None: ...
    def execute_async_v3(self, stream_handle: int) -> bool: ...


class Program(Protocol):
    """A compiled engine on a card.

    Attributes:
        records_itself: whether the library records and replays the work itself.
    """

    records_itself: bool

    def context(self, profile: int, stream: int) -> Context:
        """Return a new context for shapes of a profile; the caller provides its memory."""
        ...


class Stream(Protocol):
    """The interface of `cuda.Cuda`."""

    stream: int

    def host(self, size: int) -> NDArray[np.uint8]: ...
    def free_host(self, memory: NDArray[np.uint8]) -> None: ...
    def device(self, size: int) -> int: ...
    def free_device(self, address: int) -> None: ...
    def upload(self, memory: NDArray[np.uint8], address: int, size: int) -> None: ...
    def download(self, address: int, memory: NDArray[np.uint8], size: int) -> None: ...
    def wait(self) -> None: ...
    def record(self, work: Callable[[], None]) -> Any: ...
    def replay(self, recorded: Any) -> None: ...
    def free_recorded(self, recorded: Any) -> None: ...


@dataclass(slots=True)
class BoundContext:
    """The state of a shape: a context bound to the buffers, views of them, recorded work.

    Attributes:
        inputs, outputs: views of the page-locked memory.
        input_bytes, output_bytes: bytes to copy in each direction.
        context: TensorRT's context, bound to the buffers on the card.
        recorded: work for `Stream.replay`; None where nothing was recorded.
        calls: calls before the recording.
    """

    inputs: list[NDArray[np.float32]]
    outputs: list[NDArray[np.float32]]
    input_bytes: int
    output_bytes: int
    context: Context
    recorded: Any = None
    calls: int = 0


class TensorRtEngine:
    """Runs a compiled engine.

    All calls share one stream and one set of buffers: page-locked memory on the host, and memory on
    the card. The first call of a shape binds a context to the buffers, and the second one records
    the work. A later call of the shape copies the inputs into the buffers, replays the work, waits,
    and copies the outputs. Buffers grow to the next power of two when a larger shape occurs.

    Args:
        info: metadata of the model.
        program: the compiled engine.
        stream: the stream that it runs on.
        precision: precision that it was compiled in.
        device: name of the card.
    """

    backend = "tensorrt"

    def __init__(
        self, info: ModelInfo, program: Program, stream: Stream, precision: str, device: str
    ) -> None:
        self.info = info
        self.precision = precision
        self.device = device
        self._program = program
        self._cuda = stream
        self._profiles = profiles(info)
        self._bound: OrderedDict[Shape, BoundContext] = OrderedDict()
        self._buffers = _Buffers(stream)
        self._lock = threading.Lock()

    def infer(
        self,
        frames: NDArray[np.float32],
        cached_maps: NDArray[np.float32],
        past: NDArray[np.float32],
    ) -> Inference:
        """See `mer_engine.engine.Engine.infer`."""
        shape = Shape(frames.shape[0], frames.shape[1], cached_maps.shape[1], past.shape[1])
        with self._lock:
            parts = [
                self._run(number, padded, [array[windows] for array in (frames, cached_maps, past)])
                for windows, number, padded in split_call(shape, self._profiles)
            ]
        if len(parts) == 1:
            return Inference(*parts[0])
        return Inference(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    def _run(
        self, profile: int, shape: Shape, arrays: list[NDArray[np.float32]]
    ) -> list[NDArray[np.float32]]:
        """Return the outputs of a call that one profile contains."""
        bound = self._bind(profile, shape)
        count = len(arrays[0])
        for view, array in zip(bound.inputs, arrays, strict=True):
            view[:count] = array
            view[count:] = array[:1]  # padding: valid values instead of those of an earlier call
        self._launch(bound)
        self._cuda.wait()
        # Callers keep the outputs, and the next call overwrites the buffers.
        return [view[:count].copy() for view in bound.outputs]

    def _launch(self, bound: BoundContext) -> None:
        if bound.recorded is not None:
            self._cuda.replay(bound.recorded)
            return
        self._queue(bound)
        if self._program.records_itself:
            return
        bound.calls += 1
        # TensorRT prepares a new shape in its first call. From the second one on the work is the
        # same each time. Work that cannot be recorded is queued in each call.
        if bound.calls == 2:
            with contextlib.suppress(BackendError):
                bound.recorded = self._cuda.record(lambda: self._queue(bound))

    def _queue(self, bound: BoundContext) -> None:
        buffers = self._buffers
        self._cuda.upload(buffers.host_in, buffers.device_in, bound.input_bytes)
        if not bound.context.execute_async_v3(self._cuda.stream):
            raise BackendError("TensorRT could not run the network")
        self._cuda.download(buffers.device_out, buffers.host_out, bound.output_bytes)

    def _bind(self, profile: int, shape: Shape) -> BoundContext:
        bound = self._bound.get(shape)
        if bound is not None:
            self._bound.move_to_end(shape)
            return bound
        inputs, input_bytes = lay_out(input_shapes(self.info, shape))
        outputs, output_bytes = lay_out(output_shapes(self.info, shape))
        context = self._program.context(profile, self._cuda.stream)
        for name, placement in zip(INPUTS, inputs, strict=True):
            if not context.set_input_shape(name, placement.shape):
                raise BackendError(f"TensorRT refuses {name} of shape {placement.shape}")
        work_bytes = max(int(context.update_device_memory_size_for_shapes()), 1)
        if not self._buffers.fit(input_bytes, output_bytes, work_bytes):
            # Growing moves the buffers, so contexts that are bound to them must go.
            self._drop_all()
            self._buffers.grow(input_bytes, output_bytes, work_bytes)
        buffers = self._buffers
        context.set_device_memory(buffers.work, buffers.work_bytes)
        for names, placements, base in (
            (INPUTS, inputs, buffers.device_in),
            (output_names(self.info), outputs, buffers.device_out),
        ):
            for name, placement in zip(names, placements, strict=True):
                context.set_tensor_address(name, base + placement.offset)
        bound = BoundContext(
            [placement.view(buffers.host_in) for placement in inputs],
            [placement.view(buffers.host_out) for placement in outputs],
            input_bytes,
            output_bytes,
            context,
        )
        self._bound[shape] = bound
        while len(self._bound) > MAX_BOUND_CONTEXTS:
            self._drop(self._bound.popitem(last=False)[1])
        return bound

    def _drop_all(self) -> None:
        self._cuda.wait()
        while self._bound:
            self._drop(self._bound.popitem()[1])

    def _drop(self, bound: BoundContext) -> None:
        if bound.recorded is not None:
            self._cuda.free_recorded(bound.recorded)


class _Buffers:
    """Memory that all bound contexts share: inputs and outputs on both sides, and workspace."""

    def __init__(self, stream: Stream) -> None:
        self._cuda = stream
        self.host_in = self.host_out = np.zeros(0, np.uint8)
        self.device_in = self.device_out = self.work = 0
        self.work_bytes = 0

    def fit(self, input_bytes: int, output_bytes: int, work_bytes: int) -> bool:
        """Return whether the buffers are large enough."""
        return (
            len(self.host_in) >= input_bytes
            and len(self.host_out) >= output_bytes
            and self.work_bytes >= work_bytes
        )

    def grow(self, input_bytes: int, output_bytes: int, work_bytes: int) -> None:
        """Make the buffers large enough. Their content is lost and their addresses change."""
        sizes = (
            max(_power_of_two(input_bytes), len(self.host_in)),
            max(_power_of_two(output_bytes), len(self.host_out)),
            max(_power_of_two(work_bytes), self.work_bytes),
        )
        self._free()
        self.host_in, self.device_in = self._cuda.host(sizes[0]), self._cuda.device(sizes[0])
        self.host_out, self.device_out = self._cuda.host(sizes[1]), self._cuda.device(sizes[1])
        self.work, self.work_bytes = self._cuda.device(sizes[2]), sizes[2]

    def _free(self) -> None:
        for memory in (self.host_in, self.host_out):
            if len(memory):
                self._cuda.free_host(memory)
        for address in (self.device_in, self.device_out, self.work):
            if address:
                self._cuda.free_device(address)
        self.host_in = self.host_out = np.zeros(0, np.uint8)
        self.device_in = self.device_out = self.work = 0


def _power_of_two(size: int) -> int:
    return 1 << (size - 1).bit_length()
