"""Write a trained network as a model file."""

from __future__ import annotations

import hashlib
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from mer_engine import audioset_network
from mer_engine.backends import parity
from mer_engine.backends.onnxruntime import OnnxRuntimeEngine
from mer_engine.backends.torch import TorchEngine
from mer_engine.datasets.types import CLIP_STEPS
from mer_engine.draft import draft_of
from mer_engine.engine import output_names, silent_maps
from mer_engine.frontend import FrontEndConfig
from mer_engine.model_file import DIMENSIONS, SOUNDS, ModelInfo, Prior, write_metadata
from mer_engine.network import FAST_STEPS, EmotionNetwork

OPSET = 18
# The longest lag window: training windows lie within a clip.
LAG_MAX = CLIP_STEPS
LICENCE = "CC-BY-NC-SA-4.0"


@dataclass(frozen=True)
class Calibration:
    """The calibration of a model, stored in the model file.

    Attributes:
        coverage: share of labels that an interval should contain.
        interval_scale: by dimension, one factor for each window length from 1 to `LAG_MAX`.
        prior: by dimension.
        line: by score, for each window length, intercept and slope from the expectation of the
            distribution to the value. Scores without a line are not changed.
        distribution: by dimension, quantiles of the values over music at large.
        movement: by dimension, what each decibel above the level so far adds to the value.
    """

    coverage: float
    interval_scale: dict[str, tuple[float, ...]]
    prior: dict[str, Prior]
    line: dict[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    distribution: dict[str, tuple[float, ...]] = field(default_factory=dict)
    movement: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelText:
    """Name, report and legal text of a model file."""

    name: str = "mer-2"
    version: str = "2.0"
    training: dict[str, Any] = field(default_factory=dict)
    licence: str = LICENCE
    notice: str = ""


def export_model(
    network: EmotionNetwork,
    path: Path,
    calibration: Calibration,
    text: ModelText,
) -> ModelInfo:
    """Write a network as an ONNX file with metadata, and return the metadata.

    The file is compared with the network before it is moved to `path`.

    Raises:
        RuntimeError: the outputs of the exported graph differ from those of the network.
    """
    network = network.eval()
    frontend = FrontEndConfig()
    config = network.config
    info = ModelInfo(
        name=text.name,
        version=text.version,
        created=datetime.now(UTC).date().isoformat(),
        frontend=frontend,
        frontend_fingerprint=frontend.fingerprint,
        step_s=config.frames_per_step / frontend.frames_per_second,
        frames_per_step=config.frames_per_step,
        map_context=config.map_context,
        silent_map=tuple(float(f"{number:.8g}") for number in network.silent_map().tolist()),
        embedding_size=config.embedding,
        lag_order_max=LAG_MAX,
        lag_order_default=LAG_MAX,
        fast_lag_order=FAST_STEPS,
        bins=tuple(float(f"{centre:.6g}") for centre in config.bin_centres().tolist()),
        scores=config.scores,
        coverage=calibration.coverage,
        interval_scale=calibration.interval_scale,
        prior=calibration.prior,
        line=calibration.line,
        distribution=calibration.distribution,
        movement=calibration.movement,
        normalisation={
            "mean": [round(float(value), 6) for value in network.encoder.mean],
            "std": [round(float(value), 6) for value in network.encoder.std],
        },
        training=text.training,
        licence=text.licence,
        notice=_notice(network, text.notice),
    )
    steps = 4
    frames = torch.from_numpy(info.check_frames(steps))
    with torch.inference_mode():
        cached_maps = torch.from_numpy(silent_maps(info))
        outputs = network(frames, cached_maps, torch.zeros(1, 0, config.embedding))
        probabilities, past, _, maps = outputs[:4]
        info = replace(info, sounds=SOUNDS if len(outputs) == 5 else ())
        # A window longer than the fast one, so that both outputs differ.
        cached_maps = torch.cat([cached_maps, maps], dim=1)[:, steps * config.frames_per_step :]
        expected = network(frames, cached_maps, past)
    mean = info.values(probabilities.numpy(), steps).mean[0]
    info = replace(
        info, self_check={name: float(v) for name, v in zip(DIMENSIONS, mean, strict=True)}
    )
    predictions = parity.predict_windows(TorchEngine(network, info))
    info = replace(info, parity=parity.reference_metadata(predictions))
    model = onnx.load_model_from_string(to_onnx(network, output_names(info)))
    write_metadata(model, info)
    content = model.SerializeToString()
    path.parent.mkdir(parents=True, exist_ok=True)
    with draft_of(path) as draft:
        draft.write_bytes(content)
        engine = OnnxRuntimeEngine(draft)
        actual = engine.infer(frames.numpy(), cached_maps.numpy(), past.numpy())
        difference = max(
            float(np.abs(output - reference.numpy()).max())
            for output, reference in zip(actual, expected, strict=False)
            if output is not None
        )
        if not difference < 1e-3:
            raise RuntimeError(f"the exported graph differs from the network by {difference:.2g}")
        verdict = parity.check(engine)
        if not verdict.passed:
            # The network amplifies rounding errors, as barely trained networks do. The file is
            # valid, but other backends cannot be compared with it.
            info = replace(info, parity=parity.refusal_metadata(verdict))
            write_metadata(model, info)
            content = model.SerializeToString()
            draft.write_bytes(content)
    return replace(info, sha256=hashlib.sha256(content).hexdigest())


def _notice(network: EmotionNetwork, notice: str) -> str:
    """Return the legal notice of a model file, with that of the sound classifier's weights."""
    if network.encoder.sound is None or audioset_network.NOTICE in notice:
        return notice
    return f"{notice}\n{audioset_network.NOTICE}" if notice else audioset_network.NOTICE


def renew_reference(path: Path, out: Path) -> ModelInfo:
    """Write a model file again with new reference outputs for the parity gate.

    The reference is the network of the file itself. The graph is copied byte for byte.

    Raises:
        ModelError: the file is missing or damaged, or has another kind of network.
    """
    reference = TorchEngine.open(path)
    model = onnx.load(path)
    graph = model.graph.SerializeToString()
    predictions = parity.predict_windows(reference)
    info = replace(reference.info, parity=parity.reference_metadata(predictions))
    write_metadata(model, info)
    if model.graph.SerializeToString() != graph:
        raise RuntimeError("the graph changed while its metadata were written")
    content = model.SerializeToString()
    with draft_of(out) as draft:
        draft.write_bytes(content)
    return replace(info, sha256=hashlib.sha256(content).hexdigest())


def to_onnx(network: EmotionNetwork, names: Sequence[str]) -> bytes:
    """Export the network as an ONNX graph with dynamic batch, frames, cached maps and past.

    Args:
        network: what to export.
        names: names of its outputs, in order.
    """
    config = network.config
    frames = torch.rand(2, 2 * config.frames_per_step, config.frame_width)
    cached_maps = torch.rand(2, config.map_context, config.map_size)
    past = torch.rand(2, 3, config.embedding)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        path = Path(folder) / "graph.onnx"
        # The older exporter keeps the LSTM as one operator. Its warnings are ignored: it is
        # deprecated, and it says that the LSTM may have a fixed batch size; the tests show that
        # this graph has not.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            (frames, cached_maps, past),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=["frames", "held", "past"],
            output_names=list(names),
            dynamic_axes={
                "frames": {0: "batch", 1: "frames"},
                "held": {0: "batch", 1: "held"},
                "past": {0: "batch", 1: "past"},
                "probabilities": {0: "batch"},
                "steps": {0: "batch", 1: "steps"},
                "fast": {0: "batch"},
                "maps": {0: "batch", 1: "frames"},
                **({"sound": {0: "batch"}} if "sound" in names else {}),
            },
        )
        return path.read_bytes()
