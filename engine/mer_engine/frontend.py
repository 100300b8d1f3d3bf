"""The features: log-mel bands and pitch classes, one definition for training and for live use.

Streaming and offline are the same code: `FrontEnd.push` in any block sizes gives the frames that
one call with the whole signal gives. No torch.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from mer_engine.chroma import PITCH_CLASSES, Chroma, periodic_hann

# Raised whenever the arithmetic below changes, so that an older model refuses the newer features.
ARITHMETIC_VERSION = 3


@dataclass(frozen=True, slots=True)
class FrontEndConfig:
    """What defines the features.

    Attributes:
        sample_rate_hz: rate of the mono signal that `FrontEnd.push` takes.
        fft_size: length of the Hann window and of the FFT, samples.
        hop: samples between frames; a whole number of frames fits into half a second.
        bands: number of mel bands.
        low_hz, high_hz: ends of the mel scale.
        log_scale: the feature is log10(1 + log_scale * power).
        chroma_fft_size: length of the window for the pitch classes, samples: long enough to tell
            semitones apart; 0 for none.
        chroma_hop: samples between two computations of the pitch classes, a multiple of `hop`;
            frames in between repeat the last.
        chroma_low_hz, chroma_high_hz: the notes that count.
    """

    sample_rate_hz: int = 16_000
    fft_size: int = 512
    hop: int = 250
    bands: int = 96
    low_hz: float = 0.0
    high_hz: float = 8_000.0
    log_scale: float = 10_000.0
    chroma_fft_size: int = 4096
    chroma_hop: int = 2000
    chroma_low_hz: float = 130.0
    chroma_high_hz: float = 3_000.0

    def __post_init__(self) -> None:
        if (self.sample_rate_hz // 2) % self.hop or self.sample_rate_hz % 2:
            raise ValueError(
                f"a hop of {self.hop} samples does not divide 0.5 s at {self.sample_rate_hz} Hz"
            )
        if self.fft_size < self.hop:
            raise ValueError(f"the FFT ({self.fft_size}) is shorter than the hop ({self.hop})")
        if self.chroma_fft_size and (
            self.chroma_hop % self.hop or self.chroma_fft_size < self.chroma_hop
        ):
            raise ValueError(
                f"pitch classes every {self.chroma_hop} samples of windows of "
                f"{self.chroma_fft_size} do not fit a hop of {self.hop}"
            )

    @property
    def frames_per_second(self) -> int:
        return self.sample_rate_hz // self.hop

    @property
    def width(self) -> int:
        """Numbers in a frame: the mel bands, then the pitch classes from C upwards."""
        return self.bands + (PITCH_CLASSES if self.chroma_fft_size else 0)

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
    """Turns a mono signal into frames of features, as a stream.

    The stream is preceded by digital silence, so that frame i is complete exactly at sample
    (i + 1) * hop and nothing later reaches it.
    """

    def __init__(self, config: FrontEndConfig | None = None) -> None:
        self.config = config or FrontEndConfig()
        self._bank = mel_bank(self.config)
        self._hann = periodic_hann(self.config.fft_size)
        self._chroma = (
            Chroma(
                self.config.sample_rate_hz,
                self.config.chroma_fft_size,
                self.config.chroma_low_hz,
                self.config.chroma_high_hz,
            )
            if self.config.chroma_fft_size
            else None
        )
        # What must be kept of the past: a window, less the samples that complete it.
        self._reach = max(
            self.config.fft_size - self.config.hop,
            self.config.chroma_fft_size - self.config.hop,
        )
        self.reset()

    def reset(self) -> None:
        """Starts a new stream."""
        self._tail = np.zeros(self._reach, dtype=np.float32)
        self._frames = 0  # since the start of the stream
        self._last_chroma = np.zeros(PITCH_CLASSES, dtype=np.float32)

    def forget(self) -> None:
        """Forgets the signal so far, as if silence had followed it, and goes on counting frames."""
        self._tail[:] = 0.0
        self._last_chroma = np.zeros(PITCH_CLASSES, dtype=np.float32)

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Takes the next samples and returns the frames that they complete.

        Args:
            samples: float32 [n] mono at `config.sample_rate_hz`, full scale 1.0; n may be 0.

        Returns:
            float32 [frames, width]: mel bands in [0, about 8], pitch classes in [0, 1]; frames may
            be 0.
        """
        config = self.config
        signal = np.concatenate((self._tail, samples))
        count = (len(signal) - self._reach) // config.hop
        if count <= 0:
            self._tail = signal
            return np.empty((0, config.width), dtype=np.float32)
        self._tail = signal[count * config.hop :].copy()
        frames = np.empty((count, config.width), dtype=np.float32)
        windows = _windows(signal[self._reach + config.hop - config.fft_size :], count, config)
        spectrum = np.fft.rfft(windows * self._hann, axis=1)
        power = spectrum.real**2 + spectrum.imag**2
        frames[:, : config.bands] = np.log10(
            np.float32(1.0) + np.float32(config.log_scale) * (power @ self._bank)
        )
        if self._chroma is not None:
            self._add_chroma(self._chroma, signal, frames[:, config.bands :])
        self._frames += count
        return frames

    def _add_chroma(
        self, chroma: Chroma, signal: NDArray[np.float32], columns: NDArray[np.float32]
    ) -> None:
        """Fills the pitch classes of new frames; between two computations the last one holds."""
        config = self.config
        every = config.chroma_hop // config.hop
        columns[:] = self._last_chroma
        # Computed with the frames that end on a multiple of the hop of the pitch classes.
        fresh = range(every - 1 - self._frames % every, len(columns), every)
        if not fresh:
            return
        ends = [self._reach + (frame + 1) * config.hop for frame in fresh]
        values = chroma(np.stack([signal[e - config.chroma_fft_size : e] for e in ends]))
        for frame, value in zip(fresh, values, strict=True):
            columns[frame : frame + every] = value
        self._last_chroma = values[-1]


def _windows(
    signal: NDArray[np.float32], count: int, config: FrontEndConfig
) -> NDArray[np.float32]:
    """The windows of `count` frames, overlapping views of a signal that begins with the first."""
    # numpy's checked sliding_window_view costs more than the FFT.
    stride = signal.strides[0]
    return np.lib.stride_tricks.as_strided(
        signal, (count, config.fft_size), (config.hop * stride, stride), writeable=False
    )


def features(
    samples: NDArray[np.float32], config: FrontEndConfig | None = None
) -> NDArray[np.float32]:
    """All frames of a whole signal: what a stream of it would give.

    Args:
        samples: float32 [n] mono at the configuration's rate.

    Returns:
        float32 [n // hop, width].
    """
    return FrontEnd(config).push(samples)
