"""Log-mel features: one definition for training and for live use, without torch.

Streaming and offline are the same code: `FrontEnd.push` in any block sizes gives the frames that
one call with the whole signal gives.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

# Raised whenever the arithmetic below changes, so that an older model refuses the newer features.
ARITHMETIC_VERSION = 1


@dataclass(frozen=True, slots=True)
class FrontEndConfig:
    """What defines the features.

    Attributes:
        sample_rate_hz: rate of the mono signal that `FrontEnd.push` takes.
        fft_size: length of the Hann window and of the FFT, samples.
        hop: samples between frames; a whole number of frames fits into 0.1 s.
        bands: number of mel bands.
        low_hz, high_hz: ends of the mel scale.
        log_scale: the feature is log10(1 + log_scale * power).
    """

    sample_rate_hz: int = 16_000
    fft_size: int = 512
    hop: int = 320
    bands: int = 96
    low_hz: float = 0.0
    high_hz: float = 8_000.0
    log_scale: float = 10_000.0

    def __post_init__(self) -> None:
        if (self.sample_rate_hz // 10) % self.hop:
            raise ValueError(
                f"a hop of {self.hop} samples does not divide 0.1 s at {self.sample_rate_hz} Hz"
            )
        if self.fft_size < self.hop:
            raise ValueError(f"the FFT ({self.fft_size}) is shorter than the hop ({self.hop})")

    @property
    def frames_per_second(self) -> int:
        return self.sample_rate_hz // self.hop

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that change whenever the features would."""
        text = json.dumps([ARITHMETIC_VERSION, asdict(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def mel_bank(config: FrontEndConfig) -> NDArray[np.float32]:
    """Triangular mel filters, each of unit area (Slaney's Auditory Toolbox, 1998).

    Returns:
        float32 [fft_size // 2 + 1, bands].
    """
    bins_hz = np.fft.rfftfreq(config.fft_size, 1 / config.sample_rate_hz)
    edges_mel = np.linspace(_mel(config.low_hz), _mel(config.high_hz), config.bands + 2)
    edges_hz = _hertz(edges_mel)
    lower, centre, upper = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    rising = (bins_hz[:, None] - lower) / (centre - lower)
    falling = (upper - bins_hz[:, None]) / (upper - centre)
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return np.asarray(triangles * (2.0 / (upper - lower)), dtype=np.float32)


# Slaney's scale: linear below 1 kHz (15 mel), logarithmic above (27 mel to 6.4 kHz).
_KNEE_HZ, _KNEE_MEL, _HZ_PER_MEL = 1000.0, 15.0, 200.0 / 3.0
_LOG_STEP = np.log(6.4) / 27.0


def _mel(hertz: float) -> float:
    if hertz < _KNEE_HZ:
        return hertz / _HZ_PER_MEL
    return _KNEE_MEL + float(np.log(hertz / _KNEE_HZ)) / float(_LOG_STEP)


def _hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    linear = mel * _HZ_PER_MEL
    logarithmic = _KNEE_HZ * np.exp(_LOG_STEP * (mel - _KNEE_MEL))
    return np.where(mel < _KNEE_MEL, linear, logarithmic)


class FrontEnd:
    """Turns a mono signal into log-mel frames, as a stream.

    The stream is preceded by `fft_size - hop` samples of digital silence, so that frame i is
    complete exactly at sample (i + 1) * hop and nothing later reaches it.
    """

    def __init__(self, config: FrontEndConfig | None = None) -> None:
        self.config = config or FrontEndConfig()
        self._bank = mel_bank(self.config)
        periodic_hann = 0.5 - 0.5 * np.cos(
            2 * np.pi * np.arange(self.config.fft_size) / self.config.fft_size
        )
        self._hann = periodic_hann.astype(np.float32)
        self.reset()

    def reset(self) -> None:
        """Forgets the signal so far."""
        self._tail = np.zeros(self.config.fft_size - self.config.hop, dtype=np.float32)

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Takes the next samples and returns the frames that they complete.

        Args:
            samples: float32 [n] mono at `config.sample_rate_hz`, full scale 1.0; n may be 0.

        Returns:
            float32 [frames, bands], in [0, about 8]; frames may be 0.
        """
        config = self.config
        signal = np.concatenate((self._tail, samples))
        count = (len(signal) - config.fft_size) // config.hop + 1
        if count <= 0:
            self._tail = signal
            return np.empty((0, config.bands), dtype=np.float32)
        # A view with overlapping rows; numpy's checked sliding_window_view costs more than the FFT.
        stride = signal.strides[0]
        frames = np.lib.stride_tricks.as_strided(
            signal, (count, config.fft_size), (config.hop * stride, stride), writeable=False
        )
        spectrum = np.fft.rfft(frames * self._hann, axis=1)
        power = spectrum.real**2 + spectrum.imag**2
        self._tail = signal[count * config.hop :].copy()
        features = np.log10(np.float32(1.0) + np.float32(config.log_scale) * (power @ self._bank))
        return np.asarray(features, dtype=np.float32)


def features(
    samples: NDArray[np.float32], config: FrontEndConfig | None = None
) -> NDArray[np.float32]:
    """All frames of a whole signal: what a stream of it would give.

    Args:
        samples: float32 [n] mono at the configuration's rate.

    Returns:
        float32 [n // hop, bands].
    """
    return FrontEnd(config).push(samples)
