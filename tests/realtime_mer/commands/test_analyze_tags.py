"""`analyze --write-tags` and `--remove-tags`, with and without `--dry-run`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import soundfile
from support import music

from realtime_mer.cli import main
from realtime_mer.library.reading import read_library

mutagen: Any = pytest.importorskip("mutagen", reason="needs the extra library")


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    """A folder with two songs, one of which may not be written, and a file that is no music."""
    folder = tmp_path / "songs"
    folder.mkdir()
    for name in ("a.flac", "b.flac"):
        soundfile.write(folder / name, music(6.0, seed=ord(name[0])), 44_100)
    (folder / "b.flac").chmod(0o444)
    (folder / "notes.mp3").write_text("no music")
    return folder


def tags(path: Path) -> dict[str, str]:
    return {name.upper(): text for name, text in mutagen.File(path).tags or ()}


@pytest.mark.parametrize("suffix", ["sqlite", "csv"])
def test_tags_are_written_removed_and_the_rows_hold(
    suffix: str, songs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library = tmp_path / f"library.{suffix}"
    song = songs / "a.flac"
    original = song.read_bytes()

    def analyze(*options: str) -> tuple[str, str]:
        """Return standard output and error; one file is no music and one is read-only."""
        assert main(["analyze", str(songs), "--summary", "-o", str(library), *options]) == 2
        captured = capsys.readouterr()
        return captured.out, captured.err

    out, error = analyze("--write-tags", "--dry-run")
    row = next(track for track in read_library(library) if track.path == str(song))
    assert row.summary is not None
    mood = row.summary.mood
    (line,) = out.splitlines()
    assert line.startswith(f"{song}: MER_VALENCE - -> ")
    assert f"MER_MOOD - -> {mood}, MOOD - -> {mood}" in line
    assert "tags: 1 file would change, 0 unchanged" in error
    assert song.read_bytes() == original

    out, error = analyze("--write-tags")
    assert out == ""
    assert "tags: 1 file changed, 0 unchanged" in error
    assert f"stay as they are:\n  {songs / 'b.flac'} is read-only" in error
    assert "notes.mp3" in error.split("could not be analysed")[1]
    assert tags(song) == {
        "MER_VALENCE": f"{row.summary.valence:.3f}",
        "MER_AROUSAL": f"{row.summary.arousal:.3f}",
        "MER_MOOD": mood,
        "MOOD": mood,
    }
    after = next(track for track in read_library(library) if track.path == str(song))
    status = song.stat()
    assert (after.size_bytes, after.modified_ns) == (status.st_size, status.st_mtime_ns)
    assert after.analysed_utc == row.analysed_utc

    _, error = analyze("--write-tags")
    assert "tags: 0 files changed, 1 unchanged" in error
    assert "not analysed again, because unchanged: 2 files" in error
    assert song.stat().st_mtime_ns == status.st_mtime_ns

    assert main(["analyze", str(songs), "--summary", "-o", str(library), "--remove-tags"]) == 0
    assert "tags: 1 file changed, 1 unchanged" in capsys.readouterr().err
    assert tags(song) == {}
    _, error = analyze()
    assert "not analysed again, because unchanged: 2 files" in error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dry-run"], "--dry-run is for --write-tags and --remove-tags"),
        (["--write-tags"], "--write-tags needs a library; add --summary -o library.sqlite"),
        (["--remove-tags"], "--remove-tags needs a library"),
        (["--write-tags", "--remove-tags"], "contradict each other"),
    ],
)
def test_options_that_do_not_fit(
    options: list[str], message: str, songs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["analyze", str(songs / "a.flac"), *options]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
