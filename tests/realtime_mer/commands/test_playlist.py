"""The command: which files, which messages, what other programs can read."""

from __future__ import annotations

import csv
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from library_support import summary, track

from realtime_mer.audio.playlist import playlist_entries, recognise_playlist
from realtime_mer.cli import main
from realtime_mer.core.mood import WORDS
from realtime_mer.library.tables import LibraryTable
from realtime_mer.library.track import Track


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A library of 60 files that exist, from sad to joyful, three minutes each."""
    tracks = []
    for index in range(60):
        path = tmp_path / "music" / f"{index:02d} ü.flac"
        path.parent.mkdir(exist_ok=True)
        path.touch()
        value = index / 60 - 0.5
        mood = "sad" if value < 0 else "joyful"
        tracks.append(track(path, summary(value, value, mood=mood, duration_s=180.0)))
    tracks.append(track(tmp_path / "broken.mp3", None, skipped="it is damaged"))
    return written(tmp_path / "library.sqlite", tracks)


def written(path: Path, tracks: list[Track]) -> Path:
    with LibraryTable(path) as table:
        for each in tracks:
            table.add(each)
        table.finish()
    return path


def entries(path: Path) -> list[str]:
    """Return the files of a playlist as this program reads it."""
    data = path.read_bytes()
    kind = recognise_playlist(data, suffix=path.suffix)
    assert kind is not None
    return playlist_entries(data, kind, label="it")


def test_a_playlist_between_two_moods(
    library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "evening.m3u8"
    arguments = ["--from", "sad", "--to", "joyful", "--minutes", "45", "-o", str(output)]
    assert main(["playlist", str(library), *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    files = entries(output)
    assert len(files) == 15
    assert files == sorted(files)  # the files go from sad to joyful
    assert all(Path(file).is_file() for file in files)
    lines = output.read_text("utf-8").splitlines()
    assert lines[0] == "#EXTM3U"
    assert lines[1] == f"#EXTINF:180,{Path(files[0]).stem}"
    assert "15 files, 45:00; mean step 0." in captured.err
    figures = re.search(r"mean step ([\d.]+) \(in random order ([\d.]+)\)", captured.err)
    assert figures is not None
    assert float(figures[1]) < 0.5 * float(figures[2])


def test_without_a_path_the_playlist_goes_to_standard_output(
    library: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["playlist", str(library), "--from=-0.8,-0.8", "--to", "neutral", "--minutes", "9"])
        == 0
    )
    out = capsys.readouterr().out
    assert out.startswith("#EXTM3U\n#EXTINF:180,")
    assert out.count("\n") == 7


def test_along_a_target(library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "session.toml"
    target.write_text(
        "[[point]]\nt_s = 0\nvalence = -0.8\narousal = -0.8\n"
        "[[point]]\nt_s = 1800\nvalence = 0.6\narousal = 0.6\n"
    )
    output = tmp_path / "session.m3u"
    assert main(["playlist", str(library), "--along", str(target), "-o", str(output)]) == 0
    numbers = [int(Path(file).name[:2]) for file in entries(output)]
    assert len(numbers) == 10
    # At the middle of each file, as the target says; nine tenths of the files lie from -1 to 1.
    places = [-0.8 + 1.4 * (index + 0.5) / 10 for index in range(10)]
    assert numbers == pytest.approx([29.5 + 0.45 * 59 * place for place in places], abs=1.0)


def test_a_list_for_each_mood_and_a_table(
    library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "moods"
    folder.mkdir()
    (folder / "tense.m3u8").write_text("#EXTM3U\nold.mp3\n")
    assert main(["playlist", str(library), "--moods", str(folder)]) == 0
    assert {path.name for path in folder.iterdir()} == {
        "sad.m3u8", "joyful.m3u8", "tense.m3u8", "moods.csv",
    }  # fmt: skip
    assert len(entries(folder / "sad.m3u8")) == len(entries(folder / "joyful.m3u8")) == 30
    assert (folder / "tense.m3u8").read_text() == "#EXTM3U\n"
    with (folder / "moods.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 60
    assert rows[0]["path"].endswith("00 ü.flac")
    assert rows[0]["mood"] == "sad"
    assert float(rows[0]["valence"]) == -0.5
    assert all(row["mood"] in WORDS and row["colour"].startswith("#") for row in rows)
    assert rows[0]["colour"] != rows[-1]["colour"]


def test_a_library_that_changed_since(
    library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone, changed = sorted((tmp_path / "music").iterdir())[:2]
    gone.unlink()
    os.utime(changed, ns=(1, 1))
    assert main(["playlist", str(library), "--moods", str(tmp_path / "moods")]) == 0
    error = capsys.readouterr().err
    assert f"left out, because not there any more: 1 file, for example {gone}" in error
    assert "changed since the analysis, run analyze again: 1 file, " in error
    files = entries(tmp_path / "moods" / "sad.m3u8")
    assert str(gone) not in files
    assert str(changed) in files


def test_names_that_are_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bytes that are no UTF-8 stay; a line break cannot be written."""
    name = os.fsdecode(b"caf\xe9.mp3")
    odd, broken = tmp_path / name, tmp_path / "two\nlines.mp3"
    odd.touch()
    broken.touch()
    address = replace(track(odd, summary()), path=odd.as_uri())
    library = written(tmp_path / "library.jsonl", [address, track(broken, summary())])
    output = tmp_path / "list.m3u8"
    arguments = ["--from", "calm", "--to", "calm", "--minutes", "4", "-o", str(output)]
    assert main(["playlist", str(library), *arguments]) == 0
    assert output.read_bytes().splitlines()[-1] == os.fsencode(odd)
    assert "because of a line break in the name: 1 file, " in capsys.readouterr().err


