"""The network: what it hears in each step, and how it reads a window of steps.

Convolutions of several widths and residual blocks describe each step of half a second. A
bidirectional LSTM, a fully connected layer and multi-head attention read the lag window; a softmax
over score bins says how likely each score is.

The encoder sees a bounded past, so a step is encoded once and its embedding is kept. The reader
sees only the window's embeddings. Everything that the network looks at lies in the past.
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
        timbral: (frames, bands, number) of each group of timbral filters.
        temporal: (frames, number) of each group of temporal filters.
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
    stride: int = 1
    band_stride: int = 2
    timbral: tuple[tuple[int, int, int], ...] = ((5, 38, 24), (5, 67, 16))
    temporal: tuple[tuple[int, int], ...] = ((102, 4), (51, 8), (25, 20))
    residual_filters: int = 64
    residual_kernel: int = 5
    embedding: int = 192
    hidden: int = 64
    heads: int = 4
    width: int = 128
    bins: int = 41
    dropout: float = 0.5

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
        return self.context_positions * self.stride + self.longest_filter - self.stride

    @property
    def longest_filter(self) -> int:
        """Frames that the longest filter spans, at least one stride."""
        taps = [group[0] for group in (*self.timbral, *self.temporal)]
        return max([self.stride, *taps])

    @property
    def front_channels(self) -> int:
        """Channels of all timbral and temporal filters."""
        return sum(group[-1] for group in (*self.timbral, *self.temporal))

    @property
    def channels(self) -> int:
        """Channels that are pooled over a step."""
        return self.front_channels + 3 * self.residual_filters

    def bin_centres(self) -> Tensor:
        """Centres of the score bins, float32 [bins]."""
        return torch.linspace(-1.0, 1.0, self.bins)


class ChannelNorm(nn.BatchNorm1d):
    """Batch normalisation of [B, channels, ...] over all but the channels, of any rank."""

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected [B, channels, ...], got {input.dim()} dimensions")


class BestPlace(nn.Module):
    """Filters over frames and bands, tried at all heights of the spectrum; the best place counts.

    Timbral filters span few frames and many bands, temporal ones many frames of one band. Where a
    sound lies matters little, so its pitch does not decide what is heard.
    """

    def __init__(
        self, frames: int, bands: int, filters: int, stride: int, band_stride: int
    ) -> None:
        super().__init__()
        self.frames = frames
        self.convolve = nn.Conv2d(1, filters, (frames, bands), (stride, band_stride))
        self.norm = ChannelNorm(filters)

    def forward(self, x: Tensor) -> Tensor:
        """Filter [B, 1, frames, bands] to [B, filters, positions]."""
        return self.norm(functional.relu(self.convolve(x).amax(3)))


class StepEncoder(nn.Module):
    """Describes each step in `embedding` numbers."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(config.bands))
        self.register_buffer("std", torch.ones(config.bands))
        shapes = [*config.timbral, *((frames, 1, number) for frames, number in config.temporal)]
        self.front = nn.ModuleList(
            BestPlace(*shape, config.stride, config.band_stride) for shape in shapes
        )
        width, taps = config.residual_filters, config.residual_kernel
        self.transition = nn.Conv1d(config.front_channels, width, taps)
        self.transition_norm = ChannelNorm(width)
        self.residual = nn.ModuleList(nn.Conv1d(width, width, taps) for _ in range(2))
        self.residual_norms = nn.ModuleList(ChannelNorm(width) for _ in range(2))
        self.pool_norm = ChannelNorm(2 * config.channels)
        self.project = nn.Linear(2 * config.channels, config.embedding)

    def forward(self, frames: Tensor) -> Tensor:
        """Encode float32 [B, C + k * S, bands] to [B, k, embedding]."""
        return self.project(self.pool(frames))

    def pool(self, frames: Tensor) -> Tensor:
        """Return maxima and means of all channels over each step, [B, k, 2 * channels]."""
        return self.pool_filtered(self.filter(frames))

    def filter(self, frames: Tensor) -> Tensor:
        """Return what the first filters find, [B, front channels, context + k * positions]."""
        x = ((frames - self.mean) / self.std).unsqueeze(1)
        # Every group of filters ends at the newest frame, whatever its length.
        longest = self.config.longest_filter
        return torch.cat([layer(x[:, :, longest - layer.frames :]) for layer in self.front], dim=1)

    def pool_filtered(self, front: Tensor) -> Tensor:
        """As `pool`, from what `filter` gave."""
        config = self.config
        maps = [front, self.transition_norm(functional.relu(self.transition(front)))]
        trim = (config.residual_kernel - 1) // 2
        for layer, norm in zip(self.residual, self.residual_norms, strict=True):
            maps.append(maps[-1][:, :, trim:-trim] + norm(functional.relu(layer(maps[-1]))))
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
        return self.score(self.summarise(window))

    def score(self, answers: Tensor) -> Tensor:
        """Return logits [B, 2, bins] of what `summarise` gave."""
        return (answers.transpose(0, 1) @ self.scores + self.scores_bias).transpose(0, 1)

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
