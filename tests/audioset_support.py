"""Weights under the names of EfficientAT's mn04."""

from __future__ import annotations

import torch
from mer_engine.audioset_network import AudioSetNetwork
from torch import Tensor

# The published layout: squeeze-and-excitation in these layers, no expansion in the first block.
EXCITED = (4, 5, 6, 11, 12, 13, 14, 15)


def published_weights() -> dict[str, Tensor]:
    """Return random weights under the published names."""
    torch.manual_seed(1)
    network = AudioSetNetwork()
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    published: dict[str, Tensor] = {}

    def layer(source: str, name: str) -> None:
        for kind in ("weight", "bias"):
            published[f"{source}.{kind}"] = torch.randn(shapes[f"{name}.{kind}"])

    def normed(source: str, name: str) -> None:
        published[f"{source}.0.weight"] = torch.randn(shapes[f"{name}.weight"])
        size = shapes[f"{name}.bias"]
        for kind in ("weight", "bias", "running_mean"):
            published[f"{source}.1.{kind}"] = torch.randn(size)
        published[f"{source}.1.running_var"] = torch.rand(size) + 0.5

    normed("features.0", "stem")
    for index in range(1, 16):
        source, name, parts = f"features.{index}.block", f"blocks.{index - 1}", 0
        if index > 1:
            normed(f"{source}.0", f"{name}.expand")
            parts = 1
        normed(f"{source}.{parts}", f"{name}.depthwise")
        if index in EXCITED:
            parts += 1
            excitation = f"{source}.{parts}.conc_se_layers.0"
            layer(f"{excitation}.fc1", f"{name}.excitation.squeeze")
            layer(f"{excitation}.fc2", f"{name}.excitation.excite")
        normed(f"{source}.{parts + 1}", f"{name}.project")
    normed("features.16", "last")
    layer("classifier.2", "hidden")
    return published
