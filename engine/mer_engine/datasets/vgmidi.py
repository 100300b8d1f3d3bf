"""VGMIDI (Ferreira and Whitehead, ISMIR 2019): game scores, with a label for each measure.

    measure_curves.csv                  columns midi, t0_s, t1_s, valence_mean, arousal_mean
    <synthesizer>-<name of the midi>    renderings in any audio format, any number of each piece

`benchmarks/collect_music.sh` makes such a folder. Times count from the beginning of a piece, labels
lie in [-1, 1]; a label stands at every half second, that of the measure before it. The file tells
pieces apart: each of the data set's two parts numbers its own from zero.

From every rendering a few clips of ten seconds are taken, evenly spread, and as many between them
are left without labels. Renderings of one piece are one song. There is no published split: pieces
are split by the game that they are from, which stands for the artist (<series>_<console>_<game>_
<title>.mid): who wrote one piece of a game mostly wrote the others.

Left out: pieces without a rendering or with none that can be read, shorter than ten seconds, with
labels or times that are no numbers or lie outside their range. Refused: a folder without the table,
a table without a needed column.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mer_engine.datasets.audio import AUDIO_SUFFIXES, probe_audio
from mer_engine.datasets.curve import Curve
from mer_engine.datasets.problems import (
    BAD_LABELS,
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
# Music without surprises within a piece: more clips of it say little more.
CLIPS_A_FILE = 3
_TIMES = ("t0_s", "t1_s")
_VALUES = tuple(f"{name}_mean" for name in DIMENSIONS)
# Parts of a file's name before its title: series, console, game.
_BEFORE_TITLE = 3


@dataclass(frozen=True, eq=False)
class Measures:
    """The labels of a piece.

    Attributes:
        ends_s: float64 [m], of each measure, ascending.
        labels: float64 [m, 2] (valence, arousal) in [-1, 1].
    """

    ends_s: NDArray[np.float64]
    labels: NDArray[np.float64]

    def at(self, times_s: NDArray[np.floating]) -> NDArray[np.float64]:
        """The labels [n, 2] of the measures that lie before these moments; NaN after the last."""
        place = np.searchsorted(self.ends_s, times_s - 1e-6)
        inside = place < len(self.ends_s)
        result = np.full((len(times_s), 2), np.nan)
        result[inside] = self.labels[place[inside]]
        return result

    def curves(self) -> tuple[Curve, Curve]:
        """The same at every half second."""
        times_s = STEP_S * np.arange(1, int(self.ends_s[-1] / STEP_S + 1e-6) + 1)
        valence, arousal = self.at(times_s).T
        return (
            Curve.of(zip(times_s, valence, strict=True)),
            Curve.of(zip(times_s, arousal, strict=True)),
        )


def load_vgmidi(folder: Path) -> Collection:
    """Read the renderings of VGMIDI and their labels.

    Args:
        folder: holds the table and the renderings.

    Raises:
        DataError: the folder or its table is missing, or the table cannot be used.
    """
    measures, bad = read_measures(folder)
    audio = sorted(p for p in folder.iterdir() if p.suffix.lower() in AUDIO_SUFFIXES)
    songs, curves, clips, extra, problems = {}, {}, [], [], []
    for name in sorted(measures.keys() | bad.keys()):
        songs[name] = song_of(name)
        files = [path for path in audio if path.stem == name or path.stem.endswith(f"-{name}")]
        if name in bad:
            problems.append(bad[name])
            continue
        if not files:
            detail = f"no rendering <synthesizer>-{name} in {folder}"
            problems.append(Problem(name, NO_AUDIO, detail))
            continue
        both = measures[name].curves()
        found: list[Clip] = []
        unreadable = None
        for path in files:
            try:
                length_s = probe_audio(path).duration_s
            except DataError as error:
                unreadable = Problem(name, UNREADABLE_AUDIO, str(error))
                continue
            chosen = _spread([c for c in cut(name, path, length_s, both) if c.duration_s == CLIP_S])
            clips += chosen[::2]
            extra += chosen[1::2]
            found += chosen
        if found:
            curves[name] = both
        else:
            short = Problem(name, SHORT_AUDIO, f"not one rendering has {CLIP_S:g} s with labels")
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
        By the name of the MIDI file, without its suffix: the labels of the pieces that can be used,
        and what is wrong with the others.

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
            raise DataError(f"{table.path}, line {row.line} names no file")
        read = _numbers(name, table, row)
        if isinstance(read, Problem):
            bad.setdefault(name, read)
        else:
            rows[name].append(read)
    measures = {}
    for name, some in rows.items():
        if name not in bad:
            ordered = np.array(sorted(some))
            measures[name] = Measures(ordered[:, 1], ordered[:, 2:])
    return measures, bad


def game_of(name: str) -> str | None:
    """The game that a piece is from, by its file's name; None where that does not tell."""
    parts = name.split("_")
    return "_".join(parts[:_BEFORE_TITLE]) if len(parts) > _BEFORE_TITLE else None


def song_of(name: str) -> Song:
    """What the name of a piece's file tells of it."""
    title = "_".join(name.split("_")[_BEFORE_TITLE:]) or name
    return Song(name, artist=game_of(name), title=title)


def _spread(clips: list[Clip]) -> list[Clip]:
    """Twice as many as are learnt from with their labels, evenly spread."""
    count = min(len(clips), 2 * CLIPS_A_FILE)
    places = np.linspace(0, max(0, len(clips) - 1), count).round().astype(int)
    return [clips[place] for place in places.tolist()]


def _numbers(name: str, table: Table, row: Row) -> tuple[float, ...] | Problem:
    """Begin, end, valence and arousal of a row, or what is wrong with it."""
    where = f"{table.path.name}, line {row.line}"
    numbers = []
    for column in (*_TIMES, *_VALUES):
        text = row.cells[column]
        try:
            number = table.number(text)
        except ValueError:
            number = math.nan
        if math.isnan(number):
            return Problem(name, BAD_LABELS, f"{where}, {column}: {text!r} is not a number")
        if column in _VALUES and abs(number) > 1:
            detail = f"{where}, {column}: {number:g} lies outside [-1, 1]"
            return Problem(name, OUTSIDE, detail)
        numbers.append(number)
    begin_s, end_s = numbers[:2]
    if begin_s < 0 or end_s <= begin_s:
        detail = f"{where}: a measure from {begin_s:g} to {end_s:g} s"
        return Problem(name, OUTSIDE, detail)
    return tuple(numbers)
