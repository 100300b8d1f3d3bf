"""The level and the spectral centroid of known sounds."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from realtime_mer.evaluation.meters import level_db, spectral_centroid


def sine(hertz: float, seconds: float, rate: int, amplitude: float = 0.5) -> NDArray[np.float32]:
    time_s = np.arange(round(seconds * rate)) / rate
    return (amplitude * np.sin(2 * np.pi * hertz * time_s)).astype(np.float32)


def test_the_level_is_that_of_the_last_three_seconds() -> None:
    sound = np.concatenate([sine(440, 4, 8000), sine(440, 4, 8000, 0.05)])
    level = level_db(sound, 8000, 18)
    # A sine of amplitude 0.5 has 0.125 of the full power, a tenth of it 20 dB less.
    assert level[7] == pytest.approx(10 * np.log10(0.125), abs=0.01)
    assert level[10] == pytest.approx(10 * np.log10(0.125 / 2 * 1.01), abs=0.01)
    assert level[13] == level[15] == pytest.approx(10 * np.log10(0.125) - 20, abs=0.01)
    assert np.isnan(level[16:]).all()
    assert level_db(np.zeros((8000, 2), np.float32), 8000, 2).tolist() == [-120.0, -120.0]


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_the_centroid_follows_the_pitch(rate: int) -> None:
    sound = np.concatenate([sine(500, 4, rate), sine(2000, 4, rate)])
    stereo = np.stack([sound, sound], axis=1)
    centroid = spectral_centroid(stereo, rate, 16)
    # 96 bands in equal steps of Slaney's scale: 500 Hz is 7.5 mel, 2000 Hz is 25.1, 8 kHz 45.2.
    assert centroid[7] == pytest.approx(7.5 / 45.2 * 97 - 1, abs=1.0)
    assert centroid[15] == pytest.approx(25.1 / 45.2 * 97 - 1, abs=1.0)
    assert centroid[7] < centroid[9] < centroid[15]
    assert spectral_centroid(np.zeros(16_000, np.float32), 16_000, 3)[:2].tolist() == [0.0, 0.0]
    assert np.isnan(spectral_centroid(np.zeros(16_000, np.float32), 16_000, 3)[2])
