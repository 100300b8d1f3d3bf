"""ONNX Runtime on the CPU: the default, everywhere."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from mer_engine.engine import Inference
from mer_engine.errors import ModelError
from mer_engine.model_file import METADATA_KEY, ModelInfo


class OnnxRuntimeEngine:
    """Runs a model file with ONNX Runtime, one thread per call.

    One thread is the fastest for a window of this size, and leaves the other cores to the show.

    Args:
        path: the model file.
        threads: threads of one call.

    Raises:
        ModelError: missing, not readable as a model, or without this project's metadata.
    """

    backend = "onnxruntime"

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ModelError(
                f"the model file {path} cannot be read ({error.strerror}); check the path, "
                "or leave the option out to use the shipped model"
            ) from error
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what is wrong is said below, once
        # A waiting thread must not burn the core that plays the show.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime raises a family of its own without a common base
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
        missing = set(Inference._fields) - {output.name for output in self._session.get_outputs()}
        if missing:
            raise ModelError(
                f"the model file {path} is damaged: its graph lacks the output "
                f"{', '.join(sorted(missing))}; get it again"
            )

    def infer(
        self, frames: NDArray[np.float32], held: NDArray[np.float32], past: NDArray[np.float32]
    ) -> Inference:
        """See `mer_engine.engine.Engine.infer`."""
        inputs = {"frames": frames, "held": held, "past": past}
        return Inference(*self._session.run(Inference._fields, inputs))
