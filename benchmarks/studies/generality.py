"""Accuracy on other collections, which other listeners annotated on other scales.

python benchmarks/studies/generality.py --pmemo DIR --emotify DIR --vgmidi DIR

Each of the three is optional. Game scores are rendered with fluidsynth. --songs N limits the number
of pieces and of excerpts. The values are measured whatever the model takes the sound for.
"""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from mer_engine import Engine, load_engine
from mer_engine.datasets.load import load_collection
from mer_engine.datasets.problems import DataError
from mer_engine.datasets.types import DIMENSIONS, Collection, split_by_name
from mer_engine.datasets.vgmidi import Measures, read_measures, song_of
from mer_engine.metrics import fit
from numpy.typing import NDArray
from study import exit_code, provenance, show_progress, study_parser, write_result

from realtime_mer.evaluation.metrics import per_song_metrics, pooled_metrics
from realtime_mer.evaluation.predictions import (
    Progress,
    UngatedEngine,
    estimate_clip,
    predict,
)

SETTLED_S = 5.0  # earlier estimates have seen too little music
EMOTIONS = (
    "amazement", "solemnity", "tenderness", "nostalgia", "calmness",
    "power", "joyful_activation", "tension", "sadness",
)  # fmt: skip
# Expected sign of the correlation, by the literature on valence and arousal.
EXPECTED = {
    "arousal": {
        "power": 1, "tension": 1, "joyful_activation": 1,
        "calmness": -1, "tenderness": -1, "sadness": -1, "nostalgia": -1,
    },
    "valence": {
        "joyful_activation": 1, "tenderness": 1, "calmness": 1, "tension": -1, "sadness": -1,
    },
}  # fmt: skip
SOUNDFONTS = ("/usr/share/sounds/sf2/FluidR3_GM.sf2", "/usr/share/sounds/sf2/TimGM6mb.sf2")
_EXCERPTS = 100  # per genre
_AUDIO_SUFFIXES = (".opus", ".mp3", ".flac", ".ogg", ".wav")
_RENDER_HZ = 44_100
_RENDER_LIMIT_S = 300.0


# -- PMEmo: choruses with labels over time --------------------------------------------------------


def measure_choruses(engine: Engine, collection: Collection) -> dict[str, Any]:
    """Measure all songs of a small collection, of all splits.

    Returns:
        `songs`; by dimension the pooled `figures` over 5 to 10 s of each clip, and `per_song`;
        `rows`, for each song the mean label and the mean estimate; `left_out`.

    Raises:
        DataError: no clip could be measured.
    """
    predictions = predict(
        collection, collection.clips, partial(estimate_clip, UngatedEngine(engine))
    ).scored()
    rows = []
    for song in dict.fromkeys(predictions.songs):
        of_song = predictions.select(np.array([name == song for name in predictions.songs]))
        row: dict[str, Any] = {"song": song}
        for column, name in enumerate(DIMENSIONS):
            labels, values = of_song.labels[..., column], of_song.values[..., column]
            known = np.isfinite(labels) & np.isfinite(values)
            if known.any():
                row[name] = {
                    "label": float(labels[known].mean()),
                    "estimate": float(values[known].mean()),
                }
        rows.append(row)
    pooled, per_song = pooled_metrics(predictions), per_song_metrics(predictions)
    return {
        "songs": len(rows),
        "figures": {name: metrics.to_dict() for name, metrics in pooled.items()},
        "per_song": {name: metrics.to_dict() for name, metrics in per_song.items()},
        "rows": rows,
        "left_out": [text for text in (collection.summary, *predictions.left_out) if text],
    }


# -- Emotify: excerpts for which listeners chose emotions -----------------------------------------


@dataclass(frozen=True)
class Excerpt:
    """An excerpt of half a minute, and the emotions that listeners chose.

    Attributes:
        track: number in the table.
        genre: genre in the table.
        path: audio file.
        shares: float64 [9], share of listeners that chose each of `EMOTIONS`.
    """

    track: int
    genre: str
    path: Path
    shares: NDArray[np.float64]


