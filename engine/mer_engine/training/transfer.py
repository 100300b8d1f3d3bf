"""Start the network's convolutions from a tagger's.

Most of the tagger's front filters are constant (their normalisation saw no variance), so those that
live fit into a small network. They were made for frames 16 ms apart and are redrawn for 20 ms.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mer_engine.network import BestPlace, ChannelNorm, EmotionNetwork
from mer_engine.training.teacher import Affine, TaggerWeights

_TEACHER_FRAME_S = 0.016
_FRAME_S = 0.020
_NOTHING = 1e-12


def resample_taps(kernel: NDArray[np.float32], taps: int, spacing: int = 1) -> NDArray[np.float32]:
    """Redraw filters for our frame rate.

    Args:
        kernel: float32 [outputs, time, inputs], taps 16 ms apart.
        taps: number of taps to give.
        spacing: our frames (20 ms) between them.

    Returns:
        float32 [outputs, taps, inputs]; each old tap is shared between its two new neighbours, what
        lies beyond the new ends goes to the end, so sums over time are kept.
    """
    count = kernel.shape[1]
    times = (np.arange(count) - (count - 1) / 2) * _TEACHER_FRAME_S
    places = np.clip(times / (_FRAME_S * spacing) + (taps - 1) / 2, 0, taps - 1)
    shares = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(taps)))
    return np.einsum("oti,tn->oni", kernel, shares).astype(np.float32)


@torch.no_grad()
def start_encoder(network: EmotionNetwork, weights: TaggerWeights) -> None:
    """Set the encoder's convolutions to the living part of the tagger's.

    Filters for which the tagger has nothing keep their random start.

    Raises:
        ValueError: a group of filters is too small for the tagger's.
    """
    encoder = network.encoder
    scale, shift = float(weights.input.scale[0]), float(weights.input.shift[0])
    encoder.mean.fill_(-shift / scale)
    encoder.std.fill_(1 / scale)

    sources: list[NDArray[np.int64]] = []  # the tagger's channel behind each of ours, -1 for none
    offset = 0
    layers = (*weights.timbral, *weights.temporal)
    for module, layer in zip(encoder.front, layers, strict=True):
        group = cast(BestPlace, module)
        alive = np.flatnonzero(layer.alive)
        size = group.convolve.out_channels
        if len(alive) > size:
            raise ValueError(
                f"{len(alive)} filters of the tagger do not fit into a group of {size}"
            )
        kernel = resample_taps(layer.kernel[alive, 0], group.frames)
        group.convolve.weight[: len(alive)] = torch.tensor(kernel).unsqueeze(1)
        group.convolve.bias[: len(alive)] = torch.tensor(layer.bias[alive])
        _set_norm(group.norm, layer.after, alive)
        sources.append(np.concatenate([alive + offset, np.full(size - len(alive), -1)]))
        offset += len(layer.alive)

    source = np.concatenate(sources)
    rest = np.concatenate([layer.rest for layer in layers])
    dead = ~np.concatenate([layer.alive for layer in layers])
    first = weights.residual[0]
    kernel = first.kernel[..., 0].transpose(0, 2, 1)  # [64, 7, 561]
    ours = np.where(source >= 0, kernel[:, :, source], 0).astype(np.float32)
    constant = (kernel.sum(1)[:, dead] * rest[dead]).sum(1)
    spacing = network.config.stride
    _set_convolution(encoder.transition, ours, first.bias + constant, spacing)
    _set_norm(encoder.transition_norm, first.after)
    for convolve, norm, layer in zip(
        encoder.residual, encoder.residual_norms, weights.residual[1:], strict=True
    ):
        kernel = layer.kernel[..., 0].transpose(0, 2, 1)
        _set_convolution(cast(nn.Conv1d, convolve), kernel, layer.bias, spacing)
        _set_norm(cast(ChannelNorm, norm), layer.after)
    # The tagger's weight decay left dead weights at 1e-30, which processors multiply slowly.
    for parameter in encoder.parameters():
        parameter[parameter.abs() < _NOTHING] = 0


def _set_convolution(
    convolve: nn.Conv1d, kernel: NDArray[np.float32], bias: NDArray[np.float32], spacing: int
) -> None:
    redrawn = resample_taps(kernel, convolve.kernel_size[0], spacing)
    convolve.weight.copy_(torch.tensor(redrawn).transpose(1, 2))
    assert convolve.bias is not None
    convolve.bias.copy_(torch.tensor(bias))


def _set_norm(
    norm: ChannelNorm, affine: Affine, channels: NDArray[np.int64] | None = None
) -> None:
    """Make a normalisation at rest compute `scale * x + shift` in its first channels."""
    index = np.arange(len(affine.scale)) if channels is None else channels
    count = len(index)
    norm.running_mean[:count] = 0
    norm.running_var[:count] = 1 - norm.eps
    norm.weight[:count] = torch.tensor(affine.scale[index])
    norm.bias[:count] = torch.tensor(affine.shift[index])
