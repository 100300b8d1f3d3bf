"""Instruments, drums and a room: the orchestra of the demo, in plain numpy.

Every instrument is a function from a pitch in Hz and a length in seconds to mono float32 samples
[n] at `SAMPLE_RATE_HZ`, with a peak of about 1. The same arguments give the same samples.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 44_100

Mono = NDArray[np.float32]

_PAD_TABLE = 1 << 17  # 3 s: long enough that its repetition is not heard


def pitch(name: str) -> float:
    """A note name in scientific notation ("A4", "F#3", "Bb2") as a frequency in Hz."""
    semitone = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}[name[0]]
    semitone += name.count("#") - name[1:].count("b")
    octave = int(name[-1])
    return 440.0 * float(2.0 ** ((semitone - 9) / 12 + octave - 4))


def samples(seconds: float) -> int:
    """How many samples `seconds` are."""
    return round(seconds * SAMPLE_RATE_HZ)


def envelope(seconds: float, attack_s: float, release_s: float) -> Mono:
    """Rises in `attack_s`, stays at 1, falls in the last `release_s`; raised-cosine edges."""
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
    """A choir-like tone: every harmonic is a narrow band of noise, made by one inverse FFT.

    Args:
        brightness: how slowly the harmonics fall: 0.5 is a dark string bed, 1 bright brass.
    """
    rng = np.random.default_rng((seed, round(hz * 100)))
    bins = np.arange(_PAD_TABLE // 2 + 1, dtype=np.float32) * (SAMPLE_RATE_HZ / _PAD_TABLE)
    spectrum = np.zeros(len(bins), np.float32)
    for k in range(1, 25):
        centre = hz * k
        if centre > 12_000:
            break
        width = centre * 0.008 + 0.8  # about 14 cents, so that the tone lives
        reach = slice(
            max(0, int((centre - 4 * width) * _PAD_TABLE / SAMPLE_RATE_HZ)),
            int((centre + 4 * width) * _PAD_TABLE / SAMPLE_RATE_HZ) + 2,
        )
        bell_curve = np.exp(-(((bins[reach] - centre) / width) ** 2)) / math.sqrt(width)
        spectrum[reach] += bell_curve * k ** (-1.0 / brightness)
    phases = rng.random(len(bins), np.float32) * np.float32(2 * np.pi)
    waves = np.empty(len(bins), np.complex64)
    waves.real = spectrum * np.cos(phases)
    waves.imag = spectrum * np.sin(phases)
    table = np.fft.irfft(waves).astype(np.float32)
    table /= np.abs(table).max()
    n = samples(seconds)
    return np.tile(table, -(-n // _PAD_TABLE))[:n]


@functools.lru_cache(maxsize=256)
def pluck(hz: float, seconds: float, brightness: float, seed: int) -> Mono:
    """A plucked string after Karplus and Strong: noise that goes round in a damped loop.

    Args:
        brightness: 0 (finger on a harp) to 1 (plectrum on steel).
    """
    rng = np.random.default_rng((seed, round(hz * 100)))
    period = max(2, math.floor(SAMPLE_RATE_HZ / hz - 0.5))
    burst = rng.uniform(-1, 1, period).astype(np.float32)
    for _ in range(round(6 * (1 - brightness))):
        burst = 0.5 * (burst + np.roll(burst, 1))
    burst -= burst.mean()
    # The loop (a whole number of samples and the half one of its filter) is a little off; reading
    # the result at another speed puts it in tune.
    speed = hz * (period + 0.5) / SAMPLE_RATE_HZ
    n = samples(seconds)
    turns = math.ceil(n * speed / period) + 2
    loop = np.empty((turns, period), np.float32)
    loop[0] = burst
    keep = 0.5 * 0.996 ** max(0.3, 220 / hz)
    for turn in range(1, turns):
        before = loop[turn - 1]
        loop[turn, 1:] = keep * (before[1:] + before[:-1])
        loop[turn, 0] = keep * (before[0] + (loop[turn - 2, -1] if turn > 1 else 0.0))
    flat = loop.ravel()
    string: Mono = np.interp(np.arange(n) * speed, np.arange(len(flat)), flat).astype(np.float32)
    string *= envelope(seconds, 0.001, 0.05) / np.abs(string).max()
    return string


@functools.lru_cache(maxsize=8)
def piano(hz: float, seconds: float, hardness: float) -> Mono:
    """A struck string: stretched partials, the high ones short; `hardness` 0 (felt) to 1."""
    t = _time(seconds).astype(np.float32)
    tone = np.zeros(len(t), np.float32)
    for k in range(1, 11):
        partial = hz * k * math.sqrt(1 + 0.0004 * k * k)
        if partial > 10_000:
            break
        gain = k ** -(2.2 - 1.2 * hardness)
        decay = 0.5 + 0.45 * k * (hz / 260) ** 0.5
        # Two strings a little apart give the slow beating of a real one.
        beating = np.cos(np.float32(2 * np.pi * 0.0003 * partial) * t + np.float32(0.5 * k))
        wave = _steady(partial, len(t), 0.08 * k) * beating
        tone += np.float32(2 * gain) * np.exp(np.float32(-decay) * t) * wave
    tone *= envelope(seconds, 0.004, min(0.3, seconds / 3)) / np.abs(tone).max()
    return tone


@functools.lru_cache(maxsize=256)
def bell(hz: float, seconds: float, ratio: float, depth: float) -> Mono:
    """Frequency modulation: `ratio` 2 and little `depth` a glockenspiel, 1.41 and much a gong."""
    t = _time(seconds)
    modulator = depth / (2 * np.pi) * np.exp(-t * 4 / seconds) * _sine(hz * ratio * t)
    tone = _sine(hz * t + modulator) * np.exp(-t * 5 / seconds)
    return (tone * envelope(seconds, 0.002, 0.05)).astype(np.float32)


@functools.lru_cache(maxsize=8)
def flute(hz: float, seconds: float, seed: int) -> Mono:
    """A soft flute with vibrato that comes late, and some breath."""
    t = _time(seconds)
    turns = hz * t + 0.0006 * hz / 5.2 * np.minimum(t / 0.8, 1) * _sine(5.2 * t)
    tone = _sine(turns) + 0.22 * _sine(2 * turns) + 0.07 * _sine(3 * turns)
    breath = np.convolve(_noise(len(t), seed), np.hanning(24).astype(np.float32) / 12, "same")
    blown: Mono = (tone / 1.2 + 0.02 * breath) * envelope(seconds, 0.09, min(0.25, seconds / 3))
    return blown


@functools.lru_cache(maxsize=256)
def saw(hz: float, seconds: float, brightness: float, decay: float) -> Mono:
    """A bowed or sawtooth tone without aliases; `decay` in 1/s (0 holds)."""
    t = _time(seconds).astype(np.float32)
    tone = np.zeros(len(t), np.float32)
    for k in range(1, max(2, round(20 * brightness) + 1)):
        if hz * k > 9_000:
            break
        tone += _steady(hz * k, len(t), 0.0) * np.float32(1.0 / k)
    tone /= np.abs(tone).max()
    tone *= np.exp(np.float32(-decay) * t)
    return tone * envelope(seconds, 0.006, min(0.04, seconds / 4))


@functools.lru_cache(maxsize=32)
def guitar(hz: tuple[float, ...], seconds: float, mute: float, seed: int) -> Mono:
    """Strings of an electric guitar through one overdriven amplifier and its loudspeaker.

    Args:
        hz: of the strings that are struck together.
        mute: damping by the palm in 1/s; 0 lets ring.
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
    """A bass drum; deep and long, it is a taiko."""
    t = _time(seconds)
    sweep = deep_hz * t + (110.0 / 30) * (1 - np.exp(-30 * t))
    click = _noise(len(t), 5) * np.exp(-t * 400) * 0.3
    tone = np.sin(2 * np.pi * sweep) * np.exp(-t * 5 / seconds) + click
    struck: Mono = (tone * envelope(seconds, 0.001, 0.03)).astype(np.float32)
    return struck