def load_emotify(folder: Path) -> tuple[list[Excerpt], list[str]]:
    """Read Emotify: excerpts, and a sentence for each that cannot be used.

    Files are numbered from 1 within each genre, and tracks in the table from 1 to 400 over all
    genres. This mapping was verified: within genres, shares and estimates correlate with a mean |r|
    of 0.38, against 0.03 to 0.07 for shifted numbers.

    Raises:
        DataError: the folder or its table is missing, or the table has an unexpected format.
    """
    table = folder / "ratings.csv"
    if not table.is_file():
        raise DataError(f"{table} is missing; it contains the emotions that listeners chose")
    choices: dict[int, list[list[float]]] = defaultdict(list)
    genres: dict[int, str] = {}
    with table.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        for line, row in enumerate(csv.DictReader(file, skipinitialspace=True), start=2):
            try:
                track = int(row["track id"])
                choices[track].append([float(row[emotion]) for emotion in EMOTIONS])
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(
                    f"{table}, line {line}: expected a track id and the nine emotions ({error!r})"
                ) from error
            genres[track] = (row.get("genre") or "").strip()
    excerpts, left_out = [], []
    for track in sorted(choices):
        stem = f"{genres[track]}_{(track - 1) % _EXCERPTS + 1}"
        paths = [folder / "audio" / f"{stem}{suffix}" for suffix in _AUDIO_SUFFIXES]
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            left_out.append(f"track {track}: no audio file {stem} in {folder / 'audio'}")
        else:
            shares = np.mean(choices[track], axis=0)
            excerpts.append(Excerpt(track, genres[track], path, shares))
    return excerpts, left_out


def measure_emotify(
    engine: Engine, excerpts: Sequence[Excerpt], progress: Progress | None = None
) -> dict[str, Any]:
    """Correlate mean estimates with the share of listeners who chose an emotion.

    Returns:
        `excerpts`; `rows`, for each emotion by dimension `r` over all excerpts, `r_within` (after
        subtracting the mean of each genre), `mean` (of the estimates, weighted by the shares,
        relative to the overall mean) and `expected` (sign, or None); `as_expected`, the number of
        correct signs and of expected signs; `left_out`.

    Raises:
        DataError: fewer than three excerpts can be measured.
    """
    means, used, left_out = [], [], []
    for number, excerpt in enumerate(excerpts, start=1):
        try:
            means.append(mean_estimate(engine, excerpt.path))
            used.append(excerpt)
        except DataError as error:
            left_out.append(f"track {excerpt.track}: {error}")
        if progress is not None:
            progress(number, len(excerpts))
    if len(used) < 3:
        raise DataError(f"{len(used)} excerpts are usable; a correlation needs three or more")
    values, shares = np.array(means), np.array([excerpt.shares for excerpt in used])
    genres = np.array([excerpt.genre for excerpt in used])
    rows = []
    correct = total = 0
    for index, emotion in enumerate(EMOTIONS):
        row: dict[str, Any] = {"emotion": emotion}
        for column, name in enumerate(DIMENSIONS):
            share, value = shares[:, index], values[:, column]
            r = correlation(share, value)
            expected = EXPECTED[name].get(emotion)
            if expected is not None:
                total += 1
                correct += r * expected > 0
            weighted = float(share @ (value - value.mean()) / share.sum()) if share.any() else 0.0
            row[name] = {
                "r": r,
                "r_within": correlation(_centred(share, genres), _centred(value, genres)),
                "mean": weighted,
                "expected": expected,
            }
        rows.append(row)
    return {
        "excerpts": len(used),
        "rows": rows,
        "as_expected": {"signs": int(correct), "of": total},
        "left_out": left_out,
    }


