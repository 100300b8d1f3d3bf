import os
import socket
from pathlib import Path

import pytest

from realtime_mer.audio.local_path import (
    exists,
    is_file,
    is_file_address,
    is_folder,
    is_same_path,
    local_path,
)
from realtime_mer.errors import UserError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def test_tilde_is_the_home_folder(home: Path) -> None:
    assert local_path("~/song.wav") == home / "song.wav"
    assert local_path("~no-such-user/song.wav") == Path("~no-such-user/song.wav")
    assert local_path("a~/b") == Path("a~/b")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no list of users with their folders")
def test_tilde_and_a_name_is_the_home_folder_of_that_user() -> None:
    import pwd

    user = pwd.getpwuid(0)
    assert local_path(f"~{user.pw_name}/song.wav") == Path(user.pw_dir) / "song.wav"


@pytest.mark.usefixtures("home")
def test_a_file_whose_name_begins_with_a_tilde_comes_first() -> None:
    Path("~").mkdir()
    Path("~/song.wav").touch()
    assert local_path("~/song.wav") == Path("~/song.wav")


@pytest.mark.skipif(os.name == "nt", reason="paths of this form are not those of Windows")
@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("file:///music/song.wav", "/music/song.wav"),
        ("FILE:///music/song.wav", "/music/song.wav"),
        ("file://localhost/music/song.wav", "/music/song.wav"),
        (f"file://{socket.gethostname()}/music/song.wav", "/music/song.wav"),
        ("file:/music/song.wav", "/music/song.wav"),
        ("file:///music/Caf%C3%A9%20%F0%9F%8E%B5%23%3F.mp3", "/music/Café 🎵#?.mp3"),
        ("file:///music/a#b?c.mp3", "/music/a#b?c.mp3"),
        ("file:///music/caf%E9.wav", os.fsdecode(b"/music/caf\xe9.wav")),
        ("file:///music/100%.wav", "/music/100%.wav"),
    ],
)
def test_addresses_of_a_file_manager(address: str, path: str) -> None:
    assert is_file_address(address)
    assert local_path(address) == Path(path)


def test_a_file_on_another_computer() -> None:
    with pytest.raises(UserError, match="on the computer 'nas'"):
        local_path("file://nas/music/song.wav")


def test_an_empty_name_is_not_the_folder_that_one_is_in() -> None:
    with pytest.raises(UserError, match="the path is empty"):
        local_path("")


@pytest.mark.parametrize("text", ["file.wav", "https://x.example/a.mp3", "file:", "profile:/x"])
def test_other_names_are_no_addresses_of_files(text: str) -> None:
    assert not is_file_address(text)


def test_questions_that_the_system_does_not_answer(tmp_path: Path) -> None:
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    file = tmp_path / "file"
    file.touch()
    for path in (circle / "x", file / "x", "a" * 300, "a\0b"):
        assert not is_file(path)
        assert not is_folder(path)
    for path in (circle / "x", file / "x", "a" * 300):
        assert not exists(path)
    assert exists(circle)
    assert is_same_path(tmp_path / "x" / ".." / "file", file)
    assert not is_same_path(circle / "x", file)
