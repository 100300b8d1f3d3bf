"""The interface of an engine, and what every caller of one needs."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mer_engine.errors import ModelError, NotFiniteError
from mer_engine.model_file import DIMENSIONS, ModelInfo

Announce = Callable[[str], None]
"""Receives a sentence for the user."""

SHIPPED_MODEL = "mer-2.onnx"
# Between processors the outputs differ in the sixth digit. A damaged weight changes the first ones.
SELF_CHECK_TOLERANCE = 5e-3
# On a processor, larger calls leave its caches and cost the same per window or more.
PROCESSOR_BATCH = 8


class Inference(NamedTuple):
    """The outputs of one update of B windows.

    Attributes:
        probabilities: float32 [B, scores, bins], distributions of the scores in `info.scores`
            (valence, arousal, and others) over the bins.
        steps: float32 [B, k, E], the new embeddings.
        fast: float32 [B, scores, bins], the distributions for the newest `info.fast_lag_order`
            steps alone, or for all steps where there are fewer.
        maps: float32 [B, n, M], the feature maps of the new frames.
        sound: float32 [B, sounds], probabilities of the kinds of sound in `info.sounds` (music,
            speech, noise) over the newest seconds of the window; None where the model has no such
            output.
    """

    probabilities: NDArray[np.float32]
    steps: NDArray[np.float32]
    fast: NDArray[np.float32]
    maps: NDArray[np.float32]
    sound: NDArray[np.float32] | None = None

    def window(self, index: int) -> Inference:
        """Return one window of a batch as a batch of one."""
        one = slice(index, index + 1)
        return Inference(
            self.probabilities[one],
            self.steps[one],
            self.fast[one],
            self.maps[one],
            None if self.sound is None else self.sound[one],
        )


def finite_inference(
    engine: Engine,
    frames: NDArray[np.float32],
    cached_maps: NDArray[np.float32],
    past: NDArray[np.float32],
) -> Inference:
    """Call `Engine.infer` and check its outputs.

    Raises:
        NotFiniteError: the engine returned a number that is not finite.
        Exception: whatever the engine raises.
    """
    inference = engine.infer(frames, cached_maps, past)
    if not all(output is None or np.isfinite(output).all() for output in inference):
        raise NotFiniteError("it returned numbers that are not finite")
    return inference


def infer_in_batches(
    engine: Engine,
    frames: NDArray[np.float32],
    cached_maps: NDArray[np.float32],
    past: NDArray[np.float32],
) -> Inference:
    """Call `finite_inference` with at most `largest_batch` windows at a time.

    Raises:
        NotFiniteError, Exception: as `finite_inference`.
    """
    size = largest_batch(engine)
    if len(frames) <= size:
        return finite_inference(engine, frames, cached_maps, past)
    parts = [
        finite_inference(engine, *(array[k : k + size] for array in (frames, cached_maps, past)))
        for k in range(0, len(frames), size)
    ]
    # `sound` is the last, and None in all or in none.
    arrays = [np.concatenate(each) for each in zip(*parts, strict=True) if each[0] is not None]
    return Inference(*arrays)


def output_names(info: ModelInfo) -> tuple[str, ...]:
    """Return the names of the graph's outputs, in the order of `Inference`."""
    return Inference._fields if info.sounds else Inference._fields[:-1]


class Engine(Protocol):
    """Runs the network. Safe to call from several threads."""

    info: ModelInfo

    @property
    def backend(self) -> str:
        """Name of the backend that runs."""
        ...

    def infer(
        self,
        frames: NDArray[np.float32],
        cached_maps: NDArray[np.float32],
        past: NDArray[np.float32],
    ) -> Inference:
        """Update B windows of P + k steps.

        The engine computes the maps of the n new frames and the embeddings of the k new steps. The
        caller passes the maps of the frames before and the embeddings of the steps before, from
        earlier calls. A new stream begins with `silent_maps` and `no_past`.

        Args:
            frames: float32 [B, n, width], the features of the newest frames; n from 1 to k * S
                (S frames in a step; S and R are in `info`).
            cached_maps: float32 [B, R + k * S - n, M], the maps of the frames before, oldest first.
            past: float32 [B, P, E], the embeddings of the steps before, oldest first; P may be 0.
        """
        ...


class PartSizes(NamedTuple):
    """The largest calls of the parts of a network that gain.

    Attributes:
        frames: of a call of the filters.
        steps: of a call of the classifier of sounds.
        windows: of a call of the head.
    """

    frames: int
    steps: int
    windows: int


# Larger calls leave the processor's caches.
PROCESSOR_SIZES = PartSizes(frames=512, steps=4, windows=32)
# A card takes all of the half minute that `FilePipeline` computes together in one call each. Not
# measured: no card has run the parts.
CARD_SIZES = PartSizes(frames=2048, steps=64, windows=256)


