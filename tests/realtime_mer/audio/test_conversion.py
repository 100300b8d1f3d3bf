"""Conversion of an input that came back in another format."""

from __future__ import annotations

import numpy as np
import pytest
from support import blocks

from realtime_mer.audio.conversion import Conversion


def tone(seconds: float, rate_hz: int, channels: int) -> np.ndarray:
    phase = 2 * np.pi * 440.0 * np.arange(round(seconds * rate_hz)) / rate_hz
    return np.repeat(0.5 * np.sin(phase)[:, None], channels, axis=1).astype(np.float32)


@pytest.mark.parametrize("old", [(44_100, 2), (48_000, 1), (16_000, 6)])
@pytest.mark.parametrize("new", [(48_000, 1), (44_100, 2), (8_000, 4), (96_000, 2)])
def test_time_and_level_stay(new: tuple[int, int], old: tuple[int, int]) -> None:
    conversion = Conversion(*new, to_rate_hz=old[0], to_channels=old[1])
    parts = [conversion.convert(part) for part in blocks(tone(2.0, *new), (480, 37))]
    result = np.concatenate(parts)
    assert result.dtype == np.float32
    assert result.shape == (pytest.approx(2.0 * old[0], abs=0.02 * old[0]), old[1])
    expected = tone(2.0, *old)[: len(result)]
    middle = slice(old[0] // 10, -old[0] // 10)
    np.testing.assert_allclose(result[middle], expected[middle], atol=0.01)


def test_values_that_cannot_be_samples_become_silence() -> None:
    conversion = Conversion(48_000, 2, to_rate_hz=48_000, to_channels=1)
    samples = tone(0.1, 48_000, 2)
    samples[100] = np.nan
    result = conversion.convert(samples)
    assert result[100, 0] == 0.0
    assert np.isfinite(result).all()