@functools.lru_cache(maxsize=32)
def snare(seconds: float, tone_hz: float, seed: int) -> Mono:
    """A snare drum, or a clap where `tone_hz` is 0."""
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
    """A hi-hat (0.05 s) to a crash (2 s): noise without its low half."""
    n = samples(seconds)
    hiss = np.diff(_noise(n + 2, seed), 2) / 3
    return (hiss * np.exp(-_time(seconds) * 5 / seconds)).astype(np.float32)


def room(dry: Mono, seconds: float, darkness: float, side: int) -> Mono:
    """What the walls answer: convolution with decaying noise.

    Args:
        dry: float32 [n].
        seconds: time until the answer has fallen by 60 dB.
        darkness: 0 (tiles) to 1 (curtains).
        side: 0 or 1; the walls of the left and of the right answer differently.

    Returns:
        float32 [n], the answer alone, about as loud as the input, cut where the input ends.
    """
    length = samples(seconds)
    walls = _noise(length, 77 + side)
    walls *= np.exp(np.linspace(0, -6.9, length, dtype=np.float32))
    walls[: samples(0.012)] = 0  # the sound has to get there first
    size = _fft_size(len(dry) + length)
    spectrum = np.fft.rfft(walls, size)
    bins = np.arange(len(spectrum), dtype=np.float32)
    bins *= SAMPLE_RATE_HZ / size / (9_000 - 7_500 * darkness)
    np.square(bins, out=bins)
    bins += 1
    spectrum /= bins
    spectrum /= np.linalg.norm(spectrum) / math.sqrt(len(spectrum))
    spectrum *= np.fft.rfft(dry, size)
    answer: Mono = np.fft.irfft(spectrum, size)[: len(dry)].astype(np.float32, copy=False)
    return answer


