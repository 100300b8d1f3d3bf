"""Variations of music in the mel domain."""

from __future__ import annotations

import torch
from mer_engine.training.spectral_augmentation import Augmentation, augment

NOTHING = Augmentation(gain_db=0, tilt_db=0, wave_db=0, noise_share=0, mix_share=0)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    frames = torch.log10(1 + 1e4 * torch.rand(4, 10, 96, generator=generator))
    return frames, torch.linspace(-0.8, 0.8, 4).reshape(4, 1)


def test_nothing_changes_nothing() -> None:
    frames, labels = batch()
    same, same_labels = augment(frames, labels, NOTHING, torch.Generator())
    assert torch.allclose(same, frames, atol=1e-5)
    assert torch.equal(same_labels, labels)


def test_gain_multiplies_the_power_of_a_clip() -> None:
    frames, labels = batch()
    settings = Augmentation(gain_db=10, tilt_db=0, wave_db=0, noise_share=0, mix_share=0)
    louder, _ = augment(frames, labels, settings, torch.Generator().manual_seed(0))
    decibels = 10 * torch.log10((10**louder - 1) / (10**frames - 1))
    assert torch.allclose(decibels, decibels[:, :1, :1].expand_as(decibels), atol=0.05)
    assert decibels.abs().max() <= 10.1
    assert decibels[:, 0, 0].std() > 1


def test_mixed_music_has_mixed_labels_and_missing_ones_do_not_spread() -> None:
    frames, labels = batch()
    labels[1] = float("nan")
    settings = Augmentation(gain_db=0, tilt_db=0, wave_db=0, noise_share=0, mix_share=1)
    mixed, mixed_labels = augment(frames, labels, settings, torch.Generator().manual_seed(1))
    assert not torch.allclose(mixed, frames, atol=1e-3)
    assert torch.equal(mixed_labels.isnan(), labels.isnan())
    assert not torch.equal(mixed_labels[~labels.isnan()], labels[~labels.isnan()])


def test_digital_silence_stays_silence_and_the_seed_decides() -> None:
    frames, labels = batch()
    frames[:, :3] = 0
    settings = Augmentation(noise_share=0, mix_share=0)
    one, _ = augment(frames, labels, settings, torch.Generator().manual_seed(5))
    two, _ = augment(frames, labels, settings, torch.Generator().manual_seed(5))
    assert torch.equal(one, two)
    assert (one[:, :3] == 0).all()
    assert torch.isfinite(one).all()
