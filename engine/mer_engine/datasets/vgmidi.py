"""Load VGMIDI (Ferreira and Whitehead, ISMIR 2019): game music with a label for each measure.

    measure_curves.csv                  columns midi, t0_s, t1_s, valence_mean, arousal_mean
    <synthesizer>-<name of the midi>    renderings in any audio format, any number of each piece

`benchmarks/collect_music.sh` makes such a folder. Times count from the beginning of a piece; labels
are in [-1, 1]. Each half second gets the label of the measure that it ends in. The file name
identifies a piece, because both parts of the data set number their pieces from zero.

A few evenly spaced clips of ten seconds of each rendering are used with labels, and as many clips
between them without labels. All renderings of a piece are one song. There is no published split;
pieces are split by game, which takes the place of the artist, because the pieces of a game mostly
have one composer. File names are <series>_<console>_<game>_<title>.mid.

Pieces are left out if they have no readable rendering, are shorter than ten seconds, or if labels
or times are not numbers or are outside their range. A missing table or column raises a `DataError`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mer_engine.datasets.audio import find_renderings, probe_audio
from mer_engine.datasets.cells import read_numbers
from mer_engine.datasets.curve import Curve
from mer_engine.datasets.problems import (
    NO_AUDIO,
    OUTSIDE,
    SHORT_AUDIO,
    UNREADABLE_AUDIO,
    DataError,
    Problem,
)
from mer_engine.datasets.table import Row, Table, read_table
from mer_engine.datasets.types import (
    CLIP_S,
    DIMENSIONS,
    STEP_S,
    Clip,
    Collection,
    Song,
    cut,
    split_by_name,
)

TABLE = "measure_curves.csv"
# Pieces change little, so more clips of one add little.
CLIPS_PER_FILE = 3
_TIMES = ("t0_s", "t1_s")
_VALUES = tuple(f"{name}_mean" for name in DIMENSIONS)
# Parts of a file name before the title: series, console, game.
_PREFIX_PARTS = 3


@dataclass(frozen=True, eq=False)
class Measures:
    """The labels of a piece.

    Attributes:
        ends_s: float64 [m], end of each measure, ascending.
        labels: float64 [m, 2] (valence, arousal) in [-1, 1].
    """

    ends_s: NDArray[np.float64]
    labels: NDArray[np.float64]

    def at(self, times_s: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the labels [n, 2] of the measures that these times end in; NaN after the last."""
        index = np.searchsorted(self.ends_s, times_s - 1e-6)
        inside = index < len(self.ends_s)
        result = np.full((len(times_s), 2), np.nan)
        result[inside] = self.labels[index[inside]]
        return result

    def curves(self) -> tuple[Curve, Curve]:
        """Return the labels at every half second, as curves of valence and arousal."""
        times_s = STEP_S * np.arange(1, int(self.ends_s[-1] / STEP_S + 1e-6) + 1)
        valence, arousal = self.at(times_s).T
        return (
            Curve.of(zip(times_s, valence, strict=True)),
            Curve.of(zip(times_s, arousal, strict=True)),
        )


def load_vgmidi(folder: Path) -> Collection:
    """Read the renderings of VGMIDI and their labels.

    Args:
        folder: contains the table and the renderings.

    Raises:
        DataError: the folder or its table is missing, or the table cannot be used.
    """
    measures, bad = read_measures(folder)
    renderings = find_renderings(folder)
    songs, curves, clips, extra, problems = {}, {}, [], [], []
    for name in sorted(measures.keys() | bad.keys()):
        songs[name] = song_of(name)
        files = renderings.get(name, [])
        if name in bad:
            problems.append(bad[name])
            continue
        if not files:
            detail = f"no rendering <synthesizer>-{name} in {folder}"
            problems.append(Problem(name, NO_AUDIO, detail))
            continue
        piece_curves = measures[name].curves()
        found: list[Clip] = []
        unreadable = None
        for path in files:
            try:
                length_s = probe_audio(path).duration_s
            except DataError as error:
                unreadable = Problem(name, UNREADABLE_AUDIO, str(error))
                continue
            chosen = _spread(
                [c for c in cut(name, path, length_s, piece_curves) if c.duration_s == CLIP_S]
            )
            clips += chosen[::2]
            extra += chosen[1::2]
            found += chosen
        if found:
            curves[name] = piece_curves
        else:
            short = Problem(name, SHORT_AUDIO, f"no rendering has {CLIP_S:g} s with labels")
            problems.append(unreadable or short)
    return Collection(
        name="vgmidi",
        root=folder,
        clips=tuple(clips),
        extra=tuple(extra),
        songs=songs,
        splits=split_by_name(songs.values()),
        curves=curves,
        problems=tuple(problems),
    )


def read_measures(folder: Path) -> tuple[dict[str, Measures], dict[str, Problem]]:
    """Read the table of labels.

    Returns:
        By the stem of the MIDI file: the labels of the usable pieces, and the problems of the
        others.

    Raises:
        DataError: the folder or its table is missing, or the table has another form.
    """
    if not folder.is_dir():
        raise DataError(f"the data folder {folder} does not exist; give the folder of VGMIDI")
    columns = ("midi", *_TIMES, *_VALUES)
    table = read_table(folder / TABLE, "the labels of each measure", columns)
    rows: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    bad: dict[str, Problem] = {}
    for row in table.rows:
        name = Path(row.cells["midi"].strip()).stem
        if not name:
            raise DataError(f"{table.path}, line {row.line} has no file name")
        read = _parse_row(name, table, row)
        if isinstance(read, Problem):
            bad.setdefault(name, read)
        else:
            rows[name].append(read)
    measures = {}
    for name, piece_rows in rows.items():
        if name not in bad:
            ordered = np.array(sorted(piece_rows))
            measures[name] = Measures(ordered[:, 1], ordered[:, 2:])
    return measures, bad


def game_of(name: str) -> str | None:
    """Return the game of a piece, from its file name; None if the name does not contain it."""
    parts = name.split("_")
    return "_".join(parts[:_PREFIX_PARTS]) if len(parts) > _PREFIX_PARTS else None


def song_of(name: str) -> Song:
    """Return the song of a piece, with title and game from its file name."""
    title = "_".join(name.split("_")[_PREFIX_PARTS:]) or name
    return Song(name, artist=game_of(name), title=title)


def _spread(clips: list[Clip]) -> list[Clip]:
    """Choose evenly spaced clips: `CLIPS_PER_FILE` with labels and as many without."""
    count = min(len(clips), 2 * CLIPS_PER_FILE)
    chosen = np.linspace(0, max(0, len(clips) - 1), count).round().astype(int)
    return [clips[index] for index in chosen.tolist()]


def _parse_row(name: str, table: Table, row: Row) -> tuple[float, ...] | Problem:
    """Return start, end, valence and arousal of a row, or the problem with it."""
    where = f"{table.path.name}, line {row.line}"
    numbers = read_numbers(name, table, row, (*_TIMES, *_VALUES), _VALUES)
    if isinstance(numbers, Problem):
        return numbers
    start_s, end_s = numbers[:2]
    if start_s < 0 or end_s <= start_s:
        detail = f"{where}: a measure from {start_s:g} s to {end_s:g} s"
        return Problem(name, OUTSIDE, detail)
    return numbers
