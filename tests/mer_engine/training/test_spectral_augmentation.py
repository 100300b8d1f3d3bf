"""Spectral augmentation in the mel domain."""

from __future__ import annotations

import torch
from mer_engine.training.spectral_augmentation import SpectralAugmentation, augment_spectra

UNCHANGED = SpectralAugmentation(gain_db=0, tilt_db=0, wave_db=0, noise_share=0, mix_share=0)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    frames = torch.log10(1 + 1e4 * torch.rand(4, 10, 96, generator=generator))
    return frames, torch.linspace(-0.8, 0.8, 4).reshape(4, 1)


def test_without_strength_nothing_changes() -> None:
    frames, labels = batch()
    same, same_labels = augment_spectra(frames, labels, UNCHANGED, torch.Generator())
    assert torch.allclose(same, frames, atol=1e-5)
    assert torch.equal(same_labels, labels)


def test_gain_multiplies_the_power_of_a_clip() -> None:
    frames, labels = batch()
    settings = SpectralAugmentation(gain_db=10, tilt_db=0, wave_db=0, noise_share=0, mix_share=0)
    louder, _ = augment_spectra(frames, labels, settings, torch.Generator().manual_seed(0))
    decibels = 10 * torch.log10((10**louder - 1) / (10**frames - 1))
    assert torch.allclose(decibels, decibels[:, :1, :1].expand_as(decibels), atol=0.05)
    assert decibels.abs().max() <= 10.1
    assert decibels[:, 0, 0].std() > 1


def test_labels_are_mixed_like_the_music_and_unknown_ones_do_not_spread() -> None:
    frames, labels = batch()
    labels[1] = float("nan")
    settings = SpectralAugmentation(gain_db=0, tilt_db=0, wave_db=0, noise_share=0, mix_share=1)
    mixed, mixed_labels = augment_spectra(
        frames, labels, settings, torch.Generator().manual_seed(1)
    )
    assert not torch.allclose(mixed, frames, atol=1e-3)
    assert torch.equal(mixed_labels.isnan(), labels.isnan())
    assert not torch.equal(mixed_labels[~labels.isnan()], labels[~labels.isnan()])


def test_silence_stays_silence_and_the_result_depends_on_the_seed() -> None:
    frames, labels = batch()
    frames[:, :3] = 0
    settings = SpectralAugmentation(noise_share=0, mix_share=0)
    one, _ = augment_spectra(frames, labels, settings, torch.Generator().manual_seed(5))
    two, _ = augment_spectra(frames, labels, settings, torch.Generator().manual_seed(5))
    assert torch.equal(one, two)
    assert (one[:, :3] == 0).all()
    assert torch.isfinite(one).all()
