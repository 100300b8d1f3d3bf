"""Simulated acoustic conditions: levels, microphones, rooms, crowds, codecs.

Every change maps mono samples float32 [n], full scale 1, to samples of the same duration without a
delay, so that estimates can be compared at the same times.
"""

from __future__ import annotations

import functools
import math
import subprocess
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from realtime_mer.audio.ffmpeg import INSTALL_HINT, ffmpeg_path
from realtime_mer.errors import UserError

Mono = NDArray[np.float32]
Complex = NDArray[np.complexfloating[Any, Any]]
Change = Callable[[Mono, int], tuple[Mono, int]]

GAINS_DB = (-20, -12, -6, 6, 12)
NOISE_DB = (20, 10, 5)
RATES_HZ = (16_000, 44_100, 96_000)
CODEC_KBIT_S = 48
ROOM_RT60_S = 0.4
# Time of the knock, and its peak relative to the loudest sample.
KNOCK_S, KNOCK_DB = 3.0, 12
TELEPHONE_HZ = (300.0, 3400.0)
_CODECS = {"mp3": ("libmp3lame", "mp3"), "opus": ("libopus", "ogg")}
_CODEC_LIMIT_S = 30.0
_SEARCH_S = 0.15
_VOICES = 8
_CARRIER_S = 60
_CARRIER_SEED = 1


@dataclass(frozen=True)
class Condition:
    """A simulated condition.

    Attributes:
        name: short name, for tables.
        group: group of related conditions.
        what: description that is sufficient to reproduce it.
        change: maps samples [n] and a rate in Hz to samples [n] or [n, channels] and a rate.
    """

    name: str
    group: str
    what: str
    change: Change


def conditions(seed: int = 0) -> tuple[list[Condition], list[str]]:
    """Return the conditions that work on this machine, and a sentence for each that does not."""
    available = [
        Condition(
            f"gain {decibel:+d} dB",
            "level",
            f"samples times {10 ** (decibel / 20):.3g}, clipped at full scale",
            functools.partial(_gain, decibel=decibel),
        )
        for decibel in GAINS_DB
    ]
    available += [
        Condition(
            "laptop microphone",
            "microphone",
            "high-pass 200 Hz, peaks of 4 dB at 900 Hz and 5 dB at 3.2 kHz, low-pass 10 kHz, "
            "each of second order",
            laptop_microphone,
        ),
        Condition(
            "small room",
            "room",
            "direct sound and, 3 ms later with equal energy, noise that decays by 60 dB in "
            f"{ROOM_RT60_S} s; level unchanged",
            functools.partial(_seeded, make=small_room, seed=seed),
        ),
        Condition(
            "knock on the microphone",
            "knock",
            f"samples times 0.1 and, after {KNOCK_S:g} s, one thump of 150 Hz that decays within "
            f"20 ms and peaks {KNOCK_DB} dB above the loudest sample",
            knock,
        ),
    ]
    available += [
        Condition(
            f"crowd, {decibel} dB below",
            "crowd",
            f"{_VOICES} voices of speech-shaped noise with syllabic modulation (not speech), "
            f"together {decibel} dB below the music",
            functools.partial(_seeded, make=functools.partial(crowd, snr_db=decibel), seed=seed),
        )
        for decibel in NOISE_DB
    ]
    skipped = []
    for name in _CODECS:
        title = f"{name.upper() if name == 'mp3' else name.capitalize()} {CODEC_KBIT_S} kbit/s"
        if ffmpeg_path() is None:
            skipped.append(f"{title}: needs ffmpeg, which is not installed; {INSTALL_HINT}")
            continue
        available.append(
            Condition(
                title,
                "codec",
                f"encoded ({_CODECS[name][0]}, mono) and decoded by ffmpeg, delay removed; the "
                "source clips are lossy, too",
                functools.partial(codec, name=name),
            )
        )
    available += [
        Condition(
            "telephone band",
            "band",
            f"{TELEPHONE_HZ[0]:.0f} to {TELEPHONE_HZ[1]:.0f} Hz, fourth order, at 8 kHz",
            telephone,
        ),
        Condition("stereo, both channels", "channels", "the music in both channels", _both),
        Condition(
            "stereo, left only",
            "channels",
            "the music on the left, silence on the right",
            _left_only,
        ),
    ]
    available += [
        Condition(
            f"fed at {rate / 1000:g} kHz",
            "rate",
            f"resampled to {rate} Hz (soxr, best quality)",
            functools.partial(_at_rate, target_hz=rate),
        )
        for rate in RATES_HZ
    ]
    return available, skipped


def gain(samples: Mono, decibel: float) -> Mono:
    """Change the level and clip at full scale, like an amplifier before a converter."""
    return np.asarray(np.clip(samples * 10 ** (decibel / 20), -1.0, 1.0), dtype=np.float32)


def clipped_share(samples: Mono, decibel: float) -> float:
    """Return the share of samples that `gain` clips, 0 to 1."""
    return float(np.mean(np.abs(samples) * 10 ** (decibel / 20) > 1.0))


