"""Pitch classes: how strongly each of the twelve notes sounds, whichever octave. No torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mer_engine.banded import BandedMatrix
from mer_engine.spectrum import Scratch, power_spectrum

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
    of the sound decides. KeyValueCache are folded into one octave and sum to one.

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
        bank = _triangles(places, sample_rate_hz, size)
        bins = np.flatnonzero(bank.any(1))
        self._bins = slice(int(bins[0]), int(bins[-1]) + 1)
        self._bank = BandedMatrix(bank[self._bins])
        # The means are taken from running totals of all places between zeros: a mean is the
        # difference of two totals this far apart, and those of the ends simply meet zeros.
        reach = int(_AROUND * _PLACES) // 2
        self._span = 2 * reach + 1
        self._places = slice(reach + 1, reach + 1 + len(places))
        self._padded = reach + 1 + len(places) + reach
        index = np.arange(len(places))
        within = np.minimum(index + reach + 1, len(places)) - np.maximum(index - reach, 0)
        self._around = within.astype(np.float64)
        notes = np.arange(first, last + 1)
        self._notes = slice(margin * _PLACES, (margin + len(notes)) * _PLACES, _PLACES)
        self._fold = np.zeros((len(notes), PITCH_CLASSES))
        self._fold[np.arange(len(notes)), notes % PITCH_CLASSES] = 1.0
        self.hann = periodic_hann(size)

    def __call__(self, windows: NDArray[np.float32], scratch: Scratch) -> NDArray[np.float32]:
        """Return float32 [n, 12], C first, of windows float32 [n, size]; silence gives zeros.

        The windows have been multiplied by `hann` already.
        """
        magnitude = power_spectrum(windows, self._bins, scratch)
        np.sqrt(magnitude, out=magnitude)
        # Strength, and its square.
        moments = np.zeros((2, len(windows), self._padded), dtype=np.float32)
        strength, square = moments[..., self._places]
        self._bank.product(magnitude, strength)
        np.sqrt(strength, out=strength)
        np.multiply(strength, strength, out=square)
        total = np.cumsum(moments, axis=2, dtype=np.float64)
        means = total[..., self._span :] - total[..., : -self._span]
        means /= self._around
        mean, spread = means
        spread -= mean * mean
        np.maximum(spread, 0.0, out=spread)
        np.sqrt(spread, out=spread)
        floor = _EVEN * spread.max(1, keepdims=True) + _HUSH
        outstanding = strength[:, self._notes] - mean[:, self._notes]
        outstanding /= spread[:, self._notes] + floor
        np.maximum(outstanding, 0.0, out=outstanding)
        classes = outstanding @ self._fold
        classes /= classes.sum(1, keepdims=True) + _HUSH
        return np.asarray(classes, dtype=np.float32)


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
