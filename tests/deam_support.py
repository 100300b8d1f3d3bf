"""A small synthetic data set in the layout of DEAM. Louder, higher songs have more arousal."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000
SPLITS = {"train": range(2, 14), "validation": range(1001, 1013), "test": range(2001, 2007)}


def arousal_of(song: int) -> float:
    return ((song * 7) % 11) / 5.5 - 0.9


def valence_of(song: int) -> float:
    return ((song * 5) % 7) / 4 - 0.7


def write_deam(folder: Path, seconds: float = 10.0) -> Path:
    """Write the data set to `folder`/deam and return that folder."""
    root = folder / "deam"
    for part in ("audio", "audio_extra", "annotations", "splits"):
        (root / part).mkdir(parents=True)
    songs = [song for split in SPLITS.values() for song in split]
    for name, split in SPLITS.items():
        (root / "splits" / f"{name}.txt").write_text("".join(f"{song}\n" for song in split))
    for song in songs:
        soundfile.write(root / "audio" / f"{song}.flac", tone(song, seconds), RATE)
    times = range(15_000, 45_001, 500)
    for name, value in (("arousal", arousal_of), ("valence", valence_of)):
        rows = [
            [song, *(f"{value(song) + 0.0001 * (t / 500):.4f}" for t in times), ""]
            for song in songs
        ]
        # As in the original, the columns after the end of a song are empty.
        header = ["song_id", *(f"sample_{t}ms" for t in times), "sample_45500ms"]
        write_table(root / "annotations" / f"{name}.csv", header, rows)
    write_table(
        root / "annotations" / "static_annotations.csv",
        ["song_id", " valence_mean", " valence_std", " arousal_mean", " arousal_std"],
        [[s, 5 + 4 * valence_of(s), 1.0, 5 + 4 * arousal_of(s), 1.0] for s in songs],
    )
    (root / "annotations" / "metadata_2013.csv").write_text(
        'song_id,album,artist,title,Genre\n2,"\t2.mp3","Someone\t","\tSomething\t","\tBlues\t"\n'
        '3,"\t3.mp3","Someone","\tElse","\tRock\t"\n'
    )
    (root / "annotations" / "metadata_2014.csv").write_text(
        "song_id,artist,album,title,Genre,,\n1001,A,B,C,Jazz-Rock,more,tags\n"
    )
    (root / "annotations" / "metadata_2015.csv").write_text(
        "song_id,title,artist,album,Genre,,,\n2001,Old Tree,Creepoid,n/a,rock,,,\n"
        "2002,Day,Amar,n/a,n/a,,,\n"
    )
    extra = root / "audio_extra"
    soundfile.write(extra / "2_17s.flac", tone(2, 10.0), RATE)
    write_table(
        root / "audio_extra.csv",
        ["file", "song_id", "start_s", "start_known_to_s"],
        [["2_17s.flac", 2, 17.25, 0.02], ["3_gone.flac", 3, 17.0, 0.02]],
    )
    return root


def tone(song: int, seconds: float) -> np.ndarray:
    """Return a chord, float32 [samples]. Its level and pitch follow the arousal of the song."""
    rng = np.random.default_rng(song)
    time_s = np.arange(round(seconds * RATE)) / RATE
    level = 0.02 * 10 ** (0.5 * (arousal_of(song) + 1))
    base = 220 * 2 ** (arousal_of(song) + rng.uniform(0, 0.2))
    chord = sum(np.sin(2 * np.pi * base * ratio * time_s) for ratio in (1, 1.25, 1.5))
    return (level * (chord + 0.1 * rng.standard_normal(len(time_s)))).astype(np.float32)


def write_table(path: Path, header: list[str], rows: list[list[object]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
