"""Two plain measurements of the sound, to compare the movement of estimates with."""

from __future__ import annotations

import numpy as np
import soxr
from mer_engine.datasets.types import STEP_S
from mer_engine.frontend import FrontEndConfig, features
from numpy.typing import NDArray

# Seconds of audio before each step that are measured.
WINDOW_S = 3.0
_QUIETEST = 1e-12  # power, full scale 1
_CONFIG = FrontEndConfig(chroma_fft_size=0, peaks=False)


def level_db(samples: NDArray[np.float32], sample_rate_hz: int, steps: int) -> NDArray[np.float64]:
    """Measure the RMS level of the last three seconds at the end of each step of half a second.

    Args:
        samples: float32 [n] or [n, channels], full scale 1.0.
        sample_rate_hz: sample rate.
        steps: number of steps.

    Returns:
        float64 [steps], dB relative to full scale, at least -120; NaN after the end of the audio.
    """
    power = _mono(samples).astype(np.float64) ** 2
    sums = np.concatenate(([0.0], np.cumsum(power)))
    result = np.full(steps, np.nan)
    for step, (first, last) in enumerate(_windows(steps, sample_rate_hz)):
        if last < len(sums):
            mean = (sums[last] - sums[first]) / (last - first)
            result[step] = 10 * np.log10(max(mean, _QUIETEST))
    return result


def spectral_centroid(
    samples: NDArray[np.float32], sample_rate_hz: int, steps: int
) -> NDArray[np.float64]:
    """Measure the spectral centroid of the last three seconds at the end of each step.

    Args:
        samples, sample_rate_hz, steps: as for `level_db`.

    Returns:
        float64 [steps], the mean number of the mel band, from 0, weighted with the power; 0 for
        silence; NaN after the end of the audio.
    """
    mono = _mono(samples)
    if sample_rate_hz != _CONFIG.sample_rate_hz:
        mono = soxr.resample(mono, sample_rate_hz, _CONFIG.sample_rate_hz)
    frames = features(np.asarray(mono, np.float32), _CONFIG)
    power = 10.0 ** frames.astype(np.float64) - 1
    bands = np.arange(power.shape[1])
    result = np.full(steps, np.nan)
    for step, (first, last) in enumerate(_windows(steps, _CONFIG.frames_per_second)):
        if last <= len(frames):
            spectrum = power[first:last].sum(axis=0)
            result[step] = bands @ spectrum / max(spectrum.sum(), _QUIETEST)
    return result


def _mono(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    return samples if samples.ndim == 1 else np.asarray(samples.mean(axis=1), np.float32)


def _windows(steps: int, rate: int) -> list[tuple[int, int]]:
    """Return the first index and the index after the last one of the window of each step."""
    ends = [int(step * STEP_S * rate) for step in range(1, steps + 1)]
    return [(max(0, end - int(WINDOW_S * rate)), end) for end in ends]
