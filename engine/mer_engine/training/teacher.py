"""MusiCNN (Pons and Serra 2019) as a teacher: its published weights, computed with torch.

The `musicnn` package on PyPI (ISC licence) contains checkpoints of a music tagger, trained on far
more music than has emotion labels. Its penultimate layer encodes three seconds of music as 200
numbers. The architecture is the published one: filters of several widths over time and frequency,
residual convolutions over time, mean and maximum over time, dense layers.
"""

from __future__ import annotations

import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mer_engine.datasets.problems import DataError
from mer_engine.frontend import FrontEndConfig, mel_bank
from mer_engine.training.tensor_bundle import BundleError, read_bundle

# The licence of the tagger requires this notice with derived weights.
NOTICE = """\
The convolutions of this model start from MusiCNN:

Copyright (c) Music Technology Group, Universitat Pompeu Fabra 2019. Code developed by Jordi Pons
(www.jordipons.me).

Permission to use, copy, modify, and/or distribute this software for any purpose with or without
fee is hereby granted, provided that the above copyright notice and this permission notice appear
in all copies.

THE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR DISCLAIMS ALL WARRANTIES WITH REGARD TO THIS
SOFTWARE INCLUDING ALL IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS. IN NO EVENT SHALL THE
AUTHOR BE LIABLE FOR ANY SPECIAL, DIRECT, INDIRECT, OR CONSEQUENTIAL DAMAGES OR ANY DAMAGES
WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR PROFITS, WHETHER IN AN ACTION OF CONTRACT,
NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING OUT OF OR IN CONNECTION WITH THE USE OR PERFORMANCE OF
THIS SOFTWARE.
"""

# The checkpoint that training starts from.
TEACHER = "MSD_musicnn"
HOP = 256
PATCH_FRAMES = 187
EMBEDDING_SIZE = 200
# Default of TensorFlow, used for the checkpoints.
_EPSILON = 1e-3
_DEAD_VARIANCE = 1e-6


@dataclass(frozen=True)
class Affine:
    """A batch normalisation in inference: `scale * x + shift` per channel, float32 [channels]."""

    scale: NDArray[np.float32]
    shift: NDArray[np.float32]


@dataclass(frozen=True)
class Convolution:
    """A convolution with ReLU, then a batch normalisation.

    Attributes:
        kernel: float32 [outputs, inputs, time, frequency].
        bias: float32 [outputs].
        norm: the normalisation after the ReLU.
        constant: float32 [outputs], the output of the dead filters, which does not depend on the
            input.
        alive: bool [outputs], the filters whose output depends on the input. Most filters of the
            published tagger are dead.
    """

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]
    norm: Affine
    constant: NDArray[np.float32]
    alive: NDArray[np.bool_]

    def live(self) -> Convolution:
        """Return the convolution without its dead filters."""
        return Convolution(
            kernel=self.kernel[self.alive],
            bias=self.bias[self.alive],
            norm=Affine(self.norm.scale[self.alive], self.norm.shift[self.alive]),
            constant=self.constant[self.alive],
            alive=self.alive[self.alive],
        )


@dataclass(frozen=True)
class TaggerWeights:
    """The weights of one checkpoint, from input to output.

    Attributes:
        name: the checkpoint's name.
        input: normalisation of the log-mel input, one channel.
        timbral: two convolutions [204, 1, 7, 38] and [204, 1, 7, 67]; maximum over frequency after.
        temporal: three convolutions [51, 1, 128 | 64 | 32, 1]; maximum over frequency after.
        residual: three convolutions over time, [64, 561, 7, 1], then twice [64, 64, 7, 1].
        pooled: normalisation of the 1506 pooled numbers: maximum and mean of the first channel,
            of the second, and so on.
        dense: (kernel [1506, 200], bias [200], normalisation after the ReLU).
        tags: (kernel [200, 50], bias [50]).
    """

    name: str
    input: Affine
    timbral: tuple[Convolution, ...]
    temporal: tuple[Convolution, ...]
    residual: tuple[Convolution, ...]
    pooled: Affine
    dense: tuple[NDArray[np.float32], NDArray[np.float32], Affine]
    tags: tuple[NDArray[np.float32], NDArray[np.float32]]


def load_weights(path: Path, name: str) -> TaggerWeights:
    """Read a checkpoint from the `musicnn` wheel or its unpacked folder.

    Args:
        path: the wheel, or a folder that contains ``musicnn/NAME`` or ``NAME``.
        name: "MSD_musicnn" or "MTT_musicnn".

    Raises:
        FileNotFoundError: the path does not contain that checkpoint.
        BundleError: the checkpoint cannot be read.
    """
    if path.is_file():
        with tempfile.TemporaryDirectory() as folder:
            if not zipfile.is_zipfile(path):
                raise FileNotFoundError(f"{path} is neither a folder nor a wheel")
            with zipfile.ZipFile(path) as wheel:
                members = [n for n in wheel.namelist() if n.startswith(f"musicnn/{name}/")]
                wheel.extractall(folder, members)
            return load_weights(Path(folder), name)
    for folder_path in (path / "musicnn" / name, path / name):
        if (folder_path / ".index").is_file():
            return _from_variables(name, read_bundle(folder_path / ".index"))
    raise FileNotFoundError(f"{path} contains no checkpoint musicnn/{name}/.index")


