"""A classifier of sounds (music, speech, noise) on a network that was trained on AudioSet.

The network is mn04 of EfficientAT (Schmid, Koutini, Widmer, ICASSP 2023; MIT licence), a
MobileNetV3 whose batch norms are folded into the convolutions. Its last layer, which names the 527
classes of AudioSet, is left out. It was trained on 128 mel bands at 32 kHz.
`BandConversion` approximates these from the mel bands of `mer_engine.frontend`, so a live stream
needs no second front-end. The network sees one short segment at a time and uses no future input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mer_engine.frontend import FrontEndConfig, mel_bank
from mer_engine.model_file import SOUNDS

# The licence of EfficientAT requires this notice with the weights.
NOTICE = """\
The sound classifier of this model contains weights of EfficientAT:

MIT License

Copyright (c) 2022 Florian Schmid

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
associated documentation files (the "Software"), to deal in the Software without restriction,
including without limitation the rights to use, copy, modify, merge, publish, distribute,
sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or
substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT
NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES
OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN
CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""

# Numbers that describe a segment.
HIDDEN = 512
# The input that the network was trained on.
_RATE_HZ, _FFT_SIZE, _FRAMES_PER_SECOND, _BANDS = 32_000, 1024, 100, 128
_HIGHEST_HZ = 15_000.0
_PREEMPHASIS = 0.97
_FLOOR, _OFFSET, _SCALE = 1e-5, 4.5, 5.0
_STEM, _FEATURES = 8, 384
_BATCH_NORM_EPSILON = 1e-3


@dataclass(frozen=True, slots=True)
class _BlockConfig:
    """Sizes of an inverted residual block."""

    kernel: int
    expanded: int
    out: int
    squeezed: int  # size of the bottleneck of squeeze-and-excitation, 0 for none
    hard_swish: bool
    stride: int


_BLOCKS = (
    _BlockConfig(3, 8, 8, 0, False, 1),
    _BlockConfig(3, 24, 16, 0, False, 2),
    _BlockConfig(3, 32, 16, 0, False, 1),
    _BlockConfig(5, 32, 16, 8, False, 2),
    _BlockConfig(5, 48, 16, 16, False, 1),
    _BlockConfig(5, 48, 16, 16, False, 1),
    _BlockConfig(3, 96, 32, 0, True, 2),
    _BlockConfig(3, 80, 32, 0, True, 1),
    _BlockConfig(3, 72, 32, 0, True, 1),
    _BlockConfig(3, 72, 32, 0, True, 1),
    _BlockConfig(3, 192, 48, 48, True, 1),
    _BlockConfig(3, 272, 48, 72, True, 1),
    _BlockConfig(5, 272, 64, 72, True, 2),
    _BlockConfig(5, 384, 64, 96, True, 1),
    _BlockConfig(5, 384, 64, 96, True, 1),
)


class BandConversion(nn.Module):
    """Approximates the network's input from the mel bands of the front-end.

    The power of each FFT bin is interpolated between the bands, weighted with the pre-emphasis, and
    summed to the network's bands. The loudest moment of the segment sets the gain, so the gain of
    the microphone does not matter. Bands above the front-end's highest frequency continue its last
    ones at a falling level.
    """

    matrix: Tensor

    def __init__(self, config: FrontEndConfig | None = None) -> None:
        super().__init__()
        self.config = config or FrontEndConfig()
        matrix = torch.from_numpy(_conversion_matrix(self.config))
        self.register_buffer("matrix", matrix, persistent=False)

    def forward(self, bands: Tensor) -> Tensor:
        """Convert a segment.

        Args:
            bands: float32 [B, n, bands] of the front-end, log10(1 + log_scale * power).

        Returns:
            [B, 1, 128, m]: the network's bands, m frames at 100 per second.
        """
        power = torch.pow(10.0, bands) - 1.0
        loudness = power.mean(2, keepdim=True)
        smoothed = functional.avg_pool1d(loudness.transpose(1, 2), _SMOOTH, 1)
        loudest = smoothed.amax(2, keepdim=True).clamp(min=_QUIETEST)
        levels = torch.log((power / loudest) @ self.matrix + _FLOOR)
        levels = (levels + _OFFSET) / _SCALE
        times = _time_interpolation(int(bands.shape[1]), self.config.frames_per_second)
        return (times.to(levels) @ levels).transpose(1, 2).unsqueeze(1)


