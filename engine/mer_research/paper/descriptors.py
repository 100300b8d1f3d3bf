"""Sixty-five low-level descriptors similar to openSMILE's ComParE set, in plain numpy.

The published data sets of music emotion have 260 features per half second: mean and standard
deviation of 65 descriptors and of their deltas. This module computes similar features from the
audio. They are not identical to openSMILE's; `DESCRIPTORS` defines each of them.

All descriptors are causal. Frame i ends at sample (i + 1) * HOP. The signal before the first sample
counts as silence.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000
HOP = 160  # 10 ms
SPECTRUM_WINDOW = 400  # 25 ms, Hamming
VOICE_WINDOW = 960  # 60 ms, Gaussian; two periods of the lowest pitch
STEP_FRAMES = 50  # frames in half a second
PITCH_HZ = (55.0, 1000.0)
VOICED = 0.45  # minimum periodicity of a voiced frame

_FFT = 512
_VOICE_FFT = 2048
_BANDS = 26
_CEPSTRA = 14
_ROLLOFFS = (0.25, 0.50, 0.75, 0.90)
_EPSILON = 1e-10

# Name and definition of each descriptor, in column order. M is the magnitude spectrum of a frame,
# P = M ** 2 its power, f the frequency of a bin in Hz.
DESCRIPTORS: tuple[tuple[str, str], ...] = (
    ("loudness", "sum over the 26 bands of the cube root of their weighted power"),
    ("loudness_rasta", "sum of the 26 bands after RASTA filtering (below)"),
    ("rms", "root mean square of the frame, full scale 1"),
    ("zero_crossing_rate", "sign changes per sample within the frame, 0 to 1"),
    *(
        (
            f"band_{band:02d}",
            f"mel band {band} of 26 up to 8 kHz: log power, RASTA filtered over time, exponential, "
            "weighted by equal loudness, cube root",
        )
        for band in range(1, _BANDS + 1)
    ),
    *(
        (
            f"mfcc_{number:02d}",
            f"cepstral coefficient {number} (DCT of the log power of the 26 mel bands)",
        )
        for number in range(1, _CEPSTRA + 1)
    ),
    ("energy_250_650", "share of the power between 250 and 650 Hz, times the rms of the frame"),
    ("energy_1000_4000", "share of the power between 1 and 4 kHz, times the rms of the frame"),
    *(
        (f"rolloff_{100 * share:.0f}", f"Hz below which {share:.0%} of the power lie")
        for share in _ROLLOFFS
    ),
    ("flux", "Euclidean change of M, scaled to unit sum, since the previous frame"),
    ("centroid", "mean of f weighted by P, Hz"),
    ("entropy", "entropy of P as a distribution over bins, in bits"),
    ("variance", "variance of f weighted by P, Hz squared"),
    ("skewness", "third standardised moment of f weighted by P"),
    ("kurtosis", "fourth standardised moment of f weighted by P"),
    ("slope", "least-squares slope of the level of the bins over frequency, dB per kHz"),
    ("sharpness", "mean Bark number of the bands weighted by loudness, heavier above 15 Bark"),
    ("harmonicity", "summed absolute difference of M between bins, divided by the sum of M"),
    ("f0", "pitch, Hz, from the highest peak of the autocorrelation; 0 where unvoiced"),
    ("voicing", "height of that peak, 0 to 1, corrected for the window"),
    ("jitter", "relative change of the period since the previous frame; 0 where unvoiced"),
    ("jitter_change", "change of the signed jitter since the previous frame; 0 where unvoiced"),
    ("shimmer", "relative change of the peak amplitude; 0 where unvoiced"),
    ("log_hnr", "harmonics to noise, dB: 10 log10(v / (1 - v)) of the voicing v"),
)
NAMES = tuple(name for name, _ in DESCRIPTORS)
FUNCTIONALS = tuple(
    f"{name}{delta}_{functional}"
    for functional in ("mean", "sd")
    for delta in ("", "_delta")
    for name in NAMES
)


def compute_descriptors(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute the descriptors of a signal.

    Args:
        samples: float32 [n] mono at 16 kHz, full scale 1.

    Returns:
        float32 [n // 160, 65], in the order of `NAMES`.
    """
    count = len(samples) // HOP
    if count == 0:
        return np.empty((0, len(NAMES)), dtype=np.float32)
    spectrum_frames = _frames(samples, SPECTRUM_WINDOW, count)
    rms = np.sqrt(np.mean(spectrum_frames**2, axis=1))
    crossings = np.mean(np.diff(spectrum_frames >= 0, axis=1), axis=1)
    magnitude = np.abs(np.fft.rfft(spectrum_frames * np.hamming(SPECTRUM_WINDOW), _FFT, axis=1))
    bands = magnitude**2 @ _MEL_BANK
    auditory = np.cbrt(bands * _EQUAL_LOUDNESS)
    rasta = np.cbrt(np.exp(_rasta(np.log(bands + _EPSILON))) * _EQUAL_LOUDNESS)
    columns = [
        auditory.sum(axis=1),
        rasta.sum(axis=1),
        rms,
        crossings,
        *rasta.T,
        *(np.log(bands + _EPSILON) @ _DCT).T,
        *_spectral(magnitude, auditory, rms),
        *_voice(_frames(samples, VOICE_WINDOW, count)),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def with_deltas(descriptors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Append the slope of each descriptor per frame, by causal regression over five frames.

    Args:
        descriptors: float32 [frames, 65].

    Returns:
        float32 [frames, 130].
    """
    before = np.repeat(descriptors[:1], 4, axis=0)
    padded = np.concatenate([before, descriptors])
    count = len(descriptors)
    slope = sum(weight * padded[lag : lag + count] for lag, weight in enumerate((-2, -1, 0, 1, 2)))
    deltas = np.asarray(slope, dtype=np.float32) / np.float32(10)
    return np.concatenate([descriptors, deltas], axis=1)


def step_functionals(descriptors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute mean and standard deviation over each half second.

    Args:
        descriptors: float32 [frames, 65].

    Returns:
        float32 [frames // 50, 260], in the order of `FUNCTIONALS`.
    """
    steps = len(descriptors) // STEP_FRAMES
    parts = with_deltas(descriptors)[: steps * STEP_FRAMES].reshape(steps, STEP_FRAMES, -1)
    return np.concatenate([parts.mean(axis=1), parts.std(axis=1)], axis=1)


def cumulative_functionals(descriptors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute mean and standard deviation from the start to the end of each half second.

    Args:
        descriptors: float32 [frames, 65].

    Returns:
        float32 [frames // 50, 260], in the order of `FUNCTIONALS`.
    """
    everything = with_deltas(descriptors).astype(np.float64)
    ends = STEP_FRAMES * np.arange(1, len(descriptors) // STEP_FRAMES + 1)
    if not len(ends):
        return np.empty((0, len(FUNCTIONALS)), dtype=np.float32)
    # Subtract a fixed point to avoid cancellation in square - mean ** 2.
    centre = everything[: ends[0]].mean(axis=0)
    shifted = everything - centre
    counts = ends[:, None]
    mean = np.cumsum(shifted, axis=0)[ends - 1] / counts
    square = np.cumsum(shifted**2, axis=0)[ends - 1] / counts
    deviation = np.sqrt(np.maximum(square - mean**2, 0.0))
    return np.concatenate([mean + centre, deviation], axis=1).astype(np.float32)


def _frames(samples: NDArray[np.float32], window: int, count: int) -> NDArray[np.float64]:
    """Cut float64 frames [count, window]; frame i ends at sample (i + 1) * HOP."""
    padded = np.concatenate([np.zeros(window - HOP), samples[: count * HOP].astype(np.float64)])
    return np.lib.stride_tricks.sliding_window_view(padded, window)[::HOP]


def _spectral(
    magnitude: NDArray[np.float64], auditory: NDArray[np.float64], rms: NDArray[np.float64]
) -> list[NDArray[np.float64]]:
    """Compute the fifteen descriptors from `energy_250_650` to `harmonicity`."""
    power = magnitude**2 + _EPSILON
    share = power / power.sum(axis=1, keepdims=True)
    below = np.cumsum(share, axis=1)
    energies = [
        share[:, slice(*np.searchsorted(_BINS_HZ, between))].sum(axis=1) * rms
        for between in ((250, 650), (1000, 4000))
    ]
    rolloffs = [_BINS_HZ[np.argmax(below >= wanted, axis=1)] for wanted in _ROLLOFFS]
    unit = magnitude / (magnitude.sum(axis=1, keepdims=True) + _EPSILON)
    flux = np.sqrt(np.sum(np.diff(unit, axis=0, prepend=unit[:1]) ** 2, axis=1))
    centroid = share @ _BINS_HZ
    away = _BINS_HZ - centroid[:, None]
    variance = np.sum(share * away**2, axis=1)
    standard = away / np.sqrt(variance + 1.0)[:, None]
    square = standard * standard
    entropy = -np.sum(share * np.log2(share), axis=1)
    level = 10 * np.log10(power)
    line = _BINS_HZ / 1000 - _BINS_HZ.mean() / 1000
    slope = (level - level.mean(axis=1, keepdims=True)) @ line / np.sum(line**2)
    weight = _BARK * np.where(_BARK > 15, 0.066 * np.exp(0.171 * _BARK) / 0.858, 1.0)
    sharpness = auditory @ weight / (auditory.sum(axis=1) + _EPSILON)
    edges = np.abs(np.diff(magnitude, axis=1)).sum(axis=1)
    return [
        *energies,
        *rolloffs,
        flux,
        centroid,
        entropy,
        variance,
        np.sum(share * square * standard, axis=1),
        np.sum(share * square * square, axis=1),
        slope,
        sharpness,
        edges / (magnitude.sum(axis=1) + _EPSILON),
    ]


def _voice(frames: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Compute the six descriptors from `f0` to `log_hnr`."""
    windowed = (frames - frames.mean(axis=1, keepdims=True)) * _GAUSSIAN
    autocorrelation = np.fft.irfft(np.abs(np.fft.rfft(windowed, _VOICE_FFT, axis=1)) ** 2, axis=1)
    shortest, longest = (round(SAMPLE_RATE_HZ / hertz) for hertz in reversed(PITCH_HZ))
    lags = np.arange(longest + 2)
    energy = autocorrelation[:, :1]
    # After division by the autocorrelation of the window, a periodic signal has peaks of 1.
    curve = autocorrelation[:, lags] / (energy + _EPSILON) / _WINDOW_CORRELATION[lags]
    inner = curve[:, shortest : longest + 1]
    peak = (inner >= curve[:, shortest - 1 : longest]) & (
        inner > curve[:, shortest + 1 : longest + 2]
    )
    heights = np.where(peak, inner, 0.0)
    best = heights.max(axis=1, keepdims=True)
    # Multiples of the period have peaks of the same height: take the first high peak.
    first = np.argmax((heights >= 0.9 * best) & peak, axis=1)
    rows = np.arange(len(frames))
    voicing = np.clip(heights[rows, first], 0.0, 1.0)
    lag = first + shortest
    left, middle, right = (curve[rows, lag + shift] for shift in (-1, 0, 1))
    # Parabolic interpolation of the peak.
    curvature = left - 2 * middle + right
    concave = curvature < -_EPSILON
    offset = np.where(concave, 0.5 * (left - right) / np.where(concave, curvature, 1.0), 0.0)
    period = lag + np.clip(offset, -0.5, 0.5)
    voiced = voicing >= VOICED
    both = voiced & np.concatenate([[False], voiced[:-1]])
    relative = np.where(both, _relative_change(period), 0.0)
    amplitude = np.abs(frames).max(axis=1)
    ratio = np.clip(voicing, 1e-4, 1 - 1e-4)
    return [
        np.where(voiced, SAMPLE_RATE_HZ / period, 0.0),
        voicing,
        np.abs(relative),
        np.where(both, np.abs(np.diff(relative, prepend=0.0)), 0.0),
        np.where(both, np.abs(_relative_change(amplitude)), 0.0),
        10 * np.log10(ratio / (1 - ratio)),
    ]


def _relative_change(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide the change since the previous value by the mean of the two; 0 for the first."""
    before = np.concatenate([values[:1], values[:-1]])
    return np.asarray(2 * (values - before) / (values + before + _EPSILON))


def _rasta(bands: NDArray[np.float64]) -> NDArray[np.float64]:
    """Apply Hermansky's RASTA band-pass filter over time.

    The numerator is in its causal form, which delays the result by two frames.
    """
    padded = np.concatenate([np.repeat(bands[:1], 4, axis=0), bands])
    count = len(bands)
    result = sum(
        weight * padded[4 - lag : 4 - lag + count]
        for lag, weight in enumerate((0.2, 0.1, 0.0, -0.1, -0.2))
    )
    filtered = np.array(result)
    for frame in range(1, count):
        filtered[frame] += 0.94 * filtered[frame - 1]
    return filtered


def _mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1127 * np.log1p(hertz / 700))


def _mel_bank() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return triangular filters [bins, 26], evenly spaced in mel, and their centres in Hz."""
    edges = 700 * np.expm1(np.linspace(0, float(_mel(np.array(8000.0))), _BANDS + 2) / 1127)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rising = (_BINS_HZ[:, None] - low) / (centre - low)
    falling = (high - _BINS_HZ[:, None]) / (high - centre)
    return np.maximum(0.0, np.minimum(rising, falling)), centre


def _equal_loudness(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Hermansky's equal-loudness weights, with a maximum of 1."""
    square = hertz**2
    weight = (square / (square + 1.6e5)) ** 2 * (square + 1.44e6) / (square + 9.61e6)
    return np.asarray(weight / weight.max())


_BINS_HZ = np.fft.rfftfreq(_FFT, 1 / SAMPLE_RATE_HZ)
_MEL_BANK, _CENTRES_HZ = _mel_bank()
_EQUAL_LOUDNESS = _equal_loudness(_CENTRES_HZ)
_BARK = 26.81 * _CENTRES_HZ / (1960 + _CENTRES_HZ) - 0.53
_DCT = np.sqrt(2 / _BANDS) * np.cos(
    np.pi * np.arange(1, _CEPSTRA + 1) * (np.arange(_BANDS)[:, None] + 0.5) / _BANDS
)
_GAUSSIAN = np.exp(-0.5 * (np.linspace(-1, 1, VOICE_WINDOW) / 0.4) ** 2)
_WINDOW_CORRELATION = np.fft.irfft(np.abs(np.fft.rfft(_GAUSSIAN, _VOICE_FFT)) ** 2)
_WINDOW_CORRELATION = _WINDOW_CORRELATION / _WINDOW_CORRELATION[0]
