"""ONNX Runtime on an NVIDIA card.

A call of this network is some 460 small pieces of work, so launching them takes longer than the
work. `CudaEngine` therefore lets ONNX Runtime record them once for each shape, as a CUDA graph, and
replay them. Where that is not possible, `UnrecordedCudaEngine` runs the network all the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from mer_engine.backends import cuda
from mer_engine.backends.benchmark_input import BenchmarkInput
from mer_engine.backends.card_engine import BoundShape, CardEngine, Stream, keep
from mer_engine.backends.onnxruntime import OnnxRuntimeEngine, OnnxRuntimeParts, read_model
from mer_engine.backends.shapes import MAX_BATCH, Shape, input_shapes, lay_out, output_shapes
from mer_engine.engine import CARD_SIZES, Announce, Engine, Inference
from mer_engine.errors import BackendError, ModelError
from mer_engine.install_hint import packages_hint
from mer_engine.model_file import ModelInfo

_PROVIDER = "CUDAExecutionProvider"
# TF32 would round the factors of each product to three digits.
_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
# Recordings of a session. ONNX Runtime frees them with the session only.
MAX_RECORDED = 64
# Calls of a shape before its recording: those of full windows recur each second, those of shorter
# ones belong to streams that start, or to streams with a shorter window.
_CALLS_FULL, _CALLS_SHORT = 3, 100
# Runs after which ONNX Runtime has recorded and replayed: two that allocate memory, a recording and
# a replay. Most versions do them all in the first.
_RUNS_TO_REPLAY = 4
# Largest difference of a replay from the same work without recording.
_TOLERANCE = 1e-3
_NOT_RECORDED = -1


class UnrecordedCudaEngine(OnnxRuntimeEngine):
    """Runs a model file with ONNX Runtime on an NVIDIA card, one piece of work at a time.

    Attributes:
        largest_batch: windows of the largest call that gains from its size.

    Raises:
        ModelError: the model file is missing or damaged, or the CUDA provider does not start.
    """

    backend = "onnxruntime-cuda"
    largest_batch = MAX_BATCH
    part_sizes = CARD_SIZES

    def _open(self, content: bytes, *, arena: bool = False) -> ort.InferenceSession:
        return _open_session(content, {})


class Bound(NamedTuple):
    """ONNX Runtime's objects for a shape.

    Attributes:
        binding: the session's inputs and outputs, bound to memory of the card.
        full: whether the windows of the shape have the default length or a longer one.
    """

    binding: Any
    full: bool


class CudaEngine(CardEngine[Bound]):
    """Runs a model file with ONNX Runtime on an NVIDIA card, and records the work of shapes.

    One thread must make all calls (`OwnThreadEngine`): ONNX Runtime keeps recordings for the thread
    that made them, and a recording fails while another thread allocates memory on the card.

    Args:
        info: metadata of the model.
        session: a session with `enable_cuda_graph`, on the stream of `stream`.
        stream: the stream that it runs on.
        device: name of the card.
        path: the model file, whose parts recordings use.

    Attributes:
        warning: mostly empty, see `mer_engine.engine.backend_warning`.

    Raises:
        BackendError: the card has too little memory.
    """

    backend = "onnxruntime-cuda"
    warning = ""
    # A binding takes no memory of the card, and without it a recording is lost.
    max_bound_shapes = 512

    def __init__(
        self, info: ModelInfo, session: Any, stream: Stream, device: str, path: Path
    ) -> None:
        super().__init__(info, stream, device, "fp32")
        self._session = session
        self._path = path
        self._unrecorded: UnrecordedCudaEngine | None = None
        self._recorded = 0
        # Memory for the largest call: buffers that grew later would move, and recordings that
        # cannot be freed would keep their addresses.
        sizes = [
            [lay_out(shapes(info, entry.largest))[1] for entry in self._ranges]
            for shapes in (input_shapes, output_shapes)
        ]
        self._buffers.grow(max(sizes[0]), max(sizes[1]), 0)

    def infer(
        self,
        frames: NDArray[np.float32],
        cached_maps: NDArray[np.float32],
        past: NDArray[np.float32],
    ) -> Inference:
        """See `mer_engine.engine.Engine.infer`.

        Raises:
            BackendError: the card failed; the message says what to do.
        """
        try:
            return super().infer(frames, cached_maps, past)
        except Exception as error:  # the errors of ONNX Runtime have no common base class
            raise cuda.card_error(error) from error

    def parts(self) -> OnnxRuntimeParts | None:
        """Open the parts of the graph, unrecorded, as they are large; None where it fails."""
        try:
            self._unrecorded = self._unrecorded or UnrecordedCudaEngine(self._path)
        except ModelError:
            return None
        return self._unrecorded.parts()

    def rehearse(self) -> None:
        """Run the update of one stream until its work is recorded and replayed.

        Raises:
            BackendError: the card cannot run, record or replay it.
        """
        update = BenchmarkInput.of(self.info)
        for _ in range(_CALLS_FULL + 1):
            self.infer(*update)

    def _prepare(self, profile: int, shape: Shape) -> tuple[Bound, int]:
        new = (shape.frames + shape.cached - self.info.map_context) // self.info.frames_per_step
        full = shape.past + new >= self.info.lag_order_default
        return Bound(self._session.io_binding(), full), 0

    def _connect(self, network: Bound, tensors: Sequence[tuple[str, int, tuple[int, ...]]]) -> None:
        inputs = {entry.name for entry in self._session.get_inputs()}
        for name, address, shape in tensors:
            bind = network.binding.bind_input if name in inputs else network.binding.bind_output
            bind(name, "cuda", 0, np.float32, list(shape), address)

    def _launch(self, bound: BoundShape[Bound]) -> None:
        buffers = self._buffers
        self._cuda.upload(buffers.host_in, buffers.device_in, bound.input_bytes)
        if bound.recorded is None and self._is_due(bound):
            self._record(bound)
        else:
            self._run_bound(bound, _NOT_RECORDED if bound.recorded is None else bound.recorded)
        self._cuda.download(buffers.device_out, buffers.host_out, bound.output_bytes)

    def _is_due(self, bound: BoundShape[Bound]) -> bool:
        """Count a call, and return whether it is the one to record."""
        bound.calls += 1
        calls = _CALLS_FULL if bound.network.full else _CALLS_SHORT
        return bound.calls >= calls and self._recorded < MAX_RECORDED

    def _record(self, bound: BoundShape[Bound]) -> None:
        """Record the work of a shape, and compare the first replay with the unrecorded work.

        Raises:
            BackendError: they differ.
        """
        self._run_bound(bound, _NOT_RECORDED)
        expected = self._outputs(bound)
        self._recorded += 1
        for _ in range(_RUNS_TO_REPLAY):
            self._run_bound(bound, self._recorded)
        for mine, other in zip(self._outputs(bound), expected, strict=True):
            if not np.allclose(mine, other, rtol=_TOLERANCE, atol=_TOLERANCE):
                raise BackendError("the recorded work computes other numbers than the network")
        bound.recorded = self._recorded

    def _outputs(self, bound: BoundShape[Bound]) -> list[NDArray[np.float32]]:
        """Return copies of the outputs on the card."""
        buffers = self._buffers
        self._cuda.download(buffers.device_out, buffers.host_out, bound.output_bytes)
        self._cuda.wait()
        return [view.copy() for view in bound.outputs]

    def _run_bound(self, bound: BoundShape[Bound], recording: int) -> None:
        options = ort.RunOptions()
        options.add_run_config_entry("gpu_graph_id", str(recording))
        # The copies are on the same stream, and the engine waits for the outputs. After a replay
        # ONNX Runtime waits all the same.
        options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        self._session.run_with_iobinding(bound.network.binding, options)


def open_engine(path: Path, announce: Announce) -> Engine:
    """Load a model file on the card, with recorded work where that is possible.

    Args:
        path: the model file.
        announce: receives a sentence where the work cannot be recorded.

    Raises:
        ModelError: the model file is missing or damaged.
        BackendError: the card cannot run it; the message says why and what to do.
    """
    reason = missing()
    if reason is not None:
        raise BackendError(reason)
    info = OnnxRuntimeEngine(path).info  # raises here what is the file's fault, not the card's
    # The CUDA libraries may be in separate packages (nvidia-cudnn-cu13 and so on). Where they are
    # missing, it prints so; `_open_session` says what to do.
    with contextlib.redirect_stdout(None):
        ort.preload_dlls()
    try:
        return _open_recorded(path, info)
    except Exception as error:  # the errors of ONNX Runtime have no common base class
        refusal = str(cuda.card_error(error))
    try:
        engine = UnrecordedCudaEngine(path)
        engine.infer(*BenchmarkInput.of(info))
    except Exception as error:
        # A session that does not open is called a damaged file, which this one is not.
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        raise cuda.card_error(cause) from error
    engine.warning = (
        "onnxruntime-cuda launches each piece of work by itself, which takes three times as long, "
        f"because it cannot be recorded here: {refusal}"
    )
    announce(engine.warning)
    return engine


def _open_recorded(path: Path, info: ModelInfo) -> CudaEngine:
    card = cuda.find_card()
    stream = cuda.Cuda()
    options = {"enable_cuda_graph": "1", "user_compute_stream": str(stream.stream)}
    session = _open_session(read_model(path), options)
    engine = CudaEngine(info, session, stream, card.name, path)
    try:
        engine.rehearse()
    except BackendError:
        try:
            stream.wait()
        except BackendError:  # the card is gone; otherwise the engine frees its memory here
            keep(engine)
        raise
    return engine


def _open_session(content: bytes, provider_options: dict[str, str]) -> ort.InferenceSession:
    """Open a session on the card.

    Raises:
        BackendError: the CUDA provider does not start.
        Exception: the card or the model does not suit ONNX Runtime.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised by the callers
    session = ort.InferenceSession(
        content,
        options,
        providers=[(_PROVIDER, _OPTIONS | provider_options), "CPUExecutionProvider"],
        # Otherwise it would print errors and go on with the processor.
        enable_fallback=0,
    )
    if session.get_providers()[0] != _PROVIDER:
        raise BackendError(
            "ONNX Runtime cannot start its CUDA provider, because CUDA or cuDNN are missing; "
            + packages_hint(["onnxruntime-gpu[cuda,cudnn]"])
        )
    return session


def missing() -> str | None:
    """Return why ONNX Runtime cannot use a card here; None where it may.

    The sentence says what to do. Fast without a driver.
    """
    if _PROVIDER not in ort.get_available_providers():
        return (
            "the installed onnxruntime has no CUDA provider; where there is an NVIDIA card, "
            "install onnxruntime-gpu in its place"
        )
    return cuda.driver_problem(ort.cuda_version)
