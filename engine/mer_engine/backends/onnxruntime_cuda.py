"""ONNX Runtime on an NVIDIA card."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import onnxruntime as ort

from mer_engine.backends.onnxruntime import OnnxRuntimeEngine
from mer_engine.engine import CARD_SIZES
from mer_engine.errors import BackendError


class CudaEngine(OnnxRuntimeEngine):
    """Runs a model file with ONNX Runtime on an NVIDIA card, in full single precision.

    Raises:
        BackendError: the CUDA provider does not start here.
    """

    backend = "onnxruntime-cuda"
    part_sizes = CARD_SIZES
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


def missing() -> str | None:
    """Return why ONNX Runtime's CUDA provider is not available; None where it may start."""
    if "CUDAExecutionProvider" in ort.get_available_providers():
        return None
    return (
        "the installed onnxruntime has no CUDA provider; where there is an NVIDIA card, install "
        "onnxruntime-gpu in its place"
    )