# Frames over which the level is smoothed before its maximum is taken; the lowest such maximum
# (of log_scale * power) that is raised to full level.
_SMOOTH = 8
_QUIETEST = 1e-2
# Mean input power that the loudest moment is normalised to, in the network's units.
_LOUDEST = 6.4
# Share of the front-end's range that its resampler leaves unchanged; fall of the level above it,
# natural logarithm per band.
_PASS_BAND, _FALL = 0.9, 0.1


def _conversion_matrix(config: FrontEndConfig) -> NDArray[np.float32]:
    """Return the matrix [bands, 128] from the front-end's powers to the network's."""
    bank = mel_bank(config).astype(np.float64)
    between = bank / bank.max(0)  # partition of unity between the centres of the bands
    between /= np.maximum(between.sum(1, keepdims=True), 1e-9)
    spectrum = between / bank.sum(0)  # [bins, bands]: the power of each bin
    bins_hz = np.fft.rfftfreq(_FFT_SIZE, 1 / _RATE_HZ)
    edges_mel = np.linspace(0.0, float(_kaldi_mel(_HIGHEST_HZ)), _BANDS + 2)
    mel = _kaldi_mel(bins_hz)[:, None]
    rising = (mel - edges_mel[:-2]) / (edges_mel[1:-1] - edges_mel[:-2])
    falling = (edges_mel[2:] - mel) / (edges_mel[2:] - edges_mel[1:-1])
    filters = np.maximum(0.0, np.minimum(rising, falling))
    emphasis = np.abs(1 - _PREEMPHASIS * np.exp(-2j * np.pi * bins_hz / _RATE_HZ)) ** 2
    weighted = filters * emphasis[:, None]
    matrix = spectrum.T @ weighted[: len(bank)]
    # Bands that reach above the front-end's range continue the last one that does not.
    highest_mel = _kaldi_mel(_PASS_BAND * config.high_hz)
    last = int(np.flatnonzero(edges_mel[2:] <= highest_mel)[-1])
    ratio = weighted.sum(0)[last + 1 :] / weighted.sum(0)[last]
    fall = np.exp(-_FALL * np.arange(1, _BANDS - last))
    matrix[:, last + 1 :] = matrix[:, last, None] * ratio * fall
    return np.asarray(matrix * _LOUDEST, dtype=np.float32)


def _kaldi_mel(hertz: NDArray[np.floating] | float) -> NDArray[np.float64]:
    return np.asarray(1127.0 * np.log1p(np.asarray(hertz, dtype=np.float64) / 700.0))


def _time_interpolation(frames: int, frames_per_second: int) -> Tensor:
    """Return the matrix [m, frames] that interpolates frames at 100 per second linearly."""
    count = frames * _FRAMES_PER_SECOND // frames_per_second
    position = (np.arange(count) + 0.5) * frames_per_second / _FRAMES_PER_SECOND - 0.5
    distance = np.abs(np.clip(position, 0, frames - 1)[:, None] - np.arange(frames))
    return torch.from_numpy(np.maximum(0.0, 1.0 - distance).astype(np.float32))


class _SqueezeExcitation(nn.Module):
    """Scales each channel by a function of all channels' means over the segment."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, squeezed)
        self.excite = nn.Linear(squeezed, channels)

    def forward(self, maps: Tensor) -> Tensor:
        means = maps.mean((2, 3))
        scale = torch.sigmoid(self.excite(functional.relu(self.squeeze(means))))
        return maps * scale[:, :, None, None]


class _InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, squeeze-and-excitation, projection."""

    def __init__(self, channels: int, config: _BlockConfig) -> None:
        super().__init__()
        wide = config.expanded
        self.expand = nn.Conv2d(channels, wide, 1) if wide != channels else None
        self.depthwise = nn.Conv2d(
            wide, wide, config.kernel, config.stride, config.kernel // 2, groups=wide
        )
        self.excitation = _SqueezeExcitation(wide, config.squeezed) if config.squeezed else None
        self.project = nn.Conv2d(wide, config.out, 1)
        self.activation = nn.Hardswish() if config.hard_swish else nn.ReLU()
        self.residual = config.stride == 1 and channels == config.out

    def forward(self, maps: Tensor) -> Tensor:
        inner = maps if self.expand is None else self.activation(self.expand(maps))
        inner = self.activation(self.depthwise(inner))
        if self.excitation is not None:
            inner = self.excitation(inner)
        projected: Tensor = self.project(inner)
        return maps + projected if self.residual else projected


