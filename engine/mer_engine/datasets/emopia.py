"""Load EMOPIA (Hung et al., ISMIR 2021): clips of pop piano with a quadrant each.

    labels.csv                          file, quadrant, song, split
    <synthesizer>-<name of the midi>    renderings in any audio format, any number of each clip

`benchmarks/collect_music.sh` makes such a folder. A quadrant gives the signs of valence and
arousal: Q1 + +, Q2 - +, Q3 - -, Q4 + -. There are no numbers, so the labels of every clip are
unknown (NaN) and `Song.quadrant` has the signs.

Of each rendering, up to three evenly spaced sections of ten seconds are used. Each MIDI clip is a
song of this collection. Clips of the same recording stay together: the recording takes the place of
the artist. The split is the published one (train, val, test).

Clips are left out if they have no readable rendering of ten seconds, or if their quadrant or split
is invalid. A missing table or column raises a `DataError`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mer_engine.datasets.audio import find_renderings, probe_audio
from mer_engine.datasets.cells import read_quadrant
from mer_engine.datasets.problems import (
    BAD_SPLIT,
    CONTRADICTORY,
    NO_AUDIO,
    SHORT_AUDIO,
    UNREADABLE_AUDIO,
    DataError,
    Problem,
)
from mer_engine.datasets.table import read_table
from mer_engine.datasets.types import CLIP_S, SPLITS, Clip, Collection, Song, sections

TABLE = "labels.csv"
CLIPS_PER_FILE = 3
_SPLITS = {"train": "train", "val": "validation", "test": "test"}


def load_emopia(folder: Path) -> Collection:
    """Read the renderings of EMOPIA and their quadrants.

    Args:
        folder: contains the table and the renderings.

    Raises:
        DataError: the folder or its table is missing, or the table cannot be used.
    """
    if not folder.is_dir():
        raise DataError(f"the data folder {folder} does not exist; give the folder of EMOPIA")
    table = read_table(
        folder / TABLE, "the quadrant of each clip", ["file", "quadrant", "song", "split"]
    )
    renderings = find_renderings(folder)
    songs: dict[str, Song] = {}
    splits: dict[str, list[str]] = {name: [] for name in SPLITS}
    problems: dict[str, Problem] = {}
    clips: dict[str, tuple[Clip, ...]] = {}
    for row in table.rows:
        name = Path(table.file_name(row)).stem
        where = f"{table.path.name}, line {row.line}"
        if name in songs:
            detail = f"{where}: the clip has an earlier row"
            problems.setdefault(name, Problem(name, CONTRADICTORY, detail))
            continue
        quadrant = read_quadrant(name, table, row)
        split = row.cells["split"].strip()
        recording = row.cells["song"].strip() or None
        known = quadrant if isinstance(quadrant, tuple) else None
        songs[name] = Song(name, artist=recording, quadrant=known)
        splits[_SPLITS.get(split, "train")].append(name)
        if isinstance(quadrant, Problem):
            problems[name] = quadrant
        elif split not in _SPLITS:
            detail = f"{where}: the split {split!r} is not one of {', '.join(_SPLITS)}"
            problems[name] = Problem(name, BAD_SPLIT, detail)
        else:
            found = _clips(name, renderings.get(name, []), folder)
            if isinstance(found, Problem):
                problems[name] = found
            else:
                clips[name] = found
    return Collection(
        name="emopia",
        root=folder,
        clips=tuple(c for name, found in clips.items() if name not in problems for c in found),
        extra=(),
        songs=songs,
        splits={name: tuple(ids) for name, ids in splits.items()},
        curves={},
        problems=tuple(problems.values()),
        labelled="quadrant",
    )


def _clips(name: str, files: list[Path], folder: Path) -> tuple[Clip, ...] | Problem:
    """Return the sections of the renderings of a clip, or the reason to leave it out."""
    if not files:
        return Problem(name, NO_AUDIO, f"no rendering <synthesizer>-{name} in {folder}")
    found: list[Clip] = []
    unreadable = None
    for path in files:
        try:
            duration_s = probe_audio(path).duration_s
        except DataError as error:
            unreadable = Problem(name, UNREADABLE_AUDIO, str(error))
            continue
        whole = [c for c in sections(name, path, 0.0, duration_s) if c.duration_s == CLIP_S]
        count = min(len(whole), CLIPS_PER_FILE)
        chosen = np.linspace(0, max(0, len(whole) - 1), count).round().astype(int)
        found += [whole[index] for index in chosen.tolist()]
    if found:
        return tuple(found)
    return unreadable or Problem(name, SHORT_AUDIO, f"no rendering has {CLIP_S:g} s")
