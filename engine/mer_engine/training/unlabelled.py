"""Music without labels: some clips of every file in a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from mer_engine.datasets.audio import AUDIO_SUFFIXES, probe_audio
from mer_engine.datasets.problems import DataError
from mer_engine.datasets.types import CLIP_S, Clip

SUFFIXES = tuple(sorted((*AUDIO_SUFFIXES, ".oga")))
# Of a long file some clips are enough: what follows sounds much the same.
MOST_CLIPS_A_FILE = 5
# A folder of a hundred pieces by one composer must not outweigh the rest.
MOST_CLIPS_A_FOLDER = 1500
_SHORTEST_S = 2 * CLIP_S


def find_music(folder: Path, say: Callable[[str], None]) -> list[Clip]:
    """Choose clips of ten seconds from the files in a folder and the folders within.

    Args:
        folder: where to look.
        say: is told of files that cannot be read; they are left out.

    Returns:
        At most `MOST_CLIPS_A_FILE` of each file, evenly spread over it, in a fixed order.

    Raises:
        DataError: the folder is missing or holds no music of twenty seconds or more.
    """
    if not folder.is_dir():
        raise DataError(f"the folder of music without labels {folder} does not exist")
    clips = []
    files = (p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    for path in sorted(files):
        try:
            length_s = probe_audio(path).duration_s
        except DataError as error:
            say(f"left out: {error}")
            continue
        if length_s < _SHORTEST_S:
            continue
        count = min(MOST_CLIPS_A_FILE, int(length_s // CLIP_S) - 1)
        starts = np.linspace(0, length_s - CLIP_S, count + 2)[1:-1]
        name = str(path.relative_to(folder))
        clips += [Clip(name, path, 0.0, round(float(start), 3), CLIP_S) for start in starts]
    if not clips:
        raise DataError(
            f"{folder} holds no music of {_SHORTEST_S:g} seconds or more ({', '.join(SUFFIXES)})"
        )
    if len(clips) > MOST_CLIPS_A_FOLDER:
        chosen = np.linspace(0, len(clips) - 1, MOST_CLIPS_A_FOLDER).astype(int)
        clips = [clips[number] for number in chosen]
    return clips
