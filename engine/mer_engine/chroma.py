"""Pitch classes: how strongly each of the twelve notes sounds, whichever octave. No torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PITCH_CLASSES = 12

# Places in a semitone at which the spectrum is looked at; only the middle one counts as the note.
_PLACES = 3
# Semitones around a note that it is compared with: about an octave.
_AROUND = 37 / _PLACES
# Share of the spectrum's largest unevenness below which a stretch of it counts as even.
_EVEN = 0.05
# Strength below which it counts as silent; and total of the notes below which they fade out.
_HUSH = 1e-2


class Chroma:
    """How strongly each pitch class sounds: what tells major from minor.

    A long spectrum, compressed by a square root, at three places in each semitone. What counts is
    how far a note stands out from the octave around it, in standard deviations (after Mauch and
    Dixon 2010, who whiten the spectrum of their chord features so): neither loudness nor the colour
    of the sound decides. Notes are folded into one octave and sum to one.

    Args:
        sample_rate_hz: of the signal.
        size: samples of a window.
        low_hz, high_hz: the notes that count.
    """

    def __init__(self, sample_rate_hz: int, size: int, low_hz: float, high_hz: float) -> None:
        first = int(np.ceil(_semitone(low_hz)))
        last = int(np.floor(_semitone(high_hz)))
        margin = int(np.ceil(_AROUND / 2))
        # Neighbours beyond both ends, so that the outer notes are compared as the others are.
        places = np.arange((first - margin) * _PLACES, (last + margin) * _PLACES + 1) / _PLACES
        self._bank = _triangles(places, sample_rate_hz, size)
        bins = np.flatnonzero(self._bank.any(1))
        self._bins = slice(int(bins[0]), int(bins[-1]) + 1)
        self._bank = np.ascontiguousarray(self._bank[self._bins])
        self._reach = int(_AROUND * _PLACES) // 2
        notes = np.arange(first, last + 1)
        self._columns = (notes - first + margin) * _PLACES
        self._fold = np.zeros((len(notes), PITCH_CLASSES), np.float32)
        self._fold[np.arange(len(notes)), notes % PITCH_CLASSES] = 1.0
        self._hann = periodic_hann(size)

    def __call__(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return float32 [n, 12], C first, of windows float32 [n, size]; silence gives zeros."""
        spectrum = np.fft.rfft(windows * self._hann, axis=1)[:, self._bins]
        magnitude = np.sqrt(spectrum.real**2 + spectrum.imag**2).astype(np.float32)
        strength = np.sqrt(magnitude @ self._bank)
        mean = self._average(strength)
        spread = np.sqrt(np.maximum(self._average(strength * strength) - mean * mean, 0.0))
        floor = _EVEN * spread.max(1, keepdims=True) + _HUSH
        outstanding = np.maximum((strength - mean) / (spread + floor), 0.0)
        notes = outstanding[:, self._columns] @ self._fold
        return np.asarray(notes / (notes.sum(1, keepdims=True) + _HUSH), dtype=np.float32)

    def _average(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Mean over the places around each place; fewer of them at the ends."""
        total = np.cumsum(np.pad(x, ((0, 0), (1, 0))), axis=1, dtype=np.float64)
        index = np.arange(x.shape[1])
        low = np.maximum(index - self._reach, 0)
        high = np.minimum(index + self._reach + 1, x.shape[1])
        return np.asarray((total[:, high] - total[:, low]) / (high - low))


def periodic_hann(size: int) -> NDArray[np.float32]:
    """A Hann window that continues itself, float32 [size]."""
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size), dtype=np.float32)


def _semitone(hertz: float) -> float:
    """MIDI number of a frequency: 69 is the A of 440 Hz, 60 the C below."""
    return 69 + 12 * float(np.log2(hertz / 440.0))


def _triangles(
    semitones: NDArray[np.float64], sample_rate_hz: int, size: int
) -> NDArray[np.float32]:
    """Weights of the spectrum's bins at places of the scale: float32 [bins, places], sums of one.

    A triangle reaches to the places beside it, and to the next bin at least.
    """
    bins_hz = np.fft.rfftfreq(size, 1 / sample_rate_hz)
    centre = 440.0 * 2 ** ((semitones - 69) / 12)
    half = np.maximum(centre * (2 ** (1 / (12 * _PLACES)) - 1) * 2, sample_rate_hz / size)
    weights = np.maximum(0.0, 1 - np.abs(bins_hz[:, None] - centre) / half)
    return np.asarray(weights / weights.sum(0), dtype=np.float32)
