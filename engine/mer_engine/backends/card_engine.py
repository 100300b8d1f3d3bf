"""What the engines on an NVIDIA card have in common: buffers, bound shapes, padding, copies.

This module contains no call of CUDA or of a library that runs networks. It uses them through
`Stream` and the methods of a subclass, so that tests can run it without a card.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import weakref
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from mer_engine.backends.shapes import (
    INPUTS,
    MAX_BATCH,
    Placement,
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

# A call of 256 windows copies 55 MB in host memory, for which one core takes as long as the card.
_MAX_COPY_THREADS = 8
_PIECE_BYTES = 1 << 20

Network = TypeVar("Network")


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
class BoundShape(Generic[Network]):
    """The state of a shape: the network bound to the buffers, views of them, recorded work.

    Attributes:
        inputs, outputs: views of the page-locked memory.
        input_bytes, output_bytes: bytes to copy in each direction.
        network: the library's object, bound to the buffers on the card.
        recorded: recorded work, as the subclass has it; None where nothing was recorded.
        calls: calls before the recording.
    """

    inputs: list[NDArray[np.float32]]
    outputs: list[NDArray[np.float32]]
    input_bytes: int
    output_bytes: int
    network: Network
    recorded: Any = None
    calls: int = 0


class CardEngine(ABC, Generic[Network]):
    """Runs a network on a card.

    All calls share one stream and one set of buffers: page-locked memory on the host, and memory on
    the card. The first call of a shape binds the network to the buffers. A call copies the inputs
    into the buffers, launches the work, waits, and copies the outputs. Buffers grow to the next
    power of two when a larger shape occurs. An engine that is not used any more frees them.

    Args:
        info: metadata of the model.
        stream: the stream that it runs on.
        device: name of the card.
        precision: precision of the network.

    Attributes:
        largest_batch: windows of the largest call that gains from its size.
        max_bound_shapes: shapes that are kept with their bindings and recorded work.
    """

    backend: ClassVar[str]
    largest_batch = MAX_BATCH
    max_bound_shapes: ClassVar[int] = 24

    def __init__(self, info: ModelInfo, stream: Stream, device: str, precision: str) -> None:
        self.info = info
        self.device = device
        self.precision = precision
        self._cuda = stream
        self._ranges = profiles(info)
        self._bound: OrderedDict[Shape, BoundShape[Network]] = OrderedDict()
        self._buffers = Buffers(stream)
        # The memory goes with the process.
        weakref.finalize(self, _release, stream, self._buffers).atexit = False
        self._copier = Copier(min(_MAX_COPY_THREADS, (os.cpu_count() or 1) // 2))
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
                for windows, number, padded in split_call(shape, self._ranges)
            ]
        if len(parts) == 1:
            return Inference(*parts[0])
        return Inference(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    @abstractmethod
    def _prepare(self, profile: int, shape: Shape) -> tuple[Network, int]:
        """Return the network for a shape, and the bytes of working memory that it needs."""

    @abstractmethod
    def _connect(
        self, network: Network, tensors: Sequence[tuple[str, int, tuple[int, ...]]]
    ) -> None:
        """Bind the network to the buffers.

        Args:
            network: as `_prepare` returned it.
            tensors: name, address on the card and shape of each input and output.
        """

    @abstractmethod
    def _launch(self, bound: BoundShape[Network]) -> None:
        """Queue the upload of the inputs, the network, and the download of the outputs."""

    def _drop(self, bound: BoundShape[Network]) -> None:
        """Free what belongs to a shape that is not used any more."""

    def _run(
        self, profile: int, shape: Shape, arrays: list[NDArray[np.float32]]
    ) -> list[NDArray[np.float32]]:
        """Return the outputs of a call that one profile contains."""
        bound = self._bind(profile, shape)
        count = len(arrays[0])
        for view, array in zip(bound.inputs, arrays, strict=True):
            self._copier.copy(view[:count], array)
            view[count:] = array[:1]  # padding: valid values instead of those of an earlier call
        self._launch(bound)
        self._cuda.wait()
        # Callers keep the outputs, and the next call overwrites the buffers.
        outputs = [np.empty_like(view[:count]) for view in bound.outputs]
        for output, view in zip(outputs, bound.outputs, strict=True):
            self._copier.copy(output, view[:count])
        return outputs

    def _bind(self, profile: int, shape: Shape) -> BoundShape[Network]:
        bound = self._bound.get(shape)
        if bound is not None:
            self._bound.move_to_end(shape)
            return bound
        inputs, input_bytes = lay_out(input_shapes(self.info, shape))
        outputs, output_bytes = lay_out(output_shapes(self.info, shape))
        network, work_bytes = self._prepare(profile, shape)
        if not self._buffers.fit(input_bytes, output_bytes, work_bytes):
            # Growing moves the buffers, so networks that are bound to them must go.
            self._drop_all()
            self._buffers.grow(*map(_power_of_two, (input_bytes, output_bytes, work_bytes)))
        buffers = self._buffers
        tensors = [
            *_placed(INPUTS, inputs, buffers.device_in),
            *_placed(output_names(self.info), outputs, buffers.device_out),
        ]
        self._connect(network, tensors)
        bound = BoundShape(
            [placement.view(buffers.host_in) for placement in inputs],
            [placement.view(buffers.host_out) for placement in outputs],
            input_bytes,
            output_bytes,
            network,
        )
        self._bound[shape] = bound
        while len(self._bound) > self.max_bound_shapes:
            self._drop(self._bound.popitem(last=False)[1])
        return bound

    def _drop_all(self) -> None:
        self._cuda.wait()
        while self._bound:
            self._drop(self._bound.popitem()[1])


def _placed(
    names: Sequence[str], placements: Sequence[Placement], base: int
) -> list[tuple[str, int, tuple[int, ...]]]:
    return [
        (name, base + placement.offset, placement.shape)
        for name, placement in zip(names, placements, strict=True)
    ]


def _release(stream: Stream, buffers: Buffers) -> None:
    """Free the memory of an engine that is gone, where the card still answers."""
    with contextlib.suppress(BackendError):
        stream.wait()
        buffers.free()


def keep(engine: object) -> None:
    """Keep an engine, and what it holds on a card, until the process has ended.

    A library whose card is gone ends the process where it frees the card's memory: destructors of
    ONNX Runtime raise the card's error.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(engine))


