"""The network: convolutions of several widths and residual blocks describe each step of half a
second; a bidirectional LSTM, a fully connected layer and multi-head attention read the lag window;
a softmax over score bins says how likely each score is.

The encoder sees a bounded past, so a step is encoded once and its embedding is kept. The reader sees
only the window's embeddings. Everything that the network looks at lies in the past.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """The network's sizes.

    Attributes:
        bands: mel bands of a frame.
        frames_per_step: frames in one step.
        stride: frames between two positions of the convolutions; divides `frames_per_step`.
        band_stride: bands between two places at which a timbral filter is tried.
        timbral_kernels: (frames, bands) of each group of timbral filters.
        timbral_filters: filters in each timbral group.
        rank: basis filters from which each timbral group is combined.
        temporal_kernels: frames of each group of temporal filters.
        temporal_filters: filters in each temporal group.
        residual_filters: channels of the residual blocks.
        residual_kernel: positions that a residual convolution spans (odd).
        embedding: numbers that describe a step (E).
        hidden: LSTM units in each direction.
        heads: attention heads; divides `width`.
        width: size of the fully connected layer.
        bins: score bins, evenly spaced over [-1, 1].
        dropout: share of the reader's inputs that is dropped in training.
    """

    bands: int = 96
    frames_per_step: int = 25
    stride: int = 5
    band_stride: int = 2
    timbral_kernels: tuple[tuple[int, int], ...] = ((5, 38), (5, 67))
    timbral_filters: int = 204
    rank: int = 32
    temporal_kernels: tuple[int, ...] = (50, 25)
    temporal_filters: int = 51
    residual_filters: int = 64
    residual_kernel: int = 3
    embedding: int = 192
    hidden: int = 64
    heads: int = 4
    width: int = 128
    bins: int = 41
    dropout: float = 0.3

    def __post_init__(self) -> None:
        if self.frames_per_step % self.stride:
            raise ValueError(
                f"a stride of {self.stride} frames does not divide a step of {self.frames_per_step}"
            )
        if self.width % self.heads:
            raise ValueError(f"{self.heads} heads do not divide a width of {self.width}")

    @property
    def positions_per_step(self) -> int:
        """Positions of the convolutions in a step."""
        return self.frames_per_step // self.stride

    @property
    def context_positions(self) -> int:
        """Positions before a step that the residual blocks see as well."""
        return 3 * (self.residual_kernel - 1)

    @property
    def context_frames(self) -> int:
        """Frames before a step that the encoder sees as well (C)."""
        longest = max([taps for taps, _ in self.timbral_kernels] + list(self.temporal_kernels))
        return self.context_positions * self.stride + max(0, longest - self.stride)

    @property
    def channels(self) -> int:
        """Channels that are pooled over a step."""
        front = (
            len(self.timbral_kernels) * self.timbral_filters
            + len(self.temporal_kernels) * self.temporal_filters
        )
        return front + 3 * self.residual_filters

    def bin_centres(self) -> Tensor:
        """Centres of the score bins, float32 [bins]."""
        return torch.linspace(-1.0, 1.0, self.bins)


class ChannelNorm(nn.BatchNorm1d):
    """Batch normalisation of [B, channels, ...] over all but the channels, of any rank."""

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected [B, channels, ...], got {input.dim()} dimensions")


class TimbralFilters(nn.Module):
    """Filters over a few frames and many bands, each tried at all heights; the best height counts.

    The filters are combinations of a few basis filters, which costs a fraction of free ones.
    """

    def __init__(self, kernel: tuple[int, int], filters: int, rank: int, stride: tuple[int, int]):
        super().__init__()
        self.basis = nn.Conv2d(1, rank, kernel, stride, bias=False)
        self.combine = nn.Conv2d(rank, filters, 1)
        self.norm = ChannelNorm(filters)

    def forward(self, x: Tensor) -> Tensor:
        """Filter [B, 1, frames, bands] to [B, filters, positions]."""
        height = functional.relu(self.combine(self.basis(x)))
        # The maximum goes before the normalisation, which is cheaper and the same where the
        # normalisation does not turn the sign; training starts with positive scales.
        return self.norm(height.amax(3))


class TemporalFilters(nn.Module):
    """Filters over many frames of one band, tried in all bands; the best band counts."""

    def __init__(self, taps: int, filters: int, stride: tuple[int, int]):
        super().__init__()
        self.convolve = nn.Conv2d(1, filters, (taps, 1), stride)
        self.norm = ChannelNorm(filters)

    def forward(self, x: Tensor) -> Tensor:
        """Filter [B, 1, frames, bands] to [B, filters, positions]."""
        return self.norm(functional.relu(self.convolve(x)).amax(3))


class StepEncoder(nn.Module):
    """Describes each step in `embedding` numbers."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        stride = (config.stride, config.band_stride)
        self.register_buffer("mean", torch.zeros(config.bands))
        self.register_buffer("std", torch.ones(config.bands))
        self.timbral = nn.ModuleList(
            TimbralFilters(kernel, config.timbral_filters, config.rank, stride)
            for kernel in config.timbral_kernels
        )
        self.temporal = nn.ModuleList(
            TemporalFilters(taps, config.temporal_filters, stride)
            for taps in config.temporal_kernels
        )
        front = config.channels - 3 * config.residual_filters
        width, taps = config.residual_filters, config.residual_kernel
        self.transition = nn.Conv1d(front, width, taps)
        self.transition_norm = ChannelNorm(width)
        self.residual = nn.ModuleList(nn.Conv1d(width, width, taps) for _ in range(2))
        self.pool_norm = ChannelNorm(2 * config.channels)
        self.project = nn.Linear(2 * config.channels, config.embedding)

    def forward(self, frames: Tensor) -> Tensor:
        """Encode float32 [B, C + k * S, bands] to [B, k, embedding]."""
        return self.project(self.pool(frames))

    def pool(self, frames: Tensor) -> Tensor:
        """Return maxima and means of all channels over each step, [B, k, 2 * channels]."""
        config = self.config
        x = ((frames - self.mean) / self.std).unsqueeze(1)
        # Every group of filters ends at the newest frame, whatever its length.
        skip = config.context_frames - config.context_positions * config.stride + config.stride
        front = torch.cat(
            [layer(x[:, :, skip - layer.basis.kernel_size[0] :]) for layer in self.timbral]
            + [layer(x[:, :, skip - layer.convolve.kernel_size[0] :]) for layer in self.temporal],
            dim=1,
        )
        maps = [front, self.transition_norm(functional.relu(self.transition(front)))]
        trim = (config.residual_kernel - 1) // 2
        for layer in self.residual:
            maps.append(maps[-1][:, :, trim:-trim] + functional.relu(layer(maps[-1])))
        # The newest k steps of each map; the first map is the longest.
        context = config.context_positions
        starts = (context, context - 2 * trim, context - 4 * trim, 0)
        pooled = torch.cat([m[:, :, s:] for m, s in zip(maps, starts, strict=True)], dim=1)
        steps = pooled.unflatten(2, (-1, config.positions_per_step))
        both = torch.cat([steps.amax(3), steps.mean(3)], dim=1)  # [B, 2 * channels, k]
        return self.pool_norm(both).transpose(1, 2)


