"""Which files the arguments of `analyze` stand for; nothing is decoded here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from realtime_mer.commands.music_files import find_music


@pytest.fixture(autouse=True)
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: songs in folders, with what else lies in such folders."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "b.mp3", "a.FLAC", "cover.jpg", "list.m3u", ".hidden.mp3", "._a.FLAC",
        "inner/c.wav", "inner/._c.wav", "inner/deep/d.ogg", ".trash/e.mp3", "live [2020]/f.opus",
    ):  # fmt: skip
        path = tmp_path / "music" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "empty").mkdir()
    return tmp_path


SONGS = ["a.FLAC", "b.mp3", "inner/c.wav", "inner/deep/d.ogg", "live [2020]/f.opus"]


def found(*texts: str) -> list[str]:
    files = find_music(texts)
    assert [file.error for file in files] == [None] * len(files)
    return [Path(file.name).as_posix() for file in files]


def problems(*texts: str) -> list[str]:
    return [str(file.error) for file in find_music(texts) if file.error is not None]


@pytest.mark.parametrize("text", ["music", "music/", "./music"])
def test_a_folder_stands_for_the_music_in_it_and_in_its_folders(text: str) -> None:
    assert found(text) == [f"music/{name}" for name in SONGS]
    assert [file.place.as_posix() for file in find_music([text])] == SONGS


def test_the_current_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("music")
    assert found(".") == SONGS


def test_links_in_a_folder_are_followed_but_not_in_circles() -> None:
    Path("music/inner/up").symlink_to(Path("music").absolute())
    Path("elsewhere").mkdir()
    Path("elsewhere/z.mp3").touch()
    Path("music/link").symlink_to(Path("elsewhere").absolute())
    assert found("music") == [f"music/{name}" for name in sorted([*SONGS, "link/z.mp3"])]
    assert len(found("music/**")) == len(SONGS) + 1


def test_a_folder_without_music() -> None:
    (problem,) = problems("empty")
    assert "the folder 'empty' contains no music" in problem


@pytest.mark.parametrize(
    ("pattern", "songs"),
    [
        ("music/*.mp3", ["music/b.mp3"]),
        ("music/[ab].*", ["music/a.FLAC", "music/b.mp3"]),
        ("m?sic/*/*.wav", ["music/inner/c.wav"]),
        ("music/**/*.ogg", ["music/inner/deep/d.ogg"]),
        ("music/**", [f"music/{name}" for name in SONGS]),
        ("music/live [2020]/*", ["music/live [2020]/f.opus"]),  # brackets of a real folder
        ("music/inner/*", ["music/inner/c.wav", "music/inner/deep/d.ogg"]),
        ("music/.*/*.mp3", ["music/.trash/e.mp3"]),
    ],
)
def test_patterns_that_no_shell_expanded(pattern: str, songs: list[str]) -> None:
    assert sorted(found(pattern)) == songs
    assert found(str(Path(pattern).absolute())) == [str(Path(name).absolute()) for name in songs]


def test_a_pattern_with_a_suffix_selects_files_of_any_kind() -> None:
    Path("music/x.music").touch()
    assert found("music/*.music") == ["music/x.music"]


def test_a_file_whose_name_has_brackets_comes_before_the_pattern() -> None:
    Path("a [live].mp3").touch()
    Path("a l.mp3").touch()
    assert found("a [live].mp3") == ["a [live].mp3"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("music/*.wav", "no music matches 'music/*.wav'"),
        ("nowhere/*", "no music matches"),
        ("empty/*", "no music matches"),
        ("a**b/*.mp3", "pattern"),
        ("", "the name of a file is empty"),
        ("-", "realtime-mer listen --input -"),
        ("https://x.example/a.mp3", "--input https://x.example/a.mp3"),
        ("file://nas/a.mp3", "on the computer 'nas'"),
    ],
)
def test_arguments_that_stand_for_no_file(text: str, sentence: str) -> None:
    (problem,) = problems(text)
    assert sentence in problem


def test_the_password_of_an_address_is_not_shown() -> None:
    (problem,) = problems("https://me:secret@x.example/a.mp3")
    assert "secret" not in problem


def test_a_file_that_is_given_twice_is_taken_once() -> None:
    Path("link.mp3").symlink_to("music/b.mp3")
    assert found("music/b.mp3", "music", "link.mp3", "./music/*.mp3", "demo", "demo") == [
        "music/b.mp3",
        *(f"music/{name}" for name in SONGS if name != "b.mp3"),
        "demo",
    ]


def test_playlists() -> None:
    folder = Path("lists")
    folder.mkdir()
    song = Path("music/a.FLAC").absolute()
    entries = [r"..\music\b.mp3", song.as_uri(), "missing.mp3", "https://x.example/a.mp3"]
    (folder / "p.m3u").write_bytes("\r\n".join(["\ufeff#EXTM3U", *entries]).encode())
    numbered = [f"File{number}={entry}" for number, entry in enumerate(entries, 1)]
    (folder / "p.pls").write_text("\n".join(["[playlist]", *numbered]))
    tracks = "".join(f"<track><location>{entry}</location></track>" for entry in entries)
    (folder / "p.xspf").write_text(
        f'<playlist version="1" xmlns="http://xspf.org/ns/0/"><trackList>{tracks}</trackList>'
        "</playlist>"
    )
    for name in ("p.m3u", "p.pls", "p.xspf"):
        files = find_music([str(folder / name)])
        assert [os.path.realpath(file.name) for file in files[:2]] == [
            os.path.realpath("music/b.mp3"),
            str(song),
        ]
        assert files[2].name == str(folder / "missing.mp3")
        assert [file.error is None for file in files] == [True, True, True, False]
        assert "is a network address" in str(files[3].error)
        assert all(file.listed for file in files)


def test_a_playlist_with_names_in_latin_1() -> None:
    Path("Café.mp3").touch()
    Path("p.m3u").write_bytes("Café.mp3\n".encode("latin-1"))
    assert found("p.m3u") == ["Café.mp3"]


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("p.m3u", "#EXTM3U\n", "names no file"),
        ("p.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:6\na.ts\n", "(HLS)"),
        ("p.xspf", "<playlist><trackList>", "not a valid xspf playlist"),
    ],
)
def test_playlists_without_files(name: str, text: str, sentence: str) -> None:
    Path(name).write_text(text)
    (problem,) = problems(name)
    assert sentence in problem


def test_an_entry_with_a_null_character_is_told_by_the_decoder() -> None:
    Path("p.pls").write_bytes(b"[playlist]\nFile1=file:///a%00b.mp3\n")
    (file,) = find_music(["p.pls"])
    assert file.name == "/a\0b.mp3"


def test_the_current_folder_may_be_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    song = str(tmp_path / "music" / "b.mp3")
    assert [file.name for file in find_music(["song.wav", song, "demo"])] == [
        "song.wav",
        song,
        "demo",
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other permissions")
def test_a_folder_that_cannot_be_read(library: Path) -> None:
    """As root only without the right to read everything."""
    locked = library / "music" / "locked"
    locked.mkdir()
    locked.chmod(0)
    program = (
        "from realtime_mer.commands.music_files import find_music\n"
        "for file in find_music(['music']): print(file.name, file.error)"
    )
    python = [sys.executable, "-c", program]
    if os.geteuid() == 0:
        rights = "-dac_override,-dac_read_search"
        python = ["setpriv", "--bounding-set", rights, "--inh-caps", rights, "--", *python]
    try:
        run = subprocess.run(python, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("setpriv is not installed")
    finally:
        locked.chmod(0o700)
    assert run.returncode == 0, run.stderr
    *others, last = run.stdout.splitlines()
    assert len(others) == len(SONGS)
    assert last == ("music/locked the folder 'music/locked' cannot be read (Permission denied)")
