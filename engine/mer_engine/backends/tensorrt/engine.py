"""Run an engine that TensorRT compiled.

This module contains no call of TensorRT or CUDA. It uses them through `Program`, `Context` and
`Stream`, so that tests can run it without a card.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Protocol

from mer_engine.backends.card_engine import BoundShape, CardEngine, Stream
from mer_engine.backends.shapes import INPUTS, Shape, input_shapes
from mer_engine.errors import BackendError
from mer_engine.model_file import ModelInfo


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


class TensorRtEngine(CardEngine[Context]):
    """Runs a compiled engine; see `CardEngine`.

    The second call of a shape records its work, copies included, and later calls replay it.

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
        super().__init__(info, stream, device, precision)
        self._program = program

    def _prepare(self, profile: int, shape: Shape) -> tuple[Context, int]:
        context = self._program.context(profile, self._cuda.stream)
        for name, size in zip(INPUTS, input_shapes(self.info, shape), strict=True):
            if not context.set_input_shape(name, size):
                raise BackendError(f"TensorRT refuses {name} of shape {size}")
        return context, max(int(context.update_device_memory_size_for_shapes()), 1)

    def _connect(
        self, network: Context, tensors: Sequence[tuple[str, int, tuple[int, ...]]]
    ) -> None:
        network.set_device_memory(self._buffers.work, self._buffers.work_bytes)
        for name, address, _ in tensors:
            network.set_tensor_address(name, address)

    def _launch(self, bound: BoundShape[Context]) -> None:
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

    def _queue(self, bound: BoundShape[Context]) -> None:
        buffers = self._buffers
        self._cuda.upload(buffers.host_in, buffers.device_in, bound.input_bytes)
        if not bound.network.execute_async_v3(self._cuda.stream):
            raise BackendError("TensorRT could not run the network")
        self._cuda.download(buffers.device_out, buffers.host_out, bound.output_bytes)

    def _drop(self, bound: BoundShape[Context]) -> None:
        if bound.recorded is not None:
            self._cuda.free_recorded(bound.recorded)