def test_a_file_of_another_computer_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = tmp_path / "here.mp3"
    here.touch()
    there = replace(track(here, summary()), path="file://other.invalid/there.mp3")
    library = written(tmp_path / "library.jsonl", [track(here, summary()), there])
    arguments = ["--from", "calm", "--to", "calm", "--minutes", "4"]
    assert main(["playlist", str(library), *arguments]) == 0
    output = capsys.readouterr()
    assert "not there any more: 1 file, for example file://other.invalid" in output.err
    assert output.out.splitlines()[-1] == str(here)


def test_addresses_stay(tmp_path: Path) -> None:
    library = written(tmp_path / "library.csv", [track("s3://music/song.flac", summary())])
    output = tmp_path / "list.m3u8"
    arguments = ["--from", "calm", "--to", "calm", "--minutes", "4", "-o", str(output)]
    assert main(["playlist", str(library), *arguments]) == 0
    assert entries(output) == ["s3://music/song.flac"]


def test_a_library_that_is_too_small_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.mp3").touch()
    library = written(tmp_path / "library.csv", [track(tmp_path / "a.mp3", summary())])
    assert main(["playlist", str(library), "--from", "calm", "--to", "sad", "--minutes", "60"]) == 0
    assert "no more music for the 60 minutes" in capsys.readouterr().err
    assert main(["playlist", str(library), "--from", "calm", "--to", "sad", "--minutes", "1"]) == 2
    assert "no file fits into 1 minutes; the shortest takes 4:00" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --from, --to and --minutes, or --along, or --moods"),
        (["--from", "calm", "--minutes", "5"], "give --from, --to and --minutes"),
        (["--from", "calm", "--to", "sad"], "give --from, --to and --minutes"),
        (
            ["--from", "clam", "--to", "sad", "--minutes", "9"],
            "'clam' is no mood and no valence,arousal from -1 to 1; did",
        ),
        (["--from", "calm", "--to", "sad", "--minutes", "0"], "--minutes is 0; it must be above"),
        (["--from", "calm", "--to", "sad", "--minutes", "nan"], "--minutes is nan"),
        (["--from", "calm", "--to", "sad", "--minutes", "9", "-o", "x.txt"], "must end in .m3u8"),
        (["--from", "calm", "--along", "x.toml"], "--along gives the whole way; leave --from out"),
        (["--along", "x.toml"], "the target x.toml cannot be read"),
        (["--moods", "x", "--minutes", "9"], "--moods makes playlists of its own"),
        (
            ["--from", "calm", "--to", "sad", "--minutes", "9", "-o", "no/x.m3u"],
            "no/x.m3u cannot be",
        ),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    arguments: list[str],
    message: str,
    library: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["playlist", str(library), *arguments]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("realtime-mer playlist: ")
    assert message in error


def test_a_library_without_music(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    library = written(tmp_path / "library.csv", [track("/nowhere/x.mp3", None, skipped="gone")])
    assert main(["playlist", str(library), "--moods", str(tmp_path)]) == 2
    assert "has no file that is music and still there" in capsys.readouterr().err
    assert main(["playlist", str(tmp_path / "none.db"), "--moods", str(tmp_path)]) == 2
    assert "does not exist" in capsys.readouterr().err
