"""Music as it would arrive elsewhere: too loud a mixer, a room, people, another microphone.

Each variation of a clip goes through all of them in this order, each with a chance of its own and
with values drawn anew, so that a network hears the same music in many places. None of it changes
what listeners would say of the music.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mono = NDArray[np.float32]

_VOICES = 6
_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class AcousticAugmentation:
    """How often and how much.

    Attributes:
        drive_share, drive_db: share of clips that are driven into clipping, and by how much at
            most their loudest sample exceeds full scale before it is cut off.
        room_share, room_s, room_db: share of clips in a room, longest time in which its tail decays
            by 60 dB, and how far the tail's energy lies from the direct sound's, either way.
        noise_share, noise_db: share of clips with people talking or plain noise, and how far it
            lies below the music, from and to.
        tone_share, tone_db: share of clips through another loudspeaker or microphone, and the
            height of its slow ripples and of its slope over the spectrum.
        low_share, low_hz: share of these that also lose what lies below a corner, from and to.
        high_share, high_hz: the same above a corner.
    """

    drive_share: float = 0.3
    drive_db: float = 15.0
    room_share: float = 0.3
    room_s: float = 0.7
    room_db: float = 6.0
    noise_share: float = 0.5
    noise_db: tuple[float, float] = (5.0, 30.0)
    tone_share: float = 0.6
    tone_db: float = 4.0
    low_share: float = 0.4
    low_hz: tuple[float, float] = (60.0, 400.0)
    high_share: float = 0.2
    high_hz: tuple[float, float] = (3_500.0, 7_500.0)


def play(
    samples: Mono, sample_rate_hz: int, rng: np.random.Generator, settings: AcousticAugmentation
) -> Mono:
    """Play a clip somewhere.

    Args:
        samples: float32 [n], full scale 1.
        sample_rate_hz: of the samples.
        rng: source of chance.
        settings: how often and how much.

    Returns:
        float32 [n], in time with the clip and as loud (root mean square); silence stays silence.
    """
    power = float(np.mean(np.square(samples)))
    if power < _TINY:
        return samples.copy()
    played = samples
    if rng.random() < settings.drive_share:
        played = drive(played, rng.uniform(0.0, settings.drive_db))
    if rng.random() < settings.room_share:
        tail_db = rng.uniform(-settings.room_db, settings.room_db)
        played = room(played, sample_rate_hz, rng, rng.uniform(0.1, settings.room_s), tail_db)
    if rng.random() < settings.noise_share:
        below = 10 ** (-rng.uniform(*settings.noise_db) / 20)
        noise = people(len(played), sample_rate_hz, rng) if rng.random() < 0.7 else None
        played = played + below * _as_loud_as(
            rng.standard_normal(len(played)) if noise is None else noise, played
        )
    if rng.random() < settings.tone_share:
        played = _filtered(played, sample_rate_hz, _response(sample_rate_hz, rng, settings))
    return np.asarray(_as_loud_as(played, samples), dtype=np.float32)


def drive(samples: NDArray[np.floating], over_db: float) -> NDArray[np.floating]:
    """Cut off what exceeds full scale after the loudest sample was brought so far above it."""
    loudest = float(np.abs(samples).max()) + _TINY
    return np.clip(samples * (10 ** (over_db / 20) / loudest), -1.0, 1.0)


def room(
    samples: NDArray[np.floating],
    sample_rate_hz: int,
    rng: np.random.Generator,
    decay_s: float,
    tail_db: float,
) -> NDArray[np.floating]:
    """Add a tail of noise that decays by 60 dB in `decay_s`, `tail_db` stronger than the sound."""
    time_s = np.arange(int(1.2 * decay_s * sample_rate_hz)) / sample_rate_hz
    tail = rng.standard_normal(len(time_s)) * 10 ** (-3 * time_s / decay_s)
    impulse = tail * (10 ** (tail_db / 20) / (np.sqrt(np.sum(tail**2)) + _TINY))
    impulse = np.concatenate([np.zeros(int(rng.uniform(0.001, 0.008) * sample_rate_hz)), impulse])
    impulse[0] += 1.0
    size = _fft_size(len(samples) + len(impulse))
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(impulse, size), size)
    return np.asarray(wet[: len(samples)])


def people(count: int, sample_rate_hz: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Noise with the spectrum and the syllables of several voices, float64 [count]. Not speech."""
    hertz = np.fft.rfftfreq(_fft_size(count), 1 / sample_rate_hz)
    shape = 1 / (1 + (hertz / rng.uniform(350.0, 700.0)) ** 1.5)
    shape[hertz < 100.0] = 0.0
    total = np.zeros(count)
    time_s = np.arange(count) / sample_rate_hz
    for _ in range(_VOICES):
        noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(_fft_size(count))) * shape)[:count]
        # Syllables: three waves of two to six a second, cut off where the voice pauses.
        waves = sum(
            np.sin(2 * np.pi * (rng.uniform(2.0, 6.0) * time_s + rng.random())) for _ in range(3)
        )
        total += noise * np.maximum(0.0, 0.5 + waves)
    return total


def _response(
    sample_rate_hz: int, rng: np.random.Generator, settings: AcousticAugmentation
) -> NDArray[np.float64]:
    """Gains of a loudspeaker or microphone at 257 frequencies from 0 to half the rate."""
    hertz = np.linspace(0.0, sample_rate_hz / 2, 257)
    octave = np.log2(np.maximum(hertz, 40.0) / 40.0) / np.log2(sample_rate_hz / 80.0)  # 0 to 1
    decibels = settings.tone_db * rng.uniform(-1, 1) * (2 * octave - 1)
    for _ in range(2):
        turns = rng.uniform(0.5, 3.0)
        decibels += (
            0.5
            * settings.tone_db
            * rng.uniform(-1, 1)
            * np.sin(2 * np.pi * (turns * octave + rng.random()))
        )
    gain = 10 ** (decibels / 20)
    if rng.random() < settings.low_share:
        ratio = (hertz / rng.uniform(*settings.low_hz)) ** 2
        gain *= ratio / np.sqrt(1 + ratio**2)
    if rng.random() < settings.high_share:
        gain /= np.sqrt(1 + (hertz / rng.uniform(*settings.high_hz)) ** 4)
    return np.asarray(gain)


def _filtered(
    samples: NDArray[np.floating], sample_rate_hz: int, gain: NDArray[np.float64]
) -> NDArray[np.floating]:
    size = _fft_size(len(samples))
    hertz = np.fft.rfftfreq(size, 1 / sample_rate_hz)
    places = np.linspace(0.0, sample_rate_hz / 2, len(gain))
    shaped = np.fft.rfft(samples, size) * np.interp(hertz, places, gain)
    return np.asarray(np.fft.irfft(shaped, size)[: len(samples)])


def _as_loud_as(samples: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.floating]:
    ours, theirs = float(np.mean(np.square(samples))), float(np.mean(np.square(other)))
    return samples * np.sqrt(theirs / max(ours, _TINY))


def _fft_size(count: int) -> int:
    """The next power of two."""
    return 1 << max(1, count - 1).bit_length()
