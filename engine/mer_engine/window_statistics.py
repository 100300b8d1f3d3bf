"""What a window of steps is like as a whole: numbers that do not depend on their order."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from mer_engine.chroma import PITCH_CLASSES

# Pitch classes of major and minor keys from the tonic upwards: how well each note fits (Krumhansl
# and Kessler 1982), and how often it is played (Albrecht and Shanahan 2013).
KEY_PROFILES = (
    (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
    (0.238, 0.006, 0.111, 0.006, 0.137, 0.094, 0.016, 0.214, 0.009, 0.080, 0.008, 0.081),
    (0.220, 0.006, 0.104, 0.123, 0.019, 0.103, 0.012, 0.214, 0.062, 0.022, 0.061, 0.052),
)
_TINY = 1e-6
# The loudest sample counts for at most so many times the loudest of the third loudest step. Music's
# mostly lies less than 1 dB above it; a knock, which one step holds or two, lies far above.
_LOUDEST = 1.25
_BESIDE = 3
# Scaled power that counts for nothing: the density of silence must not hang on its rounding.
_QUIET = 1e-3


class StatisticSizes(NamedTuple):
    """How many numbers of each kind a window's statistics have, in their order.

    Attributes:
        channels: means of the steps' means and maxima, and the largest maxima.
        mode: how well the best keys fit, see `Mode`; 0 without pitch classes.
        degrees: how strong each degree of the best scale is, see `TonicAlignedChroma`; 0 likewise.
        spectrum: mean of each mel band.
        tags: mean of each of the tagger's; 0 where there is none.
        density: how near the music's power comes to its loudest sample, see
            `InverseCrestFactor`; 0 without peaks.
    """

    channels: int
    mode: int
    degrees: int
    spectrum: int
    tags: int
    density: int

    @property
    def total(self) -> int:
        return sum(self)

    def slices(self) -> tuple[slice, ...]:
        """Where each kind lies."""
        ends = [sum(self[: n + 1]) for n in range(len(self))]
        return tuple(slice(end - size, end) for end, size in zip(ends, self, strict=True))


class Keys(nn.Module):
    """How well pitch classes fit each of the 24 keys, by both kinds of profiles."""

    keys: Tensor

    def __init__(self) -> None:
        super().__init__()
        profiles = torch.tensor(KEY_PROFILES)
        profiles = profiles - profiles.mean(1, keepdim=True)
        profiles = profiles / profiles.pow(2).mean(1, keepdim=True).sqrt() / PITCH_CLASSES
        tonics = torch.stack([profiles.roll(tonic, 1) for tonic in range(PITCH_CLASSES)], dim=1)
        self.register_buffer("keys", tonics.flatten(0, 1).T.contiguous())  # [12, profiles * 12]

    def forward(self, chroma: Tensor) -> Tensor:
        """Correlations [..., profiles, 12 tonics] of standardised pitch classes [..., 12]."""
        return (chroma @ self.keys).unflatten(-1, (-1, PITCH_CLASSES))


class Mode(nn.Module):
    """How well music fits the best major and the best minor key, whichever note is the tonic."""

    def __init__(self) -> None:
        super().__init__()
        self.keys = Keys()

    def forward(self, chroma: Tensor) -> Tensor:
        """Return [B, 12] of pitch classes [B, L, 12]: of the window, of its steps, differences."""
        whole = self.keys(standardise(chroma.mean(1))).amax(-1)
        steps = self.keys(standardise(chroma)).amax(-1).mean(1)
        fits = torch.cat([whole, steps], dim=1).unflatten(1, (-1, 2))
        return torch.cat([fits.flatten(1), fits[:, :, 0] - fits[:, :, 1]], dim=1)


class TonicAlignedChroma(nn.Module):
    """Pitch classes counted from the tonic: of the best major key, then of the best minor key."""

    rolls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.keys = Keys()
        index = torch.arange(PITCH_CLASSES)
        # rolls[tonic, degree] is the pitch class of a degree.
        self.register_buffer("rolls", (index[:, None] + index) % PITCH_CLASSES)

    def forward(self, chroma: Tensor) -> Tensor:
        """Return [B, 24] of pitch classes [B, L, 12], standardised over the twelve."""
        whole = standardise(chroma.mean(1))
        fits = self.keys(whole)[:, :2]
        tonic = (fits >= fits.amax(-1, keepdim=True)).to(fits.dtype)  # [B, 2, 12]
        tonic = tonic / tonic.sum(-1, keepdim=True)
        return (tonic @ whole[:, self.rolls]).flatten(1)


class InverseCrestFactor(nn.Module):
    """How near the mean power comes to that of the loudest sample: the inverse of a crest factor.

    A dense mix that was squeezed under a limiter comes near, a lone guitar does not. No gain
    changes it, short of clipping, and no single knock.
    """

    def forward(self, level: Tensor) -> Tensor:
        """Return [B, 1], decades, of loudness and peak of each step [B, L, 2], log10(1 + power)."""
        loudness, peak = level.clamp(min=0).unbind(2)
        mean = torch.log10(_QUIET + power_of(loudness).mean(1, keepdim=True))
        peaks = power_of(peak)
        # A window of fewer steps has its least once more.
        least = peaks.amin(1, keepdim=True).expand(-1, _BESIDE - 1)
        highest = torch.topk(torch.cat([peaks, least], dim=1), _BESIDE, dim=1).values
        loudest = torch.minimum(highest[:, :1], _LOUDEST * highest[:, -1:])
        return mean - torch.log10(_QUIET + loudest)


class WindowStatistics(nn.Module):
    """Describes a window of embeddings by its statistics.

    Args:
        channels: pooled channels; an embedding begins with their maxima and means.
        pitch_classes: numbers of an embedding after those; 0 or 12.
        bands: numbers after those: the spectrum.
        tags: numbers after those, of a tagger.
        peaks: whether loudness and peak follow.
    """

    def __init__(
        self, channels: int, pitch_classes: int, bands: int, tags: int, peaks: bool
    ) -> None:
        super().__init__()
        self.channels = channels
        self.pitch_classes = pitch_classes
        self.averaged = bands + tags
        self.sizes = statistic_sizes(channels, pitch_classes, bands, tags, peaks)
        self.density = InverseCrestFactor() if peaks else None
        self.mode = Mode() if pitch_classes else None
        self.degrees = TonicAlignedChroma() if pitch_classes else None

    def forward(self, window: Tensor) -> Tensor:
        """Statistics [B, sizes.total] of a window [B, L, embedding]."""
        channels = self.channels
        maxima, means = window[:, :, :channels], window[:, :, channels : 2 * channels]
        parts = [means.mean(1), maxima.mean(1), maxima.amax(1)]
        end = 2 * channels + self.pitch_classes
        if self.mode is not None and self.degrees is not None:
            chroma = window[:, :, 2 * channels : end]
            parts += [self.mode(chroma), self.degrees(chroma)]
        start, end = end, end + self.averaged
        parts.append(window[:, :, start:end].mean(1))
        if self.density is not None:
            parts.append(self.density(window[:, :, end:]))
        return torch.cat(parts, dim=1)


def power_of(level: Tensor) -> Tensor:
    """Power of log10(1 + power)."""
    return torch.pow(10.0, level) - 1


def statistic_sizes(
    channels: int, pitch_classes: int, bands: int, tags: int, peaks: bool
) -> StatisticSizes:
    """Sizes of the statistics of windows, see `WindowStatistics`."""
    keys = len(KEY_PROFILES) if pitch_classes else 0
    return StatisticSizes(3 * channels, 3 * keys, 6 * keys, bands, tags, int(peaks))


def standardise(x: Tensor) -> Tensor:
    """Mean 0 and standard deviation 1 over the last axis; what is all the same gives 0."""
    x = x - x.mean(-1, keepdim=True)
    return x / (x.pow(2).mean(-1, keepdim=True) + _TINY).sqrt()
