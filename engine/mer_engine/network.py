"""The network: what it hears in each step, and how it reads a window of steps.

Convolutions of several widths and residual blocks describe each step of half a second. A
bidirectional LSTM, a fully connected layer and multi-head attention read the lag window, beside
them a small network reads its statistics, its mode (major or minor) and its density, and a memory
knows what listeners said of windows like it; a softmax over score bins says how likely each score
is.

The encoder works in two parts, each of which sees a bounded past: filters make maps, a column of
numbers for each frame; residual blocks make an embedding of the maps of each step. So a frame goes
through the filters once and a step through the blocks once, and what came out is kept. The reader
sees only the window's embeddings. Everything that the network looks at lies in the past.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from mer_engine.chroma import PITCH_CLASSES
from mer_engine.kernel_regression import KernelRegressor
from mer_engine.window_statistics import (
    StatisticSizes,
    WindowStatistics,
    power_of,
    statistic_sizes,
)

# Valence and arousal of the moment, then those of the piece as a whole.
SCORES = ("valence", "arousal", "whole_valence", "whole_arousal")
# Weight of the memory in the reader's distribution: any from a half to three quarters was about as
# accurate on songs left out.
MEMORY_SHARE = 0.65
# Newest steps of a window that the fast answer rests on: three seconds.
FAST_STEPS = 6
# How far from its mean a number of the embedding counts, in standard deviations.
_CLIP = 6.0


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """The network's sizes.

    Attributes:
        bands: mel bands of a frame.
        pitch_classes: numbers of a frame after the bands; 0 or 12.
        peaks: whether a frame ends with its peak, log10(1 + scaled power).
        frames_per_step: frames in one step.
        chroma_every: frames between two computations of the pitch classes; divides a step.
        band_stride: bands between two places at which a timbral filter is tried.
        timbral: (frames, bands, number) of each group of timbral filters.
        temporal: (frames, number) of each group of temporal filters.
        residual_filters: channels of the residual blocks.
        residual_kernel: frames that a residual convolution spans (odd).
        level_frames: the loudest moment among so many frames sets the level that the sound is
            brought to; 0 leaves the level as it is.
        level: power (scaled, mean of the bands) that the loudest moment is brought to.
        tags: words of a tagger that each step is described with as well; 0 for none.
        tagger_width: size of the tagger's hidden layer.
        hidden: LSTM units in each direction.
        heads: attention heads; divides `width`.
        width: size of the fully connected layer.
        statistics: size of the network that reads the window's statistics.
        memory: windows that the reader remembers; 0 for a reader without memory.
        memory_rank: axes that their channels are projected to.
        bins: score bins, evenly spaced over [-1, 1].
        dropout: share of the reader's hidden numbers that is dropped in training.
        input_dropout: share of the embeddings' numbers that is dropped in training.
    """

    bands: int = 96
    pitch_classes: int = PITCH_CLASSES
    peaks: bool = True
    frames_per_step: int = 32
    chroma_every: int = 8
    band_stride: int = 2
    timbral: tuple[tuple[int, int, int], ...] = ((7, 38, 23), (7, 67, 14))
    temporal: tuple[tuple[int, int], ...] = ((128, 3), (64, 7), (32, 17))
    residual_filters: int = 64
    residual_kernel: int = 7
    level_frames: int = 128
    level: float = 6000.0
    tags: int = 0
    tagger_width: int = 200
    hidden: int = 64
    heads: int = 4
    width: int = 128
    statistics: int = 256
    memory: int = 0
    memory_rank: int = 160
    bins: int = 41
    dropout: float = 0.5
    input_dropout: float = 0.3

    def __post_init__(self) -> None:
        if self.frames_per_step % self.chroma_every:
            raise ValueError(
                f"pitch classes every {self.chroma_every} frames do not divide a step of "
                f"{self.frames_per_step}"
            )
        if self.width % self.heads:
            raise ValueError(f"{self.heads} heads do not divide a width of {self.width}")

    @property
    def frame_width(self) -> int:
        """Numbers in a frame: bands, pitch classes, peak."""
        return self.bands + self.pitch_classes + self.peaks

    @property
    def groups(self) -> tuple[tuple[int, int, int], ...]:
        """(frames, bands, number) of all groups of filters."""
        return (*self.timbral, *((frames, 1, number) for frames, number in self.temporal))

    @property
    def residual_context(self) -> int:
        """Frames before a step that the residual blocks see as well."""
        return 3 * (self.residual_kernel - 1)

    @property
    def level_context(self) -> int:
        """Frames before a frame that set its level."""
        return self.level_frames - 1 + _SMOOTH - 1 if self.level_frames else 0

    @property
    def step_context(self) -> int:
        """Frames before a step whose maps the residual blocks see: their own, and their delay."""
        return self.residual_context + max(self.delay(group[0]) for group in self.groups)

    @property
    def map_context(self) -> int:
        """Frames whose maps must be held to go on from them (R)."""
        return max(self.step_context, self.longest_filter - 1, self.level_context)

    def delay(self, frames: int) -> int:
        """How long filters of so many frames wait for the centre of the longest."""
        return self.longest_filter // 2 - frames // 2

    @property
    def longest_filter(self) -> int:
        """Frames that the longest filter spans."""
        return max(group[0] for group in self.groups)

    @property
    def filters(self) -> int:
        """Filters of all groups."""
        return sum(group[-1] for group in self.groups)

    @property
    def map_size(self) -> int:
        """Numbers that are kept of a frame (M): what the filters found, its mel bands at one level,
        its pitch classes, its peak and its loudness, as it came."""
        return self.filters + self.frame_width + 1

    @property
    def channels(self) -> int:
        """Channels that are pooled over a step."""
        return self.filters + 3 * self.residual_filters

    @property
    def embedding(self) -> int:
        """Numbers that describe a step (E): maxima and means of the channels, pitch classes, mean
        of each mel band, tags, loudness and peak."""
        return 2 * self.channels + self.pitch_classes + self.bands + self.tags + 2 * self.peaks

    @property
    def statistic_sizes(self) -> StatisticSizes:
        """Numbers that describe a window."""
        return statistic_sizes(self.channels, self.pitch_classes, self.bands, self.tags, self.peaks)

    def bin_centres(self) -> Tensor:
        """Centres of the score bins, float32 [bins]."""
        return torch.linspace(-1.0, 1.0, self.bins)


# Frames over which the level is smoothed before the loudest moment is looked for.
_SMOOTH = 8


class ChannelNorm(nn.BatchNorm1d):
    """Batch normalisation of [B, channels, ...] over all but the channels, of any rank."""

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected [B, channels, ...], got {input.dim()} dimensions")


class Level(nn.Module):
    """Brings music to one level, whatever the gain of the microphone.

    The loudest moment of the last two seconds decides, so a rest does not pump the level up, and
    loud and soft within that time keep their distance.
    """

    def __init__(self, frames: int, level: float) -> None:
        super().__init__()
        self.frames = frames
        self.level = level

    def forward(self, power: Tensor, loudness: Tensor) -> Tensor:
        """Return levelled bands, log10(1 + power), [B, n, bands].

        Args:
            power: [B, n, bands].
            loudness: [B, context + n, 1], log10(1 + mean power of the bands), of the frames before
                too.
        """
        known = power_of(loudness)
        course = functional.avg_pool1d(known.transpose(1, 2), _SMOOTH, 1)
        loudest = functional.max_pool1d(course, self.frames, 1).transpose(1, 2)
        gain = (self.level / loudest.clamp(min=1e-6)).clamp(1e-4, 1e4)
        return torch.log10(1 + power * gain)


class MaxOverFrequencyConv(nn.Module):
    """Filters over frames and bands, tried at all heights of the spectrum; the best place counts.

    Timbral filters span few frames and many bands, temporal ones many frames of one band. Where a
    sound lies matters little, so its pitch does not decide what is heard. `sign` is -1 for filters
    of which the least answer counts instead of the largest.
    """

    sign: Tensor

    def __init__(self, frames: int, bands: int, filters: int, band_stride: int) -> None:
        super().__init__()
        self.frames = frames
        self.convolve = nn.Conv2d(1, filters, (frames, bands), (1, band_stride), bias=False)
        self.register_buffer("sign", torch.ones(filters, 1))
        self.bias = nn.Parameter(torch.zeros(filters, 1))
        self.norm = ChannelNorm(filters)

    def forward(self, x: Tensor) -> Tensor:
        """Filter [B, 1, frames, bands] to [B, filters, positions]."""
        best = self.sign * self.convolve(x).amax(3)
        return self.norm(functional.relu(best + self.bias))


class Tagger(nn.Module):
    """How much each of a tagger's words fits a step: the logits of its tags."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.first = nn.Linear(2 * config.channels, config.tagger_width)
        self.last = nn.Linear(config.tagger_width, config.tags)

    def forward(self, pooled: Tensor) -> Tensor:
        """Logits [B, k, tags] of maxima and means of all channels [B, k, 2 * channels]."""
        tags: Tensor = self.last(functional.relu(self.first(pooled)))
        return tags


