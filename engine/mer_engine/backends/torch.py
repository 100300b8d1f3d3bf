"""torch: the reference of the parity gate. Needs the `train` extra."""

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
    """Runs a network with torch.

    Args:
        network: a network in evaluation mode.
        info: metadata of its model file.
    """

    backend = "torch"

    def __init__(self, network: EmotionNetwork, info: ModelInfo) -> None:
        self.info = info
        self._network = network

    @classmethod
    def open(cls, path: Path) -> Self:
        """Load a model file.

        Raises:
            ModelError: the file is missing or damaged, or holds another kind of network.
        """
        from mer_engine.network_import import load_network

        return cls(*load_network(path))

    def infer(
        self,
        frames: NDArray[np.float32],
        cached_maps: NDArray[np.float32],
        past: NDArray[np.float32],
    ) -> Inference:
        """See `mer_engine.engine.Engine.infer`."""
        import torch

        with torch.inference_mode():
            outputs = self._network(
                *(torch.from_numpy(array) for array in (frames, cached_maps, past))
            )
        return Inference(*(tensor.numpy() for tensor in outputs))


def missing() -> str | None:
    """Return why torch is not available here; None where it is."""
    absent = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if not absent:
        return None
    return f"{' and '.join(absent)} not installed; {install_hint('train')}"