def mean_estimate(engine: Engine, path: Path) -> NDArray[np.float64]:
    """Return mean valence and arousal of a recording from the fifth second on, float64 [2].

    Raises:
        DataError: it cannot be decoded or has no music after five seconds.
    """
    times, values = estimate_file(engine, path)
    if not (times >= SETTLED_S).any():
        raise DataError(f"{path} has no music after {SETTLED_S:g} s")
    return np.asarray(values[times >= SETTLED_S].mean(axis=0))


def estimate_file(engine: Engine, path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return times [n] in seconds and estimates [n, 2] once per second, without silence.

    Raises:
        DataError: the file cannot be decoded.
    """
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise DataError(f"{path} cannot be read as audio ({error})") from error
    every = estimate_clip(UngatedEngine(engine), samples, rate, hop_s=1.0)
    estimates = [e for e in every if not e.state.repeats]
    times = np.array([e.t for e in estimates])
    return times, np.array([[e.valence, e.arousal] for e in estimates]).reshape(-1, 2)


def correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return Pearson's r; 0 where one of the two is constant."""
    x, y = first - first.mean(), second - second.mean()
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / norm if norm > 1e-12 else 0.0


def _centred(values: NDArray[np.float64], groups: NDArray[np.str_]) -> NDArray[np.float64]:
    """Subtract the mean of each group."""
    result = values.copy()
    for group in np.unique(groups):
        result[groups == group] -= values[groups == group].mean()
    return result


# -- VGMIDI: game scores with labels for each measure ---------------------------------------------


@dataclass(frozen=True)
class Piece:
    """A MIDI file and its labels."""

    name: str
    midi: Path
    measures: Measures


def load_pieces(folder: Path) -> tuple[list[Piece], list[str]]:
    """Read the test pieces of VGMIDI.

    Returns:
        Pieces of the games of the split "test", as `mer_engine.datasets.vgmidi` splits them, and a
        sentence for each that cannot be used. The shipped model was trained on the other games.

    Raises:
        DataError: the folder or its table is missing, or the table has an unexpected format.
    """
    measures, bad = read_measures(folder)
    songs = map(song_of, sorted(measures.keys() | bad.keys()))
    pieces, left_out = [], []
    for name in split_by_name(songs)["test"]:
        midi = folder / "midi" / f"{name}.mid"
        if name in bad:
            left_out.append(str(bad[name]))
        elif not midi.is_file():
            left_out.append(f"{name}: {midi} is missing")
        else:
            pieces.append(Piece(name, midi, measures[name]))
    return pieces, left_out


def measure_vgmidi(
    engine: Engine,
    pieces: Sequence[Piece],
    soundfont: Path,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Render each piece with a soundfont, and compare estimates with labels from 5 s on.

    Returns:
        `soundfont`; `pieces`; by dimension `between` (agreement of mean estimates with mean labels
        over the pieces), `within` (mean over the pieces of r within the piece) and `varying`
        (number of pieces in that mean); `left_out`.

    Raises:
        DataError: fewer than three pieces can be measured.
    """
    means, within, left_out = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "piece.wav"
        for number, piece in enumerate(pieces, start=1):
            try:
                render(piece.midi, soundfont, wav)
                times, values = estimate_file(engine, wav)
            except DataError as error:
                left_out.append(f"{piece.name}: {error}")
            else:
                labels = piece.measures.at(times)
                use = (times >= SETTLED_S) & np.isfinite(labels).all(axis=1)
                if use.sum() < 3:
                    left_out.append(f"{piece.name}: less than three seconds with labels and music")
                else:
                    means.append((labels[use].mean(axis=0), values[use].mean(axis=0)))
                    varies = labels[use].std(axis=0) > 1e-6
                    within.append([
                        correlation(labels[use, d], values[use, d]) if varies[d] else np.nan
                        for d in range(2)
                    ])  # fmt: skip
            if progress is not None:
                progress(number, len(pieces))
    if len(means) < 3:
        reason = f" ({left_out[0]})" if left_out else ""
        raise DataError(f"{len(means)} pieces are usable; three or more are needed{reason}")
    labels, values = (np.array(part) for part in zip(*means, strict=True))
    result: dict[str, Any] = {"soundfont": soundfont.name, "pieces": len(means)}
    for column, name in enumerate(DIMENSIONS):
        r_within = np.array(within)[:, column]
        result[name] = {
            "between": fit(labels[:, column], values[:, column]).to_dict(),
            "within": float(np.nanmean(r_within)) if np.isfinite(r_within).any() else None,
            "varying": int(np.isfinite(r_within).sum()),
        }
    return {**result, "left_out": left_out}


def render(midi: Path, soundfont: Path, wav: Path) -> None:
    """Render a MIDI file to a stereo WAV file of 44.1 kHz with fluidsynth.

    Raises:
        DataError: fluidsynth or the soundfont is missing, or fluidsynth fails.
    """
    program = shutil.which("fluidsynth")
    if program is None:
        raise DataError(
            "fluidsynth is not installed; install it (Debian, Ubuntu: apt install fluidsynth)"
        )
    if not soundfont.is_file():
        raise DataError(f"there is no soundfont {soundfont}; give an installed one")
    wav.unlink(missing_ok=True)
    command = [program, "-n", "-i", "-q", "-r", str(_RENDER_HZ), "-F", str(wav)]
    command += [str(soundfont), str(midi)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_RENDER_LIMIT_S)
    except subprocess.TimeoutExpired as error:
        raise DataError(f"fluidsynth needed more than {_RENDER_LIMIT_S:.0f} s") from error
    if done.returncode or not wav.is_file():
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise DataError(f"fluidsynth could not render {midi.name}: {lines[-1]}")


def _vgmidi(
    engine: Engine, folder: Path, soundfonts: list[Path], songs: int | None
) -> list[dict[str, Any]]:
    pieces, missing = load_pieces(folder)
    results = []
    for soundfont in soundfonts:
        if not soundfont.is_file():
            print(f"skipped: there is no soundfont {soundfont}", file=sys.stderr)
            continue
        result = measure_vgmidi(engine, _evenly_spaced(pieces, songs), soundfont, show_progress)
        results.append({**result, "left_out": missing + result["left_out"]})
    return results


def _evenly_spaced(items: list[Any], count: int | None) -> list[Any]:
    """Return at most `count` of the items, evenly spaced."""
    if count is None or count >= len(items):
        return items
    return [items[index] for index in np.linspace(0, len(items) - 1, count).round().astype(int)]


def main(arguments: list[str] | None = None) -> int:
    parser = study_parser("generality", __doc__ or "", split=None)
    for name in ("pmemo", "emotify", "vgmidi"):
        parser.add_argument(f"--{name}", type=Path, metavar="DIR")
    parser.add_argument(
        "--soundfont", type=Path, action="append", metavar="FILE",
        help=f"for VGMIDI; repeatable (default: {' and '.join(SOUNDFONTS)})",
    )  # fmt: skip
    args = parser.parse_args(arguments)
    if not (args.pmemo or args.emotify or args.vgmidi):
        parser.error("give at least one of --pmemo, --emotify and --vgmidi")

    def run() -> None:
        engine = load_engine(args.model)
        result = provenance(engine, args.seed)
        if args.pmemo:
            collection = load_collection(f"pmemo={args.pmemo}")
            result["pmemo"] = measure_choruses(engine, collection)
        if args.emotify:
            excerpts, missing = load_emotify(args.emotify)
            chosen = _evenly_spaced(excerpts, args.songs)
            emotify = measure_emotify(engine, chosen, show_progress)
            result["emotify"] = {**emotify, "left_out": missing + emotify["left_out"]}
        if args.vgmidi:
            soundfonts = args.soundfont or [Path(name) for name in SOUNDFONTS]
            result["vgmidi"] = _vgmidi(engine, args.vgmidi, soundfonts, args.songs)
        write_result(args.out, result)

    return exit_code(run)


if __name__ == "__main__":
    raise SystemExit(main())
