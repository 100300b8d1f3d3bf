"""Pitch classes: the strength of each of the twelve notes, over all octaves. No torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mer_engine.banded import BandedMatrix
from mer_engine.spectrum import Scratch, power_spectrum

PITCH_CLASSES = 12

# Bands per semitone; only the middle one counts as the note.
_PER_SEMITONE = 3
# Semitones around a note that set its local mean and deviation: about an octave.
_NEIGHBOURHOOD = 37 / _PER_SEMITONE
# Floor of the local standard deviation, relative to the largest one of the spectrum.
_RELATIVE_FLOOR = 0.05
# Absolute floor of the local standard deviation and of the sum of the pitch classes: near silence
# all pitch classes fade to zero.
_ABSOLUTE_FLOOR = 1e-2


class Chroma:
    """Computes the strength of each pitch class, which separates major from minor.

    A long magnitude spectrum is compressed by a square root and summed in three bands per semitone.
    The strength of a note is its distance from the mean of the octave around it, in standard
    deviations (the spectral whitening of Mauch and Dixon 2010). Loudness and timbre therefore have
    little effect. The notes are folded into one octave and scaled to a sum of one.

    Args:
        sample_rate_hz: sample rate of the signal.
        size: samples of a window.
        low_hz, high_hz: range of the notes to use.
    """

    def __init__(self, sample_rate_hz: int, size: int, low_hz: float, high_hz: float) -> None:
        first = int(np.ceil(_semitone(low_hz)))
        last = int(np.floor(_semitone(high_hz)))
        margin = int(np.ceil(_NEIGHBOURHOOD / 2))
        # Bands beyond both ends give the outer notes a full neighbourhood.
        first_band, last_band = (first - margin) * _PER_SEMITONE, (last + margin) * _PER_SEMITONE
        centres = np.arange(first_band, last_band + 1) / _PER_SEMITONE
        bank = _triangles(centres, sample_rate_hz, size)
        bins = np.flatnonzero(bank.any(1))
        self._bins = slice(int(bins[0]), int(bins[-1]) + 1)
        self._bank = BandedMatrix(bank[self._bins])
        # Local means are differences of two cumulative sums, `_span` bands apart. Zeros on both
        # sides of the bands make this work at the ends too.
        reach = int(_NEIGHBOURHOOD * _PER_SEMITONE) // 2
        self._span = 2 * reach + 1
        self._bands = slice(reach + 1, reach + 1 + len(centres))
        self._padded = reach + 1 + len(centres) + reach
        index = np.arange(len(centres))
        within = np.minimum(index + reach + 1, len(centres)) - np.maximum(index - reach, 0)
        self._neighbours = within.astype(np.float64)
        notes = np.arange(first, last + 1)
        first_note = margin * _PER_SEMITONE
        self._notes = slice(first_note, first_note + len(notes) * _PER_SEMITONE, _PER_SEMITONE)
        self._fold = np.zeros((len(notes), PITCH_CLASSES))
        self._fold[np.arange(len(notes)), notes % PITCH_CLASSES] = 1.0
        self.hann = periodic_hann(size)

    def __call__(self, windows: NDArray[np.float32], scratch: Scratch) -> NDArray[np.float32]:
        """Compute pitch classes.

        Args:
            windows: float32 [n, size], already multiplied by `hann`.
            scratch: working memory.

        Returns:
            float32 [n, 12] in [0, 1], C first; silence gives zeros.
        """
        magnitude = power_spectrum(windows, self._bins, scratch)
        np.sqrt(magnitude, out=magnitude)
        # Strength of each band, and its square.
        moments = np.zeros((2, len(windows), self._padded), dtype=np.float32)
        strength, square = moments[..., self._bands]
        self._bank.product(magnitude, strength)
        np.sqrt(strength, out=strength)
        np.multiply(strength, strength, out=square)
        total = np.cumsum(moments, axis=2, dtype=np.float64)
        means = total[..., self._span :] - total[..., : -self._span]
        means /= self._neighbours
        mean, spread = means
        spread -= mean * mean
        np.maximum(spread, 0.0, out=spread)
        np.sqrt(spread, out=spread)
        floor = _RELATIVE_FLOOR * spread.max(1, keepdims=True) + _ABSOLUTE_FLOOR
        outstanding = strength[:, self._notes] - mean[:, self._notes]
        outstanding /= spread[:, self._notes] + floor
        np.maximum(outstanding, 0.0, out=outstanding)
        classes = outstanding @ self._fold
        classes /= classes.sum(1, keepdims=True) + _ABSOLUTE_FLOOR
        return np.asarray(classes, dtype=np.float32)


def periodic_hann(size: int) -> NDArray[np.float32]:
    """Return a periodic Hann window, float32 [size]."""
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size), dtype=np.float32)


def _semitone(hertz: float) -> float:
    """Return the MIDI number of a frequency: 69 is A at 440 Hz, 60 is the C below."""
    return 69 + 12 * float(np.log2(hertz / 440.0))


def _triangles(
    semitones: NDArray[np.float64], sample_rate_hz: int, size: int
) -> NDArray[np.float32]:
    """Return triangular weights of the spectrum's bins, float32 [bins, bands].

    The weights of a band sum to one. A triangle reaches the centres of the bands beside it, and at
    least the next bin.
    """
    bins_hz = np.fft.rfftfreq(size, 1 / sample_rate_hz)
    centre = 440.0 * 2 ** ((semitones - 69) / 12)
    half = np.maximum(centre * (2 ** (1 / (12 * _PER_SEMITONE)) - 1) * 2, sample_rate_hz / size)
    weights = np.maximum(0.0, 1 - np.abs(bins_hz[:, None] - centre) / half)
    return np.asarray(weights / weights.sum(0), dtype=np.float32)
