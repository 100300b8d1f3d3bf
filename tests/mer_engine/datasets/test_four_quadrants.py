"""The loader of 4Q, on small generated clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from collections_support import write_four_quadrants
from mer_engine.datasets.load import load_collection
from mer_engine.datasets.problems import DataError
from mer_engine.datasets.types import song_parts
from own_data_support import write_audio


def test_clips_have_a_quadrant_and_no_numbers(tmp_path: Path) -> None:
    found = load_collection(f"4q={write_four_quadrants(tmp_path, seconds=29.9)}")
    assert (found.name, found.labelled, found.scale) == ("4q", "quadrant", "shared")
    assert found.problems == ()
    quadrants = [found.songs[f"S{number}"].quadrant for number in range(4)]
    assert quadrants == [(1, 1), (-1, 1), (-1, -1), (1, -1)]
    song = found.songs["S3"]
    assert (song.artist, song.quadrant_share, song.genre) == ("Artist 1", 0.75, "Jazz; Pop")
    assert song.static is None
    clips = [clip for clip in found.clips if clip.song == "S3"]
    assert [(clip.start_s, clip.duration_s) for clip in clips] == [
        (0.0, 10.0),
        (10.0, 10.0),
        (20.0, pytest.approx(9.9, abs=1e-3)),
    ]
    assert np.isnan(found.labels(clips[0], 20)).all()
    parts = song_parts(found, 2)
    assert all(parts[f"S{number}"] == parts[f"S{number + 1}"] for number in range(0, 8, 2))


def test_unusable_songs_are_named(tmp_path: Path) -> None:
    write_four_quadrants(tmp_path, songs=2)
    with (tmp_path / "labels.csv").open("a") as table:
        table.write("gone,A,T,Q1,1,,\n")
        table.write("five,A,T,Q5,1,,\n")
        table.write("share,A,T,Q1,1.5,,\n")
        table.write("text,A,T,Q1,most,,\n")
        table.write("broken,A,T,Q1,1,,\n")
        table.write("short,A,T,Q1,1,,\n")
        table.write("S1,A,T,Q1,1,,\n")
        table.write("S0,,,Q1,,,\n")
    for name in ("five", "share", "text"):
        write_audio(tmp_path / "audio" / f"{name}.flac", 10.0)
    write_audio(tmp_path / "audio" / "short.flac", 1.0)
    (tmp_path / "audio" / "broken.flac").write_text("no audio")
    with pytest.raises(DataError, match=r"no song in .* can be used: 8 of 8 songs were left out"):
        load_collection(f"4q={tmp_path}")
    text = (tmp_path / "labels.csv").read_text().replace("S0,,,Q1,,,\n", "new,,,Q1,,,\n")
    (tmp_path / "labels.csv").write_text(text)
    write_audio(tmp_path / "audio" / "new.flac", 10.0)
    found = load_collection(f"4q={tmp_path}")
    details = dict(sentence.removeprefix("song ").split(": ", 1) for sentence in found.left_out)
    assert details["gone"].startswith("no audio file in")
    assert "line 5: 'Q5' is not one of Q1, Q2, Q3, Q4" in details["five"]
    assert "quadrant_share: 1.5 is not above 0 and at most 1" in details["share"]
    assert "quadrant_share: 'most' is not a number" in details["text"]
    assert "broken.flac cannot be read as audio" in details["broken"]
    assert "has only 1.0 s" in details["short"]
    assert "the song has an earlier row" in details["S1"]
    assert {clip.song for clip in found.clips} == {"S0", "new"}
    assert found.songs["new"].artist is None
    assert found.songs["new"].quadrant_share is None


def test_a_folder_without_4q_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist; give the folder of 4Q"):
        load_collection(f"4q={tmp_path / 'gone'}")
    with pytest.raises(DataError, match=r"labels\.csv is missing"):
        load_collection(f"4q={tmp_path}")
    (tmp_path / "labels.csv").write_text("song,artist,title,quadrant_share,genres\n")
    with pytest.raises(DataError, match="has no column quadrant;"):
        load_collection(f"4q={tmp_path}")
