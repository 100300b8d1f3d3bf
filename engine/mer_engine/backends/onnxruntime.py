"""ONNX Runtime: on the processor (the default backend), or on an NVIDIA card."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mer_engine.engine import Inference, output_names
from mer_engine.errors import BackendError, ModelError
from mer_engine.model_file import METADATA_KEY, ModelInfo
from mer_engine.processor import processor

# Since 1.29 ONNX Runtime reports sessions to its maker, and warns where it cannot store an
# identifier for that. It reads this when it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

# Far above real ones: the shipped one has 9 MB.
SIZE_LIMIT = 256 << 20
# How a graph names a file with weights, which could be any file of this machine.
_EXTERNAL_DATA = b"\x0a\x08location\x12"


class OnnxRuntimeEngine:
    """Runs a model file with ONNX Runtime on the processor.

    One thread is fastest for a window of this size, and leaves the other cores to other programs.

    Args:
        path: the model file.
        threads: threads of one call.

    Attributes:
        warning: why this backend runs in place of a faster one that failed; mostly empty.

    Raises:
        ModelError: the file is missing, damaged, or lacks this project's metadata.
    """

    backend = "onnxruntime"
    warning = ""
    _providers: ClassVar[list[Any]] = ["CPUExecutionProvider"]

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        content = read_model(path)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # errors are raised below
        # It would keep the memory of the largest call for ever, and saves no time.
        options.enable_cpu_mem_arena = False
        # A waiting thread must not occupy a core.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # No file with weights is found in a folder that is none.
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", f"{os.devnull}/none"
        )
        try:
            self._session = ort.InferenceSession(content, options, providers=self._providers)
        except Exception as error:  # the errors of ONNX Runtime have no common base class
            raise ModelError(
                f"the model file {path} is damaged or not an ONNX model; get it again "
                f"({str(error).splitlines()[0][:160]})"
            ) from error
        metadata = self._session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        if metadata is None:
            raise ModelError(
                f"{path} is an ONNX model, but not one that realtime-mer train made "
                f"(it has no {METADATA_KEY} metadata)"
            )
        self.info = ModelInfo.from_json(metadata, sha256=hashlib.sha256(content).hexdigest())
        self._outputs = output_names(self.info)
        missing = set(self._outputs) - {output.name for output in self._session.get_outputs()}
        if missing:
            raise ModelError(
                f"the model file {path} is damaged: its graph lacks the output "
                f"{', '.join(sorted(missing))}; get it again"
            )

    def infer(
        self,
        frames: NDArray[np.float32],
        cached_maps: NDArray[np.float32],
        past: NDArray[np.float32],
    ) -> Inference:
        """See `mer_engine.engine.Engine.infer`."""
        # Model files call the cached maps "held".
        inputs = {"frames": frames, "held": cached_maps, "past": past}
        return Inference(*self._session.run(self._outputs, inputs))

    @property
    def provider(self) -> str:
        """The execution provider that ONNX Runtime uses for the graph."""
        return str(self._session.get_providers()[0])


class CudaEngine(OnnxRuntimeEngine):
    """Runs a model file with ONNX Runtime on an NVIDIA card, in full single precision.

    Raises:
        BackendError: the CUDA provider does not start here.
    """

    backend = "onnxruntime-cuda"
    _providers: ClassVar[list[Any]] = [
        # TF32 would round the factors of each product to three digits.
        ("CUDAExecutionProvider", {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}),
        "CPUExecutionProvider",
    ]

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        # The CUDA libraries may be in separate packages (nvidia-cudnn-cu12 and so on).
        if hasattr(ort, "preload_dlls"):
            ort.preload_dlls()
        super().__init__(path, threads=threads)
        # Without a card or its libraries, ONNX Runtime silently uses the processor.
        if self.provider != "CUDAExecutionProvider":
            raise BackendError(
                "ONNX Runtime cannot start its CUDA provider here (no NVIDIA card, or CUDA or "
                "cuDNN are missing); use the backend onnxruntime"
            )


def read_model(path: Path) -> bytes:
    """Return the content of a model file.

    Raises:
        ModelError: the file cannot be read.
    """
    try:
        if path.exists() and not path.is_file():
            raise ModelError(f"{path} is not a file; name a model file, or none to use the shipped")
        if path.stat().st_size > SIZE_LIMIT:
            raise ModelError(
                f"{path} is larger than {SIZE_LIMIT >> 20} MiB, so it is no model file of "
                "realtime-mer; get it again"
            )
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"the model file {path} cannot be read ({error.strerror}); check the path, "
            "or name none to use the shipped model"
        ) from error
    if _EXTERNAL_DATA in content:
        raise ModelError(
            f"the model file {path} takes its weights from other files, which realtime-mer train "
            "never does; get it again"
        )
    return content


def cuda_missing() -> str | None:
    """Return why ONNX Runtime's CUDA provider is not available; None where it may start."""
    if "CUDAExecutionProvider" in ort.get_available_providers():
        return None
    return (
        "the installed onnxruntime has no CUDA provider; where there is an NVIDIA card, install "
        "onnxruntime-gpu in its place"
    )


def environment() -> str:
    """Return library, version and processor, all of which may affect the last digits."""
    return f"onnxruntime {ort.__version__}, {processor()}"
