"""The loader of PMEmo, on small data in its published layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from mer_engine.datasets.load import load_collection
from mer_engine.datasets.problems import DataError

RATE = 8_000
DYNAMIC = "musicId,frameTime,Arousal(mean),Valence(mean)\n"


def write_pmemo(root: Path, *, archive: bool = False) -> Path:
    """Three choruses with audio (1, 4, 5), one too short for labels (6), one without audio (7)."""
    tables = root / "annotations" if archive else root
    (root / "chorus").mkdir(parents=True)
    tables.mkdir(exist_ok=True)
    (root / "metadata.csv").write_text(
        "musicId,fileName,title,artist,album,duration,chorus_start_time,chorus_end_time\n"
        '1,1.mp3,"Good, Better",2 Chainz,"Def, Jam",32.1,02:35,03:05\n'
        "4,4.mp3,No Heart,21 Savage,Savage Mode,28.09,03:00,03:26\n"
        "5,5.mp3,Red Opps,21 Savage,Red Opps,28.0,02:16,02:44\n"
        "6,6.mp3,Short,Nobody,None,11.08,00:10,00:19\n"
        "7,7.mp3,Gone,Nobody,None,30,00:10,00:38\n"
    )
    for song, seconds in ((1, 32.1), (4, 28.09), (5, 28.0), (6, 11.08)):
        noise = np.random.default_rng(song).normal(0, 0.05, round(seconds * RATE))
        soundfile.write(root / "chorus" / f"{song}.flac", noise, RATE)
    rows = [
        f"{song},{t:.1f},{0.5 + t / 100:.4f},{0.25:.4f}\n"
        for song, last in ((1, 32.0), (4, 28.0), (5, 28.0), (7, 30.0))
        for t in np.arange(15.5, last + 0.25, 0.5)
    ]
    (tables / "dynamic_annotations.csv").write_text(DYNAMIC + "".join(rows))
    return tables


@pytest.mark.parametrize("archive", [False, True])
def test_choruses_are_cut_from_the_first_label_on(tmp_path: Path, archive: bool) -> None:
    write_pmemo(tmp_path / "pmemo", archive=archive)
    for folder in (tmp_path, tmp_path / "pmemo"):
        pmemo = load_collection(f"pmemo={folder}")
        assert pmemo.name == "pmemo"
        assert [(c.song, c.start_s, c.audio_offset_s, c.duration_s) for c in pmemo.clips] == [
            ("1", 15, 15, 10),
            ("1", 25, 25, 7),
            ("4", 15, 15, 10),
            ("4", 25, 25, 3),
            ("5", 15, 15, 10),
            ("5", 25, 25, 3),
        ]
        # Values are scaled from [0, 1] to [-1, 1]; a label belongs to the end of its half second.
        labels = pmemo.labels(pmemo.clips[1], 20)
        expected = 2 * (0.5 + np.arange(25.5, 32.25, 0.5) / 100) - 1
        np.testing.assert_allclose(labels[:14, 1], expected, atol=1e-6)
        np.testing.assert_allclose(labels[:14, 0], -0.5, atol=1e-6)
        assert np.isnan(labels[14:]).all()
        assert pmemo.songs["1"].title == "Good, Better"
        assert pmemo.songs["1"].static is None
        assert pmemo.summary == "2 of 5 songs were left out: 1 without labels, 1 without audio"
        split_by_song = {song: name for name, ids in pmemo.splits.items() for song in ids}
        assert split_by_song["4"] == split_by_song["5"]  # one artist
        assert len(split_by_song) == 5


@pytest.mark.parametrize(
    "table",
    [
        "musicId,Arousal(mean),Valence(mean)\n1,0.75,0.25\n",
        "song_id,valence_mean,valence_std,arousal_mean,arousal_std\n1,3,0.1,7,0.2\n",
    ],
)
def test_static_labels_in_both_forms(tmp_path: Path, table: str) -> None:
    write_pmemo(tmp_path)
    (tmp_path / "static_annotations.csv").write_text(table)
    pmemo = load_collection(f"pmemo={tmp_path}")
    assert pmemo.songs["1"].static == pytest.approx((-0.5, 0.5))
    assert pmemo.songs["4"].static is None


def test_songs_with_bad_labels_are_left_out(tmp_path: Path) -> None:
    tables = write_pmemo(tmp_path)
    with (tables / "dynamic_annotations.csv").open("a") as file:
        file.write("4,20.0,0.7,1.2\n5,20.0,loud,0.5\n")
    pmemo = load_collection(f"pmemo={tmp_path}")
    assert {clip.song for clip in pmemo.clips} == {"1"}
    reasons = " | ".join(pmemo.left_out)
    assert "song 4: dynamic_annotations.csv, line 118: 1.2 is outside 0 to 1" in reasons
    assert "song 5: dynamic_annotations.csv, line 119, arousal(mean): 'loud' is not" in reasons
    (tmp_path / "static_annotations.csv").write_text(
        "musicId,Arousal(mean),Valence(mean)\n1,7.5,0.25\n"
    )
    with pytest.raises(DataError, match=r"no song .* can be used: 5 of 5 songs .* 7.5 is outside"):
        load_collection(f"pmemo={tmp_path}")


def test_songs_with_contradictory_rows_are_left_out(tmp_path: Path) -> None:
    tables = write_pmemo(tmp_path)
    with (tables / "dynamic_annotations.csv").open("a") as file:
        file.write("4,20.0,0.1,0.1\n")
    pmemo = load_collection(f"pmemo={tmp_path}")
    assert "song 4: dynamic_annotations.csv, line 118: 20 s has other values" in str(pmemo.left_out)


def test_unusable_folders_and_tables_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        load_collection(f"pmemo={tmp_path / 'none'}")
    with pytest.raises(DataError, match=r"does not contain PMEmo: dynamic_annotations\.csv"):
        load_collection(f"pmemo={tmp_path}")
    tables = write_pmemo(tmp_path)
    metadata = (tmp_path / "metadata.csv").rename(tmp_path / "moved.csv")
    with pytest.raises(DataError, match=r"metadata\.csv is missing; it contains artist and title"):
        load_collection(f"pmemo={tmp_path}")
    metadata.rename(tmp_path / "metadata.csv")
    (tables / "dynamic_annotations.csv").write_text("musicId,frameTime,Arousal(mean)\n1,15.5,1\n")
    with pytest.raises(DataError, match=r"has no column valence\(mean\)"):
        load_collection(f"pmemo={tmp_path}")
