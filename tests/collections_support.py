"""Small synthetic collections in the layouts of 4Q, EMOPIA, FME-24 and Emotify."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deam_support import write_table
from mer_engine.datasets.emotify import EMOTIONS
from own_data_support import write_audio


def write_four_quadrants(folder: Path, songs: int = 8, seconds: float = 10.0) -> Path:
    """Write songs "S0", "S1" ... of the quadrants Q1 to Q4 in turn; two songs by each artist."""
    rows: list[list[object]] = []
    for number in range(songs):
        write_audio(folder / "audio" / f"S{number}.flac", seconds, seed=number)
        quadrant = f"Q{number % 4 + 1}"
        rows.append(
            [f"S{number}", f"Artist {number // 2}", "T", quadrant, 0.75, "Calm", "Jazz; Pop"]
        )
    header = ["song", "artist", "title", "quadrant", "quadrant_share", "moods", "genres"]
    write_table(folder / "labels.csv", header, rows)
    return folder


def write_emopia(folder: Path, names: Sequence[str], seconds: float) -> Path:
    """Write two renderings of each clip <quadrant>_<recording>_<number>; the first is in val."""
    rows: list[list[object]] = []
    for number, name in enumerate(names):
        for synthesizer in ("One_0", "Two_1"):
            write_audio(folder / f"{synthesizer}-{name}.flac", seconds, seed=number)
        quadrant, recording, _ = name.split("_")
        split = "train" if number else "val"
        rows.append([f"{name}.mid", quadrant, recording, split, seconds])
    write_table(folder / "labels.csv", ["file", "quadrant", "song", "split", "seconds"], rows)
    return folder


def write_fme24(folder: Path, clips: int = 4) -> Path:
    """Write excerpts "C0", "C1" ... of 15 s, two of each film, with two listeners each.

    The arousal that the first listener marks goes up at 7 s, by 0.4.
    """
    excerpts: list[list[object]] = []
    marks: list[list[object]] = []
    for number in range(clips):
        write_audio(folder / "audio" / f"C{number}.flac", 15.0, seed=number)
        level = number / 10 - 0.2
        said = "it begins quietly,\nthen grows; so, well"
        marks += [
            [f"C{number}", 1, 3.2, level, level, said],
            [f"C{number}", 1, 7.0, level, level + 0.4, said],
            [f"C{number}", 2, 1.0, level, level + 0.2, ""],
        ]
        excerpts.append(
            [f"C{number}", f"Film {number // 2}", "T", "Crime Sci-Fi", 2, level, level + 0.2]
        )
    header = ["clip", "film", "title", "genre", "n_raters", "valence", "arousal"]
    write_table(folder / "excerpts.csv", header, excerpts)
    header = ["clip", "participant", "t_s", "valence", "arousal", "sentence"]
    write_table(folder / "marks.csv", header, marks)
    return folder


def write_emotify(folder: Path, choices: Sequence[Sequence[Sequence[str]]]) -> Path:
    """Write tracks 100, 101 ... with the emotions that each of their listeners chose.

    The first is the last track of classical, the others are the first ones of rock.
    """
    rows: list[list[object]] = []
    for number, listeners in enumerate(choices):
        name, genre = (f"rock_{number}", "rock") if number else ("classical_100", "classical")
        write_audio(folder / "audio" / f"{name}.flac", 21.0, seed=number)
        for chosen in listeners:
            cells = [int(emotion in chosen) for emotion in EMOTIONS]
            rows.append([100 + number, genre, *cells, "English"])
    header = ["track id", " genre", *(f" {emotion}" for emotion in EMOTIONS), " mother tongue"]
    write_table(folder / "ratings.csv", header, rows)
    return folder
