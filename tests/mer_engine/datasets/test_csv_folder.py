"""Folders of audio and CSV labels: what is loaded, left out and rejected."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mer_engine.datasets.load import load_collection
from mer_engine.datasets.problems import DataError
from mer_engine.datasets.types import Collection
from own_data_support import label_rows, write_audio, write_own_data

HEADER = "file,time_s,valence,arousal\n"


def load(folder: Path) -> Collection:
    return load_collection(f"csv={folder}")


def test_one_table_for_all_files(tmp_path: Path) -> None:
    own = load(write_own_data(tmp_path))
    assert own.name == "csv"
    assert [(clip.song, clip.start_s, clip.duration_s) for clip in own.clips[:3]] == [
        ("0.wav", 0, 10),
        ("0.wav", 10, 2),
        ("1.wav", 0, 10),
    ]
    labels = own.labels(own.clips[0], 20)
    np.testing.assert_allclose(labels, np.tile([-0.4, 0.4], (20, 1)), atol=1e-6)
    assert np.isnan(own.labels(own.clips[1], 5)[4]).all()
    assert own.splits == {
        "train": ("0.wav", "3.wav"),
        "validation": ("1.wav", "4.wav"),
        "test": ("2.wav", "5.wav"),
    }
    song = own.songs["5.wav"]
    assert (song.artist, song.title, song.genre) == ("Artist 5", "Title 5", "Folk")
    assert song.static == pytest.approx((0.4, -0.4))
    assert own.left_out == own.remarks == ()


def test_a_table_beside_each_file(tmp_path: Path) -> None:
    for name in ("one.wav", "more/two.flac"):
        write_audio(tmp_path / name)
        (tmp_path / name).with_suffix(".csv").write_text(
            "time_s;valence;arousal\n" + label_rows().replace(",", ";").replace(".", ",")
        )
    own = load(tmp_path)
    assert sorted(own.songs) == ["more/two.flac", "one.wav"]
    assert own.labels(own.clips[0], 1)[0] == pytest.approx((0.25, -0.25))
    assert sum(len(songs) for songs in own.splits.values()) == 2


def test_labels_at_any_rate(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", 30.0)
    times = [*np.arange(0, 12, 0.2), 13.5, 20.0, 21.0]
    rows = "".join(f"a.wav,{t:.1f},{t / 100:.4f},\n" for t in times)
    (tmp_path / "labels.csv").write_text(HEADER + rows)
    own = load(tmp_path)
    assert [(clip.start_s, clip.duration_s) for clip in own.clips] == [(0, 10), (10, 10)]
    first, second = (own.labels(clip, 20) for clip in own.clips)
    np.testing.assert_allclose(first[:, 0], np.arange(0.5, 10.25, 0.5) / 100, atol=1e-6)
    # The gap from 11.8 s to 13.5 s is interpolated, the one from there to 20 s is not.
    np.testing.assert_allclose(second[:7, 0], np.arange(10.5, 13.75, 0.5) / 100, atol=1e-6)
    assert np.isnan(second[7:19, 0]).all()
    assert second[19, 0] == pytest.approx(0.2)
    assert np.isnan(first[:, 1]).all()  # the empty column is unknown


BAD_ROWS = {
    "number.wav": ("3,loud,0.1", "labels.csv, line 26, valence: 'loud' is not a number"),
    "comma.wav": ("3,0,1,0,2", "6 cells for 4 columns (write numbers with a point: 0.5)"),
    "notime.wav": (",0.1,0.1", "time_s: the cell is empty"),
    "outside.wav": ("13,3.5,0.1", "valence: 3.5 is outside [-1, 1]; scale the labels"),
    "early.wav": ("-1,0.1,0.1", "the time -1 s is negative"),
    "back.wav": ("3.25,0.1,0.1", "3.25 s comes after 12 s; sort the rows by time"),
    "twice.wav": ("3,0.9,0.9", "3 s has other values in an earlier row"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_songs_with_invalid_labels_are_left_out(tmp_path: Path, name: str) -> None:
    row, expected = BAD_ROWS[name]
    for file in ("good.wav", name):
        write_audio(tmp_path / file)
    (tmp_path / "labels.csv").write_text(
        f"{HEADER}{label_rows(name)}{name},{row}\n{label_rows('good.wav')}"
    )
    own = load(tmp_path)
    assert {clip.song for clip in own.clips} == {"good.wav"}
    (sentence,) = own.left_out
    assert sentence.startswith(f"song {name}: ")
    assert expected in sentence
    assert own.summary.startswith("1 of 2 songs was left out: 1 with ")


def test_songs_without_audio_or_labels_are_left_out(tmp_path: Path) -> None:
    for file in ("good.wav", "mute.wav", "blank.wav", "late.wav", "sparse.wav"):
        write_audio(tmp_path / file, 5.0)
    (tmp_path / "text.mp3").write_text("no music")
    (tmp_path / "empty.flac").write_bytes(b"")
    write_audio(tmp_path / "zero.wav", 0.0)
    rows = [label_rows(name, 5.0) for name in ("good.wav", "text.mp3", "empty.flac", "zero.wav")]
    rows += [label_rows("gone.wav"), "blank.wav,1,,\n", "late.wav,50,0.1,0.1\nlate.wav,51,0,0\n"]
    (tmp_path / "labels.csv").write_text(HEADER + "".join(rows) + "sparse.wav,4,0.5,0.5\n")
    own = load(tmp_path)
    assert {clip.song for clip in own.clips} == {"good.wav"}
    details = {problem.song: problem.detail for problem in own.problems}
    assert details["gone.wav"] == "no such audio file in the folder"
    assert details["mute.wav"] == "no labels over time"
    assert details["blank.wav"] == "all cells of its labels are empty"
    assert "less than two seconds of its 5.0 s have labels" in details["late.wav"]
    assert "cannot be read as audio" in details["text.mp3"]
    assert "is empty (0 bytes)" in details["empty.flac"]
    assert "its length is zero" in details["zero.wav"]
    assert own.summary == (
        "8 of 9 songs were left out: 3 with audio that cannot be read, 2 without labels, "
        "2 too short, 1 without audio"
    )


def test_songs_csv(tmp_path: Path) -> None:
    names = ("a.wav", "b.wav", "c.wav", "d.wav", "e.wav")
    for name in names:
        write_audio(tmp_path / name, 3.0)
    (tmp_path / "labels.csv").write_text(HEADER + "".join(label_rows(n, 3.0) for n in names))
    (tmp_path / "songs.csv").write_text(
        "File,split,valence,arousal\n"
        "a.wav,Test,0.5,-0.5\na.wav,Test,0.5,-0.5\n"
        "b.wav,holdout,,\nc.wav,train,7,5\nd.wav,train,good,\n"
        "e.wav,train,,\ne.wav,test,,\nz.wav,train,,\n"
    )
    own = load(tmp_path)
    assert own.splits["test"][0] == "a.wav"
    assert own.songs["a.wav"].static == (0.5, -0.5)
    details = {problem.song: problem.detail for problem in own.problems}
    assert "the split 'holdout' is not one of train, validation, test" in details["b.wav"]
    assert "valence: 7 is outside [-1, 1]" in details["c.wav"]
    assert "valence: 'good' is not a number" in details["d.wav"]
    assert "line 8: contradicts an earlier row" in details["e.wav"]
    assert own.remarks == (
        "songs.csv, line 3: a.wav is repeated",
        "songs.csv: z.wav is neither an audio file in the folder nor in the labels",
    )


def test_harmless_findings_are_remarks(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", 5.0)
    (tmp_path / "a.csv").write_text("time_s,valence,arousal\n1,1,1\n")
    (tmp_path / "labels.csv").write_text(f"{HEADER}{label_rows('a.wav')}a.wav,12,0.25,-0.25\n")
    own = load(tmp_path)
    assert own.left_out == ()
    assert len(own.clips) == 1
    assert own.clips[0].duration_s == 5.0
    assert own.remarks == (
        "song a.wav: the CSV beside it is not read, because labels.csv exists",
        "song a.wav: 1 repeated rows",
        "song a.wav: its labels go on to 12 s, its audio ends at 5.0 s; "
        "the labels beyond that are not used",
    )


def test_two_files_cannot_share_one_table(tmp_path: Path) -> None:
    for name in ("a.flac", "a.wav"):
        write_audio(tmp_path / name)
    (tmp_path / "a.csv").write_text("time_s,valence,arousal\n" + label_rows())
    own = load(tmp_path)
    assert own.left_out == ("song a.wav: a.csv also belongs to a.flac",)


def test_unusable_folders_and_tables_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        load(tmp_path / "none")
    with pytest.raises(DataError, match="contains neither audio"):
        load(tmp_path)
    write_audio(tmp_path / "a.wav")
    with pytest.raises(DataError, match=r"no song .* 1 without labels \(song a.wav: no labels"):
        load(tmp_path)
    (tmp_path / "labels.csv").write_text("file,seconds,valence,arousal\n")
    with pytest.raises(DataError, match=r"has no column time_s; .* \(its columns: file, seconds"):
        load(tmp_path)
    (tmp_path / "labels.csv").write_text(HEADER + ",1,0,0\n")
    with pytest.raises(DataError, match="line 2 has no file name"):
        load(tmp_path)
    (tmp_path / "labels.csv").write_text("")
    with pytest.raises(DataError, match=r"labels\.csv is empty"):
        load(tmp_path)
    (tmp_path / "labels.csv").unlink()
    (tmp_path / "a.csv").write_text("time,valence,arousal\n1,0,0\n")
    with pytest.raises(DataError, match=r"a\.csv has no column time_s"):
        load(tmp_path)
