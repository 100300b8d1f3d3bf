"""Vary music without changing how it feels: in the mel domain, on whole batches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How much is varied.

    Attributes:
        gain_db: the level changes by up to this, either way, decibels.
        tilt_db: the spectrum's slope from the lowest to the highest band changes by up to this.
        wave_db: slow ripples over the spectrum of up to this height (rooms, loudspeakers).
        noise_share: share of examples that get noise.
        mix_share: share of examples that are mixed with another.
    """

    gain_db: float = 15.0
    tilt_db: float = 3.0
    wave_db: float = 2.0
    noise_share: float = 0.1
    mix_share: float = 0.15


def augment(
    frames: Tensor, labels: Tensor, settings: Augmentation, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Vary a batch.

    Args:
        frames: float32 [B, T, bands], log10(1 + scaled power).
        labels: float32 [B, ...], mixed where the music is mixed; NaN where there is none.
        settings: how much.
        generator: source of chance.

    Returns:
        Both, varied; the arguments stay as they are.
    """
    batch, _, bands = frames.shape

    def uniform(*shape: int) -> Tensor:
        # Drawn on the processor on every device, so that a seed means the same everywhere.
        return torch.rand(*shape, generator=generator).to(frames.device)

    def either_way(*shape: int) -> Tensor:
        return 2 * uniform(*shape) - 1

    power = torch.pow(10.0, frames) - 1
    place = torch.linspace(-0.5, 0.5, bands, device=frames.device)
    decibels = settings.gain_db * either_way(batch, 1) + settings.tilt_db * either_way(batch, 1) * (
        2 * place
    )
    for _ in range(2):
        turns = 0.5 + 2.5 * uniform(batch, 1)
        phase = uniform(batch, 1)
        decibels = decibels + 0.5 * settings.wave_db * either_way(batch, 1) * torch.sin(
            2 * torch.pi * (turns * place + phase)
        )
    power = power * torch.pow(10.0, decibels / 10).unsqueeze(1)

    share = torch.where(uniform(batch) < settings.mix_share, 0.5 * uniform(batch), 0.0)
    partner = torch.randperm(batch, generator=generator)
    weight = share.view(batch, 1, 1)
    power = (1 - weight) * power + weight * power[partner]
    weight = share.view(batch, *[1] * (labels.dim() - 1))
    # A song without labels must not take away those of its partner.
    other = torch.where(labels[partner].isnan(), labels, labels[partner])
    labels = (1 - weight) * labels + weight * other

    noisy = (uniform(batch, 1, 1) < settings.noise_share).float()
    loudness = power.mean(dim=(1, 2), keepdim=True)
    level = torch.pow(10.0, -1.0 - 3.0 * uniform(batch, 1, 1))
    power = power + noisy * level * loudness * (0.5 + uniform(*frames.shape))
    return torch.log10(1 + power), labels
