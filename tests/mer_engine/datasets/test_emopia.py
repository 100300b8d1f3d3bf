"""The loader of EMOPIA, on small generated renderings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from collections_support import write_emopia
from mer_engine.datasets.load import load_collection
from mer_engine.datasets.problems import DataError
from mer_engine.datasets.types import group_of
from own_data_support import write_audio

NAMES = ("Q1_-a-b_0", "Q3_-a-b_1", "Q4_c-b_0")


def test_renderings_of_a_clip_are_one_song_of_its_recording(tmp_path: Path) -> None:
    found = load_collection(f"emopia={write_emopia(tmp_path, NAMES, seconds=61.0)}")
    assert (found.name, found.labelled, found.problems) == ("emopia", "quadrant", ())
    assert [found.songs[name].quadrant for name in NAMES] == [(1, 1), (-1, -1), (1, -1)]
    assert group_of(found.songs[NAMES[0]]) == group_of(found.songs[NAMES[1]])
    assert found.splits == {"train": NAMES[1:], "validation": NAMES[:1], "test": ()}
    clips = [clip for clip in found.clips if clip.song == NAMES[0]]
    assert {clip.path.name for clip in clips} == {
        f"{s}-{NAMES[0]}.flac" for s in ("One_0", "Two_1")
    }
    # Three of six sections of each rendering.
    assert [clip.start_s for clip in clips] == 2 * [0.0, 20.0, 50.0]
    assert all(clip.duration_s == 10.0 for clip in clips)
    assert np.isnan(found.labels(clips[0], 20)).all()


def test_unusable_clips_are_named(tmp_path: Path) -> None:
    write_emopia(tmp_path, NAMES[:1], seconds=11.0)
    with (tmp_path / "labels.csv").open("a") as table:
        table.write("Q1_silent_0.mid,Q1,silent,train,20\n")
        table.write("Q1_short_0.mid,Q1,short,train,5\n")
        table.write("Q1_broken_0.mid,Q1,broken,train,5\n")
        table.write("Q1_other_0.mid,Q1,other,dev,5\n")
        table.write("Q7_x_0.mid,Q7,x,train,5\n")
        table.write("Q1_short_0.mid,Q1,short,train,5\n")
    write_audio(tmp_path / "One-Q1_short_0.flac", 9.0)
    (tmp_path / "One-Q1_broken_0.flac").write_text("no audio")
    found = load_collection(f"emopia={tmp_path}")
    details = dict(sentence.removeprefix("song ").split(": ", 1) for sentence in found.left_out)
    assert details["Q1_silent_0"].startswith("no rendering <synthesizer>-Q1_silent_0 in")
    assert "no rendering has 10 s" in details["Q1_short_0"]
    assert "cannot be read as audio" in details["Q1_broken_0"]
    assert "the split 'dev' is not one of train, val, test" in details["Q1_other_0"]
    assert "'Q7' is not one of" in details["Q7_x_0"]
    assert len(found.problems) == 5
    assert {clip.song for clip in found.clips} == {NAMES[0]}


def test_a_clip_with_two_rows_is_left_out(tmp_path: Path) -> None:
    write_emopia(tmp_path, NAMES[:2], seconds=11.0)
    with (tmp_path / "labels.csv").open("a") as table:
        table.write(f"{NAMES[0]}.mid,Q2,-a-b,val,11\n")
    found = load_collection(f"emopia={tmp_path}")
    assert found.left_out == (f"song {NAMES[0]}: labels.csv, line 4: the clip has an earlier row",)
    assert {clip.song for clip in found.clips} == {NAMES[1]}


def test_a_folder_without_emopia_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist; give the folder of EMOPIA"):
        load_collection(f"emopia={tmp_path / 'gone'}")
    (tmp_path / "labels.csv").write_text("file,quadrant,split\n")
    with pytest.raises(DataError, match="has no column song;"):
        load_collection(f"emopia={tmp_path}")
