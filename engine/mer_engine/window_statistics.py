"""Statistics of a window of embeddings. They do not depend on the order of the steps."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from mer_engine.chroma import PITCH_CLASSES

# Key profiles over the twelve pitch classes, from the tonic upwards. Rows: major and minor by how
# well each note fits (Krumhansl and Kessler 1982), then major and minor by how often each note is
# played (Albrecht and Shanahan 2013).
KEY_PROFILES = (
    (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
    (0.238, 0.006, 0.111, 0.006, 0.137, 0.094, 0.016, 0.214, 0.009, 0.080, 0.008, 0.081),
    (0.220, 0.006, 0.104, 0.123, 0.019, 0.103, 0.012, 0.214, 0.062, 0.022, 0.061, 0.052),
)
# Standardised values are clipped to this many standard deviations.
CLIP = 6.0
_EPSILON = 1e-6
# The peak power is limited to this multiple (1 dB) of the third highest step's peak power. In music
# the highest peak is mostly less than 1 dB above the third; a knock affects only one or two steps.
_PEAK_LIMIT = 1.25
_PEAK_RANK = 3
# Scaled power added before each logarithm, so that rounding errors do not decide in silence.
_POWER_FLOOR = 1e-3


class StatisticSizes(NamedTuple):
    """Number of values of each kind in the statistics of a window, in order.

    Attributes:
        channels: means of the steps' means, means of the steps' maxima, maxima of those maxima.
        mode: fit of the best major and minor keys, see `Mode`; 0 without pitch classes.
        tonic_chroma: strength of each scale degree, see `TonicAlignedChroma`; 0 without pitch
            classes.
        spectrum: mean of each mel band.
        tags: mean logit of each tag; 0 without a tagger.
        inverse_crest: ratio of mean power to peak power, see `InverseCrestFactor`; 0 without peaks.
    """

    channels: int
    mode: int
    tonic_chroma: int
    spectrum: int
    tags: int
    inverse_crest: int

    @property
    def total(self) -> int:
        """Number of values in a row of statistics."""
        return sum(self)

    def slices(self) -> tuple[slice, ...]:
        """Return the slice of each kind within a row of statistics."""
        ends = [sum(self[: n + 1]) for n in range(len(self))]
        return tuple(slice(end - size, end) for end, size in zip(ends, self, strict=True))


class Keys(nn.Module):
    """Correlation of pitch classes with each of the 24 keys, for both kinds of profiles."""

    keys: Tensor

    def __init__(self) -> None:
        super().__init__()
        profiles = torch.tensor(KEY_PROFILES)
        profiles = profiles - profiles.mean(1, keepdim=True)
        profiles = profiles / profiles.pow(2).mean(1, keepdim=True).sqrt() / PITCH_CLASSES
        tonics = torch.stack([profiles.roll(tonic, 1) for tonic in range(PITCH_CLASSES)], dim=1)
        self.register_buffer("keys", tonics.flatten(0, 1).T.contiguous())  # [12, profiles * 12]

    def forward(self, chroma: Tensor) -> Tensor:
        """Return correlations [..., profiles, 12 tonics].

        Args:
            chroma: standardised pitch classes [..., 12].
        """
        return (chroma @ self.keys).unflatten(-1, (-1, PITCH_CLASSES))


class Mode(nn.Module):
    """Fit of the best major key and of the best minor key, over all tonics."""

    def __init__(self) -> None:
        super().__init__()
        self.keys = Keys()

    def forward(self, chroma: Tensor) -> Tensor:
        """Compute the fit of the best keys.

        Args:
            chroma: pitch classes [B, L, 12].

        Returns:
            [B, 12]: for each profile the fit of the window's mean and the mean fit of its steps,
            then the differences of major and minor.
        """
        window = self.keys(standardise(chroma.mean(1))).amax(-1)
        steps = self.keys(standardise(chroma)).amax(-1).mean(1)
        fits = torch.cat([window, steps], dim=1).unflatten(1, (-1, 2))
        return torch.cat([fits.flatten(1), fits[:, :, 0] - fits[:, :, 1]], dim=1)


class TonicAlignedChroma(nn.Module):
    """Pitch classes rotated to the tonic of the best major key and of the best minor key."""

    rolls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.keys = Keys()
        index = torch.arange(PITCH_CLASSES)
        # rolls[tonic, degree] is the pitch class of a scale degree.
        self.register_buffer("rolls", (index[:, None] + index) % PITCH_CLASSES)

    def forward(self, chroma: Tensor) -> Tensor:
        """Rotate the window's mean pitch classes.

        Args:
            chroma: pitch classes [B, L, 12].

        Returns:
            [B, 24], standardised over the twelve: from the major tonic, then from the minor tonic.
        """
        mean = standardise(chroma.mean(1))
        fits = self.keys(mean)[:, :2]
        tonic = (fits >= fits.amax(-1, keepdim=True)).to(fits.dtype)  # [B, 2, 12]
        tonic = tonic / tonic.sum(-1, keepdim=True)
        return (tonic @ mean[:, self.rolls]).flatten(1)


class InverseCrestFactor(nn.Module):
    """Ratio of mean power to peak power, in decades: the inverse of the crest factor.

    High for a dense, limited mix and low for a solo guitar. Gain (without clipping) does not change
    it, and a single knock hardly does.
    """

    def forward(self, level: Tensor) -> Tensor:
        """Compute the inverse crest factor.

        Args:
            level: loudness and peak of each step, [B, L, 2], log10(1 + power).

        Returns:
            [B, 1], decades, at most about 0.
        """
        loudness, peak = level.clamp(min=0).unbind(2)
        mean = torch.log10(_POWER_FLOOR + power_of(loudness).mean(1, keepdim=True))
        peaks = power_of(peak)
        # Windows of fewer than three steps are padded with their lowest peak.
        lowest = peaks.amin(1, keepdim=True).expand(-1, _PEAK_RANK - 1)
        highest = torch.topk(torch.cat([peaks, lowest], dim=1), _PEAK_RANK, dim=1).values
        loudest = torch.minimum(highest[:, :1], _PEAK_LIMIT * highest[:, -1:])
        return mean - torch.log10(_POWER_FLOOR + loudest)


class WindowStatistics(nn.Module):
    """Computes the statistics of a window of embeddings.

    The arguments describe the layout of an embedding, in order.

    Args:
        channels: pooled channels; an embedding begins with their maxima, then their means.
        pitch_classes: pitch classes; 0 or 12.
        bands: mel bands of the spectrum.
        tags: logits of a tagger; 0 for none.
        peaks: whether loudness and peak follow. What comes after them is ignored.
    """

    def __init__(
        self, channels: int, pitch_classes: int, bands: int, tags: int, peaks: bool
    ) -> None:
        super().__init__()
        self.channels = channels
        self.pitch_classes = pitch_classes
        self.averaged = bands + tags
        self.sizes = statistic_sizes(channels, pitch_classes, bands, tags, peaks)
        self.inverse_crest = InverseCrestFactor() if peaks else None
        self.mode = Mode() if pitch_classes else None
        self.tonic_chroma = TonicAlignedChroma() if pitch_classes else None

    def forward(self, window: Tensor) -> Tensor:
        """Return statistics [B, sizes.total] of a window [B, L, embedding]."""
        channels = self.channels
        maxima, means = window[:, :, :channels], window[:, :, channels : 2 * channels]
        parts = [means.mean(1), maxima.mean(1), maxima.amax(1)]
        end = 2 * channels + self.pitch_classes
        if self.mode is not None and self.tonic_chroma is not None:
            chroma = window[:, :, 2 * channels : end]
            parts += [self.mode(chroma), self.tonic_chroma(chroma)]
        start, end = end, end + self.averaged
        parts.append(window[:, :, start:end].mean(1))
        if self.inverse_crest is not None:
            parts.append(self.inverse_crest(window[:, :, end : end + 2]))
        return torch.cat(parts, dim=1)


def power_of(level: Tensor) -> Tensor:
    """Return the power of a level log10(1 + power)."""
    return torch.pow(10.0, level) - 1


def statistic_sizes(
    channels: int, pitch_classes: int, bands: int, tags: int, peaks: bool
) -> StatisticSizes:
    """Return the sizes of the statistics; arguments as in `WindowStatistics`."""
    keys = len(KEY_PROFILES) if pitch_classes else 0
    return StatisticSizes(3 * channels, 3 * keys, 6 * keys, bands, tags, int(peaks))


def standardise(x: Tensor) -> Tensor:
    """Scale the last axis to mean 0 and standard deviation 1; a constant axis gives 0."""
    x = x - x.mean(-1, keepdim=True)
    return x / (x.pow(2).mean(-1, keepdim=True) + _EPSILON).sqrt()
