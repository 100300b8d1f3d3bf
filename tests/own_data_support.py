"""A synthetic folder of audio files and CSV labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000


def write_audio(path: Path, seconds: float = 12.0, *, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).normal(0, 0.05, round(seconds * RATE))
    soundfile.write(path, noise, RATE)


def label_rows(file: str | None = None, seconds: float = 12.0, value: float = 0.25) -> str:
    """Return label rows every half second: valence is `value`, arousal is `-value`."""
    start = "" if file is None else f"{file},"
    times = np.arange(0.5, seconds + 0.25, 0.5)
    return "".join(f"{start}{t:g},{value:g},{-value:g}\n" for t in times)


def write_own_data(folder: Path, songs: int = 6, seconds: float = 12.0) -> Path:
    """Write songs 0.wav ... with labels.csv, and songs.csv with a third of them in each split."""
    rows = ["file,time_s,valence,arousal\n"]
    metadata = ["file,artist,title,genre,split,valence,arousal\n"]
    for number in range(songs):
        name = f"{number}.wav"
        value = 0.8 * number / max(1, songs - 1) - 0.4
        write_audio(folder / name, seconds, seed=number)
        rows.append(label_rows(name, seconds, value))
        split = ("train", "validation", "test")[number % 3]
        metadata.append(
            f"{name},Artist {number},Title {number},Folk,{split},{value:g},{-value:g}\n"
        )
    (folder / "labels.csv").write_text("".join(rows))
    (folder / "songs.csv").write_text("".join(metadata))
    return folder
