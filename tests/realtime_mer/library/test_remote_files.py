"""Music in storage that fsspec reads; its `local://` is a storage that every process sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from realtime_mer.errors import UserError
from realtime_mer.library.remote_files import find_remote, is_remote, on_this_machine, remote_file
from realtime_mer.library.track_analysis import AnalysisSettings, TrackAnalyzer

pytest.importorskip("fsspec")


def noise(path: Path, seconds: float = 3.0) -> Path:
    samples = np.random.default_rng(0).uniform(-0.2, 0.2, round(seconds * 16_000))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, 16_000)
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://bucket/song.flac", True),
        ("gs://bucket/a b", True),
        ("song.flac", False),
        ("/music/a.flac", False),
        ("file:///music/a.flac", False),
        ("https://radio.example/live", False),
        ("rtsp://camera.example", False),
        ("s3://", False),
        ("C:\\music", False),
        ("a/b://c", False),
    ],
)
def test_what_is_an_address_in_storage(text: str, expected: bool) -> None:
    assert is_remote(text) is expected


def test_a_folder_is_its_music(tmp_path: Path) -> None:
    song = noise(tmp_path / "album" / "b.flac")
    noise(tmp_path / "a.wav")
    noise(tmp_path / ".hidden" / "c.wav")
    noise(tmp_path / "._a.wav")
    (tmp_path / "notes.txt").write_text("no music")
    found = list(find_remote(f"local://{tmp_path}/"))
    assert [file.address for file in found] == [f"local://{tmp_path}/a.wav", f"local://{song}"]
    assert found[1].size_bytes == song.stat().st_size
    assert found[1].modified_ns == pytest.approx(song.stat().st_mtime_ns, abs=1000)
    assert list(find_remote(f"local://{song}")) == [remote_file(f"local://{song}")]


def test_a_copy_has_the_content_and_goes(tmp_path: Path) -> None:
    song = noise(tmp_path / "b.flac")
    with on_this_machine(f"local://{song}") as copy:
        assert Path(copy).name == "b.flac"
        assert Path(copy).read_bytes() == song.read_bytes()
    assert not Path(copy).exists()
    with on_this_machine(str(song)) as same:
        assert same == str(song)


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("local:///nowhere/at/all", "contains no music|there is no"),
        ("nonsense://x/y", "Protocol not known: nonsense"),
    ],
)
def test_what_cannot_be_read_is_said(address: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        list(find_remote(address))


def test_a_folder_without_music(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="contains no music"):
        list(find_remote(f"local://{tmp_path}"))


def test_a_file_in_storage_has_the_row_of_the_same_file_here(tmp_path: Path) -> None:
    song = noise(tmp_path / "song.wav")
    analyzer = TrackAnalyzer(AnalysisSettings())
    here, remote = analyzer.analyze(str(song)), analyzer.analyze(f"local://{song}")
    assert remote.path == f"local://{song}"
    assert remote.summary == here.summary is not None
    assert remote.size_bytes == here.size_bytes


def test_a_bad_file_in_storage_is_named_by_its_address(tmp_path: Path) -> None:
    bad = tmp_path / "bad.flac"
    bad.write_bytes(b"no music at all" * 100)
    analyzer = TrackAnalyzer(AnalysisSettings())
    track = analyzer.analyze(f"local://{bad}")
    assert track.summary is None
    assert f"local://{bad}" in track.skipped
    gone = analyzer.analyze("local:///nowhere/x.flac")
    assert gone.skipped == "there is no 'local:///nowhere/x.flac'; check the address"