class QueryAttention(nn.Module):
    """Multi-head attention with one learned question for each dimension of emotion."""

    def __init__(self, width: int, heads: int, questions: int) -> None:
        super().__init__()
        self.heads = heads
        self.questions = nn.Parameter(torch.randn(heads, questions, width // heads) * 0.02)
        self.keys = nn.Linear(width, width)
        self.values = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Answer from [B, L, width]: [B, questions, width]."""
        size = self.questions.shape[2]
        keys = self.keys(x).unflatten(2, (self.heads, size)).permute(0, 2, 3, 1)
        values = self.values(x).unflatten(2, (self.heads, size)).transpose(1, 2)
        weights = torch.softmax(self.questions @ keys * size**-0.5, dim=3)  # [B, heads, q, L]
        return (weights @ values).transpose(1, 2).flatten(2)


class WindowReader(nn.Module):
    """Reads valence and arousal from a window of embeddings of any length."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.enter = nn.Linear(config.embedding, config.width)
        self.lstm = nn.LSTM(config.width, config.hidden, batch_first=True, bidirectional=True)
        self.mix = nn.Linear(2 * config.hidden, config.width)
        self.attention = QueryAttention(config.width, config.heads, 2)
        self.dropout = nn.Dropout(config.dropout)
        self.scores = nn.Parameter(torch.randn(2, config.width, config.bins) * 0.02)
        self.scores_bias = nn.Parameter(torch.zeros(2, 1, config.bins))

    def forward(self, window: Tensor) -> Tensor:
        """Return logits [B, 2, bins] of a window [B, L, embedding]."""
        answers = self.summarise(window).transpose(0, 1)  # [2, B, width]
        return (answers @ self.scores + self.scores_bias).transpose(0, 1)

    def summarise(self, window: Tensor) -> Tensor:
        """Return one description of the window for each dimension, [B, 2, width]."""
        x = functional.relu(self.enter(self.dropout(window)))
        recurrent, _ = self.lstm(x)
        x = functional.relu(x + self.mix(self.dropout(recurrent)))
        return self.dropout(self.attention(x) + x.mean(1, keepdim=True))


class EmotionNetwork(nn.Module):
    """The whole network, with the graph interface of a model file."""

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config or NetworkConfig()
        self.encoder = StepEncoder(self.config)
        self.reader = WindowReader(self.config)

    def forward(self, frames: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """One update of B windows of P + k steps.

        Args:
            frames: float32 [B, C + k * S, bands].
            past: float32 [B, P, E], embeddings of the P steps before; P may be 0.

        Returns:
            Probabilities [B, 2, bins] (valence, arousal) and the k new embeddings [B, k, E].
        """
        steps = self.encoder(frames)
        logits = self.reader(torch.cat([past, steps], dim=1))
        return torch.softmax(logits, dim=2), steps
