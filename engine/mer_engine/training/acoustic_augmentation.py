"""Augment audio with recording conditions: clipping, reverberation, noise, another microphone.

Each is applied in this order with its own probability and random strength. None of them changes
how listeners rate the music.
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
    """Probability and strength of each recording condition.

    Attributes:
        drive_share, drive_db: share of clips with clipping; largest excess of the loudest sample
            over full scale before clipping.
        room_share, room_s, room_db: share of clips with reverberation; longest reverberation time
            (decay by 60 dB); largest level difference between tail and direct sound, either way.
        noise_share, noise_db: share of clips with babble or white noise; range of the
            signal-to-noise ratio.
        tone_share, tone_db: share of clips with the frequency response of another loudspeaker or
            microphone; largest slope and ripple over the spectrum.
        low_share, low_hz: share of these with a high-pass filter; range of its corner frequency.
        high_share, high_hz: share of these with a low-pass filter; range of its corner frequency.
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


def augment_audio(
    samples: Mono, sample_rate_hz: int, rng: np.random.Generator, settings: AcousticAugmentation
) -> Mono:
    """Apply random recording conditions to a clip.

    Args:
        samples: float32 [n] in [-1, 1].
        sample_rate_hz: of the samples.
        rng: random number generator.
        settings: probabilities and strengths.

    Returns:
        float32 [n], aligned with the clip and of the same RMS level; silence stays silence.
    """
    power = float(np.mean(np.square(samples)))
    if power < _TINY:
        return samples.copy()
    augmented = samples
    if rng.random() < settings.drive_share:
        augmented = clip_peaks(augmented, rng.uniform(0.0, settings.drive_db))
    if rng.random() < settings.room_share:
        tail_db = rng.uniform(-settings.room_db, settings.room_db)
        augmented = add_reverberation(
            augmented, sample_rate_hz, rng, rng.uniform(0.1, settings.room_s), tail_db
        )
    if rng.random() < settings.noise_share:
        gain = 10 ** (-rng.uniform(*settings.noise_db) / 20)
        noise = babble(len(augmented), sample_rate_hz, rng) if rng.random() < 0.7 else None
        augmented = augmented + gain * _match_level(
            rng.standard_normal(len(augmented)) if noise is None else noise, augmented
        )
    if rng.random() < settings.tone_share:
        augmented = _filtered(augmented, sample_rate_hz, _response(sample_rate_hz, rng, settings))
    return np.asarray(_match_level(augmented, samples), dtype=np.float32)


def clip_peaks(samples: NDArray[np.floating], excess_db: float) -> NDArray[np.floating]:
    """Amplify until the loudest sample exceeds full scale by `excess_db`, then clip to [-1, 1]."""
    loudest = float(np.abs(samples).max()) + _TINY
    return np.clip(samples * (10 ** (excess_db / 20) / loudest), -1.0, 1.0)


def add_reverberation(
    samples: NDArray[np.floating],
    sample_rate_hz: int,
    rng: np.random.Generator,
    decay_s: float,
    tail_db: float,
) -> NDArray[np.floating]:
    """Add an exponentially decaying tail.

    Args:
        samples: float [n].
        sample_rate_hz: of the samples.
        rng: random number generator.
        decay_s: time in which the tail decays by 60 dB.
        tail_db: level of the tail relative to the direct sound.

    Returns:
        float [n].
    """
    time_s = np.arange(int(1.2 * decay_s * sample_rate_hz)) / sample_rate_hz
    tail = rng.standard_normal(len(time_s)) * 10 ** (-3 * time_s / decay_s)
    impulse = tail * (10 ** (tail_db / 20) / (np.sqrt(np.sum(tail**2)) + _TINY))
    impulse = np.concatenate([np.zeros(int(rng.uniform(0.001, 0.008) * sample_rate_hz)), impulse])
    impulse[0] += 1.0
    size = _fft_size(len(samples) + len(impulse))
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(impulse, size), size)
    return np.asarray(wet[: len(samples)])


def babble(count: int, sample_rate_hz: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return noise with the spectrum and syllable rhythm of several voices, float64 [count]."""
    hertz = np.fft.rfftfreq(_fft_size(count), 1 / sample_rate_hz)
    shape = 1 / (1 + (hertz / rng.uniform(350.0, 700.0)) ** 1.5)
    shape[hertz < 100.0] = 0.0
    total = np.zeros(count)
    time_s = np.arange(count) / sample_rate_hz
    for _ in range(_VOICES):
        noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(_fft_size(count))) * shape)[:count]
        # Syllables: three waves of 2 to 6 Hz, rectified for the pauses between words.
        waves = sum(
            np.sin(2 * np.pi * (rng.uniform(2.0, 6.0) * time_s + rng.random())) for _ in range(3)
        )
        total += noise * np.maximum(0.0, 0.5 + waves)
    return total


def _response(
    sample_rate_hz: int, rng: np.random.Generator, settings: AcousticAugmentation
) -> NDArray[np.float64]:
    """Return random gains of a loudspeaker or microphone at 257 frequencies up to half the rate."""
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
    frequencies = np.linspace(0.0, sample_rate_hz / 2, len(gain))
    shaped = np.fft.rfft(samples, size) * np.interp(hertz, frequencies, gain)
    return np.asarray(np.fft.irfft(shaped, size)[: len(samples)])


def _match_level(
    samples: NDArray[np.floating], reference: NDArray[np.floating]
) -> NDArray[np.floating]:
    power, wanted = float(np.mean(np.square(samples))), float(np.mean(np.square(reference)))
    return samples * np.sqrt(wanted / max(power, _TINY))


def _fft_size(count: int) -> int:
    """Return the next power of two."""
    return 1 << max(1, count - 1).bit_length()