class EngineParts(Protocol):
    """The network in parts, for recordings: what `Engine.infer` does in one call for one update.

    The parts give the same numbers as the whole. Safe to call from several threads.
    """

    info: ModelInfo

    @property
    def sizes(self) -> PartSizes:
        """The largest calls that gain on this backend."""
        ...

    def maps(
        self, frames: NDArray[np.float32], cached_maps: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return the feature maps of new frames, float32 [n, M].

        Args:
            frames: float32 [n, width].
            cached_maps: float32 [R, M], the maps of the frames before.
        """
        ...

    def describe(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the embeddings of k steps without the logits of sounds, float32 [k, E - sounds].

        Args:
            maps: float32 [R + k * S, M], those of the steps and of the frames before.
        """
        ...

    def sound_logits(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits of the kinds of sound of single steps, float32 [n, sounds].

        Args:
            maps: float32 [n, R + S, M], those of each step and of the frames before it.
        """
        ...

    def head(
        self, windows: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32] | None]:
        """Return probabilities, fast and sound of windows, see `Inference`.

        Args:
            windows: float32 [B, L, E], embeddings of L steps, oldest first.
        """
        ...


def parts_of(engine: Engine) -> EngineParts | None:
    """Return the parts of an engine; None where its backend only has the whole."""
    open_parts = getattr(engine, "parts", None)
    parts: EngineParts | None = None if open_parts is None else open_parts()
    return parts


def largest_batch(engine: Engine) -> int:
    """Return the windows of the largest call that costs less per window than smaller ones.

    An engine on a card says so in its attribute `largest_batch`. It may change while the engine
    runs, for example when another backend replaces one that failed.
    """
    return int(getattr(engine, "largest_batch", PROCESSOR_BATCH))


def backend_of(engine: Engine, windows: int) -> str:
    """Return the name of the backend on which a call of so many windows runs now.

    This is `Engine.backend`, except with an engine that has several.
    """
    choose = getattr(engine, "backend_of", None)
    return engine.backend if choose is None else str(choose(windows))


def backend_warning(engine: Engine) -> str:
    """Return what the user must know of an engine's backend (another one failed); mostly empty."""
    return str(getattr(engine, "warning", ""))


def shipped_model() -> Path:
    """Return the path of the shipped model file."""
    return Path(str(resources.files("mer_engine") / "models" / SHIPPED_MODEL))


def no_past(info: ModelInfo, batch: int = 1) -> NDArray[np.float32]:
    """Return the `past` of windows without earlier steps: float32 [batch, 0, E]."""
    return np.zeros((batch, 0, info.embedding_size), dtype=np.float32)


def silent_maps(info: ModelInfo, batch: int = 1) -> NDArray[np.float32]:
    """Return the `cached_maps` of streams that begin after silence: float32 [batch, R, M]."""
    silence = np.asarray(info.silent_map, dtype=np.float32)
    return np.tile(silence, (batch, info.map_context, 1))


def _check_shapes(outputs: Inference, info: ModelInfo, steps: int) -> None:
    """Check the shapes of the outputs of a batch of one.

    Raises:
        ValueError: one has another shape than the metadata says.
    """
    distributions = (1, len(info.scores), len(info.bins))
    for name, shape in (
        ("probabilities", distributions),
        ("fast", distributions),
        ("steps", (1, steps, info.embedding_size)),
        ("maps", (1, steps * info.frames_per_step, info.map_size)),
        ("sound", (1, len(info.sounds))),
    ):
        output = getattr(outputs, name)
        if output is not None and output.shape != shape:
            raise ValueError(f"{name} has the shape {output.shape} instead of {shape}")


def self_check(engine: Engine) -> None:
    """Run a fixed window and compare its values. This also pays the cost of the first call.

    Raises:
        ModelError: the values are not those that the model file expects.
        MemoryError, OSError, RuntimeError: the backend failed, whatever the model file.
    """
    steps = 4
    frames = engine.info.check_frames(steps)
    silence = silent_maps(engine.info)
    try:
        first = engine.infer(frames, silence, no_past(engine.info))
        engine.infer(frames[:, -engine.info.frames_per_step :], silence, first.steps)
        _check_shapes(first, engine.info, steps)
        values = engine.info.values(first.probabilities, steps).mean[0]
    except (ModelError, MemoryError, OSError, RuntimeError):
        raise  # what the backend or the machine lacks; ONNX Runtime has its own types for a misfit
    except Exception as error:  # libraries raise errors of many types where sizes do not fit
        reason = (str(error).splitlines() or [repr(error)])[0][:160]
        raise ModelError(
            f"the model file is damaged: its graph does not fit its metadata ({reason}); get the "
            "file again"
        ) from error
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
