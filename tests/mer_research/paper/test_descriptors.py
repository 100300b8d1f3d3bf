"""Descriptors of synthetic signals with known values."""

from __future__ import annotations

import numpy as np
import pytest
from mer_research.paper.descriptors import (
    DESCRIPTORS,
    FUNCTIONALS,
    NAMES,
    SAMPLE_RATE_HZ,
    compute_descriptors,
    cumulative_functionals,
    step_functionals,
    with_deltas,
)
from numpy.typing import NDArray


def tone(hertz: float, seconds: float = 1.0, amplitude: float = 0.3) -> NDArray[np.float32]:
    time_s = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return (amplitude * np.sin(2 * np.pi * hertz * time_s)).astype(np.float32)


def voice(hertz: float, seconds: float = 1.0) -> NDArray[np.float32]:
    return np.sum([tone(hertz * k, seconds, 0.3 / k) for k in range(1, 8)], axis=0, dtype="f4")


def noise(seconds: float = 1.0) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    return (0.1 * rng.standard_normal(round(seconds * SAMPLE_RATE_HZ))).astype(np.float32)


def median(samples: NDArray[np.float32], name: str) -> float:
    """Return the median of a descriptor after the first tenth of a second."""
    return float(np.median(compute_descriptors(samples)[10:, NAMES.index(name)]))


def test_all_sixty_five_descriptors_have_a_definition() -> None:
    assert len(NAMES) == len(set(NAMES)) == 65
    assert all(text for _, text in DESCRIPTORS)
    assert len(FUNCTIONALS) == len(set(FUNCTIONALS)) == 260
    assert compute_descriptors(noise(0.5)).shape == (50, 65)
    assert step_functionals(compute_descriptors(noise(1.3))).shape == (2, 260)
    assert compute_descriptors(noise(0.5)[:100]).shape == (0, 65)


@pytest.mark.parametrize("hertz", [70.0, 220.0, 441.3, 880.0])
def test_the_pitch_of_a_tone_is_its_frequency(hertz: float) -> None:
    for samples in (tone(hertz), voice(hertz)):
        assert median(samples, "f0") == pytest.approx(hertz, rel=0.01)
        assert median(samples, "voicing") > 0.9
        assert median(samples, "jitter") < 0.005
    assert median(voice(hertz), "log_hnr") > 10


def test_noise_has_no_pitch_and_high_entropy() -> None:
    assert median(noise(), "f0") == 0
    assert median(noise(), "voicing") < 0.45
    assert median(noise(), "entropy") > 6 > 3 > median(tone(440), "entropy")
    assert median(noise(), "harmonicity") < median(tone(440), "harmonicity")


def test_level_and_zero_crossings_of_a_tone() -> None:
    # Ten periods per window.
    assert median(tone(400), "rms") == pytest.approx(0.3 / 2**0.5, rel=0.02)
    assert median(tone(400), "zero_crossing_rate") == pytest.approx(0.05, rel=0.06)
    louder, softer = (median(tone(400, amplitude=a), "loudness") for a in (0.4, 0.05))
    assert louder == pytest.approx(softer * 8 ** (2 / 3), rel=0.02)


def test_spectral_shape_of_a_tone() -> None:
    samples = tone(3000)
    for name in ("centroid", "rolloff_25", "rolloff_90"):
        assert median(samples, name) == pytest.approx(3000, abs=60)
    assert median(tone(6000), "sharpness") > 2 * median(tone(300), "sharpness")
    assert median(tone(440), "energy_250_650") > 0.2 > median(tone(440), "energy_1000_4000")
    assert median(tone(300), "slope") < median(tone(6000), "slope")
    # The ninth of the 26 mel bands contains 1 kHz. RASTA removes the steady tones in the others.
    steady = np.sum([tone(200 * k, amplitude=0.003) for k in range(1, 40)], axis=0)
    modulated = tone(1000) * (1 + 0.5 * tone(4, amplitude=1.0)) + steady
    bands = compute_descriptors(modulated.astype("f4"))[
        20:, NAMES.index("band_01") : NAMES.index("band_26") + 1
    ]
    assert int(np.argmax(bands.std(axis=0))) == pytest.approx(8, abs=1)


def test_flux_peaks_at_a_change() -> None:
    samples = np.concatenate([tone(500, 0.5), tone(2000, 0.5)])
    flux = compute_descriptors(samples)[:, NAMES.index("flux")]
    assert 49 <= int(np.argmax(flux[5:])) + 5 <= 53
    assert flux[20:45].max() < 0.1 * flux.max()


def test_silence_gives_finite_values() -> None:
    assert np.isfinite(compute_descriptors(np.zeros(8000, dtype=np.float32))).all()


def test_descriptors_are_causal() -> None:
    samples = voice(220) + noise()
    part = compute_descriptors(samples[:8000])
    np.testing.assert_array_equal(compute_descriptors(samples)[:50], part)
    np.testing.assert_array_equal(with_deltas(compute_descriptors(samples))[:50], with_deltas(part))
    np.testing.assert_allclose(
        cumulative_functionals(compute_descriptors(samples))[0],
        cumulative_functionals(part)[0],
        rtol=1e-6,
        atol=1e-6,
    )


def test_deltas_are_slopes() -> None:
    ramp = np.repeat(np.arange(20, dtype=np.float32)[:, None] * 3, 65, axis=1)
    np.testing.assert_allclose(with_deltas(ramp)[4:, 65:], 3.0, rtol=1e-6)


def test_functionals_match_numpy() -> None:
    descriptors = compute_descriptors(voice(220, 2.0) + noise(2.0))
    everything = with_deltas(descriptors)
    expected = np.concatenate([everything[50:100].mean(axis=0), everything[50:100].std(axis=0)])
    np.testing.assert_allclose(step_functionals(descriptors)[1], expected, rtol=1e-5)
    expected = np.concatenate([everything[:150].mean(axis=0), everything[:150].std(axis=0)])
    np.testing.assert_allclose(
        cumulative_functionals(descriptors)[2], expected, rtol=1e-3, atol=1e-4
    )
