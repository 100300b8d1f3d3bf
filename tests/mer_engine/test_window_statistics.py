"""Statistics of windows: channels, mode, tonic-aligned chroma, spectrum, inverse crest factor."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mer_engine.window_statistics import (
    InverseCrestFactor,
    Mode,
    TonicAlignedChroma,
    WindowStatistics,
    standardise,
)
from torch import Tensor

# Pitch classes of C major and C minor (harmonic), weighted by how often each occurs.
MAJOR = torch.tensor([3.0, 0, 1, 0, 2, 1, 0, 3, 0, 1, 0, 1])
MINOR = torch.tensor([3.0, 0, 1, 2, 0, 1, 0, 3, 1, 0, 0, 1])


@pytest.mark.parametrize(("chroma", "sign"), [(MAJOR, 1), (MINOR, -1)])
@torch.inference_mode()
def test_the_mode_separates_major_from_minor_in_every_key(chroma: Tensor, sign: int) -> None:
    mode = Mode()
    reference = mode(chroma.expand(1, 6, 12))
    fits, differences = reference[0, :8].unflatten(0, (4, 2)), reference[0, 8:]
    # Pairs (major, minor) for both kinds of profiles: of the window, then of its steps.
    assert torch.allclose(differences, fits[:, 0] - fits[:, 1])
    assert (sign * differences > 0.05).all()
    assert fits.max() <= 1 + 1e-5
    for semitones in range(1, 12):
        rotated = mode(chroma.roll(semitones).expand(1, 6, 12))
        assert torch.allclose(rotated, reference, atol=1e-5)
    assert torch.allclose(mode(0.1 * chroma.expand(1, 6, 12)), reference, atol=1e-3)


@torch.inference_mode()
def test_a_profile_fits_itself_and_silence_fits_nothing() -> None:
    mode = Mode()
    assert not list(mode.parameters())
    for number in range(4):
        own = mode.keys.keys[:, number * 12 + 7]
        fits = mode(own.expand(1, 3, 12))[0, :4]
        assert fits[number] == pytest.approx(1, abs=1e-3)
        assert fits.max() <= 1 + 1e-5
    assert not mode(torch.zeros(1, 3, 12)).any()


@pytest.mark.parametrize(("chroma", "kind"), [(MAJOR, 0), (MINOR, 1)])
@torch.inference_mode()
def test_chroma_is_aligned_to_the_tonic_of_any_key(chroma: Tensor, kind: int) -> None:
    aligned = TonicAlignedChroma()
    expected = standardise(chroma)
    for semitones in range(12):
        found = aligned(chroma.roll(semitones).expand(1, 4, 12)).unflatten(1, (2, 12))[0]
        assert torch.allclose(found[kind], expected, atol=1e-4)


@torch.inference_mode()
def test_silence_has_no_aligned_chroma() -> None:
    assert not TonicAlignedChroma()(torch.zeros(2, 3, 12)).any()


@torch.inference_mode()
def test_every_kind_of_statistic_has_its_slice() -> None:
    channels = 5
    window = torch.rand(2, 9, 2 * channels + 12 + 7 + 3 + 2)
    module = WindowStatistics(channels, 12, 7, 3, peaks=True)
    row = module(window)
    assert module.sizes == (15, 12, 24, 7, 3, 1)
    assert row.shape == (2, module.sizes.total)
    found = {k: row[:, s] for k, s in zip(module.sizes._fields, module.sizes.slices(), strict=True)}
    maxima, means = window[:, :, :channels], window[:, :, channels : 2 * channels]
    expected = torch.cat([means.mean(1), maxima.mean(1), maxima.amax(1)], 1)
    chroma = window[:, :, 10:22]
    assert torch.allclose(found["channels"], expected)
    assert torch.allclose(found["mode"], Mode()(chroma))
    assert torch.allclose(found["tonic_chroma"], TonicAlignedChroma()(chroma))
    assert torch.allclose(found["spectrum"], window[:, :, 22:29].mean(1))
    assert torch.allclose(found["tags"], window[:, :, 29:32].mean(1))
    assert torch.allclose(found["inverse_crest"], InverseCrestFactor()(window[:, :, 32:]))


def inverse_crest(mean: Tensor, peak: Tensor) -> float:
    """Return the inverse crest factor of a window, from mean and peak power of each step."""
    levels = torch.stack([torch.log10(1 + mean), torch.log10(1 + peak)], dim=2)
    return float(InverseCrestFactor()(levels).item())


@torch.inference_mode()
def test_the_inverse_crest_factor_is_mean_power_over_peak_power_at_every_gain() -> None:
    mean = torch.tensor([[100.0, 300.0, 200.0]])
    peak = torch.tensor([[1700.0, 2000.0, 1800.0]])
    for gain in (0.01, 0.3, 1.0, 10.0):
        assert inverse_crest(gain * mean, gain * peak) == pytest.approx(-1.0, abs=0.001)
    assert inverse_crest(0 * mean, 0 * peak) == 0.0


@pytest.mark.parametrize("where", [[0], [3], [5], [2, 3]])
@torch.inference_mode()
def test_a_knock_hardly_changes_the_inverse_crest_factor(where: list[int]) -> None:
    mean = torch.full((1, 6), 200.0)
    peak = torch.tensor([[1800.0, 2000.0, 1750.0, 1900.0, 1850.0, 1700.0]])
    knocked = peak.clone()
    knocked[0, where] *= 100  # 20 dB; in two steps where it falls on their border
    assert inverse_crest(mean, peak) == pytest.approx(-1.0, abs=0.001)
    assert inverse_crest(mean, knocked) == pytest.approx(-1.0, abs=0.1)  # 1 dB
    # Peaks in three steps are music, such as drums.
    knocked[0, [1, 4, 5]] *= 100
    assert inverse_crest(mean, knocked) < -2.5


@torch.inference_mode()
def test_the_inverse_crest_factor_of_short_windows() -> None:
    one = torch.tensor([[200.0]])
    assert inverse_crest(one, 10 * one) == pytest.approx(-1.0, abs=0.005)
    two = torch.tensor([[200.0, 200.0]])
    for peak in ([2000.0, 1e5], [1e5, 2000.0]):
        found = inverse_crest(two, torch.tensor([peak]))
        assert found == pytest.approx(np.log10(200 / 2500), abs=0.005)


@torch.inference_mode()
def test_without_pitch_classes_there_is_neither_mode_nor_aligned_chroma() -> None:
    without = WindowStatistics(5, 0, 7, 0, peaks=False)
    assert without.sizes == (15, 0, 0, 7, 0, 0)
    assert without(torch.rand(1, 3, 17)).shape == (1, 22)
