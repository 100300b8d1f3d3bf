"""The network: an encoder of half-second steps, and a regression head over a window of steps.

The encoder describes each step by convolutions of several widths and residual blocks. The
regression head combines three predictions for a lag window: a bidirectional LSTM with multi-head
attention over the sequence, a small feed-forward network over the window's statistics, and a kernel
regressor. Its output is a softmax over score bins.

The encoder has two stages, each with a bounded receptive field in the past. `Encoder.maps` applies
the filters to frames and gives one feature map (a column of numbers) for each frame.
`Encoder.encode` applies the residual blocks to the maps and gives one embedding for each step. A
stream therefore computes each frame and each step once and caches the results. The head sees only
the window's embeddings. Nothing uses future input.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from mer_engine.audioset_network import SoundClassifier
from mer_engine.chroma import PITCH_CLASSES
from mer_engine.kernel_regression import KernelRegressor
from mer_engine.model_file import DIMENSIONS, SOUNDS
from mer_engine.sparse_sounds import SOUND_STEPS
from mer_engine.window_statistics import (
    CLIP,
    StatisticSizes,
    WindowStatistics,
    power_of,
    statistic_sizes,
)

# Weight of the kernel regressor in the head's distribution. Any value from 0.5 to 0.75 was about as
# accurate on held-out songs.
REGRESSOR_WEIGHT = 0.65
# Newest steps of a window that the fast output uses: three seconds.
FAST_STEPS = 6
# Frames of a segment that the sound classifier sees: two seconds.
SOUND_FRAMES = 128
# Frames over which the level is smoothed before its maximum is taken.
_SMOOTH = 8


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Sizes of the network.

    Attributes:
        bands: mel bands of a frame.
        pitch_classes: pitch classes of a frame, after the bands; 0 or 12.
        peaks: whether a frame ends with its peak, log10(1 + scaled power).
        frames_per_step: frames in a step (S).
        chroma_every: frames between two computations of the pitch classes; divides a step.
        band_stride: stride of the timbral filters over the bands.
        timbral: (frames, bands, filters) of each group of timbral filters.
        temporal: (frames, filters) of each group of temporal filters.
        residual_filters: channels of the residual blocks.
        residual_kernel: frames that a residual convolution spans (odd).
        level_frames: frames whose maximum sets the level that the bands are normalised to; 0 to
            leave the level unchanged.
        level: power (scaled, mean of the bands) that this maximum is normalised to.
        tags: tags of a tagger whose logits are part of each embedding; 0 for none.
        tagger_width: size of the tagger's hidden layer.
        sounds: whether an embedding ends with the logits of music, speech and noise, and the
            network has the sound output.
        hidden: LSTM units in each direction.
        heads: attention heads; divides `width`.
        width: size of the fully connected layer.
        statistics: hidden size of the network over the window's statistics.
        regressor_windows: support windows of the kernel regressor; 0 for no regressor.
        regressor_rank: axes that the regressor projects the channels' statistics to.
        regressor_collections: collections of labelled music that the regressor tells apart.
        scores: what the head predicts: valence and arousal of the moment; in old model files also
            those of the piece as a whole.
        bins: score bins, evenly spaced over [-1, 1].
        dropout: dropout rate of the head's hidden layers in training.
        input_dropout: dropout rate of the embeddings in training.
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
    sounds: bool = False
    hidden: int = 64
    heads: int = 4
    width: int = 128
    statistics: int = 256
    regressor_windows: int = 0
    regressor_rank: int = 160
    regressor_collections: int = 0
    scores: tuple[str, ...] = DIMENSIONS
    bins: int = 41
    dropout: float = 0.5
    input_dropout: float = 0.3

    def __post_init__(self) -> None:
        if self.frames_per_step % self.chroma_every:
            raise ValueError(
                f"pitch classes every {self.chroma_every} frames do not divide a step of "
                f"{self.frames_per_step}"
            )
        if self.sounds and SOUND_FRAMES % self.frames_per_step:
            raise ValueError(
                f"steps of {self.frames_per_step} frames do not divide the {SOUND_FRAMES} frames "
                "that the sound classifier sees"
            )
        if self.width % self.heads:
            raise ValueError(f"{self.heads} heads do not divide a width of {self.width}")

    @property
    def frame_width(self) -> int:
        """Numbers in a frame: bands, pitch classes, peak."""
        return self.bands + self.pitch_classes + self.peaks

    @property
    def groups(self) -> tuple[tuple[int, int, int], ...]:
        """(frames, bands, filters) of all groups of filters."""
        return (*self.timbral, *((frames, 1, number) for frames, number in self.temporal))

    @property
    def residual_context(self) -> int:
        """Frames before a step in the receptive field of the residual blocks."""
        return 3 * (self.residual_kernel - 1)

    @property
    def level_context(self) -> int:
        """Frames before a frame that affect its level."""
        return self.level_frames - 1 + _SMOOTH - 1 if self.level_frames else 0

    @property
    def step_context(self) -> int:
        """Frames before a step whose maps `encode` needs: receptive field and largest delay, and
        the segment of the sound classifier."""
        context = self.residual_context + max(self.delay(group[0]) for group in self.groups)
        return max(context, self.sound_context)

    @property
    def sound_context(self) -> int:
        """Frames before a step that the sound classifier sees."""
        return SOUND_FRAMES - self.frames_per_step if self.sounds else 0

    @property
    def map_context(self) -> int:
        """Frames whose maps must be cached to continue a stream (R)."""
        return max(self.step_context, self.longest_filter - 1, self.level_context)

    def delay(self, frames: int) -> int:
        """Return the delay that centres filters of `frames` frames on the longest filter."""
        return self.longest_filter // 2 - frames // 2

    @property
    def longest_filter(self) -> int:
        """Frames that the longest filter spans."""
        return max(group[0] for group in self.groups)

    @property
    def filters(self) -> int:
        """Number of filters of all groups."""
        return sum(group[-1] for group in self.groups)

    @property
    def map_size(self) -> int:
        """Numbers in a feature map (M): filter outputs, normalised mel bands, pitch classes, peak,
        and loudness before normalisation."""
        return self.filters + self.frame_width + 1

    @property
    def channels(self) -> int:
        """Number of channels that are pooled over a step."""
        return self.filters + 3 * self.residual_filters

    @property
    def embedding(self) -> int:
        """Numbers in an embedding (E): those that the head uses, and the logits of `SOUNDS`."""
        return self.described + len(SOUNDS) * self.sounds

    @property
    def described(self) -> int:
        """Numbers of an embedding that the head uses: maxima and means of the channels, pitch
        classes, mean of each mel band, tags, loudness and peak."""
        return 2 * self.channels + self.pitch_classes + self.bands + self.tags + 2 * self.peaks

    @property
    def statistic_sizes(self) -> StatisticSizes:
        """Sizes of a window's statistics."""
        return statistic_sizes(self.channels, self.pitch_classes, self.bands, self.tags, self.peaks)

    def bin_centres(self) -> Tensor:
        """Return the centres of the score bins, float32 [bins]."""
        return torch.linspace(-1.0, 1.0, self.bins)


