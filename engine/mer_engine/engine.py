"""What an engine does, and how one is loaded."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mer_engine.errors import ModelError
from mer_engine.model_file import DIMENSIONS, ModelInfo

SHIPPED_MODEL = "mer-1.onnx"
# Another processor's arithmetic differs in the sixth digit; a damaged weight in the first ones.
SELF_CHECK_TOLERANCE = 5e-3


class Inference(NamedTuple):
    """What one update of B windows gives.

    Attributes:
        probabilities: float32 [B, scores, bins] (valence, arousal, and what else `info.scores`
            names).
        steps: float32 [B, k, E], the new embeddings.
        fast: float32 [B, scores, bins], the probabilities of the newest `info.fast_lag_order` steps
            alone, or of all where they are fewer.
        maps: float32 [B, n, M], what the filters made of the new frames.
    """

    probabilities: NDArray[np.float32]
    steps: NDArray[np.float32]
    fast: NDArray[np.float32]
    maps: NDArray[np.float32]


class Engine(Protocol):
    """Runs the network. Safe to call from several threads."""

    info: ModelInfo
    backend: str

    def infer(
        self,
        frames: NDArray[np.float32],
        cached_maps: NDArray[np.float32],
        past: NDArray[np.float32],
    ) -> Inference:
        """One update of B windows of P + k steps.

        Nothing is computed twice: of n new frames the maps are made, of k new steps the
        embeddings; the maps of the frames before and the embeddings of the steps before come from
        earlier calls. A stream begins with `silent_maps` and `no_past`.

        Args:
            frames: float32 [B, n, width], the features of the newest frames; n from 1 to k * S (S
                frames a step; S and R from `info`).
            cached_maps: float32 [B, R + k * S - n, M], the maps of the frames before, oldest first.
            past: float32 [B, P, E], oldest first; P may be 0.
        """
        ...


def backend_warning(engine: Engine) -> str:
    """What the user must know of an engine's backend, such as that another failed; mostly empty."""
    return str(getattr(engine, "note", ""))


def shipped_model() -> Path:
    """Where the shipped model file lies."""
    return Path(str(resources.files("mer_engine") / "models" / SHIPPED_MODEL))


def no_past(info: ModelInfo, batch: int = 1) -> NDArray[np.float32]:
    """The `past` of windows that begin with their newest steps: float32 [batch, 0, E]."""
    return np.zeros((batch, 0, info.embedding_size), dtype=np.float32)


def silent_maps(info: ModelInfo, batch: int = 1) -> NDArray[np.float32]:
    """The `cached_maps` of streams that begin, after silence: float32 [batch, R, M]."""
    silence = np.asarray(info.silent_map, dtype=np.float32)
    return np.tile(silence, (batch, info.map_context, 1))


def self_check(engine: Engine) -> None:
    """Runs a fixed window, which also pays the first call's costs before any music comes.

    Raises:
        ModelError: what it tells is not what the model file expects.
    """
    steps = 4
    frames = engine.info.check_frames(steps)
    silence = silent_maps(engine.info)
    first = engine.infer(frames, silence, no_past(engine.info))
    engine.infer(frames[:, -engine.info.frames_per_step :], silence, first.steps)
    values = engine.info.values(first.probabilities, steps).mean[0]
    if not np.isfinite(values).all():
        raise ModelError("the model file is damaged: it computes values that are not numbers")
    if engine.info.self_check is None:
        return
    for name, value in zip(DIMENSIONS, values, strict=True):
        expected = engine.info.self_check[name]
        if abs(value - expected) > SELF_CHECK_TOLERANCE:
            raise ModelError(
                f"the model file is damaged: its self check gives {name} {value:.4f} "
                f"instead of {expected:.4f}; get the file again"
            )
