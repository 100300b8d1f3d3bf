"""The loader of VGMIDI, on small renderings with labels in the published form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mer_engine.datasets.load import load_collection
from mer_engine.datasets.problems import DataError
from mer_engine.datasets.vgmidi import CLIPS_PER_FILE, game_of, read_measures
from own_data_support import write_audio
from vgmidi_support import HEADER, write_vgmidi

NAMES = [f"Series_SNES_Game {game}_Title {n}" for game in range(3) for n in range(2)]


def test_pieces_of_both_parts_are_kept_apart(tmp_path: Path) -> None:
    """Each part of the data set numbers its pieces from zero."""
    rows = ["1,piece0,a.mid,0,0,2,0.1,0.2", "2,piece0,b.mid,0,0,2,-0.3,-0.4"]
    (tmp_path / "measure_curves.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    measures, bad = read_measures(tmp_path)
    assert bad == {}
    assert measures["a"].labels.tolist() == [[0.1, 0.2]]
    assert measures["b"].labels.tolist() == [[-0.3, -0.4]]


def test_renderings_of_a_piece_are_one_song_of_its_game(tmp_path: Path) -> None:
    write_vgmidi(tmp_path, NAMES, seconds=75.0)
    found = load_collection(f"vgmidi={tmp_path}")
    assert found.name == "vgmidi"
    assert found.problems == ()
    assert set(found.songs) == set(NAMES)
    assert found.songs[NAMES[2]].artist == "Series_SNES_Game 1"
    assert found.songs[NAMES[2]].title == "Title 0"
    assert found.songs[NAMES[2]].static is None
    labelled = [clip for clip in found.clips if clip.song == NAMES[2]]
    assert {clip.path.name for clip in labelled} == {f"{s}-{NAMES[2]}.flac" for s in ("One", "Two")}
    # Seven clips have labels; six of each file are used, every other one with its labels.
    assert [clip.start_s for clip in labelled] == 2 * [0.0, 20.0, 50.0]
    extra = [clip for clip in found.extra if clip.song == NAMES[2]]
    assert [clip.start_s for clip in extra] == 2 * [10.0, 40.0, 60.0]
    assert all(clip.duration_s == 10.0 for clip in (*labelled, *extra))
    assert len(labelled) == 2 * CLIPS_PER_FILE
    # No game is in two splits.
    games = [{game_of(song) for song in songs} for songs in found.splits.values()]
    assert sum(len(names) for names in games) == 3
    assert sum(len(songs) for songs in found.splits.values()) == 6


def test_a_half_second_gets_the_label_of_the_measure_it_ends_in(tmp_path: Path) -> None:
    write_vgmidi(tmp_path, NAMES[:1], seconds=30.0)
    found = load_collection(f"vgmidi={tmp_path}")
    labels = found.labels(found.clips[0], 20)
    # Measures last two seconds; their end belongs to them. Each has 0.01 more arousal.
    expected = np.repeat(np.arange(5), 4) / 100
    np.testing.assert_allclose(labels[:, 1], expected, atol=1e-6)
    np.testing.assert_allclose(labels[:, 0], 0.25, atol=1e-6)
    measures, _ = read_measures(tmp_path)
    at = measures[NAMES[0]].at(np.array([0.5, 2.0, 2.5, 30.0, 30.5]))
    np.testing.assert_allclose(at[:, 1], [0, 0, 0.01, 0.14, np.nan])


def test_unusable_pieces_are_named(tmp_path: Path) -> None:
    write_vgmidi(tmp_path, NAMES[:1], seconds=30.0)
    with (tmp_path / "measure_curves.csv").open("a") as table:
        table.write("1,p,Silent.mid,0,0,2,0,0\n")
        table.write("1,p,Loud.mid,0,0,2,1.5,0\n")
        table.write("1,p,Text.mid,0,0,2,high,0\n")
        table.write("1,p,Back.mid,0,2,1,0,0\n")
        table.write("1,p,Short.mid,0,0,5,0,0\n")
        table.write("1,p,Broken.mid,0,0,30,0,0\n")
    write_audio(tmp_path / "One-Short.flac", 5.0)
    (tmp_path / "One-Broken.flac").write_text("no audio")
    found = load_collection(f"vgmidi={tmp_path}")
    details = dict(sentence.removeprefix("song ").split(": ", 1) for sentence in found.left_out)
    assert details["Silent"].startswith("no rendering <synthesizer>-Silent in")
    assert "valence_mean: 1.5 is outside [-1, 1]" in details["Loud"]
    assert "valence_mean: 'high' is not a number" in details["Text"]
    assert "a measure from 2 s to 1 s" in details["Back"]
    assert "no rendering has 10 s with labels" in details["Short"]
    assert "One-Broken.flac cannot be read as audio" in details["Broken"]
    assert {clip.song for clip in found.clips} == {NAMES[0]}
    assert found.summary.startswith("6 of 7 songs were left out: ")


def test_a_folder_without_vgmidi_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        load_collection(f"vgmidi={tmp_path / 'gone'}")
    with pytest.raises(DataError, match=r"measure_curves\.csv is missing"):
        load_collection(f"vgmidi={tmp_path}")
    (tmp_path / "measure_curves.csv").write_text("midi,t0_s,t1_s,valence_mean\n")
    with pytest.raises(DataError, match="has no column arousal_mean"):
        load_collection(f"vgmidi={tmp_path}")
    (tmp_path / "measure_curves.csv").write_text(f"{HEADER}\n1,p,,0,0,2,0,0\n")
    with pytest.raises(DataError, match="line 2 has no file name"):
        load_collection(f"vgmidi={tmp_path}")
    (tmp_path / "measure_curves.csv").write_text(f"{HEADER}\n1,p,a.mid,0,0,2,0,0\n")
    with pytest.raises(DataError, match=r"no song in .* can be used: 1 of 1 songs was left out"):
        load_collection(f"vgmidi={tmp_path}")


def test_the_game_comes_from_the_file_name() -> None:
    assert game_of("Chrono_SNES_Chrono Trigger_600 AD") == "Chrono_SNES_Chrono Trigger"
    assert game_of("a b c") is None