class ChannelNorm(nn.BatchNorm1d):
    """Batch normalisation of [B, channels, ...] over all axes but the channels, of any rank."""

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected [B, channels, ...], got {input.dim()} dimensions")


class LevelNormalisation(nn.Module):
    """Normalises the level, so that the gain of the microphone does not matter.

    The maximum of the last two seconds sets the gain. A short pause therefore does not raise the
    level, and dynamics within that time are preserved.
    """

    def __init__(self, frames: int, level: float) -> None:
        super().__init__()
        self.frames = frames
        self.level = level

    def forward(self, power: Tensor, loudness: Tensor) -> Tensor:
        """Normalise bands.

        Args:
            power: [B, n, bands].
            loudness: [B, level_context + n, 1], log10(1 + mean power of the bands), including the
                frames before.

        Returns:
            Normalised bands, log10(1 + power), [B, n, bands].
        """
        mean_power = power_of(loudness)
        smoothed = functional.avg_pool1d(mean_power.transpose(1, 2), _SMOOTH, 1)
        loudest = functional.max_pool1d(smoothed, self.frames, 1).transpose(1, 2)
        gain = (self.level / loudest.clamp(min=1e-6)).clamp(1e-4, 1e4)
        return torch.log10(1 + power * gain)


class MaxOverFrequencyConv(nn.Module):
    """Convolution over frames and bands, followed by the maximum over the frequency axis.

    Timbral filters span few frames and many bands, temporal ones many frames of one band. The
    maximum makes the output nearly independent of pitch. `sign` is -1 for filters whose minimum
    counts instead of the maximum.
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
    """The output layers of a music tagger: logits of its tags for each step."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.first = nn.Linear(2 * config.channels, config.tagger_width)
        self.last = nn.Linear(config.tagger_width, config.tags)

    def forward(self, pooled: Tensor) -> Tensor:
        """Return logits [B, k, tags] from pooled channels [B, k, 2 * channels]."""
        tags: Tensor = self.last(functional.relu(self.first(pooled)))
        return tags


