"""torch: the reference of the parity gate. Needs the `train` extra."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from mer_engine.engine import PROCESSOR_SIZES, Inference
from mer_engine.errors import NotFiniteError
from mer_engine.install_hint import install_hint
from mer_engine.model_file import ModelInfo

if TYPE_CHECKING:
    from torch import Tensor

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
        return Inference(*_run(self._network, frames, cached_maps, past))

    def parts(self) -> TorchParts:
        """Return the modules of the network."""
        return TorchParts(self._network, self.info)


class TorchParts:
    """The modules of a network; see `mer_engine.engine.EngineParts`.

    Args:
        network, info: as for `TorchEngine`.
    """

    sizes = PROCESSOR_SIZES

    def __init__(self, network: EmotionNetwork, info: ModelInfo) -> None:
        self.info = info
        self._network = network

    def maps(
        self, frames: NDArray[np.float32], cached_maps: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """See `mer_engine.engine.EngineParts.maps`."""
        (maps,) = self._call(self._network.encoder.maps, frames[None], cached_maps[None])
        return np.asarray(maps[0])

    def describe(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `mer_engine.engine.EngineParts.describe`."""
        (steps,) = self._call(self._network.encoder.describe, self._needed(maps[None]))
        return np.asarray(steps[0])

    def sound_logits(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `mer_engine.engine.EngineParts.sound_logits`."""
        if not self.info.sounds:
            return np.empty((len(maps), 0), dtype=np.float32)
        (logits,) = self._call(self._network.encoder.sound_logits, self._needed(maps))
        return np.asarray(logits[:, 0])

    def head(
        self, windows: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32] | None]:
        """See `mer_engine.engine.EngineParts.head`."""
        probabilities, fast, *sound = self._call(self._network.infer_windows, windows)
        return probabilities, fast, sound[0] if sound else None

    def _needed(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the part of maps [B, R + k * S, M] that the encoder's second stage takes."""
        config = self._network.config
        return maps[:, config.map_context - config.step_context :]

    @staticmethod
    def _call(
        function: Callable[..., Tensor | tuple[Tensor, ...]], *inputs: NDArray[np.float32]
    ) -> list[NDArray[np.float32]]:
        """Return the outputs of a module.

        Raises:
            NotFiniteError: one has a number that is not finite.
        """
        arrays = _run(function, *inputs)
        if not all(np.isfinite(array).all() for array in arrays):
            raise NotFiniteError("it returned numbers that are not finite")
        return arrays


def _run(
    function: Callable[..., Tensor | tuple[Tensor, ...]], *inputs: NDArray[np.float32]
) -> list[NDArray[np.float32]]:
    """Return the outputs of a module."""
    import torch

    with torch.inference_mode():
        # torch warns of arrays that may not be written, so it gets a copy of these.
        outputs = function(*(torch.from_numpy(np.require(x, requirements="W")) for x in inputs))
    tensors = outputs if isinstance(outputs, tuple) else (outputs,)
    return [tensor.numpy() for tensor in tensors]


def missing() -> str | None:
    """Return why torch is not available here; None where it is."""
    absent = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if not absent:
        return None
    return f"{' and '.join(absent)} not installed; {install_hint('train')}"