class AudioSetNetwork(nn.Module):
    """mn04 without its classes, for inference on short segments of the front-end's mel bands.

    The published weights are loaded with `load_state_dict(folded_state(published))`.
    """

    def __init__(self, config: FrontEndConfig | None = None) -> None:
        super().__init__()
        self.conversion = BandConversion(config)
        self.stem = nn.Conv2d(1, _STEM, 3, 2, 1)
        channels = (_STEM, *(block.out for block in _BLOCKS))
        self.blocks = nn.ModuleList(
            _InvertedResidual(before, block)
            for before, block in zip(channels[:-1], _BLOCKS, strict=True)
        )
        self.last = nn.Conv2d(channels[-1], _FEATURES, 1)
        self.hidden = nn.Linear(_FEATURES, HIDDEN)

    def forward(self, bands: Tensor) -> Tensor:
        """Describe segments.

        Args:
            bands: float32 [B, n, bands] of the front-end; n of about 32 to 640 frames.

        Returns:
            [B, 512], the last layer before the classes.
        """
        maps = functional.hardswish(self.stem(self.conversion(bands)))
        for block in self.blocks:
            maps = block(maps)
        features = functional.hardswish(self.last(maps)).mean((2, 3))
        return functional.hardswish(self.hidden(features))


class SoundClassifier(nn.Module):
    """Tells music from speech and noise: a logistic regression on mn04's last hidden layer.

    Music includes singing, single instruments, and music with other sound over it. Noise is
    everything that is neither music nor speech, steady tones included. One segment of two seconds
    is not certain. The caller averages the logits of the last steps before it takes the softmax.
    """

    def __init__(self, config: FrontEndConfig | None = None) -> None:
        super().__init__()
        self.network = AudioSetNetwork(config)
        self.sounds = nn.Linear(HIDDEN, len(SOUNDS))

    def forward(self, bands: Tensor) -> Tensor:
        """Classify segments.

        Args:
            bands: float32 [B, n, bands] of the front-end; n of about 128 frames (two seconds).

        Returns:
            Logits [B, 3] in the order of `SOUNDS`.
        """
        logits: Tensor = self.sounds(self.network(bands))
        return logits


def folded_state(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert EfficientAT's state dict of mn04 to that of `AudioSetNetwork`.

    Args:
        published: the state dict of mn04_as_mAP_432.pt.

    Returns:
        State dict for `AudioSetNetwork.load_state_dict`, batch norms folded in.

    Raises:
        KeyError: a tensor is missing.
    """
    state: dict[str, Tensor] = {}

    def fold(name: str, source: str) -> None:
        norm = f"{source}.1"
        deviation = torch.sqrt(published[f"{norm}.running_var"] + _BATCH_NORM_EPSILON)
        scale = published[f"{norm}.weight"] / deviation
        state[f"{name}.weight"] = published[f"{source}.0.weight"] * scale[:, None, None, None]
        state[f"{name}.bias"] = (
            published[f"{norm}.bias"] - published[f"{norm}.running_mean"] * scale
        )

    def copy(name: str, source: str) -> None:
        for kind in ("weight", "bias"):
            state[f"{name}.{kind}"] = published[f"{source}.{kind}"]

    fold("stem", "features.0")
    channels = _STEM
    for index, block in enumerate(_BLOCKS):
        name, source, part = f"blocks.{index}", f"features.{index + 1}.block", 0
        if block.expanded != channels:
            fold(f"{name}.expand", f"{source}.{part}")
            part += 1
        fold(f"{name}.depthwise", f"{source}.{part}")
        part += 1
        if block.squeezed:
            copy(f"{name}.excitation.squeeze", f"{source}.{part}.conc_se_layers.0.fc1")
            copy(f"{name}.excitation.excite", f"{source}.{part}.conc_se_layers.0.fc2")
            part += 1
        fold(f"{name}.project", f"{source}.{part}")
        channels = block.out
    fold("last", f"features.{len(_BLOCKS) + 1}")
    copy("hidden", "classifier.2")
    return state
