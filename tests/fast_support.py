"""Small model files that are real but untrained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.utils
import pytest
from mer_engine import load_engine
from mer_engine.engine import output_names
from mer_engine.model_file import DIMENSIONS, WHOLE, Prior, write_metadata
from numpy.typing import NDArray

# Frequencies in Hz whose tones are the kinds of sound of `write_small_model(sound=True)`.
TONES_HZ = {"music": 300.0, "speech": 1500.0, "noise": 5000.0}


def tones(parts: Sequence[tuple[str, float]], rate_hz: int = 16_000) -> NDArray[np.float32]:
    """Return one tone after another, float32 [n, 1]; each part is a kind of sound and seconds."""
    time_s = np.arange(round(sum(seconds for _, seconds in parts) * rate_hz)) / rate_hz
    lengths = [round(seconds * rate_hz) for _, seconds in parts]
    frequency_hz = np.repeat([TONES_HZ.get(name, 0.0) for name, _ in parts], lengths)
    return (0.2 * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)[:, None]


def write_small_model(path: Path, *, sound: bool = False, whole: bool = False) -> Path:
    """Write a small untrained network as a model file and return its path.

    Its outputs depend on the input, and each window length has its own line and interval.

    Args:
        path: where to write.
        sound: with a sound output: tones of `TONES_HZ` are music, speech and noise, averaged over
            the newest three seconds of the window.
        whole: with scores of the whole piece, as in old model files.
    """
    pytest.importorskip("torch", reason="torch exports the small model")
    import torch
    from mer_engine.network import FAST_STEPS, EmotionNetwork, NetworkConfig
    from mer_engine.training.export import LAG_MAX, Calibration, ModelText, export_model

    class SoundNetwork(EmotionNetwork):
        def forward(
            self, frames: torch.Tensor, cached_maps: torch.Tensor, past: torch.Tensor
        ) -> Any:
            outputs = super().forward(frames, cached_maps, past)
            first = 2 * self.config.channels + self.config.pitch_classes
            window = torch.cat([past, outputs[1]], dim=1)[:, -FAST_STEPS:]
            bands = window[:, :, first : first + self.config.bands]
            groups = (bands[:, :, :30], bands[:, :, 30:62], bands[:, :, 62:])
            loudest = torch.stack([group.amax(2) for group in groups], dim=2)
            return *outputs, torch.softmax(8 * loudest, dim=2).mean(1)

    torch.set_num_threads(1)
    torch.manual_seed(5)
    config = NetworkConfig(
        timbral=((7, 38, 3),), temporal=((32, 3),), residual_filters=4, hidden=8, width=16,
        statistics=24, bins=11, scores=DIMENSIONS + WHOLE if whole else DIMENSIONS,
    )  # fmt: skip
    network = SoundNetwork(config) if sound else EmotionNetwork(config)
    with torch.no_grad():
        network.head.scores.mul_(30)
        network.head.last.weight.mul_(10)
    lengths = range(1, LAG_MAX + 1)
    calibration = Calibration(
        coverage=0.8,
        interval_scale={
            "valence": tuple(0.2 + 0.01 * n for n in lengths),
            "arousal": tuple(0.3 - 0.01 * n for n in lengths),
        },
        prior={"valence": Prior(0.1, -0.2, 0.4), "arousal": Prior(0.0, -0.3, 0.3)},
        line={"valence": tuple((0.005 * n, 1 - 0.02 * n) for n in lengths)},
    )
    export_model(network, path, calibration, ModelText(name="small"))
    return path


# Not evenly spread: the rim is near -0.2 and 0.4 for valence, -0.25 and 0.55 for arousal.
DISTRIBUTION: dict[str, tuple[float, ...]] = {
    "valence": (-0.4, -0.12, 0.02, 0.12, 0.2, 0.3, 0.5),
    "arousal": (-0.42, -0.12, 0.05, 0.17, 0.31, 0.46, 0.67),
}


def with_distribution(source: Path, target: Path) -> Path:
    """Write a model file with a distribution of its values over music; return its path.

    Args:
        source: a model file.
        target: where to write.
    """
    model = onnx.load(source)
    write_metadata(model, replace(load_engine(source).info, distribution=DISTRIBUTION))
    onnx.save(model, target)
    return target


def without_fast(source: Path, target: Path) -> Path:
    """Write a model file without the fast output that its metadata declares; return its path.

    Args:
        source: a model file.
        target: where to write.
    """
    outputs = [name for name in output_names(load_engine(source).info) if name != "fast"]
    onnx.utils.extract_model(source, target, ["frames", "held", "past"], outputs)
    model = onnx.load(target)
    write_metadata(model, load_engine(source).info)
    onnx.save(model, target)
    return target