class Encoder(nn.Module):
    """Describes each step in `embedding` numbers."""

    mean: Tensor
    std: Tensor
    pool_mean: Tensor
    pool_std: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(config.bands))
        self.register_buffer("std", torch.ones(config.bands))
        self.level = Level(config.level_frames, config.level) if config.level_frames else None
        self.front = nn.ModuleList(
            MaxOverFrequencyConv(*group, config.band_stride) for group in config.groups
        )
        width, taps = config.residual_filters, config.residual_kernel
        filters = sum(group[-1] for group in config.groups)
        self.transition = nn.Conv1d(filters, width, taps)
        self.transition_norm = ChannelNorm(width)
        self.residual = nn.ModuleList(nn.Conv1d(width, width, taps) for _ in range(2))
        self.residual_norms = nn.ModuleList(ChannelNorm(width) for _ in range(2))
        self.tagger = Tagger(config) if config.tags else None
        self.register_buffer("pool_mean", torch.zeros(2 * config.channels))
        self.register_buffer("pool_std", torch.ones(2 * config.channels))

    def forward(self, frames: Tensor) -> Tensor:
        """Encode frames that nothing but silence went before.

        Args:
            frames: float32 [B, step_context + k * S, frame_width].

        Returns:
            Embeddings [B, k, embedding].
        """
        return self.encode(self.maps(frames))

    def maps(self, frames: Tensor, held: Tensor | None = None) -> Tensor:
        """Make the maps of frames.

        Args:
            frames: float32 [B, n, frame_width].
            held: [B, map_context or more, map_size], the maps of the frames just before them;
                None where those were silent.

        Returns:
            [B, n, map_size]: what the filters found (as of the newest frame that each spans),
            levelled bands, pitch classes and peak as they came, loudness.
        """
        config = self.config
        bands, rest = frames[:, :, : config.bands], frames[:, :, config.bands :]
        if held is None:
            # Silence has neither bands nor loudness; of its filters' maps nothing is read here.
            held = frames.new_zeros(len(frames), config.map_context, config.map_size)
        before = held[:, held.shape[1] - config.level_context :, -1:]
        bands, loudness = self._levelled(bands, before)
        reach = config.longest_filter - 1
        columns = slice(config.filters, config.filters + config.bands)
        x = torch.cat([held[:, held.shape[1] - reach :, columns], bands], dim=1)
        x = ((x - self.mean) / self.std).unsqueeze(1)
        found = [layer(x[:, :, config.longest_filter - layer.frames :]) for layer in self.front]
        return torch.cat([torch.cat(found, dim=1).transpose(1, 2), bands, rest, loudness], dim=2)

    def levelled(self, bands: Tensor) -> Tensor:
        """Bands [B, n, bands] that nothing but silence went before, brought to one level."""
        return self._levelled(bands, bands.new_zeros(len(bands), self.config.level_context, 1))[0]

    def _levelled(self, bands: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """Levelled bands, and their loudness as it came, [B, n, 1]; `before` is that before."""
        power = power_of(bands)
        loudness = torch.log10(1 + power.mean(2, keepdim=True))
        if self.level is not None:
            bands = self.level(power, torch.cat([before, loudness], dim=1))
        return bands, loudness

    def encode(self, maps: Tensor) -> Tensor:
        """Make embeddings [B, k, embedding] of maps [B, step_context + k * S, map_size]."""
        config = self.config
        found = self.pool(maps)
        pooled = (found - self.pool_mean) / self.pool_std
        parts = [pooled.clamp(-_CLIP, _CLIP)]
        rest = maps[:, config.step_context :, config.filters :]
        if config.pitch_classes:
            # Each computation of the pitch classes once: frames between repeat the last.
            classes = rest[:, :, config.bands : config.bands + config.pitch_classes]
            computed = classes.unflatten(1, (-1, config.chroma_every))[:, :, -1]
            each = config.frames_per_step // config.chroma_every
            parts.append(computed.unflatten(1, (-1, each)).mean(2))
        parts.append(rest[:, :, : config.bands].unflatten(1, (-1, config.frames_per_step)).mean(2))
        if self.tagger is not None:
            parts.append(self.tagger(found))
        if config.peaks:
            peak, loudness = rest[:, :, -2:].unflatten(1, (-1, config.frames_per_step)).unbind(3)
            mean = torch.log10(1 + power_of(loudness).mean(2))
            parts.append(torch.stack([mean, peak.amax(2)], dim=2))
        return torch.cat(parts, dim=2)

    def pool(self, maps: Tensor) -> Tensor:
        """Return maxima and means of all channels over each step, [B, k, 2 * channels]."""
        found = maps[:, :, : self.config.filters].transpose(1, 2)
        newest = found[:, :, self.config.step_context :]
        steps = torch.cat([newest, *self._blocks(found)], dim=1)
        steps = steps.unflatten(2, (-1, self.config.frames_per_step))
        return torch.cat([steps.amax(3), steps.mean(3)], dim=1).transpose(1, 2)

    def _blocks(self, found: Tensor) -> list[Tensor]:
        """What the residual blocks make of filters [B, filters, step_context + positions].

        They read filters of all lengths around a common centre, half the longest filter ago; the
        filters themselves are also pooled as they are, without that delay.
        """
        config = self.config
        first, centred = 0, []
        for frames, _, number in config.groups:
            delay = config.delay(frames)
            start = config.step_context - config.residual_context - delay
            end = -delay if delay else None
            centred.append(found[:, first : first + number, start:end])
            first += number
        front = torch.cat(centred, dim=1)
        maps = [self.transition_norm(functional.relu(self.transition(front)))]
        trim = (config.residual_kernel - 1) // 2
        for layer, norm in zip(self.residual, self.residual_norms, strict=True):
            change = norm(functional.relu(layer(maps[-1])))
            maps.append(maps[-1][:, :, trim:-trim] + change)
        # Each block sees less than the one before it: the newest positions are common to all.
        size = maps[-1].shape[2]
        return [m[:, :, m.shape[2] - size :] for m in maps]


class QueryAttention(nn.Module):
    """Multi-head attention with one learned question for each score."""

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


class RegressionHead(nn.Module):
    """Reads the scores from a window of embeddings of any length."""

    statistic_mean: Tensor
    statistic_std: Tensor
    memory_spread: Tensor
    memory: KernelRegressor | None

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        count = len(SCORES)
        self.enter = nn.Linear(2 * config.channels, config.width)
        self.lstm = nn.LSTM(config.width, config.hidden, batch_first=True, bidirectional=True)
        self.mix = nn.Linear(2 * config.hidden, config.width)
        self.attention = QueryAttention(config.width, config.heads, count)
        self.scores = nn.Parameter(torch.randn(count, config.width, config.bins) * 0.02)
        self.scores_bias = nn.Parameter(torch.zeros(count, 1, config.bins))
        self.statistics = WindowStatistics(
            config.channels, config.pitch_classes, config.bands, config.tags, config.peaks
        )
        size = self.statistics.sizes.total
        self.register_buffer("statistic_mean", torch.zeros(size))
        self.register_buffer("statistic_std", torch.ones(size))
        self.first = nn.Linear(size, config.statistics)
        self.second = nn.Linear(config.statistics, config.statistics)
        self.last = nn.Linear(config.statistics, count * config.bins)
        nn.init.normal_(self.last.weight, 0.0, 0.01)
        self.dropout = nn.Dropout(config.dropout)
        self.input_dropout = nn.Dropout(config.input_dropout)
        self.register_buffer("bins", config.bin_centres(), persistent=False)
        self.register_buffer("memory_spread", torch.ones(count, 1))
        self.memory = None
        if config.memory:
            self.memory = KernelRegressor(
                self.statistics.sizes, config.memory, config.memory_rank, count
            )

    def forward(self, *windows: Tensor) -> Tensor:
        """Read windows, which may be of different lengths.

        Args:
            windows: each [B, L, embedding].

        Returns:
            Logits [windows * B, scores, bins].
        """
        # What does not depend on the length goes together: the large weights are read but once.
        statistics = torch.cat([self.statistics(window) for window in windows])
        logits = self.read(statistics, *windows)
        if self.memory is None:
            return logits
        # A logarithmic opinion pool (Genest and Zidek 1986): the weighted geometric mean of two
        # distributions, the reader's and a bell around what the memory says.
        away = self.bins - self.memory(statistics).unsqueeze(2)
        bell = -0.5 * (away / self.memory_spread) ** 2
        return (1 - MEMORY_SHARE) * logits + MEMORY_SHARE * bell

    def read(self, statistics: Tensor, *windows: Tensor) -> Tensor:
        """Return the logits of the reader without its memory, of windows and their statistics."""
        courses = torch.cat([self._read_course(window) for window in windows])
        return courses + self._read_statistics(statistics)

    def remember(self, memory: KernelRegressor, spread: Tensor) -> None:
        """Take a memory.

        Args:
            memory: whose `sizes` are those of this reader's statistics.
            spread: [scores], standard deviation of a distribution around what the memory says.
        """
        self.memory = memory
        self.memory_spread.copy_(spread.unsqueeze(1))
        self.config = replace(self.config, memory=memory.count, memory_rank=memory.kept.channels)

    def _read_course(self, window: Tensor) -> Tensor:
        steps = window[:, :, : 2 * self.config.channels]
        x = functional.relu(self.enter(self.input_dropout(steps)))
        recurrent, _ = self.lstm(self.dropout(x))
        x = functional.relu(x + self.mix(self.dropout(recurrent)))
        answers = self.dropout(self.attention(x) + x.mean(1, keepdim=True))
        return (answers.transpose(0, 1) @ self.scores + self.scores_bias).transpose(0, 1)

    def _read_statistics(self, statistics: Tensor) -> Tensor:
        x = (statistics - self.statistic_mean) / self.statistic_std
        x = self.input_dropout(x.clamp(-_CLIP, _CLIP))
        x = self.dropout(functional.relu(self.first(x)))
        x = self.dropout(x + functional.relu(self.second(x)))
        return self.last(x).unflatten(1, (-1, self.config.bins))


class EmotionNetwork(nn.Module):
    """The whole network, with the graph interface of a model file."""

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config or NetworkConfig()
        self.encoder = Encoder(self.config)
        self.reader = RegressionHead(self.config)

    def forward(
        self, frames: Tensor, held: Tensor, past: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One update of B windows of P + k steps.

        Args:
            frames: float32 [B, n, frame_width], the newest; n at most k * S.
            held: float32 [B, map_context + k * S - n, map_size], the maps of the frames before.
            past: float32 [B, P, E], embeddings of the P steps before; P may be 0.

        Returns:
            Probabilities [B, 4, bins] (valence, arousal, and both of the piece as a whole), the
            k new embeddings [B, k, E], the probabilities that the same reader gives of the newest
            `FAST_STEPS` steps alone, or of all where they are fewer, and the maps of the new
            frames [B, n, map_size].
        """
        maps = self.encoder.maps(frames, held)
        known = torch.cat([held, maps], dim=1)
        steps = self.encoder.encode(known[:, self.config.map_context - self.config.step_context :])
        window = torch.cat([past, steps], dim=1)
        logits = self.reader(window, window[:, -FAST_STEPS:])
        probabilities, fast = torch.softmax(logits, dim=2).unflatten(0, (2, -1))
        return probabilities, steps, fast, maps

    @torch.inference_mode()
    def silent_map(self) -> Tensor:
        """The map of a frame of silence after silence, [map_size]."""
        return self.encoder.maps(torch.zeros(1, 1, self.config.frame_width))[0, 0]