def laptop_microphone(samples: Mono, rate_hz: int) -> tuple[Mono, int]:
    """Apply the frequency response of a small built-in microphone."""

    def response(hertz: NDArray[np.float64]) -> Complex:
        s = 1j * hertz
        return (
            _high_pass(s, 200.0)
            * _peak(s, 900.0, 4.0, 1.0)
            * _peak(s, 3200.0, 5.0, 1.2)
            * _low_pass(s, 10_000.0)
        )

    return _filtered(samples, rate_hz, response), rate_hz


def telephone(samples: Mono, rate_hz: int) -> tuple[Mono, int]:
    """Apply the band-pass of a telephone, and resample to 8 kHz."""
    low, high = TELEPHONE_HZ

    def response(hertz: NDArray[np.float64]) -> Complex:
        s = 1j * hertz
        result = np.ones_like(s)
        # Fourth-order Butterworth: two second-order stages each.
        for quality in (0.5412, 1.3066):
            result = result * _high_pass(s, low, quality) * _low_pass(s, high, quality)
        return result

    return _at_rate(_filtered(samples, rate_hz, response), rate_hz, target_hz=8_000)


def small_room(samples: Mono, rate_hz: int, rng: np.random.Generator) -> Mono:
    """Add an exponentially decaying noise tail of equal energy; keep the RMS level."""
    time_s = np.arange(int(1.5 * ROOM_RT60_S * rate_hz)) / rate_hz
    tail = rng.standard_normal(len(time_s)) * 10 ** (-3 * time_s / ROOM_RT60_S)
    impulse = np.concatenate([np.zeros(int(0.003 * rate_hz)), tail / np.sqrt(np.sum(tail**2))])
    impulse[0] = 1.0
    size = _fft_size(len(samples) + len(impulse))
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(impulse, size), size)
    return _at_level(wet[: len(samples)], samples)


def knock(samples: Mono, rate_hz: int) -> tuple[Mono, int]:
    """Attenuate by 20 dB, and add one knock on the microphone."""
    quiet = gain(samples, -20.0)
    begin = round(KNOCK_S * rate_hz)
    time_s = np.arange(max(0, min(round(0.1 * rate_hz), len(quiet) - begin))) / rate_hz
    thump = np.sin(2 * np.pi * 150.0 * time_s) * np.exp(-time_s / 0.02)
    if len(thump):
        height = np.abs(quiet).max() * 10 ** (KNOCK_DB / 20) / np.abs(thump).max(initial=1e-9)
        quiet[begin : begin + len(thump)] += (height * thump).astype(np.float32)
    return quiet, rate_hz


def crowd(samples: Mono, rate_hz: int, rng: np.random.Generator, *, snr_db: float) -> Mono:
    """Add babble noise at a level `snr_db` below the music.

    The babble is the sum of eight voices of speech-shaped noise: flat up to 500 Hz, then -9 dB per
    octave, high-passed at 100 Hz, each modulated at a syllable rate of about 4 Hz.
    """
    count = len(samples)
    noise = np.sum([_voice(count, rate_hz, rng) for _ in range(_VOICES)], axis=0)
    scaled = _at_level(noise, samples) * np.float32(10 ** (-snr_db / 20))
    return np.asarray(samples + scaled, dtype=np.float32)


def codec(samples: Mono, rate_hz: int, *, name: str) -> tuple[Mono, int]:
    """Encode and decode with ffmpeg at 48 kbit/s, and remove the delay.

    Args:
        samples: float32 [n].
        rate_hz: sample rate.
        name: "mp3" or "opus".

    Raises:
        UserError: ffmpeg is missing or fails.
    """
    program = ffmpeg_path()
    if program is None:
        raise UserError(f"the codec {name} needs ffmpeg, which is not installed; {INSTALL_HINT}")
    encoder, suffix = _CODECS[name]
    quiet = [program, "-nostdin", "-hide_banner", "-loglevel", "error", "-y"]
    with tempfile.TemporaryDirectory() as folder:
        wav, packed, back = (Path(folder) / f for f in ("in.wav", f"packed.{suffix}", "out.wav"))
        soundfile.write(wav, np.clip(samples, -1.0, 1.0), rate_hz, subtype="FLOAT")
        bits = ["-c:a", encoder, "-b:a", f"{CODEC_KBIT_S}k", "-threads", "1"]
        for command in (
            [*quiet, "-i", str(wav), *bits, str(packed)],
            [*quiet, "-i", str(packed), "-c:a", "pcm_f32le", "-ar", str(rate_hz), str(back)],
        ):
            done = subprocess.run(command, capture_output=True, text=True, timeout=_CODEC_LIMIT_S)
            if done.returncode:
                lines = done.stderr.strip().splitlines() or ["no message"]
                raise UserError(f"ffmpeg could not convert the clip to {name}: {lines[-1]}")
        decoded, _ = soundfile.read(back, dtype="float32", always_2d=True)
    return align(samples, decoded[:, 0], int(_SEARCH_S * rate_hz)), rate_hz


