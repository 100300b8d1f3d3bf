"""Initialise the encoder with the weights of a tagger.

Most front-end filters of the tagger are dead (their outputs have no variance), so the live ones fit
into a small network. The tagger's frames are 16 ms apart, ours 15.6 ms.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mer_engine.network import ChannelNorm, EmotionNetwork, MaxOverFrequencyConv, Tagger
from mer_engine.training.examples import with_context
from mer_engine.training.teacher import Affine, TaggerWeights

_NEGLIGIBLE = 1e-12


@torch.no_grad()
def init_encoder(network: EmotionNetwork, weights: TaggerWeights) -> None:
    """Copy the tagger's live convolutions, and its last layers if the network has tags.

    Filters beyond the number of live ones keep their random initialisation.

    Raises:
        ValueError: a group has fewer filters than the tagger, or filters of another shape.
    """
    encoder = network.encoder
    scale, shift = float(weights.input.scale[0]), float(weights.input.shift[0])
    encoder.mean.fill_(-shift / scale)
    encoder.std.fill_(1 / scale)

    sources: list[NDArray[np.int64]] = []  # tagger channel of each of our channels, or -1
    offset = 0
    layers = (*weights.timbral, *weights.temporal)
    for module, layer in zip(encoder.front, layers, strict=True):
        group = cast(MaxOverFrequencyConv, module)
        alive = np.flatnonzero(layer.alive)
        size = group.convolve.out_channels
        if len(alive) > size:
            raise ValueError(
                f"{len(alive)} filters of the tagger do not fit into a group of {size}"
            )
        # The tagger takes the maximum of `scale * relu(...) + shift` over the bands. With a
        # negative scale, this is the minimum of the filter output.
        sign = np.where(layer.norm.scale[alive] < 0, -1.0, 1.0).astype(np.float32)
        kernel = layer.kernel[alive] * sign[:, None, None, None]
        if kernel.shape[2:] != group.convolve.weight.shape[2:]:
            raise ValueError(
                f"the tagger's filters of {kernel.shape[2:]} (frames, bands) do not fit into a "
                f"group of {tuple(group.convolve.weight.shape[2:])}"
            )
        group.convolve.weight[: len(alive)] = torch.tensor(kernel)
        group.sign[: len(alive), 0] = torch.tensor(sign)
        group.bias[: len(alive), 0] = torch.tensor(layer.bias[alive])
        _set_norm(group.norm, layer.norm, alive)
        sources.append(np.concatenate([alive + offset, np.full(size - len(alive), -1)]))
        offset += len(layer.alive)

    source = np.concatenate(sources)
    constants = np.concatenate([layer.constant for layer in layers])
    dead = ~np.concatenate([layer.alive for layer in layers])
    first = weights.residual[0]
    kernel = first.kernel[..., 0].transpose(0, 2, 1)  # [64, 7, 561]
    live = np.where(source >= 0, kernel[:, :, source], 0).astype(np.float32)
    dead_input = (kernel.sum(1)[:, dead] * constants[dead]).sum(1)
    _set_convolution(encoder.transition, live, first.bias + dead_input)
    _set_norm(encoder.transition_norm, first.norm)
    for convolve, norm, layer in zip(
        encoder.residual, encoder.residual_norms, weights.residual[1:], strict=True
    ):
        kernel = layer.kernel[..., 0].transpose(0, 2, 1)
        _set_convolution(cast(nn.Conv1d, convolve), kernel, layer.bias)
        _set_norm(cast(ChannelNorm, norm), layer.norm)
    if encoder.tagger is not None:
        _set_tagger(encoder.tagger, weights, source)
    # Weight decay left dead weights near 1e-30. Their products are denormal: slow on CPUs.
    for parameter in encoder.parameters():
        parameter[parameter.abs() < _NEGLIGIBLE] = 0


def _set_tagger(tagger: Tagger, weights: TaggerWeights, source: NDArray[np.int64]) -> None:
    """Set the layers after the convolutions. Constant inputs become part of the bias.

    Args:
        tagger: of the same width and number of tags.
        weights: of the published tagger.
        source: its front-end channel of each of our channels, or -1.
    """
    kernel, bias, norm = weights.dense
    layers = (*weights.timbral, *weights.temporal)
    constants = np.concatenate([layer.constant for layer in layers])
    residual = len(weights.pooled.scale) // 2 - len(constants)
    # Maximum and mean of each channel are adjacent. Both are the constant of a dead channel.
    dead = np.where(np.isin(np.arange(len(constants)), source), 0.0, constants)
    dead = np.repeat(np.concatenate([dead, np.zeros(residual)]), 2)
    dead_input = (dead * weights.pooled.scale + weights.pooled.shift) @ kernel + bias
    scaled = (kernel * weights.pooled.scale[:, None]).reshape(-1, 2, kernel.shape[1])
    channels = np.concatenate([source, len(constants) + np.arange(residual)])
    live = np.where((channels >= 0)[:, None, None], scaled[channels], 0.0)
    _set_linear(tagger.first, live.swapaxes(0, 1).reshape(-1, kernel.shape[1]), dead_input)
    tags, tag_bias = weights.tags
    _set_linear(tagger.last, norm.scale[:, None] * tags, tag_bias + norm.shift @ tags)


def _set_linear(
    linear: nn.Linear, kernel: NDArray[np.floating], bias: NDArray[np.floating]
) -> None:
    """Copy a kernel [inputs, outputs] of the same size."""
    if kernel.T.shape != linear.weight.shape:
        raise ValueError(
            f"the tagger's layer of {kernel.shape} (inputs, outputs) does not fit into one of "
            f"{tuple(linear.weight.T.shape)}"
        )
    linear.weight.copy_(torch.tensor(kernel.T))
    linear.bias.copy_(torch.tensor(bias))


@torch.inference_mode()
def normalise_pool(network: EmotionNetwork, frames: NDArray[np.float16]) -> None:
    """Set the normalisation of the pooled channels from some clips.

    Args:
        network: changed in place.
        frames: float16 [n, 20 * S, width].
    """
    network.eval()
    pooled = []
    for part in np.array_split(frames, max(1, len(frames) // 8)):
        batch = with_context(network, torch.from_numpy(part.astype(np.float32)))
        pooled.append(network.encoder.pool(network.encoder.maps(batch)).flatten(0, 1))
    std, mean = torch.std_mean(torch.cat(pooled), dim=0)
    network.encoder.pool_mean.copy_(mean)
    network.encoder.pool_std.copy_(std + 1e-3)


def _set_convolution(
    convolve: nn.Conv1d, kernel: NDArray[np.float32], bias: NDArray[np.float32]
) -> None:
    convolve.weight.copy_(torch.tensor(kernel).transpose(1, 2))
    assert convolve.bias is not None
    convolve.bias.copy_(torch.tensor(bias))


def _set_norm(norm: ChannelNorm, affine: Affine, channels: NDArray[np.int64] | None = None) -> None:
    """Make a normalisation compute `scale * x + shift` in its first channels."""
    index = np.arange(len(affine.scale)) if channels is None else channels
    count = len(index)
    norm.running_mean[:count] = 0
    norm.running_var[:count] = 1 - norm.eps
    norm.weight[:count] = torch.tensor(affine.scale[index])
    norm.bias[:count] = torch.tensor(affine.shift[index])
