"""The power of the audible part of a tick: mains hum and a constant offset do not count."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

# Everything up to here is hum: mains of 50 and 60 Hz, with a margin for their tolerance. Bass
# guitars and organ pedals below it still count, because their overtones are above it.
HUM_CYCLES_PER_TICK = 6.2
# Distance of the removed tones in cycles per tick: those in between are removed with them.
_SPACING = 0.2
# Directions that are weaker than this share of the strongest one are not removed. With it, tones up
# to 62 Hz are lowered by 46 dB or more, and tones from 80 Hz on by 2 dB or less.
_NEGLIGIBLE = 0.01


def audible_powers(ticks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean squares of ticks without what is below 62 Hz.

    Each tick is projected onto the complement of all tones up to 62 Hz. A recursive filter would
    need a loop over samples; the projection is one product of matrices, has no state, and so does
    not depend on how the audio is cut into blocks.

    Args:
        ticks: float32 [n, samples], each of 0.1 s.

    Returns:
        float32 [n].
    """
    hum = _hum_basis(ticks.shape[1])
    rest = ticks - (ticks @ hum) @ hum.T
    return np.asarray(np.einsum("ts,ts->t", rest, rest) / ticks.shape[1], dtype=np.float32)


@functools.cache
def _hum_basis(samples: int) -> NDArray[np.float32]:
    """Return an orthonormal basis of the tones up to 62 Hz in a tick, float32 [samples, rank]."""
    time = (np.arange(samples) + 0.5) / samples
    cycles = np.arange(0.0, HUM_CYCLES_PER_TICK + _SPACING / 2, _SPACING)
    phase = 2.0 * np.pi * np.outer(time, cycles)
    tones = np.concatenate([np.cos(phase), np.sin(phase[:, 1:])], axis=1)
    # Of the small matrix of products, which is faster than decomposing the tones themselves.
    squares, mixtures = np.linalg.eigh(tones.T @ tones)
    kept = squares > _NEGLIGIBLE**2 * squares[-1]
    return np.asarray(tones @ mixtures[:, kept] / np.sqrt(squares[kept]), dtype=np.float32)
