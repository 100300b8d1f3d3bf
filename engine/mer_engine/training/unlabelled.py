"""Choose clips of unlabelled music from the files of a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from mer_engine.datasets.audio import AUDIO_SUFFIXES, probe_audio
from mer_engine.datasets.problems import DataError
from mer_engine.datasets.types import CLIP_S, Clip

SUFFIXES = tuple(sorted((*AUDIO_SUFFIXES, ".oga")))
# A few clips of a long file are enough, because the rest sounds similar.
MAX_CLIPS_PER_FILE = 5
# A large folder must not dominate the others.
MAX_CLIPS_PER_FOLDER = 1500
_MIN_LENGTH_S = 2 * CLIP_S


def find_music(folder: Path, log: Callable[[str], None]) -> list[Clip]:
    """Choose clips of ten seconds from the files in a folder and its subfolders.

    Args:
        folder: the folder.
        log: called with a message for each unreadable file; these are left out.

    Returns:
        At most `MAX_CLIPS_PER_FILE` evenly spaced clips of each file, in a fixed order.

    Raises:
        DataError: the folder is missing or contains no music of twenty seconds or more.
    """
    if not folder.is_dir():
        raise DataError(f"the folder of unlabelled music {folder} does not exist")
    clips = []
    files = (p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    for path in sorted(files):
        try:
            length_s = probe_audio(path).duration_s
        except DataError as error:
            log(f"left out: {error}")
            continue
        if length_s < _MIN_LENGTH_S:
            continue
        count = min(MAX_CLIPS_PER_FILE, int(length_s // CLIP_S) - 1)
        starts = np.linspace(0, length_s - CLIP_S, count + 2)[1:-1]
        name = str(path.relative_to(folder))
        clips += [Clip(name, path, 0.0, round(float(start), 3), CLIP_S) for start in starts]
    if not clips:
        raise DataError(
            f"{folder} contains no music of {_MIN_LENGTH_S:g} seconds or more "
            f"({', '.join(SUFFIXES)})"
        )
    if len(clips) > MAX_CLIPS_PER_FOLDER:
        chosen = np.linspace(0, len(clips) - 1, MAX_CLIPS_PER_FOLDER).astype(int)
        clips = [clips[number] for number in chosen]
    return clips