class Encoder(nn.Module):
    """Encodes each step as an embedding."""

    mean: Tensor
    std: Tensor
    pool_mean: Tensor
    pool_std: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(config.bands))
        self.register_buffer("std", torch.ones(config.bands))
        self.level = (
            LevelNormalisation(config.level_frames, config.level) if config.level_frames else None
        )
        self.front = nn.ModuleList(
            MaxOverFrequencyConv(*group, config.band_stride) for group in config.groups
        )
        width, taps = config.residual_filters, config.residual_kernel
        self.transition = nn.Conv1d(config.filters, width, taps)
        self.transition_norm = ChannelNorm(width)
        self.residual = nn.ModuleList(nn.Conv1d(width, width, taps) for _ in range(2))
        self.residual_norms = nn.ModuleList(ChannelNorm(width) for _ in range(2))
        self.tagger = Tagger(config) if config.tags else None
        self.sound = SoundClassifier() if config.sounds else None
        self.register_buffer("pool_mean", torch.zeros(2 * config.channels))
        self.register_buffer("pool_std", torch.ones(2 * config.channels))

    def forward(self, frames: Tensor) -> Tensor:
        """Encode frames that follow silence.

        Args:
            frames: float32 [B, step_context + k * S, frame_width].

        Returns:
            Embeddings [B, k, embedding].
        """
        return self.encode(self.maps(frames))

    def maps(self, frames: Tensor, cached_maps: Tensor | None = None) -> Tensor:
        """Compute the feature maps of frames.

        Args:
            frames: float32 [B, n, frame_width].
            cached_maps: [B, map_context or more, map_size], the maps of the frames just before;
                None where these were silent.

        Returns:
            [B, n, map_size]: filter outputs (each for the span that ends with the frame),
            normalised bands, pitch classes and peak unchanged, loudness before normalisation.
        """
        config = self.config
        bands, rest = frames[:, :, : config.bands], frames[:, :, config.bands :]
        if cached_maps is None:
            # Silence: bands and loudness are 0. The filters' part of these maps is not used here.
            cached_maps = frames.new_zeros(len(frames), config.map_context, config.map_size)
        before = cached_maps[:, cached_maps.shape[1] - config.level_context :, -1:]
        bands, loudness = self._normalise_level(bands, before)
        reach = config.longest_filter - 1
        columns = slice(config.filters, config.filters + config.bands)
        x = torch.cat([cached_maps[:, cached_maps.shape[1] - reach :, columns], bands], dim=1)
        x = ((x - self.mean) / self.std).unsqueeze(1)
        filtered = [layer(x[:, :, config.longest_filter - layer.frames :]) for layer in self.front]
        filtered_maps = torch.cat(filtered, dim=1).transpose(1, 2)
        return torch.cat([filtered_maps, bands, rest, loudness], dim=2)

    def normalise_bands(self, bands: Tensor) -> Tensor:
        """Normalise the level of bands [B, n, bands] that follow silence."""
        before = bands.new_zeros(len(bands), self.config.level_context, 1)
        return self._normalise_level(bands, before)[0]

    def _normalise_level(self, bands: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """Return normalised bands, and their loudness before normalisation [B, n, 1].

        `before` is the loudness of the frames before, [B, level_context, 1].
        """
        power = power_of(bands)
        loudness = torch.log10(1 + power.mean(2, keepdim=True))
        if self.level is not None:
            bands = self.level(power, torch.cat([before, loudness], dim=1))
        return bands, loudness

    def encode(self, maps: Tensor) -> Tensor:
        """Compute embeddings [B, k, embedding] from maps [B, step_context + k * S, map_size]."""
        described = self.describe(maps)
        if self.sound is None:
            return described
        return torch.cat([described, self.sound_logits(maps)], dim=2)

    def describe(self, maps: Tensor) -> Tensor:
        """Compute embeddings without the logits of the kinds of sound, [B, k, described].

        The head ignores these logits, and they cost more than all the rest.

        Args:
            maps: [B, step_context + k * S, map_size].
        """
        config = self.config
        raw = self.pool(maps)
        pooled = (raw - self.pool_mean) / self.pool_std
        parts = [pooled.clamp(-CLIP, CLIP)]
        rest = maps[:, config.step_context :, config.filters :]
        if config.pitch_classes:
            # Take each computation of the pitch classes once: the frames between repeat it.
            classes = rest[:, :, config.bands : config.bands + config.pitch_classes]
            computed = classes.unflatten(1, (-1, config.chroma_every))[:, :, -1]
            each = config.frames_per_step // config.chroma_every
            parts.append(computed.unflatten(1, (-1, each)).mean(2))
        parts.append(rest[:, :, : config.bands].unflatten(1, (-1, config.frames_per_step)).mean(2))
        if self.tagger is not None:
            parts.append(self.tagger(raw))
        if config.peaks:
            peak, loudness = rest[:, :, -2:].unflatten(1, (-1, config.frames_per_step)).unbind(3)
            mean = torch.log10(1 + power_of(loudness).mean(2))
            parts.append(torch.stack([mean, peak.amax(2)], dim=2))
        return torch.cat(parts, dim=2)

    def sound_logits(self, maps: Tensor) -> Tensor:
        """Return the logits of the segments that end with each step, [B, k, sounds].

        All segments are one batch of the classifier. Before the start of a stream, they are silent.

        Args:
            maps: as `encode` takes them, of a network with `config.sounds`.
        """
        config = self.config
        assert self.sound is not None
        bands = maps[:, config.step_context - config.sound_context :, config.filters :]
        steps = bands[:, :, : config.bands].unflatten(1, (-1, config.frames_per_step))
        before = config.sound_context // config.frames_per_step
        segments = torch.cat(
            [steps[:, first : (first - before) or None] for first in range(before + 1)], dim=2
        )
        logits = self.sound(segments.flatten(0, 1))
        return logits.reshape(maps.shape[0], -1, len(SOUNDS))

    def pool(self, maps: Tensor) -> Tensor:
        """Return maxima and means of all channels over each step, [B, k, 2 * channels]."""
        filtered = maps[:, :, : self.config.filters].transpose(1, 2)
        newest = filtered[:, :, self.config.step_context :]
        steps = torch.cat([newest, *self._blocks(filtered)], dim=1)
        steps = steps.unflatten(2, (-1, self.config.frames_per_step))
        return torch.cat([steps.amax(3), steps.mean(3)], dim=1).transpose(1, 2)

    def _blocks(self, filtered: Tensor) -> list[Tensor]:
        """Apply the residual blocks to filter outputs [B, filters, step_context + positions].

        The blocks take filters of all lengths aligned at their centres, which delays the shorter
        ones by up to half the longest filter. `pool` also pools the filters without that delay.
        """
        config = self.config
        first, centred = 0, []
        for frames, _, number in config.groups:
            delay = config.delay(frames)
            start = config.step_context - config.residual_context - delay
            end = -delay if delay else None
            centred.append(filtered[:, first : first + number, start:end])
            first += number
        front = torch.cat(centred, dim=1)
        maps = [self.transition_norm(functional.relu(self.transition(front)))]
        trim = (config.residual_kernel - 1) // 2
        for layer, norm in zip(self.residual, self.residual_norms, strict=True):
            change = norm(functional.relu(layer(maps[-1])))
            maps.append(maps[-1][:, :, trim:-trim] + change)
        # Each block has fewer positions than the one before; all share the newest ones.
        size = maps[-1].shape[2]
        return [m[:, :, m.shape[2] - size :] for m in maps]


class QueryAttention(nn.Module):
    """Multi-head attention with learned queries."""

    def __init__(self, width: int, heads: int, queries: int) -> None:
        super().__init__()
        self.heads = heads
        self.queries = nn.Parameter(torch.randn(heads, queries, width // heads) * 0.02)
        self.keys = nn.Linear(width, width)
        self.values = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Attend over [B, L, width] and return [B, queries, width]."""
        size = self.queries.shape[2]
        keys = self.keys(x).unflatten(2, (self.heads, size)).permute(0, 2, 3, 1)
        values = self.values(x).unflatten(2, (self.heads, size)).transpose(1, 2)
        weights = torch.softmax(self.queries @ keys * size**-0.5, dim=3)  # [B, heads, queries, L]
        return (weights @ values).transpose(1, 2).flatten(2)


class RegressionHead(nn.Module):
    """Predicts the distributions of the scores from a window of embeddings of any length."""

    statistic_mean: Tensor
    statistic_std: Tensor
    regressor_spread: Tensor
    regressor: KernelRegressor | None

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        count = len(config.scores)
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
        self.register_buffer("regressor_spread", torch.ones(count, 1))
        self.regressor = None
        if config.regressor_windows:
            self.regressor = KernelRegressor(
                self.statistics.sizes,
                config.regressor_windows,
                config.regressor_rank,
                count,
                config.regressor_collections,
            )

    def forward(self, *windows: Tensor) -> Tensor:
        """Predict the logits of windows, which may differ in length.

        Args:
            windows: each [B, L, embedding].

        Returns:
            Logits [windows * B, scores, bins].
        """
        # Layers that do not depend on the window's length run once, for all windows together.
        statistics = torch.cat([self.statistics(window) for window in windows])
        logits = self.direct_logits(statistics, *windows)
        if self.regressor is None:
            return logits
        # A logarithmic opinion pool (Genest and Zidek 1986): the weighted geometric mean of the
        # direct distribution and of a Gaussian around the regressor's prediction.
        distance = self.bins - self.regressor(statistics).unsqueeze(2)
        gaussian = -0.5 * (distance / self.regressor_spread) ** 2
        return (1 - REGRESSOR_WEIGHT) * logits + REGRESSOR_WEIGHT * gaussian

    def direct_logits(self, statistics: Tensor, *windows: Tensor) -> Tensor:
        """Return the logits of windows without the kernel regressor's part.

        Args:
            statistics: [windows * B, statistics], of all windows.
            windows: as `forward` takes them.
        """
        sequences = torch.cat([self.sequence_logits(window) for window in windows])
        return sequences + self.statistic_logits(statistics)

    def attach_regressor(self, regressor: KernelRegressor, spread: Tensor) -> None:
        """Use a fitted kernel regressor from now on.

        Args:
            regressor: its `sizes` are those of this head's statistics.
            spread: [scores], standard deviation of the Gaussian around its predictions.
        """
        self.regressor = regressor
        self.regressor_spread.copy_(spread.unsqueeze(1))
        self.config = replace(
            self.config,
            regressor_windows=regressor.count,
            regressor_rank=regressor.projected.channels,
            regressor_collections=regressor.collections,
        )

    def sequence_logits(self, window: Tensor) -> Tensor:
        """Return logits [B, scores, bins] of LSTM and attention over a window of embeddings."""
        steps = window[:, :, : 2 * self.config.channels]
        x = functional.relu(self.enter(self.input_dropout(steps)))
        recurrent, _ = self.lstm(self.dropout(x))
        x = functional.relu(x + self.mix(self.dropout(recurrent)))
        attended = self.dropout(self.attention(x) + x.mean(1, keepdim=True))
        return (attended.transpose(0, 1) @ self.scores + self.scores_bias).transpose(0, 1)

    def statistic_logits(self, statistics: Tensor) -> Tensor:
        """Return logits [B, scores, bins] of the network over a window's statistics."""
        x = (statistics - self.statistic_mean) / self.statistic_std
        x = self.input_dropout(x.clamp(-CLIP, CLIP))
        x = self.dropout(functional.relu(self.first(x)))
        x = self.dropout(x + functional.relu(self.second(x)))
        return self.last(x).unflatten(1, (-1, self.config.bins))


class EmotionNetwork(nn.Module):
    """Encoder and regression head, with the inputs and outputs of a model file's graph."""

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config or NetworkConfig()
        self.encoder = Encoder(self.config)
        self.head = RegressionHead(self.config)

    def forward(self, frames: Tensor, cached_maps: Tensor, past: Tensor) -> tuple[Tensor, ...]:
        """Update B windows of P + k steps.

        Args:
            frames: float32 [B, n, frame_width], the newest frames; n at most k * S.
            cached_maps: float32 [B, map_context + k * S - n, map_size], the maps of the frames
                before.
            past: float32 [B, P, E], embeddings of the P steps before; P may be 0.

        Returns:
            Probabilities [B, scores, bins] in the order of `config.scores`; the k new embeddings
            [B, k, E]; the probabilities of the newest `FAST_STEPS` steps alone (of all steps where
            there are fewer); the maps of the new frames [B, n, map_size]. With `config.sounds` also
            the probabilities [B, 3] of `SOUNDS` over the newest `SOUND_STEPS` steps.
        """
        maps = self.encoder.maps(frames, cached_maps)
        recent = torch.cat([cached_maps, maps], dim=1)
        steps = self.encoder.encode(recent[:, self.config.map_context - self.config.step_context :])
        probabilities, fast, *sound = self.infer_windows(torch.cat([past, steps], dim=1))
        return probabilities, steps, fast, maps, *sound

    def infer_windows(self, windows: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs of `forward` that only depend on the windows' embeddings [B, L, E].

        Returns:
            Probabilities, fast probabilities, and with `config.sounds` those of `SOUNDS`.
        """
        logits = self.head(windows, windows[:, -FAST_STEPS:])
        probabilities, fast = torch.softmax(logits, dim=2).unflatten(0, (2, -1))
        if not self.config.sounds:
            return probabilities, fast
        sound_logits = windows[:, -SOUND_STEPS:, -len(SOUNDS) :].mean(1)
        return probabilities, fast, torch.softmax(sound_logits, dim=1)

    @torch.inference_mode()
    def silent_map(self) -> Tensor:
        """Return the map of a silent frame after silence, [map_size]."""
        return self.encoder.maps(torch.zeros(1, 1, self.config.frame_width))[0, 0]
