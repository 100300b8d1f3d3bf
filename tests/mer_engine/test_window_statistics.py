"""Statistics of windows: pooled channels, mode, degrees of the scale, spectrum, density."""

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

# Pitch classes of C major and C minor (harmonic), as often as each is heard.
MAJOR = torch.tensor([3.0, 0, 1, 0, 2, 1, 0, 3, 0, 1, 0, 1])
MINOR = torch.tensor([3.0, 0, 1, 2, 0, 1, 0, 3, 1, 0, 0, 1])


@pytest.mark.parametrize(("chroma", "wins"), [(MAJOR, 1), (MINOR, -1)])
@torch.inference_mode()
def test_the_mode_tells_major_from_minor_in_every_key(chroma: Tensor, wins: int) -> None:
    mode = Mode()
    reference = mode(chroma.expand(1, 6, 12))
    fits, differences = reference[0, :8].unflatten(0, (4, 2)), reference[0, 8:]
    # Pairs (major, minor) of both kinds of profiles, of the window and of its steps.
    assert torch.allclose(differences, fits[:, 0] - fits[:, 1])
    assert (wins * differences > 0.05).all()
    assert fits.max() <= 1 + 1e-5
    for semitones in range(1, 12):
        moved = mode(chroma.roll(semitones).expand(1, 6, 12))
        assert torch.allclose(moved, reference, atol=1e-5)
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
def test_degrees_are_counted_from_the_tonic_of_any_key(chroma: Tensor, kind: int) -> None:
    degrees = TonicAlignedChroma()
    wanted = standardise(chroma)
    for semitones in range(12):
        told = degrees(chroma.roll(semitones).expand(1, 4, 12)).unflatten(1, (2, 12))[0]
        assert torch.allclose(told[kind], wanted, atol=1e-4)


@torch.inference_mode()
def test_silence_has_no_degrees() -> None:
    assert not TonicAlignedChroma()(torch.zeros(2, 3, 12)).any()


@torch.inference_mode()
def test_every_kind_of_statistic_has_its_place() -> None:
    channels = 5
    window = torch.rand(2, 9, 2 * channels + 12 + 7 + 3 + 2)
    whole = WindowStatistics(channels, 12, 7, 3, peaks=True)
    told = whole(window)
    assert whole.sizes == (15, 12, 24, 7, 3, 1)
    assert told.shape == (2, whole.sizes.total)
    found = {k: told[:, s] for k, s in zip(whole.sizes._fields, whole.sizes.slices(), strict=True)}
    maxima, means = window[:, :, :channels], window[:, :, channels : 2 * channels]
    expected = torch.cat([means.mean(1), maxima.mean(1), maxima.amax(1)], 1)
    chroma = window[:, :, 10:22]
    assert torch.allclose(found["channels"], expected)
    assert torch.allclose(found["mode"], Mode()(chroma))
    assert torch.allclose(found["tonic_chroma"], TonicAlignedChroma()(chroma))
    assert torch.allclose(found["spectrum"], window[:, :, 22:29].mean(1))
    assert torch.allclose(found["tags"], window[:, :, 29:32].mean(1))
    assert torch.allclose(found["inverse_crest"], InverseCrestFactor()(window[:, :, 32:]))


def density(mean: Tensor, peak: Tensor) -> float:
    """InverseCrestFactor of one window, of mean power and largest power of each step."""
    return InverseCrestFactor()(
        torch.stack([torch.log10(1 + mean), torch.log10(1 + peak)], dim=2)
    ).item()


@torch.inference_mode()
def test_density_is_mean_power_beside_the_largest_peak_at_every_gain() -> None:
    mean = torch.tensor([[100.0, 300.0, 200.0]])
    peak = torch.tensor([[1700.0, 2000.0, 1800.0]])
    for gain in (0.01, 0.3, 1.0, 10.0):
        assert density(gain * mean, gain * peak) == pytest.approx(-1.0, abs=0.001)
    assert density(0 * mean, 0 * peak) == 0.0


@pytest.mark.parametrize("where", [[0], [3], [5], [2, 3]])
@torch.inference_mode()
def test_a_knock_hardly_changes_density_wherever_it_falls(where: list[int]) -> None:
    mean = torch.full((1, 6), 200.0)
    peak = torch.tensor([[1800.0, 2000.0, 1750.0, 1900.0, 1850.0, 1700.0]])
    knocked = peak.clone()
    knocked[0, where] *= 100  # 20 dB; in two steps where it falls between them
    assert density(mean, peak) == pytest.approx(-1.0, abs=0.001)
    assert density(mean, knocked) == pytest.approx(-1.0, abs=0.1)  # 1 dB
    # What rises in three steps is music: drums, say.
    knocked[0, [1, 4, 5]] *= 100
    assert density(mean, knocked) < -2.5


@torch.inference_mode()
def test_density_of_short_windows() -> None:
    one = torch.tensor([[200.0]])
    assert density(one, 10 * one) == pytest.approx(-1.0, abs=0.005)
    two = torch.tensor([[200.0, 200.0]])
    for peak in ([2000.0, 1e5], [1e5, 2000.0]):
        assert density(two, torch.tensor([peak])) == pytest.approx(np.log10(200 / 2500), abs=0.005)


@torch.inference_mode()
def test_without_pitch_classes_there_is_neither_mode_nor_degree() -> None:
    without = WindowStatistics(5, 0, 7, 0, peaks=False)
    assert without.sizes == (15, 0, 0, 7, 0, 0)
    assert without(torch.rand(1, 3, 17)).shape == (1, 22)