class Copier:
    """Copies arrays; large ones with several threads, as one core is slower than the card's bus.

    Args:
        threads: threads for a large array; fewer than 2 for none.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, "copy") if threads > 1 else None

    def copy(self, target: NDArray[np.float32], source: NDArray[np.float32]) -> None:
        """Copy `source` to `target`, of the same shape, in pieces along the first axis."""
        pieces = min(self._threads, source.nbytes // _PIECE_BYTES)
        if self._pool is None or pieces < 2:
            np.copyto(target, source)
            return
        targets, sources = np.array_split(target, pieces), np.array_split(source, pieces)
        list(self._pool.map(np.copyto, targets, sources))


class Buffers:
    """Memory that all bound shapes share: inputs and outputs on both sides, and working memory."""

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
            max(input_bytes, len(self.host_in)),
            max(output_bytes, len(self.host_out)),
            max(work_bytes, self.work_bytes),
        )
        self.free()
        # In this order nothing fits before both sides are there, even where the card is full.
        self.device_in = self._cuda.device(sizes[0])
        self.host_in = self._cuda.host(sizes[0])
        self.device_out = self._cuda.device(sizes[1])
        self.host_out = self._cuda.host(sizes[1])
        if sizes[2]:
            self.work = self._cuda.device(sizes[2])
            self.work_bytes = sizes[2]

    def free(self) -> None:
        """Free the memory, which nothing may use any more."""
        for memory in (self.host_in, self.host_out):
            if len(memory):
                self._cuda.free_host(memory)
        for address in (self.device_in, self.device_out, self.work):
            if address:
                self._cuda.free_device(address)
        self.host_in = self.host_out = np.zeros(0, np.uint8)
        self.device_in = self.device_out = self.work = self.work_bytes = 0


def _power_of_two(size: int) -> int:
    return 1 << (size - 1).bit_length() if size else 0
