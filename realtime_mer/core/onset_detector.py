"""Onsets of notes and drums: the rise of the spectrum, and its peaks, from the past alone.

The spectral flux of log band energies with a maximum filter over neighbouring bands follows
Böck and Widmer, "Maximum filter vibrato suppression for onset detection", DAFx 2013. The peaks are
picked online as in Böck, Krebs and Schedl, "Evaluating the online capabilities of onset detection
methods", ISMIR 2012.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

FRAMES_PER_SECOND = 100
WINDOW_S = 0.032
BANDS_PER_OCTAVE = 6
MIN_BAND_HZ = 40.0
MAX_BAND_HZ = 12_000.0
# Power that is added to each band: -60 dB of the peak of the last seconds, at least -70 dBFS.
RELATIVE_FLOOR = 10.0**-6.0
QUIET_POWER = 10.0**-7.0
PEAK_DECAY_DB_PER_S = 6.0
# Frames between the two spectra whose difference is the flux.
FLUX_LAG = 2
# An onset is a peak above the sum of this flux and, each times a factor, of the mean of the last
# frames, of the median of the last second, which noise raises, and of the highest flux lately.
MIN_FLUX = 0.01
MEAN_FRAMES = 12
MEAN_FACTOR = 1.0
MEDIAN_FRAMES = FRAMES_PER_SECOND
MEDIAN_EVERY = 10
MEDIAN_FACTOR = 2.0
PEAK_FACTOR = 0.04
PEAK_DECAY = 0.5 ** (1.0 / (2.0 * FRAMES_PER_SECOND))
MIN_DISTANCE_FRAMES = 5
# Lost input up to this length is replaced by silence. A longer loss is a new start.
MAX_FILLED_LOSS_S = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """What is known of 10 ms of sound.

    Attributes:
        number: counts from 1 at the start, and from 1 again after a long loss.
        t: stream time of its end in seconds.
        flux: how much the bands rise, 0 or more, about 1 for a loud drum.
        is_loud: whether the frame is not quiet.
        onset: strength, 0 to 1, of an onset at the frame before; None for no onset.
        powers: power of each band (`SpectralFlux.edges_hz`), float32 [bands]; that of a sine at
            1.0 is 1.5.
    """

    number: int
    t: float
    flux: float
    is_loud: bool
    onset: float | None
    powers: NDArray[np.float32]


class OnsetDetector:
    """The frames of a stream with their onsets, in the blocks in which the stream comes.

    What listens for beats, pulses or both reads the same frames.

    Args:
        sample_rate_hz: of the stream, 8,000 to 192,000.
        start: sample frames of the stream before the first one that is fed.
    """

    def __init__(self, sample_rate_hz: int, *, start: int = 0) -> None:
        self.flux = SpectralFlux(sample_rate_hz)
        self._restart(start)

    def _restart(self, start: int) -> None:
        self._start = start
        self._fed = 0
        self._number = 0
        self.flux.reset()
        self._picker = OnsetPicker()

    def feed(self, samples: NDArray[np.float32]) -> list[Frame]:
        """Take in the next samples, float32 [n], any n; return the frames that they complete."""
        self._fed += len(samples)
        start_s = self._start / self.flux.sample_rate_hz
        frames = []
        for flux, is_loud, powers in zip(*self.flux.feed(samples), strict=True):
            self._number += 1
            t = start_s + self._number / FRAMES_PER_SECOND
            onset = self._picker.add(flux)
            frames.append(Frame(self._number, t, flux, is_loud, onset, powers))
        return frames

    def skip(self, samples: int) -> list[Frame]:
        """Account for lost samples: up to 0.5 s count as silence, more is a new start."""
        if samples <= MAX_FILLED_LOSS_S * self.flux.sample_rate_hz:
            return self.feed(np.zeros(samples, dtype=np.float32))
        self._restart(self._start + self._fed + samples)
        return []


class SpectralFlux:
    """The onset function of a stream: how much its bands rise, one value every 10 ms.

    Frame k ends at the sample (k + 1) * sample_rate_hz // 100, however the stream is cut.

    Args:
        sample_rate_hz: of the stream, at least 8,000.

    Attributes:
        edges_hz: limits of its bands in Hz, ascending, float64 [bands + 1].
    """

    def __init__(self, sample_rate_hz: int) -> None:
        self.sample_rate_hz = sample_rate_hz
        self._length = 64 * round(sample_rate_hz * WINDOW_S / 64)  # a fast length for the FFT
        window = np.hanning(self._length + 1)[:-1]
        self._window = (window / window.sum() * 2.0).astype(np.float32)  # a sine at 1.0 has power 1
        top_hz = min(MAX_BAND_HZ, 0.45 * sample_rate_hz)
        count = int(np.log2(top_hz / MIN_BAND_HZ) * BANDS_PER_OCTAVE)
        edges_hz = MIN_BAND_HZ * 2.0 ** (np.arange(count + 1) / BANDS_PER_OCTAVE)
        self._edges = np.unique(np.round(edges_hz * self._length / sample_rate_hz).astype(int))
        self.edges_hz = self._edges * (sample_rate_hz / self._length)
        self._decay = 10.0 ** (-PEAK_DECAY_DB_PER_S / FRAMES_PER_SECOND / 10.0)
        self.reset()

    def reset(self) -> None:
        """Start again after what was lost: the next sample is the first."""
        self._signal = np.zeros(self._length, dtype=np.float32)
        self._before = self._length  # samples in `_signal` before those of the stream
        self._frame = 0
        self._peak = 0.0
        self._earlier = np.empty((0, len(self._edges) - 1), dtype=np.float32)

    def feed(
        self, samples: NDArray[np.float32]
    ) -> tuple[list[float], list[bool], NDArray[np.float32]]:
        """Add samples, float32 [n]. Many at once cost less than one by one.

        Returns:
            Of each frame that they complete: the flux, 0 or more, about 1 for a loud drum; whether
            the frame is not quiet; and the power of each band, float32 [frames, bands].
        """
        signal = np.concatenate((self._signal, samples))
        ends = []
        while (end := self._next_end()) <= len(signal):
            ends.append(end)
            self._frame += 1
        start = min(len(signal), end - self._length)
        self._signal = signal[start:].copy()
        self._before -= start
        if not ends:
            return [], [], self._earlier[:0]
        windows = sliding_window_view(signal, self._length)[np.array(ends) - self._length]
        spectrum = np.fft.rfft(windows * self._window)
        power = spectrum.real**2 + spectrum.imag**2
        bands = np.add.reduceat(power[:, : self._edges[-1]], self._edges[:-1], axis=1)
        loudest = bands.max(axis=1).tolist()
        floors = []
        for each in loudest:
            self._peak = max(each, self._decay * self._peak)
            floors.append(max(QUIET_POWER, self._peak * RELATIVE_FLOOR))
        is_loud = [each > floor for each, floor in zip(loudest, floors, strict=True)]
        return self._flux(bands, floors), is_loud, bands

    def _next_end(self) -> int:
        return self._before + (self._frame + 1) * self.sample_rate_hz // FRAMES_PER_SECOND

    def _flux(self, bands: NDArray[np.float32], floors: list[float]) -> list[float]:
        """Return the flux of frames; 0 for those without a frame to compare with."""
        known = np.concatenate((self._earlier, bands))
        self._earlier = known[-FLUX_LAG:]
        # A tone that glides into the next band is no onset.
        before = known[:-FLUX_LAG]
        count = len(before)
        highest = before.copy()
        np.maximum(highest[:, 1:], before[:, :-1], out=highest[:, 1:])
        np.maximum(highest[:, :-1], before[:, 1:], out=highest[:, :-1])
        floor = np.array(floors, dtype=np.float32)[len(bands) - count :, None]
        rise = np.log10((bands[len(bands) - count :] + floor) / (highest + floor))
        fluxes: list[float] = np.maximum(rise, 0.0).mean(axis=1).tolist()
        return [0.0] * (len(bands) - count) + fluxes


class OnsetPicker:
    """Picks the onsets among the frames of `SpectralFlux`, one frame after their peak."""

    def __init__(self) -> None:
        self._flux = deque([0.0] * MEDIAN_FRAMES, MEDIAN_FRAMES)
        self._frame = 0
        self._median = self._peak = 0.0
        self._since = MIN_DISTANCE_FRAMES

    def add(self, flux: float) -> float | None:
        """Take in the next frame; return the strength, 0 to 1, of an onset at the frame before."""
        recent = self._flux
        if self._frame % MEDIAN_EVERY == 0:
            self._median = float(np.median(recent))
        candidate = recent[-1]
        is_peak = candidate >= flux and candidate >= recent[-2] and candidate >= recent[-3]
        mean = sum(islice(reversed(recent), MEAN_FRAMES)) / MEAN_FRAMES
        recent.append(flux)
        self._frame += 1
        self._peak = max(PEAK_DECAY * self._peak, flux)
        self._since += 1
        threshold = (
            MIN_FLUX + MEAN_FACTOR * mean + MEDIAN_FACTOR * self._median + PEAK_FACTOR * self._peak
        )
        if not is_peak or candidate < threshold or self._since < MIN_DISTANCE_FRAMES:
            return None
        self._since = 0
        return min(1.0, candidate / self._peak)
