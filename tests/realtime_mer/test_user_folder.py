import os
import stat
from pathlib import Path

import pytest

from realtime_mer.user_folder import user_folder, write_private


def test_each_system_has_its_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert user_folder("linux", {}) == tmp_path / ".config" / "realtime-mer"
    assert user_folder("linux", {"XDG_CONFIG_HOME": "/x"}) == Path("/x/realtime-mer")
    assert user_folder("linux", {"XDG_CONFIG_HOME": "x"}) == tmp_path / ".config" / "realtime-mer"
    mac = tmp_path / "Library" / "Application Support" / "realtime-mer"
    assert user_folder("darwin", {}) == mac
    assert user_folder("win32", {"APPDATA": str(tmp_path)}) == tmp_path / "realtime-mer"


def test_a_user_without_a_home_gets_an_error_not_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    for platform in ("linux", "darwin", "win32"):
        with pytest.raises(OSError, match=r"Not a directory|File exists|cannot find"):
            write_private(user_folder(platform, {}) / "key.pem", b"")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no permission bits")
def test_only_the_user_can_read_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "key.pem"
    before = os.umask(0)
    try:
        write_private(path, b"old")
        write_private(path, b"secret")
    finally:
        os.umask(before)
    assert path.read_bytes() == b"secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["key.pem"]


def test_content_is_on_the_disk_before_it_has_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Else a power cut may leave an empty file, and the server would not start with it."""
    path, seen = tmp_path / "tokens.toml", list[tuple[int, bool]]()
    monkeypatch.setattr(
        os, "fsync", lambda file: seen.append((os.fstat(file).st_size, path.exists()))
    )
    write_private(path, b"secret")
    assert seen == [(6, False)]


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_is_there_is_kept_where_that_is_wanted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, links: bool
) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    if not links:  # such as a FAT drive
        monkeypatch.setattr(Path, "hardlink_to", no_links)
    path = tmp_path / "tokens.toml"
    write_private(path, b"first", keep=True)
    with pytest.raises(FileExistsError):
        write_private(path, b"second", keep=True)
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]
