"""ONNX Runtime on the processor: the default backend."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mer_engine.engine import (
    PROCESSOR_SIZES,
    Engine,
    Inference,
    PartSizes,
    no_past,
    output_names,
    silent_maps,
)
from mer_engine.errors import ModelError, NotFiniteError
from mer_engine.graph_parts import Graph
from mer_engine.model_file import METADATA_KEY, ModelInfo
from mer_engine.processor import processor
from mer_engine.sparse_sounds import SOUND_STEPS, estimate_logits, undecided

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
        part_sizes: of the largest calls of `parts` that gain.

    Raises:
        ModelError: the file is missing, damaged, or lacks this project's metadata.
    """

    backend = "onnxruntime"
    warning = ""
    part_sizes = PROCESSOR_SIZES
    _providers: ClassVar[list[Any]] = ["CPUExecutionProvider"]

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        content = read_model(path)
        self._path, self._threads = path, threads
        self._parts: OnnxRuntimeParts | None = None
        self._passed: set[Callable[[OnnxRuntimeParts, Engine], None]] = set()
        self._uses_parts = False
        try:
            self._session = self._open(content)
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

    def use_parts(self) -> None:
        """Infer several new steps with the parts of the graph from now on, where it has them.

        They classify fewer sounds (`mer_engine.sparse_sounds`). All other outputs stay the same, so
        the parity gate comes before. One new step is always classified, and costs less in one call.
        """
        self._uses_parts = bool(self.info.sounds) and self._checked(_check_update) is not None

    def infer(
        self,
        frames: NDArray[np.float32],
        cached_maps: NDArray[np.float32],
        past: NDArray[np.float32],
    ) -> Inference:
        """See `mer_engine.engine.Engine.infer`."""
        if self._uses_parts and self._parts is not None:
            length = frames.shape[1] + cached_maps.shape[1] - self.info.map_context
            if length > self.info.frames_per_step:
                return self._parts.infer(frames, cached_maps, past)
        # Model files call the cached maps "held".
        inputs = {"frames": frames, "held": cached_maps, "past": past}
        return Inference(*self._session.run(self._outputs, inputs))

    def parts(self) -> OnnxRuntimeParts | None:
        """Open the parts of the graph; None where the file changed or its graph has other parts."""
        return self._checked(_check_parts)

    def _checked(
        self, check: Callable[[OnnxRuntimeParts, Engine], None]
    ) -> OnnxRuntimeParts | None:
        """Return the parts after a check of what they are needed for; None where it fails."""
        if check in self._passed:
            return self._parts
        try:
            parts = self._parts or self._open_parts()
            check(parts, self)
        except Exception:  # errors of ONNX Runtime have no common base class
            return None
        self._parts = parts
        self._passed.add(check)
        return parts

    def _open_parts(self) -> OnnxRuntimeParts:
        content = read_model(self._path)
        if hashlib.sha256(content).hexdigest() != self.info.sha256:
            raise ModelError(f"the model file {self._path} has changed")
        return OnnxRuntimeParts(
            self.info, content, partial(self._open, arena=True), self.part_sizes
        )

    def _open(self, content: bytes, *, arena: bool = False) -> ort.InferenceSession:
        """Open a session; an arena keeps the memory of its largest call."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # errors are raised by the callers
        # It saves time only where calls are large, as those of the parts.
        options.enable_cpu_mem_arena = arena
        # A waiting thread must not occupy a core.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # No file with weights is found in a folder that is none.
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", f"{os.devnull}/none"
        )
        return ort.InferenceSession(content, options, providers=self._providers)

    @property
    def provider(self) -> str:
        """The execution provider that ONNX Runtime uses for the graph."""
        return str(self._session.get_providers()[0])


class OnnxRuntimeParts:
    """The parts of a model file's graph, each as a session of its own; see `EngineParts`.

    The graph is cut at the maps, at the embeddings and at the window, which are the joins of new
    results with those of earlier calls.

    Args:
        info: the metadata of the file.
        content: the file.
        open_session: opens a session of a serialised model.
        sizes: of the largest calls that gain where the sessions run.

    Raises:
        KeyError: the graph has no such joins.
        Exception: ONNX Runtime refuses a part.
    """

    def __init__(
        self,
        info: ModelInfo,
        content: bytes,
        open_session: Callable[[bytes], ort.InferenceSession],
        sizes: PartSizes = PROCESSOR_SIZES,
    ) -> None:
        self.info, self.sizes = info, sizes
        self._graph, self._open_session = Graph(content), open_session
        self._maps_name = self._graph.joined("held", "maps")
        self._window_name = self._graph.joined("past", "steps")
        self._described = list(self._graph.producer("steps").inputs)
        # The logits of sounds come last, where the model has them.
        self._logits = [self._described.pop()] if info.sounds else []
        self._head_outputs = ["probabilities", "fast", *(["sound"] if info.sounds else [])]

    # Streams and files need different parts: each is opened where it is used first.

    @cached_property
    def _maps(self) -> ort.InferenceSession:
        return self._session(["frames", "held"], ["maps"])

    @cached_property
    def _describe(self) -> ort.InferenceSession:
        return self._session([self._maps_name], self._described)

    @cached_property
    def _encoder(self) -> ort.InferenceSession:
        """Maps and description in one call, for streams."""
        return self._session(["frames", "held"], ["maps", self._maps_name, *self._described])

    @cached_property
    def _sound(self) -> ort.InferenceSession:
        return self._session([self._maps_name], self._logits)

    @cached_property
    def _head(self) -> ort.InferenceSession:
        return self._session([self._window_name], self._head_outputs)

    def _session(self, inputs: list[str], outputs: list[str]) -> ort.InferenceSession:
        return self._open_session(self._graph.cut(inputs, outputs))

    def maps(
        self, frames: NDArray[np.float32], cached_maps: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """See `mer_engine.engine.EngineParts.maps`."""
        inputs = {"frames": frames[None], "held": cached_maps[None]}
        (maps,) = _finite(self._maps.run(None, inputs))
        return np.asarray(maps)

    def describe(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `mer_engine.engine.EngineParts.describe`."""
        outputs = self._describe.run(None, {self._maps_name: maps[None]})
        (steps,) = _finite([np.concatenate(outputs, axis=2)])
        return np.asarray(steps)

    def sound_logits(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `mer_engine.engine.EngineParts.sound_logits`."""
        if not self.info.sounds:
            return np.empty((len(maps), 0), dtype=np.float32)
        return np.asarray(_finite(self._sound.run(None, {self._maps_name: maps}))[:, 0])

    def infer(
        self,
        frames: NDArray[np.float32],
        cached_maps: NDArray[np.float32],
        past: NDArray[np.float32],
    ) -> Inference:
        """Update windows as `mer_engine.engine.Engine.infer`, without classifying every sound."""
        sounds = len(self.info.sounds)
        chunk = max(1, self.sizes.frames // frames.shape[1])
        calls = [
            self._encoder.run(None, {"frames": frames[i:j], "held": cached_maps[i:j]})
            for i in range(0, len(frames), chunk)
            for j in (i + chunk,)
        ]
        maps, recent, *described = (
            outputs[0] if len(outputs) == 1 else np.concatenate(outputs)
            for outputs in zip(*calls, strict=True)
        )
        size, reach = self.info.frames_per_step, self.info.map_context + self.info.frames_per_step

        def classify(wanted: NDArray[np.bool_]) -> NDArray[np.float32]:
            each = [
                recent[stream, step * size : step * size + reach]
                for stream, step in np.argwhere(wanted).tolist()
            ]
            batches = range(0, len(each), self.sizes.steps)
            return np.concatenate(
                [self.sound_logits(np.stack(each[i : i + self.sizes.steps])) for i in batches]
            )

        before = past[:, :, past.shape[2] - sounds :]
        logits, classified = estimate_logits(before[:, -1:], described[0].shape[1], classify)
        open_windows = undecided(np.concatenate((before, logits), axis=1))
        missing = ~classified & open_windows[:, None]
        missing[:, :-SOUND_STEPS] = False
        if missing.any():
            logits[missing] = classify(missing)
        steps = np.concatenate((*described, logits), axis=2)
        window = np.concatenate((past, steps), axis=1)
        probabilities, fast, sound = self._head.run(self._head_outputs, {self._window_name: window})
        return Inference(probabilities, steps, fast, maps, sound)

    def head(
        self, windows: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32] | None]:
        """See `mer_engine.engine.EngineParts.head`."""
        outputs = self._head.run(self._head_outputs, {self._window_name: windows})
        for output in outputs:
            _finite([output])
        return outputs[0], outputs[1], outputs[2] if self.info.sounds else None


def _finite(outputs: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the only output of a call.

    Raises:
        NotFiniteError: it has a number that is not finite.
    """
    (output,) = outputs
    if not np.isfinite(output).all():
        raise NotFiniteError("it returned numbers that are not finite")
    return output


def _check_parts(parts: OnnxRuntimeParts, engine: Engine) -> None:
    """Compare the parts that files need with the whole graph on a few steps.

    Raises:
        ModelError: they differ.
    """
    info, steps = engine.info, 3
    frames = info.check_frames(steps)[0]
    silence = silent_maps(info)[0]
    maps = parts.maps(frames, silence)
    recent = np.concatenate((silence, maps))
    size = info.frames_per_step
    each = [recent[k * size : k * size + info.map_context + size] for k in range(steps)]
    window = np.hstack((parts.describe(recent), parts.sound_logits(np.stack(each))))
    probabilities, fast, sound = parts.head(window[None])
    whole = engine.infer(frames[None], silence[None], no_past(info))
    _compare(Inference(probabilities, window[None], fast, maps[None], sound), whole)


def _check_update(parts: OnnxRuntimeParts, engine: Engine) -> None:
    """Compare the parts that streams need with the whole graph on a few steps.

    Raises:
        ModelError: they differ in more than the sounds, of which the parts interpolate some.
    """
    info = engine.info
    update = info.check_frames(3), silent_maps(info), no_past(info)

    def without_sounds(inference: Inference) -> Inference:
        described = inference.steps.shape[2] - len(info.sounds)
        return inference._replace(steps=inference.steps[:, :, :described], sound=None)

    _compare(without_sounds(parts.infer(*update)), without_sounds(engine.infer(*update)))


def _compare(found: Inference, whole: Inference) -> None:
    for mine, expected in zip(found, whole, strict=True):
        if (mine is None) != (expected is None):
            raise ModelError("the parts of the graph have other outputs than the whole")
        if mine is not None and expected is not None and np.abs(mine - expected).max() > 1e-3:
            raise ModelError("the parts of the graph compute other numbers than the whole")


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


def environment() -> str:
    """Return library, version and processor, all of which may affect the last digits."""
    return f"onnxruntime {ort.__version__}, {processor()}"
