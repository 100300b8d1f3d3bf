"""DEAM's loader, on small data in its layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from deam_support import RATE, arousal_of, valence_of, write_deam
from mer_engine.training.dataset import DataError, load_deam, read_audio


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_deam(tmp_path_factory.mktemp("data"), seconds=0.1)


def test_the_folder_or_the_one_above_it(root: Path) -> None:
    for folder in (root, root.parent):
        deam = load_deam(folder)
        assert deam.root == root
        assert len(deam.clips) == 30
        assert deam.splits["test"] == (2001, 2002, 2003, 2004, 2005, 2006)
        assert deam.left_out == ()


def test_labels_lie_at_the_end_of_each_step(root: Path) -> None:
    labels = load_deam(root).labels(2, 30.0, 20)
    assert labels.shape == (20, 2)
    assert labels.dtype == np.float32
    # The first step ends at 30.5 s, the tenth at 35.0 s.
    song = np.array([valence_of(2), arousal_of(2)])
    np.testing.assert_allclose(labels[0], song + 0.0061, atol=1e-4)
    np.testing.assert_allclose(labels[9], song + 0.0070, atol=1e-4)


def test_labels_between_two_times_and_beyond_the_last(root: Path) -> None:
    deam = load_deam(root)
    (clip,) = deam.extra  # the one whose file is missing is not listed
    labels = deam.labels(clip.song_id, clip.start_s, 2)
    assert labels[0, 1] == pytest.approx(arousal_of(2) + 0.00355, abs=1e-4)
    late = deam.labels(2, 43.0, 20)
    assert np.isfinite(late[:4]).all()
    assert np.isnan(late[4:]).all()
    assert np.isnan(deam.labels(999_999, 30.0, 3)).all()


def test_static_labels_and_genres_with_their_quirks(root: Path) -> None:
    deam = load_deam(root)
    assert deam.static[2] == pytest.approx((5 + 4 * valence_of(2), 5 + 4 * arousal_of(2)))
    assert deam.genres[3] == "Rock"
    assert deam.genres[1001] == "Jazz-Rock"


@pytest.mark.parametrize(
    ("gone", "told"),
    [
        ("annotations/arousal.csv", "arousal.csv is missing; it holds the arousal labels"),
        ("annotations/static_annotations.csv", "static_annotations.csv is missing"),
        ("splits/test.txt", "test.txt is missing; it lists the songs of the test split"),
        ("audio", "audio is missing; it holds the songs' audio"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, gone: str, told: str) -> None:
    root = write_deam(tmp_path, seconds=0.01)
    path = root / gone
    path.rename(path.with_name("elsewhere"))
    with pytest.raises(DataError, match=told):
        load_deam(root)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no DEAM"):
        load_deam(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        load_deam(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("song_id,sample_15000ms\n2,loud\n", "song 2, sample_15000ms: 'loud' is not a number"),
        ("song_id,sample_15000ms\n2,1.5\n", r"1.5 lies outside \[-1, 1\]"),
        ("song,sample_15000ms\n2,0.5\n", "has no column song_id"),
        ("song_id,time\n2,0.5\n", "holds no columns sample_"),
        ("song_id,sample_15000ms\nx,0.5\n", "line 2: 'x' is not a song number"),
    ],
)
def test_bad_tables(tmp_path: Path, text: str, told: str) -> None:
    root = write_deam(tmp_path, seconds=0.01)
    (root / "annotations" / "valence.csv").write_text(text)
    with pytest.raises(DataError, match=told):
        load_deam(root)


def test_songs_without_audio_or_labels_are_listed(tmp_path: Path) -> None:
    root = write_deam(tmp_path, seconds=0.01)
    (root / "audio" / "5.flac").unlink()
    deam = load_deam(root)
    assert 5 not in deam.clips
    assert [text.split(":")[0] for text in deam.left_out] == ["song 5"]


def test_audio_is_mixed_to_mono_and_resampled(tmp_path: Path) -> None:
    stereo = np.stack([np.full(48_000, 0.5), np.full(48_000, -0.1)], axis=1)
    soundfile.write(tmp_path / "a.wav", stereo, 48_000)
    samples = read_audio(tmp_path / "a.wav", RATE)
    assert samples.shape == (RATE,)
    assert samples.dtype == np.float32
    assert samples[RATE // 2] == pytest.approx(0.2, abs=1e-3)
    (tmp_path / "b.mp3").write_text("no music")
    with pytest.raises(DataError, match=r"b\.mp3 cannot be read as audio"):
        read_audio(tmp_path / "b.mp3", RATE)
