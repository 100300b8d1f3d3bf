"""Augment mel spectra in batches: gain, slope, ripples, mixing and noise."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class SpectralAugmentation:
    """Strength of the augmentation.

    Attributes:
        gain_db: largest change of the level, either way, decibels.
        tilt_db: largest change of the slope from the lowest to the highest band, decibels.
        wave_db: largest ripple over the spectrum, as of rooms and loudspeakers, decibels.
        noise_share: share of examples with added noise.
        mix_share: share of examples that are mixed with another.
    """

    gain_db: float = 15.0
    tilt_db: float = 3.0
    wave_db: float = 2.0
    noise_share: float = 0.1
    mix_share: float = 0.15


def augment_spectra(
    frames: Tensor, labels: Tensor, settings: SpectralAugmentation, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Augment a batch.

    Args:
        frames: float32 [B, T, bands], log10(1 + scaled power).
        labels: float32 [B, ...], mixed like the music; NaN where unknown.
        settings: strength.
        generator: random number generator, on the CPU.

    Returns:
        The augmented frames and labels; the arguments are not changed.
    """
    batch, _, bands = frames.shape

    def uniform(*shape: int) -> Tensor:
        # Drawn on the CPU, so that a seed gives the same numbers on every device.
        return torch.rand(*shape, generator=generator).to(frames.device)

    def signed(*shape: int) -> Tensor:
        return 2 * uniform(*shape) - 1

    power = torch.pow(10.0, frames) - 1
    position = torch.linspace(-0.5, 0.5, bands, device=frames.device)
    decibels = settings.gain_db * signed(batch, 1) + settings.tilt_db * signed(batch, 1) * (
        2 * position
    )
    for _ in range(2):
        turns = 0.5 + 2.5 * uniform(batch, 1)
        phase = uniform(batch, 1)
        decibels = decibels + 0.5 * settings.wave_db * signed(batch, 1) * torch.sin(
            2 * torch.pi * (turns * position + phase)
        )
    power = power * torch.pow(10.0, decibels / 10).unsqueeze(1)

    share = torch.where(uniform(batch) < settings.mix_share, 0.5 * uniform(batch), 0.0)
    partner = torch.randperm(batch, generator=generator)
    weight = share.view(batch, 1, 1)
    power = (1 - weight) * power + weight * power[partner]
    weight = share.view(batch, *[1] * (labels.dim() - 1))
    # An unknown label of the partner leaves the label unchanged.
    other = torch.where(labels[partner].isnan(), labels, labels[partner])
    labels = (1 - weight) * labels + weight * other

    noisy = (uniform(batch, 1, 1) < settings.noise_share).float()
    loudness = power.mean(dim=(1, 2), keepdim=True)
    level = torch.pow(10.0, -1.0 - 3.0 * uniform(batch, 1, 1))
    power = power + noisy * level * loudness * (0.5 + uniform(*frames.shape))
    return torch.log10(1 + power), labels
