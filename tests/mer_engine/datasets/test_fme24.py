"""The loader of FME-24, on small generated excerpts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from collections_support import write_fme24
from mer_engine.datasets.fme24 import mean_marks
from mer_engine.datasets.load import load_collection
from mer_engine.datasets.problems import DataError
from own_data_support import write_audio


def test_the_label_is_the_mean_and_the_marks_move(tmp_path: Path) -> None:
    found = load_collection(f"fme24={write_fme24(tmp_path)}")
    assert (found.name, found.labelled, found.scale) == ("fme24", "mean", "shared")
    assert found.problems == ()
    song = found.songs["C3"]
    assert song.static == pytest.approx((0.1, 0.3))
    assert (song.artist, song.raters, song.genre) == ("Film 1", 2, "Crime; Sci-Fi")
    clips = [clip for clip in found.clips if clip.song == "C3"]
    assert [(c.start_s, c.audio_offset_s, c.duration_s) for c in clips] == [
        (0.0, 0.0, 10.0),
        (5.0, 5.0, 10.0),
    ]
    for clip in clips:
        np.testing.assert_allclose(found.labels(clip, 20), np.tile((0.1, 0.3), (20, 1)), atol=1e-6)
    # At 7 s the first of two listeners marks 0.4 more arousal.
    arousal = np.where(np.arange(1, 21) < 14, 0.2, 0.4)
    np.testing.assert_allclose(found.movement(clips[0], 20)[:, 1], arousal, atol=1e-6)
    np.testing.assert_allclose(found.movement(clips[1], 20)[:4, 1], [0.2, 0.2, 0.2, 0.4], atol=1e-6)
    np.testing.assert_allclose(found.movement(clips[0], 20)[:, 0], 0.1, atol=1e-6)
    splits = {name: split for split, names in found.splits.items() for name in names}
    assert splits["C0"] == splits["C1"]


def test_a_listener_counts_from_the_beginning_with_the_first_mark() -> None:
    early, late = [(0.0, 0.2, 0.0)], [(6.2, -0.4, 0.5), (4.0, 0.4, 0.3)]
    valence, arousal = mean_marks([early, late], 8.0)
    times_s = np.array([0.0, 3.5, 6.0, 6.5, 8.0])
    np.testing.assert_allclose(valence.at(times_s), [0.3, 0.3, 0.3, -0.1, -0.1])
    np.testing.assert_allclose(arousal.at(times_s), [0.15, 0.15, 0.15, 0.25, 0.25])


def test_unusable_excerpts_are_named(tmp_path: Path) -> None:
    write_fme24(tmp_path, clips=2)
    with (tmp_path / "excerpts.csv").open("a") as table:
        for name in ("gone", "unmarked", "loud", "text", "early", "short"):
            table.write(f"{name},F,T,,1,0,0\n")
        table.write("none,F,T,,0,0,0\nhalf,F,T,,1,,0\n")
        table.write("C1,F,T,,1,0,0\n")
    with (tmp_path / "marks.csv").open("a") as table:
        for name in ("gone", "none", "half", "short", "elsewhere"):
            table.write(f"{name},1,0,0,0,\n")
        table.write("loud,1,0,0,1.5,\ntext,1,soon,0,0,\nearly,1,-1,0,0,\n")
    write_audio(tmp_path / "audio" / "short.flac", 9.0)
    found = load_collection(f"fme24={tmp_path}")
    details = dict(sentence.removeprefix("song ").split(": ", 1) for sentence in found.left_out)
    assert details["gone"].startswith("no audio file in")
    assert details["unmarked"] == "no marks in marks.csv"
    # Sentences with line breaks before it count as the lines that they are.
    assert details["loud"] == "marks.csv, line 17, arousal: 1.5 is outside [-1, 1]"
    assert "t_s: 'soon' is not a number" in details["text"]
    assert "the time -1 s is negative" in details["early"]
    assert "has only 9.0 s" in details["short"]
    assert "n_raters: 0 is not a count of listeners" in details["none"]
    assert "valence: '' is not a number" in details["half"]
    assert "the excerpt has an earlier row" in details["C1"]
    assert {clip.song for clip in found.clips} == {"C0"}
    assert len(found.problems) == 9


def test_a_folder_without_fme24_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist; give the folder of FME-24"):
        load_collection(f"fme24={tmp_path / 'gone'}")
    write_fme24(tmp_path, clips=1)
    (tmp_path / "marks.csv").unlink()
    with pytest.raises(DataError, match=r"marks\.csv is missing"):
        load_collection(f"fme24={tmp_path}")
    (tmp_path / "excerpts.csv").write_text("clip,film,title,genre,valence,arousal\n")
    with pytest.raises(DataError, match="has no column n_raters"):
        load_collection(f"fme24={tmp_path}")