def read_teacher(path: Path) -> TaggerWeights:
    """Read the checkpoint `TEACHER` from the `musicnn` wheel or its unpacked folder.

    Raises:
        DataError: the checkpoint is missing or cannot be read.
    """
    try:
        return load_weights(path, TEACHER)
    except (OSError, BundleError, KeyError) as error:
        raise DataError(
            f"the teacher {path} cannot be used ({error}); give the wheel of the package musicnn "
            "(pip download musicnn --no-deps) or its unpacked folder"
        ) from error


def _from_variables(name: str, variables: dict[str, NDArray[np.generic]]) -> TaggerWeights:
    def get(key: str) -> NDArray[np.float32]:
        return np.array(variables[key], np.float32)  # a copy, because torch needs writable memory

    def numbered(stem: str, number: int) -> str:
        return stem if number == 0 else f"{stem}_{number}"

    def affine(number: int) -> Affine:
        prefix = numbered("batch_normalization", number)
        scale = get(f"{prefix}/gamma") / np.sqrt(get(f"{prefix}/moving_variance") + _EPSILON)
        return Affine(scale, get(f"{prefix}/beta") - scale * get(f"{prefix}/moving_mean"))

    def convolution(number: int) -> Convolution:
        prefix = numbered("conv2d", number)
        kernel = get(f"{prefix}/kernel")  # [time, frequency, inputs, outputs]
        if number >= 5:  # TensorFlow stores the channels of the residual part as a frequency axis
            kernel = kernel.transpose(0, 2, 1, 3)
        kernel = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
        norm = affine(number + 1)
        norm_prefix = numbered("batch_normalization", number + 1)
        return Convolution(
            kernel=kernel,
            bias=get(f"{prefix}/bias"),
            norm=norm,
            constant=norm.scale * get(f"{norm_prefix}/moving_mean") + norm.shift,
            alive=get(f"{norm_prefix}/moving_variance") > _DEAD_VARIANCE,
        )

    return TaggerWeights(
        name=name,
        input=affine(0),
        timbral=tuple(convolution(n) for n in (0, 1)),
        temporal=tuple(convolution(n) for n in (2, 3, 4)),
        residual=tuple(convolution(n) for n in (5, 6, 7)),
        pooled=affine(9),
        dense=(get("dense/kernel"), get("dense/bias"), affine(10)),
        tags=(get("dense_1/kernel"), get("dense_1/bias")),
    )


def tagger_features(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the tagger's log-mel frames of mono 16 kHz audio, float32 [n // 256 + 1, 96].

    They differ from our features in the hop, and are centred on their time.
    """
    config = FrontEndConfig()
    half = config.fft_size // 2
    padded = np.pad(samples, half)
    frames = np.lib.stride_tricks.sliding_window_view(padded, config.fft_size)[::HOP]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(config.fft_size) / config.fft_size)
    spectrum = np.fft.rfft(frames * hann.astype(np.float32), axis=1)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32) @ mel_bank(config)
    return np.log10(1 + np.float32(config.log_scale) * power).astype(np.float32)


class Teacher(nn.Module):
    """The published tagger in inference."""

    def __init__(self, weights: TaggerWeights) -> None:
        super().__init__()
        self.weights = weights

    @torch.inference_mode()
    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Encode patches of music.

        Args:
            patches: float32 [n, frames, 96], log10(1 + 1e4 * mel power), hop 256 at 16 kHz.

        Returns:
            The penultimate layer [n, 200] and the logits of the 50 tags [n, 50].
        """
        features = self.feature_map(patches)
        pooled = torch.stack([features.amax(1), features.mean(1)], 2).flatten(1)
        kernel, bias, norm = self.weights.dense
        hidden = functional.relu(
            _apply(self.weights.pooled, pooled) @ torch.from_numpy(kernel) + torch.from_numpy(bias)
        )
        embedding = _apply(norm, hidden)
        kernel, bias = self.weights.tags
        return embedding, embedding @ torch.from_numpy(kernel) + torch.from_numpy(bias)

    @torch.inference_mode()
    def feature_map(self, patches: Tensor) -> Tensor:
        """Return the maps before pooling, [n, frames, 753], of patches [n, frames, 96]."""
        x = _apply(self.weights.input, patches.unsqueeze(3)).movedim(3, 1)
        columns = []
        for layer in (*self.weights.timbral, *self.weights.temporal):
            taps = layer.kernel.shape[2]
            column = torch.from_numpy(layer.constant).view(1, -1, 1, 1)
            column = column.repeat(len(patches), 1, patches.shape[1], 1)
            padded = functional.pad(x, (0, 0, (taps - 1) // 2, taps // 2))
            column[:, layer.alive] = _convolve(layer.live(), padded)
            columns.append(column)
        front = torch.cat(columns, 1)  # [n, 561, frames, 1]
        maps = [front]
        for number, layer in enumerate(self.weights.residual):
            change = _convolve(layer, functional.pad(maps[-1], (0, 0, 3, 3)))
            maps.append(change if number == 0 else maps[-1] + change)
        return torch.cat(maps, 1).squeeze(3).movedim(1, 2)


def _apply(affine: Affine, x: Tensor) -> Tensor:
    """Apply a normalisation along the last axis."""
    return x * torch.from_numpy(affine.scale) + torch.from_numpy(affine.shift)


def _convolve(layer: Convolution, x: Tensor) -> Tensor:
    """Convolve [n, inputs, time, bands], ReLU, normalise; maximum over bands (kept as 1)."""
    y = functional.conv2d(x, torch.from_numpy(layer.kernel), torch.from_numpy(layer.bias))
    y = _apply(layer.norm, functional.relu(y).movedim(1, 3)).movedim(3, 1)
    return y.amax(3, keepdim=True)
