"""A small network to train, clips with known labels, and a start model file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from mer_engine.network import EmotionNetwork, NetworkConfig, RegressionHead
from mer_engine.training.checkpoint_export import uncalibrated
from mer_engine.training.examples import PARTS, Labels
from mer_engine.training.export import ModelText, export_model
from numpy.typing import NDArray

SMALL = NetworkConfig(
    band_stride=16,
    timbral=((5, 38, 4),),
    temporal=((9, 2),),
    residual_filters=2,
    residual_kernel=3,
    level_frames=16,
    hidden=8,
    heads=2,
    width=16,
    statistics=16,
    bins=21,
    dropout=0.0,
    input_dropout=0.0,
)
CENTRES = SMALL.bin_centres().numpy()


def new_head() -> RegressionHead:
    torch.manual_seed(0)
    return RegressionHead(SMALL)


def write_start(path: Path, notice: str = "") -> Path:
    """Write a model file of a small network with random weights."""
    torch.manual_seed(0)
    network = EmotionNetwork(SMALL).eval()
    text = ModelText(name="start", notice=notice, training={"network": asdict(SMALL)})
    export_model(network, path, uncalibrated(), text)
    return path


def labelled(
    count: int = 32,
    seed: int = 0,
    *,
    versions: int = 1,
    collection: str = "a",
    signs: bool = False,
    shift: tuple[float, float] = (0.0, 0.0),
) -> tuple[NDArray[np.float16], Labels]:
    """Return clips with valence and arousal in two of their channels, each a song of its own.

    Args:
        count: number of clips.
        seed: of the clips.
        versions: versions of each clip, which differ in noise.
        collection: its name.
        signs: give the signs of valence and arousal instead of the numbers.
        shift: added to the labels, which then have a scale of their own.
    """
    rng = np.random.default_rng(seed)
    values = np.repeat(rng.uniform(-0.6, 0.6, (count, 1, 2)), 20, axis=1).astype(np.float32)
    steps = 0.3 * rng.normal(size=(versions, count, 20, SMALL.described))
    for part in (0, SMALL.channels):
        steps[..., part : part + 2] += 2 * values
    truth = values + np.array(shift, np.float32)
    labels = Labels(
        values=np.full_like(truth, np.nan) if signs else truth,
        signs=np.sign(values[:, 0]).astype(np.int64) * signs,
        songs=np.array([f"{collection}/{n}" for n in range(count)]),
        groups=np.array([f"song {collection}/{n}" for n in range(count)]),
        collections=np.full(count, collection),
        scales=np.full(count, f"{collection}/" if any(shift) else ""),
        parts=np.arange(count) % PARTS,
        weights=np.ones(count),
    )
    return steps.astype(np.float16), labels
