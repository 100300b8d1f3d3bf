"""TensorRT on an NVIDIA card, by either of its packages: `tensorrt-rtx` or `tensorrt`.

Building needs no card where the package can build for others; running needs one. Work that does
not need one (shapes, profiles, sizes of buffers, which shapes share what was recorded) is kept
apart from the few lines that do, and those of CUDA are in `cuda.py`.
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
    OUTPUTS,
    Shape,
    input_shapes,
    lay_out,
    output_shapes,
    pieces,
    profiles,
)
from mer_engine.engine import Inference
from mer_engine.errors import BackendError
from mer_engine.model_file import ModelInfo

# Shapes whose buffers and recorded work are kept.
MAX_BOUND_CONTEXTS = 24


class Context(Protocol):
    """TensorRT's execution context, as far as it is used here."""

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool: ...
    def set_tensor_address(self, name: str, memory: int) -> bool: ...
    def update_device_memory_size_for_shapes(self) -> int: ...
    def set_device_memory(self, memory: int, size: int) -> None: ...
    def execute_async_v3(self, stream_handle: int) -> bool: ...


class Program(Protocol):
    """A compiled engine on a card.

    Attributes:
        records_itself: whether the library records and replays the work by itself.
    """

    records_itself: bool

    def context(self, profile: int, stream: int) -> Context:
        """A new context for shapes of a profile, whose memory is set from outside."""
        ...


class Stream(Protocol):
    """What `cuda.Cuda` does."""

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
    def forget(self, recorded: Any) -> None: ...


@dataclass(slots=True)
class BoundContext:
    """What is kept for a shape: its places in the buffers, a context bound to them, a record."""

    inputs: list[NDArray[np.float32]]
    outputs: list[NDArray[np.float32]]
    input_bytes: int
    output_bytes: int
    context: Context
    recorded: Any = None
    calls: int = 0


class TensorRtEngine:
    """Runs a compiled engine.

    All calls go through one stream and one set of buffers: page-locked memory here and memory on
    the card, bound once. A shape that comes again finds its context bound and its work recorded, so
    a call is one copy into the buffers, one launch and one copy out. Buffers grow to the next power
    of two when a larger shape comes, which happens a few times in a life.

    Args:
        info: of the model.
        program: the compiled engine.
        stream: where it runs.
        precision: what it was compiled in.
        device: the card's name.
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
        self._lanes: OrderedDict[Shape, BoundContext] = OrderedDict()
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
            told = [
                self._run(number, filled, [array[windows] for array in (frames, cached_maps, past)])
                for windows, number, filled in pieces(shape, self._profiles)
            ]
        if len(told) == 1:
            return told[0]
        return Inference(*(np.concatenate(parts) for parts in zip(*told, strict=True)))

    def _run(self, profile: int, shape: Shape, arrays: list[NDArray[np.float32]]) -> Inference:
        lane = self._lane(profile, shape)
        count = len(arrays[0])
        for place, array in zip(lane.inputs, arrays, strict=True):
            place[:count] = array
            place[count:] = array[:1]  # filled up with music, not with what was there before
        self._launch(lane)
        self._cuda.wait()
        # Callers keep what they are told; the buffers are for the next call.
        return Inference(*(place[:count].copy() for place in lane.outputs))

    def _launch(self, lane: BoundContext) -> None:
        if lane.recorded is not None:
            self._cuda.replay(lane.recorded)
            return
        self._queue(lane)
        if self._program.records_itself:
            return
        lane.calls += 1
        # TensorRT finishes what a new shape needs in the first call; from the second on, the work
        # is the same each time. What cannot be recorded runs as well, only slower.
        if lane.calls == 2:
            with contextlib.suppress(BackendError):
                lane.recorded = self._cuda.record(lambda: self._queue(lane))

    def _queue(self, lane: BoundContext) -> None:
        buffers = self._buffers
        self._cuda.upload(buffers.host_in, buffers.device_in, lane.input_bytes)
        if not lane.context.execute_async_v3(self._cuda.stream):
            raise BackendError("TensorRT could not run the network")
        self._cuda.download(buffers.device_out, buffers.host_out, lane.output_bytes)

    def _lane(self, profile: int, shape: Shape) -> BoundContext:
        lane = self._lanes.get(shape)
        if lane is not None:
            self._lanes.move_to_end(shape)
            return lane
        inputs, input_bytes = lay_out(input_shapes(self.info, shape))
        outputs, output_bytes = lay_out(output_shapes(self.info, shape))
        context = self._program.context(profile, self._cuda.stream)
        for name, piece in zip(INPUTS, inputs, strict=True):
            if not context.set_input_shape(name, piece.shape):
                raise BackendError(f"TensorRT refuses {name} of shape {piece.shape}")
        work_bytes = max(int(context.update_device_memory_size_for_shapes()), 1)
        if not self._buffers.hold(input_bytes, output_bytes, work_bytes):
            # Everything that was bound to the old ones goes first.
            self._drop_lanes()
            self._buffers.grow(input_bytes, output_bytes, work_bytes)
        buffers = self._buffers
        context.set_device_memory(buffers.work, buffers.work_bytes)
        for names, places, base in (
            (INPUTS, inputs, buffers.device_in),
            (OUTPUTS, outputs, buffers.device_out),
        ):
            for name, piece in zip(names, places, strict=True):
                context.set_tensor_address(name, base + piece.offset)
        lane = BoundContext(
            [piece.view(buffers.host_in) for piece in inputs],
            [piece.view(buffers.host_out) for piece in outputs],
            input_bytes,
            output_bytes,
            context,
        )
        self._lanes[shape] = lane
        while len(self._lanes) > MAX_BOUND_CONTEXTS:
            self._forget(self._lanes.popitem(last=False)[1])
        return lane

    def _drop_lanes(self) -> None:
        self._cuda.wait()
        while self._lanes:
            self._forget(self._lanes.popitem()[1])

    def _forget(self, lane: BoundContext) -> None:
        if lane.recorded is not None:
            self._cuda.forget(lane.recorded)


class _Buffers:
    """The memory of all lanes, which take turns: inputs and outputs on both sides, work space."""

    def __init__(self, stream: Stream) -> None:
        self._cuda = stream
        self.host_in = self.host_out = np.zeros(0, np.uint8)
        self.device_in = self.device_out = self.work = 0
        self.work_bytes = 0

    def hold(self, input_bytes: int, output_bytes: int, work_bytes: int) -> bool:
        """Whether they are large enough."""
        return (
            len(self.host_in) >= input_bytes
            and len(self.host_out) >= output_bytes
            and self.work_bytes >= work_bytes
        )

    def grow(self, input_bytes: int, output_bytes: int, work_bytes: int) -> None:
        """Become large enough; what was in them is lost, and their places change."""
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
