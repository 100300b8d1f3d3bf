"""The loader of DEAM, on small data in its layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from deam_support import RATE, arousal_of, tone, valence_of, write_deam
from mer_engine.datasets.deam import campaign_of
from mer_engine.datasets.load import load_collection
from mer_engine.datasets.problems import DataError


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_deam(tmp_path_factory.mktemp("data"), seconds=0.1)


def test_the_folder_or_the_one_above_it(root: Path) -> None:
    for folder in (root, root.parent):
        deam = load_collection(folder)
        assert deam.root == root
        assert deam.name == "deam"
        assert len(deam.clips) == 30
        assert deam.splits["test"] == ("2001", "2002", "2003", "2004", "2005", "2006")
        assert [clip.song for clip in deam.clips_of("test")] == list(deam.splits["test"])
        assert deam.left_out == ()
        assert deam.summary == ""


def test_labels_belong_to_the_end_of_each_step(root: Path) -> None:
    deam = load_collection(root)
    clip = deam.clips[0]
    assert (clip.song, clip.start_s, clip.audio_offset_s, clip.duration_s) == ("2", 30, 0, 10)
    labels = deam.labels(clip, 20)
    assert labels.shape == (20, 2)
    assert labels.dtype == np.float32
    # The first step ends at 30.5 s, the tenth at 35.0 s.
    song = np.array([valence_of(2), arousal_of(2)])
    np.testing.assert_allclose(labels[0], song + 0.0061, atol=1e-4)
    np.testing.assert_allclose(labels[9], song + 0.0070, atol=1e-4)
    # The labels end at 45 s.
    assert np.isfinite(deam.labels(clip, 30)).all()
    assert np.isnan(deam.labels(clip, 31)[30]).all()


def test_extra_clips_may_begin_at_any_time(root: Path) -> None:
    deam = load_collection(root)
    (clip,) = deam.extra  # the one whose file is missing is not listed
    assert clip.song == "2"
    assert deam.labels(clip, 2)[0, 1] == pytest.approx(arousal_of(2) + 0.00355, abs=1e-4)


def test_metadata_of_songs_in_all_variants_of_the_tables(root: Path) -> None:
    songs = load_collection(root).songs
    assert songs["2"].static == pytest.approx((valence_of(2), arousal_of(2)))
    assert (songs["2"].artist, songs["2"].title, songs["2"].genre) == (
        "Someone",
        "Something",
        "Blues",
    )
    assert (songs["1001"].artist, songs["1001"].title) == ("A", "C")
    assert songs["1001"].genre == "Jazz-Rock"
    assert (songs["2001"].title, songs["2001"].artist) == ("Old Tree", "Creepoid")
    assert songs["2001"].genre == "Rock"
    assert songs["2002"].genre is None
    assert songs["2003"].artist is None


def test_long_recordings_are_used_from_the_start_of_the_clip(tmp_path: Path) -> None:
    root = write_deam(tmp_path, seconds=0.1)
    soundfile.write(root / "audio" / "2.flac", tone(2, 45.0), RATE)
    clips = {clip.song: clip for clip in load_collection(root).clips}
    assert (clips["2"].start_s, clips["2"].audio_offset_s) == (30.0, 30.0)
    assert clips["3"].audio_offset_s == 0.0


def test_without_splits_artists_stay_together(tmp_path: Path) -> None:
    root = write_deam(tmp_path, seconds=0.1)
    for path in (root / "splits").iterdir():
        path.unlink()
    (root / "splits").rmdir()
    deam = load_collection(root)
    assert sum(len(ids) for ids in deam.splits.values()) == len(deam.songs) == 30
    split_by_song = {song: name for name, ids in deam.splits.items() for song in ids}
    assert split_by_song["2"] == split_by_song["3"]  # both by Someone
    assert "figures on this split would be too good" in deam.remarks[0]


@pytest.mark.parametrize("nested", [False, True])
def test_the_published_archives(tmp_path: Path, nested: bool) -> None:
    root = write_deam(tmp_path, seconds=0.1)
    tables = root / "annotations" / "annotations averaged per song"
    dynamic, static = tables / "dynamic (per second annotations)", tables / "song_level"
    for folder in (dynamic, static, root / "metadata"):
        folder.mkdir(parents=True)
    for name in ("arousal", "valence"):
        (root / "annotations" / f"{name}.csv").rename(dynamic / f"{name}.csv")
    for path in (root / "annotations").glob("metadata*"):
        path.rename(root / "metadata" / path.name)
    header, *rows = (root / "annotations" / "static_annotations.csv").read_text().splitlines()
    (root / "annotations" / "static_annotations.csv").unlink()
    (static / "static_annotations_averaged_songs_1_2000.csv").write_text(
        "\n".join([header, *rows[:24]])
    )
    (static / "static_annotations_averaged_songs_2000_2058.csv").write_text(
        "\n".join([header, *rows[24:]])
    )
    (root / "audio").rename(root / "MEMD_audio")
    if nested:
        for part, name in (("annotations", "DEAM_Annotations"), ("MEMD_audio", "DEAM_audio")):
            (root / name).mkdir()
            (root / part).rename(root / name / part)
    deam = load_collection(f"deam={root}")
    assert len(deam.clips) == 30
    assert deam.songs["2"].artist == "Someone"
    for song in (2, 2001):
        assert deam.songs[str(song)].static == pytest.approx((valence_of(song), arousal_of(song)))


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("annotations/arousal.csv", "arousal.csv is missing; it contains the arousal labels"),
        ("annotations/static_annotations.csv", "static_annotations.csv is missing"),
        ("splits/test.txt", "test.txt is missing; it lists the songs of the test split"),
        ("audio", "audio is missing; it contains the audio of the songs"),
    ],
)
def test_missing_files_are_named(tmp_path: Path, missing: str, message: str) -> None:
    root = write_deam(tmp_path, seconds=0.01)
    path = root / missing
    path.rename(path.with_name("moved"))
    with pytest.raises(DataError, match=message):
        load_collection(root)


def test_a_folder_without_deam_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not contain DEAM"):
        load_collection(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        load_collection(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("table", "text", "message"),
    [
        ("valence.csv", "song,sample_15000ms\n2,0.5\n", "has no column song_id"),
        ("valence.csv", "song_id,time\n2,0.5\n", "has no columns sample_"),
        ("valence.csv", "song_id,sample_15000ms\nx,0.5\n", "line 2: 'x' is not a song number"),
        ("static_annotations.csv", "song_id,valence_mean\n2,5\n", "has no column arousal_mean"),
    ],
)
def test_invalid_tables_are_rejected(tmp_path: Path, table: str, text: str, message: str) -> None:
    root = write_deam(tmp_path, seconds=0.01)
    (root / "annotations" / table).write_text(text)
    with pytest.raises(DataError, match=message):
        load_collection(root)


def test_each_song_left_out_is_named(tmp_path: Path) -> None:
    root = write_deam(tmp_path, seconds=0.1)
    (root / "audio" / "5.flac").unlink()
    (root / "audio" / "6.flac").write_text("no audio")
    (root / "audio" / "7.flac").write_bytes(b"")
    (root / "annotations" / "valence.csv").write_text(
        "song_id,sample_30500ms,sample_31000ms\n"
        + "".join(f"{song},0.1,0.2\n" for song in (2, 3, 5, 6, 7, *range(1001, 1013)))
        + "8,loud,0.1\n9,1.5,0.1\n10,,\n"
    )
    deam = load_collection(root)
    details = dict(sentence.removeprefix("song ").split(":", 1) for sentence in deam.left_out)
    assert "no audio file in" in details["5"]
    assert "cannot be read as audio" in details["6"]
    assert "is empty (0 bytes)" in details["7"]
    assert details["8"].strip() == "valence.csv, sample_30500ms: 'loud' is not a number"
    assert details["9"].strip() == "valence.csv, sample_30500ms: 1.5 is outside [-1, 1]"
    assert details["10"].strip() == details["2001"].strip() == "no labels over time"
    assert not set(details) & {clip.song for clip in deam.clips}
    assert "1 without audio" in deam.summary
    assert deam.summary.startswith(f"{len(details)} of 30 songs were left out: ")
    assert {problem.song for problem in deam.problems_of("test")} == set(deam.splits["test"])


def test_campaigns_follow_from_song_numbers(tmp_path: Path) -> None:
    assert [campaign_of(song) for song in ("2", "1000", "1001", "2000", "2001")] == [
        "2013",
        "2013",
        "2014",
        "2014",
        "2015",
    ]
    deam = load_collection(write_deam(tmp_path, seconds=0.1))
    assert {song.campaign for song in deam.songs.values()} == {"2013", "2014", "2015"}
