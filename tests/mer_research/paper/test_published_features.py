"""Reading the features that the data sets ship, in both layouts."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from deam_support import write_deam
from mer_engine.datasets.load import load_collection
from mer_engine.datasets.problems import DataError
from mer_engine.datasets.types import Collection
from mer_research.paper.published_features import COLUMNS, read_published

TIMES = [0.5 * step for step in range(20, 91)]  # 10 to 45 s


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    full = load_collection(write_deam(tmp_path_factory.mktemp("data")))
    return replace(full, clips=full.clips[:3])


def value(song: str, time_s: float, column: int) -> float:
    return int(song) + time_s / 100 + column / 1e5


def write(path: Path, songs: list[str], columns: tuple[str, ...], separator: str = ";") -> None:
    keys = ["musicId"] if separator == "," else []
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=separator)
        writer.writerow([*keys, "frameTime", *columns])
        for song in songs:
            for time_s in TIMES:
                numbers = [f"{value(song, time_s, n):.6f}" for n in range(len(columns))]
                writer.writerow([*([song] if keys else []), time_s, *numbers])


def test_one_file_per_song(collection: Collection, tmp_path: Path) -> None:
    names = [clip.song for clip in collection.clips]
    write(tmp_path / f"{names[0]}.csv", names[:1], COLUMNS)
    write(tmp_path / f"{names[1]}.csv", names[1:2], COLUMNS)
    table, left_out = read_published(collection, tmp_path)
    assert left_out == [f"song {names[2]}: no features in {tmp_path}"]
    assert len(table.columns) == 260
    song = table.songs[0]
    # The labels cover 15 to 45 s; the length of the audio does not matter.
    assert len(song) == 61
    assert song.features[0, 7] == pytest.approx(value(song.song, 15.0, 7), abs=1e-4)
    assert song.features[-1, 259] == pytest.approx(value(song.song, 45.0, 259), abs=1e-4)
    curve = collection.curves[song.song][0]
    assert song.labels[4, 0] == pytest.approx(curve.at(np.array([17.0]))[0])


def test_one_file_with_the_other_spelling_of_columns(
    collection: Collection, tmp_path: Path
) -> None:
    names = [clip.song for clip in collection.clips]
    path = tmp_path / "dynamic_features.csv"
    others = tuple(column.replace("pcm_fftMag_mfcc", "mfcc") for column in COLUMNS)
    write(path, names[:2], others, ",")
    table, left_out = read_published(collection, path)
    assert [song.song for song in table.songs] == names[:2]
    assert len(left_out) == 1
    assert table.songs[1].features[0, 3] == pytest.approx(value(names[1], 15.0, 3), abs=1e-4)


def test_bad_files_are_refused(collection: Collection, tmp_path: Path) -> None:
    name = collection.clips[0].song
    path = tmp_path / f"{name}.csv"
    write(path, [name], (*COLUMNS[1:], "tempo"))
    with pytest.raises(DataError, match=r"no column f0final_sma_stddev and .* tempo;"):
        read_published(collection, tmp_path)
    write(path, [name], COLUMNS[:200])
    with pytest.raises(DataError, match=r"has no column .* and 57 more; it should hold frametime"):
        read_published(collection, tmp_path)
    path.write_text("")
    with pytest.raises(DataError, match="cannot be read as a table of features"):
        read_published(collection, tmp_path)
    write(path, [name], COLUMNS)
    path.write_text(path.read_text().replace("15.0;", "soon;", 1))
    with pytest.raises(DataError, match="not a number"):
        read_published(collection, tmp_path)
    with pytest.raises(DataError, match="does not exist; it should be the data set's features"):
        read_published(collection, tmp_path / "none")