def align(reference: Mono, other: Mono, search: int) -> Mono:
    """Shift `other` to the best cross-correlation with the reference, at the same length.

    Args:
        reference: float32 [n].
        other: float32 [m].
        search: maximum shift in both directions, samples.

    Returns:
        float32 [n].
    """
    size = _fft_size(len(reference) + len(other))
    product = np.fft.rfft(other, size) * np.conj(np.fft.rfft(reference, size))
    correlation = np.fft.irfft(product, size)
    lags = np.concatenate([np.arange(search + 1), np.arange(-search, 0)])
    delay = int(lags[np.argmax(correlation[lags])])
    shifted = other[delay:] if delay >= 0 else np.concatenate([np.zeros(-delay, "f4"), other])
    result = np.zeros(len(reference), dtype=np.float32)
    count = min(len(shifted), len(result))
    result[:count] = shifted[:count]
    return result


def _gain(samples: Mono, rate_hz: int, *, decibel: float) -> tuple[Mono, int]:
    return gain(samples, decibel), rate_hz


def _seeded(
    samples: Mono,
    rate_hz: int,
    *,
    make: Callable[[Mono, int, np.random.Generator], Mono],
    seed: int,
) -> tuple[Mono, int]:
    """Apply a random change with a seed that depends on the clip."""
    return make(
        samples, rate_hz, np.random.default_rng([seed, zlib.crc32(samples.tobytes())])
    ), rate_hz


def _both(samples: Mono, rate_hz: int) -> tuple[Mono, int]:
    return np.column_stack([samples, samples]), rate_hz


def _left_only(samples: Mono, rate_hz: int) -> tuple[Mono, int]:
    return np.column_stack([samples, np.zeros_like(samples)]), rate_hz


def _at_rate(samples: Mono, rate_hz: int, *, target_hz: int) -> tuple[Mono, int]:
    resampled = soxr.resample(samples, rate_hz, target_hz, quality="VHQ")
    return np.asarray(resampled, dtype=np.float32), target_hz


def _voice(count: int, rate_hz: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the noise of one voice, float64 [count]."""
    carrier = _speech_shaped(rate_hz, max(_CARRIER_S, math.ceil(count / rate_hz) + 1))
    start = rng.integers(len(carrier) - count)
    # About four syllables per second, of random loudness, with occasional pauses.
    syllables = int(count / rate_hz * 6) + 4
    loudness = rng.uniform(0.2, 1.0, syllables) * (rng.random(syllables) > 0.15)
    peaks_s = np.cumsum(rng.uniform(0.18, 0.32, syllables)) - 0.3
    time_s = np.arange(count) / rate_hz
    envelope = np.interp(time_s, peaks_s, loudness)
    ripple = 0.5 - 0.5 * np.cos(2 * np.pi * np.interp(time_s, peaks_s, np.arange(syllables)))
    return np.asarray(carrier[start : start + count] * (0.1 + envelope * ripple))


@functools.lru_cache(maxsize=2)
def _speech_shaped(rate_hz: int, seconds: int) -> Mono:
    """Return long noise with the spectrum of speech, from which `_voice` cuts sections."""

    def response(hertz: NDArray[np.float64]) -> Complex:
        slope = np.minimum(1.0, (np.maximum(hertz, 1.0) / 500.0) ** -1.5)
        return np.asarray(slope * _high_pass(1j * hertz, 100.0))

    white = np.random.default_rng(_CARRIER_SEED).standard_normal(rate_hz * seconds, np.float32)
    return _filtered(white, rate_hz, response)


def _filtered(
    samples: Mono,
    rate_hz: int,
    response: Callable[[NDArray[np.float64]], Complex],
) -> Mono:
    """Filter with a complex frequency response (stable, causal, half a second of tail)."""
    size = _fft_size(len(samples) + rate_hz // 2)
    spectrum = np.fft.rfft(samples, size) * response(
        np.asarray(np.fft.rfftfreq(size, 1 / rate_hz), dtype=np.float64)
    )
    return np.fft.irfft(spectrum, size)[: len(samples)].astype(np.float32)


def _high_pass(s: Complex, hertz: float, quality: float = 0.7071) -> Complex:
    p = s / hertz
    return np.asarray(p**2 / (p**2 + p / quality + 1))


def _low_pass(s: Complex, hertz: float, quality: float = 0.7071) -> Complex:
    p = s / hertz
    return np.asarray(1 / (p**2 + p / quality + 1))


def _peak(s: Complex, hertz: float, decibel: float, quality: float) -> Complex:
    p, root = s / hertz, 10 ** (decibel / 40)
    return np.asarray((p**2 + p * root / quality + 1) / (p**2 + p / (root * quality) + 1))


def _at_level(samples: NDArray[np.floating[Any]], like: Mono) -> Mono:
    """Scale samples to the RMS level of other samples."""
    own, wanted = _rms(samples), _rms(like)
    return np.asarray(samples * (wanted / own if own > 0 else 0.0), dtype=np.float32)


def _rms(samples: NDArray[np.floating[Any]]) -> float:
    return math.sqrt(float(np.mean(np.square(samples.astype(np.float64)))))


def _fft_size(count: int) -> int:
    return 1 << (count - 1).bit_length()
