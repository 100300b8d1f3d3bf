"""A numpy synthesiser for the demo: instruments, drums and reverb.

Every instrument is a function of a pitch in Hz and a length in seconds. It returns mono float32
samples [n] at `SAMPLE_RATE_HZ` with a peak of about 1; the same arguments give the same samples.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 44_100

Mono = NDArray[np.float32]

_PAD_TABLE = 1 << 17  # 3 s: long enough to make its repetition inaudible


def pitch(name: str) -> float:
    """Return the frequency in Hz of a note name ("A4", "F#3", "Bb2")."""
    semitone = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}[name[0]]
    semitone += name.count("#") - name[1:].count("b")
    octave = int(name[-1])
    return 440.0 * float(2.0 ** ((semitone - 9) / 12 + octave - 4))


def samples(seconds: float) -> int:
    """Convert seconds to a number of samples."""
    return round(seconds * SAMPLE_RATE_HZ)


def envelope(seconds: float, attack_s: float, release_s: float) -> Mono:
    """Return a gain [n] that rises in `attack_s`, stays at 1 and falls in the last `release_s`."""
    n = samples(seconds)
    shape = np.ones(n, np.float32)
    attack = min(samples(attack_s), n)
    release = min(samples(release_s), n)
    if attack:
        shape[:attack] *= _rise(attack)
    if release:
        shape[n - release :] *= _rise(release)[::-1]
    return shape


@functools.lru_cache(maxsize=16)
def pad(hz: float, seconds: float, brightness: float, seed: int) -> Mono:
    """Render a choir-like tone: every harmonic is a narrow band of noise, made by one inverse FFT.

    Args:
        hz: fundamental frequency.
        seconds: length.
        brightness: level of the high harmonics: 0.5 dark strings, 1 bright brass.
        seed: of the random phases.
    """
    rng = np.random.default_rng((seed, round(hz * 100)))
    bins = np.arange(_PAD_TABLE // 2 + 1, dtype=np.float32) * (SAMPLE_RATE_HZ / _PAD_TABLE)
    spectrum = np.zeros(len(bins), np.float32)
    for k in range(1, 25):
        centre = hz * k
        if centre > 12_000:
            break
        width = centre * 0.008 + 0.8  # about 14 cents, for a natural chorus
        band = slice(
            max(0, int((centre - 4 * width) * _PAD_TABLE / SAMPLE_RATE_HZ)),
            int((centre + 4 * width) * _PAD_TABLE / SAMPLE_RATE_HZ) + 2,
        )
        bell_curve = np.exp(-(((bins[band] - centre) / width) ** 2)) / math.sqrt(width)
        spectrum[band] += bell_curve * k ** (-1.0 / brightness)
    phases = rng.random(len(bins), np.float32) * np.float32(2 * np.pi)
    coefficients = np.empty(len(bins), np.complex64)
    coefficients.real = spectrum * np.cos(phases)
    coefficients.imag = spectrum * np.sin(phases)
    table = np.fft.irfft(coefficients).astype(np.float32)
    table /= np.abs(table).max()
    n = samples(seconds)
    return np.tile(table, -(-n // _PAD_TABLE))[:n]


@functools.lru_cache(maxsize=256)
def pluck(hz: float, seconds: float, brightness: float, seed: int) -> Mono:
    """Render a plucked string by Karplus-Strong synthesis: noise in a damped delay loop.

    Args:
        hz: fundamental frequency.
        seconds: length.
        brightness: 0 (finger on a harp) to 1 (plectrum on steel).
        seed: of the noise.
    """
    rng = np.random.default_rng((seed, round(hz * 100)))
    period = max(2, math.floor(SAMPLE_RATE_HZ / hz - 0.5))
    burst = rng.uniform(-1, 1, period).astype(np.float32)
    for _ in range(round(6 * (1 - brightness))):
        burst = 0.5 * (burst + np.roll(burst, 1))
    burst -= burst.mean()
    # The loop length is a whole number of samples plus the half sample of its filter, so the pitch
    # is slightly off; resampling the result corrects it.
    speed = hz * (period + 0.5) / SAMPLE_RATE_HZ
    n = samples(seconds)
    turns = math.ceil(n * speed / period) + 2
    loop = np.empty((turns, period), np.float32)
    loop[0] = burst
    damping = 0.5 * 0.996 ** max(0.3, 220 / hz)
    for turn in range(1, turns):
        previous = loop[turn - 1]
        loop[turn, 1:] = damping * (previous[1:] + previous[:-1])
        loop[turn, 0] = damping * (previous[0] + (loop[turn - 2, -1] if turn > 1 else 0.0))
    flat = loop.ravel()
    string: Mono = np.interp(np.arange(n) * speed, np.arange(len(flat)), flat).astype(np.float32)
    string *= envelope(seconds, 0.001, 0.05) / np.abs(string).max()
    return string


@functools.lru_cache(maxsize=8)
def piano(hz: float, seconds: float, hardness: float) -> Mono:
    """Render a piano: stretched partials, the high ones short; `hardness` 0 (felt) to 1."""
    t = _time(seconds).astype(np.float32)
    tone = np.zeros(len(t), np.float32)
    for k in range(1, 11):
        partial = hz * k * math.sqrt(1 + 0.0004 * k * k)
        if partial > 10_000:
            break
        gain = k ** -(2.2 - 1.2 * hardness)
        decay = 0.5 + 0.45 * k * (hz / 260) ** 0.5
        # Two slightly detuned strings beat slowly, as in a real piano.
        beating = np.cos(np.float32(2 * np.pi * 0.0003 * partial) * t + np.float32(0.5 * k))
        wave = _constant_sine(partial, len(t), 0.08 * k) * beating
        tone += np.float32(2 * gain) * np.exp(np.float32(-decay) * t) * wave
    tone *= envelope(seconds, 0.004, min(0.3, seconds / 3)) / np.abs(tone).max()
    return tone


@functools.lru_cache(maxsize=256)
def bell(hz: float, seconds: float, ratio: float, depth: float) -> Mono:
    """Render FM synthesis: a glockenspiel (`ratio` 2, small `depth`) or a gong (1.41, large)."""
    t = _time(seconds)
    modulator = depth / (2 * np.pi) * np.exp(-t * 4 / seconds) * _sine(hz * ratio * t)
    tone = _sine(hz * t + modulator) * np.exp(-t * 5 / seconds)
    return (tone * envelope(seconds, 0.002, 0.05)).astype(np.float32)


@functools.lru_cache(maxsize=8)
def flute(hz: float, seconds: float, seed: int) -> Mono:
    """Render a soft flute with delayed vibrato and breath noise."""
    t = _time(seconds)
    turns = hz * t + 0.0006 * hz / 5.2 * np.minimum(t / 0.8, 1) * _sine(5.2 * t)
    tone = _sine(turns) + 0.22 * _sine(2 * turns) + 0.07 * _sine(3 * turns)
    breath = np.convolve(_noise(len(t), seed), np.hanning(24).astype(np.float32) / 12, "same")
    blown: Mono = (tone / 1.2 + 0.02 * breath) * envelope(seconds, 0.09, min(0.25, seconds / 3))
    return blown


@functools.lru_cache(maxsize=256)
def saw(hz: float, seconds: float, brightness: float, decay: float) -> Mono:
    """Render a band-limited sawtooth; `decay` in 1/s (0 sustains)."""
    t = _time(seconds).astype(np.float32)
    tone = np.zeros(len(t), np.float32)
    for k in range(1, max(2, round(20 * brightness) + 1)):
        if hz * k > 9_000:
            break
        tone += _constant_sine(hz * k, len(t), 0.0) * np.float32(1.0 / k)
    tone /= np.abs(tone).max()
    tone *= np.exp(np.float32(-decay) * t)
    return tone * envelope(seconds, 0.006, min(0.04, seconds / 4))


@functools.lru_cache(maxsize=32)
def guitar(hz: tuple[float, ...], seconds: float, mute: float, seed: int) -> Mono:
    """Render strings of an electric guitar through one overdriven amplifier and its loudspeaker.

    Args:
        hz: frequencies of the strings that are struck together.
        seconds: length.
        mute: damping by the palm in 1/s; 0 is undamped.
        seed: of the strings' noise.
    """
    t = _time(seconds).astype(np.float32)
    chord = np.zeros(len(t), np.float32)
    for string, frequency in enumerate(hz):
        chord += pluck(frequency, seconds, 0.9, seed + string)
    chord = np.tanh(60 * np.exp(-mute * t) * chord)
    size = _fft_size(len(chord) + 2000)
    spectrum = np.fft.rfft(chord, size)
    bins = np.arange(len(spectrum), dtype=np.float32) * (SAMPLE_RATE_HZ / size)
    low = (bins / 90) ** 2
    spectrum *= low / (1 + low) / (1 + (bins / 4200) ** 4)
    tone: Mono = np.fft.irfft(spectrum, size)[: len(chord)].astype(np.float32)
    tone *= envelope(seconds, 0.001, 0.02) / np.abs(tone).max()
    return tone


@functools.lru_cache(maxsize=32)
def kick(deep_hz: float, seconds: float) -> Mono:
    """Render a bass drum."""
    t = _time(seconds)
    sweep = deep_hz * t + (110.0 / 30) * (1 - np.exp(-30 * t))
    click = _noise(len(t), 5) * np.exp(-t * 400) * 0.3
    tone = np.sin(2 * np.pi * sweep) * np.exp(-t * 5 / seconds) + click
    struck: Mono = (tone * envelope(seconds, 0.001, 0.03)).astype(np.float32)
    return struck


@functools.lru_cache(maxsize=32)
def snare(seconds: float, tone_hz: float, seed: int) -> Mono:
    """Render a snare drum, or a clap if `tone_hz` is 0."""
    t = _time(seconds)
    rattle = np.diff(_noise(len(t), seed), prepend=0) * np.exp(-t * 6 / seconds)
    if tone_hz:
        body = np.sin(2 * np.pi * tone_hz * t) * np.exp(-t * 22)
        return (0.6 * rattle + 0.5 * body).astype(np.float32)
    hands = np.zeros(len(t))
    for late in (0.0, 0.011, 0.023):
        hands += np.where(t >= late, np.exp(-np.maximum(t - late, 0) * 90), 0)
    hands += 0.5 * np.exp(-t * 8 / seconds)
    smooth = np.convolve(_noise(len(t), seed), [0.5, 0, -0.5], "same")
    return (0.6 * smooth * hands).astype(np.float32)


@functools.lru_cache(maxsize=32)
def cymbal(seconds: float, seed: int) -> Mono:
    """Render a cymbal, from a hi-hat (0.05 s) to a crash (2 s): high-passed noise."""
    n = samples(seconds)
    hiss = np.diff(_noise(n + 2, seed), 2) / 3
    return (hiss * np.exp(-_time(seconds) * 5 / seconds)).astype(np.float32)


def reverb(dry: Mono, seconds: float, darkness: float, side: int) -> Mono:
    """Return the reverberation of a signal: convolution with decaying noise.

    Args:
        dry: float32 [n].
        seconds: reverberation time (decay by 60 dB).
        darkness: 0 (tiles) to 1 (curtains).
        side: 0 (left) or 1 (right); each has its own noise.

    Returns:
        float32 [n], the reverberation alone, about as loud as the input, cut at its end.
    """
    length = samples(seconds)
    impulse = _noise(length, 77 + side)
    impulse *= np.exp(np.linspace(0, -6.9, length, dtype=np.float32))
    impulse[: samples(0.012)] = 0  # pre-delay
    size = _fft_size(len(dry) + length)
    spectrum = np.fft.rfft(impulse, size)
    bins = np.arange(len(spectrum), dtype=np.float32)
    bins *= SAMPLE_RATE_HZ / size / (9_000 - 7_500 * darkness)
    np.square(bins, out=bins)
    bins += 1
    spectrum /= bins
    spectrum /= np.linalg.norm(spectrum) / math.sqrt(len(spectrum))
    spectrum *= np.fft.rfft(dry, size)
    wet: Mono = np.fft.irfft(spectrum, size)[: len(dry)].astype(np.float32, copy=False)
    return wet


def _time(seconds: float) -> NDArray[np.float64]:
    """Return the times of samples in seconds, in double precision for the phase of many cycles."""
    return np.arange(samples(seconds)) / SAMPLE_RATE_HZ


def _sine(turns: NDArray[np.float64]) -> Mono:
    """Return the sine of a phase in cycles; its fractional part is enough, in fast float32."""
    return np.sin(((turns - np.floor(turns)) * (2 * np.pi)).astype(np.float32))


def _constant_sine(hz: float, n: int, turns: float) -> Mono:
    """Return `n` samples of a sine of constant frequency; the initial phase is in cycles.

    The addition theorem on a coarse and a fine grid needs a few hundred sines instead of `n`.
    """
    fine = 512
    coarse = -(-n // fine)
    a = 2 * np.pi * (hz / SAMPLE_RATE_HZ * fine * np.arange(coarse) + turns)
    b = 2 * np.pi * (hz / SAMPLE_RATE_HZ * np.arange(fine))
    grid = np.outer(np.sin(a).astype(np.float32), np.cos(b).astype(np.float32))
    grid += np.outer(np.cos(a).astype(np.float32), np.sin(b).astype(np.float32))
    return grid.ravel()[:n]


def _fft_size(n: int) -> int:
    """Return the smallest product of powers of 2, 3 and 5 that is at least `n`."""
    powers: list[int] = [3**b * 5**c for b in range(6) for c in range(5)]
    return min(odd << max(0, math.ceil(math.log2(n / odd))) for odd in powers)


def _rise(n: int) -> Mono:
    return (0.5 - 0.5 * np.cos(np.linspace(0, np.pi, n))).astype(np.float32)


def _noise(n: int, seed: int) -> Mono:
    return np.random.default_rng(seed).uniform(-1, 1, n).astype(np.float32)


def clear_cache() -> None:
    """Free the cached tones, which the score repeats."""
    for instrument in (pad, pluck, piano, bell, flute, saw, guitar, kick, snare, cymbal):
        instrument.cache_clear()
