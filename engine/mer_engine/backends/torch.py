"""torch: the reference that every other backend is held to. Needs the `train` extra."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from mer_engine.engine import Inference
from mer_engine.install_hint import install_hint
from mer_engine.model_file import ModelInfo

if TYPE_CHECKING:
    from mer_engine.network import EmotionNetwork

_PACKAGES = ("torch", "onnx")


class TorchEngine:
    """Runs a network as it was trained.

    Args:
        network: at rest (`eval`).
        info: what its model file says, or will say.
    """

    backend = "torch"

    def __init__(self, network: EmotionNetwork, info: ModelInfo) -> None:
        self.info = info
        self._network = network

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read a model file back into a network.

        Raises:
            ModelError: missing, damaged, or made by another kind of network.
        """
        from mer_engine.network_import import load_network

        return cls(*load_network(path))

    def infer(
        self, frames: NDArray[np.float32], held: NDArray[np.float32], past: NDArray[np.float32]
    ) -> Inference:
        """See `mer_engine.engine.Engine.infer`."""
        import torch

        with torch.inference_mode():
            told = self._network(*(torch.from_numpy(array) for array in (frames, held, past)))
        return Inference(*(tensor.numpy() for tensor in told))


def missing() -> str | None:
    """Why the reference cannot be had here; None where it can."""
    absent = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if not absent:
        return None
    return f"{' and '.join(absent)} not installed; {install_hint('train')}"
