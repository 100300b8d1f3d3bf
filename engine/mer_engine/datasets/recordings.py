"""The sections of recordings that lie in one folder, named by song."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mer_engine.datasets.audio import AudioFile, find_audio, probe_audio
from mer_engine.datasets.problems import (
    NO_AUDIO,
    SHORT_AUDIO,
    UNREADABLE_AUDIO,
    DataError,
    Problem,
)
from mer_engine.datasets.types import Clip, sections


def find_recording(song: str, folder: Path) -> AudioFile | Problem:
    """Return the audio file of a song, or why there is none."""
    path = find_audio(folder, song)
    if path is None:
        return Problem(song, NO_AUDIO, f"no audio file in {folder}")
    try:
        return probe_audio(path)
    except DataError as error:
        return Problem(song, UNREADABLE_AUDIO, str(error))


def recording_sections(song: str, folder: Path) -> Sequence[Clip] | Problem:
    """Cut the recording of a song into sections, or return why that is not possible."""
    file = find_recording(song, folder)
    if isinstance(file, Problem):
        return file
    clips = sections(song, file.path, 0.0, file.duration_s)
    return clips or Problem(song, SHORT_AUDIO, f"{file.path} has only {file.duration_s:.1f} s")