def _time(seconds: float) -> NDArray[np.float64]:
    """Seconds, in double precision: a phase of many turns has no room in a float32."""
    return np.arange(samples(seconds)) / SAMPLE_RATE_HZ


def _sine(turns: NDArray[np.float64]) -> Mono:
    """The sine of a phase in turns; without its whole turns it fits a float32, which is fast."""
    return np.sin(((turns - np.floor(turns)) * (2 * np.pi)).astype(np.float32))


def _steady(hz: float, n: int, turns: float) -> Mono:
    """A sine of constant frequency that starts at a phase in turns.

    By the addition theorem from a coarse and a fine grid: a few hundred sines instead of `n`.
    """
    fine = 512
    coarse = -(-n // fine)
    a = 2 * np.pi * (hz / SAMPLE_RATE_HZ * fine * np.arange(coarse) + turns)
    b = 2 * np.pi * (hz / SAMPLE_RATE_HZ * np.arange(fine))
    grid = np.outer(np.sin(a).astype(np.float32), np.cos(b).astype(np.float32))
    grid += np.outer(np.cos(a).astype(np.float32), np.sin(b).astype(np.float32))
    return grid.ravel()[:n]


def _fft_size(n: int) -> int:
    """The smallest length from `n` on that the FFT likes: a product of twos, threes and fives."""
    powers: list[int] = [3**b * 5**c for b in range(6) for c in range(5)]
    return min(odd << max(0, math.ceil(math.log2(n / odd))) for odd in powers)


def _rise(n: int) -> Mono:
    return (0.5 - 0.5 * np.cos(np.linspace(0, np.pi, n))).astype(np.float32)


def _noise(n: int, seed: int) -> Mono:
    return np.random.default_rng(seed).uniform(-1, 1, n).astype(np.float32)


def forget() -> None:
    """Give back the memory of tones that were kept because scores repeat them."""
    for instrument in (pad, pluck, piano, bell, flute, saw, guitar, kick, snare, cymbal):
        instrument.cache_clear()
