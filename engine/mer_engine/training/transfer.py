"""Start the network's convolutions from a tagger's.

Most of the tagger's front filters are constant (their normalisation saw no variance), so those that
live fit into a small network. They were made for frames 16 ms apart; ours lie 15.6 ms apart.
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

_NOTHING = 1e-12


@torch.no_grad()
def start_encoder(network: EmotionNetwork, weights: TaggerWeights) -> None:
    """Set the encoder's convolutions to the living part of the tagger's, and its tags to their own.

    Filters for which the tagger has nothing keep their random start.

    Raises:
        ValueError: a group of filters is too small for the tagger's, or of another shape.
    """
    encoder = network.encoder
    scale, shift = float(weights.input.scale[0]), float(weights.input.shift[0])
    encoder.mean.fill_(-shift / scale)
    encoder.std.fill_(1 / scale)

    sources: list[NDArray[np.int64]] = []  # the tagger's channel behind each of ours, -1 for none
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
        # The tagger takes the largest of `scale * relu(...) + shift` over the bands: where the
        # scale is negative, that is the least answer.
        sign = np.where(layer.after.scale[alive] < 0, -1.0, 1.0).astype(np.float32)
        kernel = layer.kernel[alive] * sign[:, None, None, None]
        if kernel.shape[2:] != group.convolve.weight.shape[2:]:
            raise ValueError(
                f"the tagger's filters of {kernel.shape[2:]} (frames, bands) do not fit into a "
                f"group of {tuple(group.convolve.weight.shape[2:])}"
            )
        group.convolve.weight[: len(alive)] = torch.tensor(kernel)
        group.sign[: len(alive), 0] = torch.tensor(sign)
        group.bias[: len(alive), 0] = torch.tensor(layer.bias[alive])
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
    _set_convolution(encoder.transition, ours, first.bias + constant)
    _set_norm(encoder.transition_norm, first.after)
    for convolve, norm, layer in zip(
        encoder.residual, encoder.residual_norms, weights.residual[1:], strict=True
    ):
        kernel = layer.kernel[..., 0].transpose(0, 2, 1)
        _set_convolution(cast(nn.Conv1d, convolve), kernel, layer.bias)
        _set_norm(cast(ChannelNorm, norm), layer.after)
    if encoder.tagger is not None:
        _set_tagger(encoder.tagger, weights, source)
    # The tagger's weight decay left dead weights at 1e-30, which processors multiply slowly.
    for parameter in encoder.parameters():
        parameter[parameter.abs() < _NOTHING] = 0


def _set_tagger(tagger: Tagger, weights: TaggerWeights, source: NDArray[np.int64]) -> None:
    """Set the layers after the convolutions: what never changes becomes a part of the bias.

    Args:
        tagger: as wide as the tagger's, with as many tags.
        weights: the tagger's.
        source: its front channel behind each of ours, -1 for none.
    """
    kernel, bias, after = weights.dense
    layers = (*weights.timbral, *weights.temporal)
    rest = np.concatenate([layer.rest for layer in layers])
    residual = len(weights.pooled.scale) // 2 - len(rest)
    # Of each channel maximum and mean stand side by side; what does not live rests at one value.
    resting = np.where(np.isin(np.arange(len(rest)), source), 0.0, rest)
    resting = np.repeat(np.concatenate([resting, np.zeros(residual)]), 2)
    constant = (resting * weights.pooled.scale + weights.pooled.shift) @ kernel + bias
    heard = (kernel * weights.pooled.scale[:, None]).reshape(-1, 2, kernel.shape[1])
    channels = np.concatenate([source, len(rest) + np.arange(residual)])
    ours = np.where((channels >= 0)[:, None, None], heard[channels], 0.0)
    _set_linear(tagger.first, ours.swapaxes(0, 1).reshape(-1, kernel.shape[1]), constant)
    tags, tag_bias = weights.tags
    _set_linear(tagger.last, after.scale[:, None] * tags, tag_bias + after.shift @ tags)


def _set_linear(
    linear: nn.Linear, kernel: NDArray[np.floating], bias: NDArray[np.floating]
) -> None:
    """Take over a kernel [inputs, outputs] of the very size."""
    if kernel.T.shape != linear.weight.shape:
        raise ValueError(
            f"the tagger's layer of {kernel.shape} (inputs, outputs) does not fit into one of "
            f"{tuple(linear.weight.T.shape)}"
        )
    linear.weight.copy_(torch.tensor(kernel.T))
    linear.bias.copy_(torch.tensor(bias))


@torch.inference_mode()
def settle_pool(network: EmotionNetwork, frames: NDArray[np.float16]) -> None:
    """Set the normalisation of the embeddings to the statistics of some clips.

    Args:
        network: changed in place.
        frames: float16 [n, 20 * S, width].
    """
    network.eval()
    pooled = []
    for part in np.array_split(frames, max(1, len(frames) // 8)):
        batch = with_context(network, torch.from_numpy(part.astype(np.float32)))
        pooled.append(network.encoder.pool(network.encoder.maps(batch)).flatten(0, 1))
    spread, mean = torch.std_mean(torch.cat(pooled), dim=0)
    network.encoder.pool_mean.copy_(mean)
    network.encoder.pool_std.copy_(spread + 1e-3)


def _set_convolution(
    convolve: nn.Conv1d, kernel: NDArray[np.float32], bias: NDArray[np.float32]
) -> None:
    convolve.weight.copy_(torch.tensor(kernel).transpose(1, 2))
    assert convolve.bias is not None
    convolve.bias.copy_(torch.tensor(bias))


def _set_norm(norm: ChannelNorm, affine: Affine, channels: NDArray[np.int64] | None = None) -> None:
    """Make a normalisation at rest compute `scale * x + shift` in its first channels."""
    index = np.arange(len(affine.scale)) if channels is None else channels
    count = len(index)
    norm.running_mean[:count] = 0
    norm.running_var[:count] = 1 - norm.eps
    norm.weight[:count] = torch.tensor(affine.scale[index])
    norm.bias[:count] = torch.tensor(affine.shift[index])
