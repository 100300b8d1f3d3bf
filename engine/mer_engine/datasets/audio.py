"""Find, probe and decode the audio of clips."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from mer_engine.datasets.problems import DataError
from mer_engine.downmix import Downmix

if TYPE_CHECKING:
    from mer_engine.datasets.types import Clip

AUDIO_SUFFIXES = (".opus", ".mp3", ".flac", ".ogg", ".wav")


@dataclass(frozen=True, slots=True)
class AudioFile:
    """The header of an audio file."""

    path: Path
    duration_s: float
    sample_rate_hz: int


def find_audio(folder: Path, stem: str) -> Path | None:
    """Return the audio file with this stem in any supported format, or None."""
    for suffix in AUDIO_SUFFIXES:
        path = folder / f"{stem}{suffix}"
        if path.is_file():
            return path
    return None


def probe_audio(path: Path) -> AudioFile:
    """Read an audio file's header.

    Raises:
        DataError: the file cannot be read as audio, or has no samples.
    """
    try:
        info = soundfile.info(path)
    except (OSError, TypeError, soundfile.LibsndfileError) as error:
        raise DataError(_unreadable(path, error)) from error
    if info.frames <= 0:
        raise DataError(f"{path} has no samples: its length is zero")
    return AudioFile(path, info.frames / info.samplerate, int(info.samplerate))


def read_channels(clip: Clip) -> tuple[NDArray[np.float32], int]:
    """Decode a clip at its own sample rate.

    Returns:
        float32 [samples, channels] in [-1, 1], and the sample rate in Hz.

    Raises:
        DataError: the file cannot be decoded, or ends before the clip begins.
    """
    try:
        with soundfile.SoundFile(clip.path) as file:
            rate = int(file.samplerate)
            start = round(clip.audio_offset_s * rate)
            if start:
                if start >= file.frames:
                    raise DataError(
                        f"{clip.path} ends at {file.frames / rate:.2f} s, before the clip at "
                        f"{clip.audio_offset_s:g} s begins"
                    )
                file.seek(start)
            count = -1 if clip.duration_s is None else round(clip.duration_s * rate)
            return file.read(count, dtype="float32", always_2d=True), rate
    except (OSError, TypeError, soundfile.LibsndfileError) as error:
        raise DataError(_unreadable(clip.path, error)) from error


def read_clip(clip: Clip, sample_rate_hz: int) -> NDArray[np.float32]:
    """Decode a clip to mono, as streams are mixed, at the given rate, float32 [samples] in [-1, 1].

    Raises:
        DataError: the file cannot be decoded, or ends before the clip begins.
    """
    samples, rate = read_channels(clip)
    mono = Downmix(samples.shape[1], rate).mix(samples)
    if rate != sample_rate_hz:
        mono = soxr.resample(mono, rate, sample_rate_hz)
    return np.asarray(mono, dtype=np.float32)


def _unreadable(path: Path, error: Exception) -> str:
    if path.is_file() and not path.stat().st_size:
        return f"{path} is empty (0 bytes)"
    return f"{path} cannot be read as audio ({error}); convert it to flac, for example"
