from pathlib import Path

import pytest
from mer_engine.cache import DamagedError, KeyValueCache, cache_folder, read_file, write_file


def test_each_system_has_its_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert cache_folder("linux", {}) == tmp_path / ".cache" / "realtime-mer"
    assert cache_folder("linux", {"XDG_CACHE_HOME": "/x"}) == Path("/x/realtime-mer")
    assert cache_folder("linux", {"XDG_CACHE_HOME": "x"}) == tmp_path / ".cache" / "realtime-mer"
    assert cache_folder("darwin", {}) == tmp_path / "Library" / "Caches" / "realtime-mer"
    assert cache_folder("darwin", {"REALTIME_MER_CACHE": "/y/z"}) == Path("/y/z")
    local = {"LOCALAPPDATA": str(tmp_path / "Local")}
    assert cache_folder("win32", local) == tmp_path / "Local" / "realtime-mer" / "Cache"


def test_a_user_without_a_home_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs with any number of a user."""

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    for platform in ("linux", "darwin", "win32"):
        cache = KeyValueCache(cache_folder(platform, {}) / "values.json")
        cache.put("a", {"b": 1})
        assert cache.get("a") is None
        with pytest.raises(OSError, match=r"Not a directory|File exists|cannot find"):
            write_file(cache_folder(platform, {}) / "file", {}, b"")


def test_a_file_comes_back_with_its_header(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    write_file(path, {"made_for": "sm89", "n": 3}, b"\x00\nbytes\n")
    assert read_file(path) == ({"made_for": "sm89", "n": 3}, b"\x00\nbytes\n")
    write_file(path, {}, b"newer")
    assert read_file(path) == ({}, b"newer")
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("at", [0, 25, -1])
def test_a_changed_byte_is_detected(tmp_path: Path, at: int) -> None:
    path = tmp_path / "file"
    write_file(path, {"a": 1}, b"content")
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedError):
        read_file(path)


@pytest.mark.parametrize("length", [0, 10, 60, -1])
def test_a_truncated_file_is_detected(tmp_path: Path, length: int) -> None:
    path = tmp_path / "file"
    write_file(path, {"a": 1}, b"content")
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DamagedError):
        read_file(path)


def test_values_are_kept_over_runs(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "values.json"
    assert KeyValueCache(path).get("a") is None
    KeyValueCache(path).put("a", {"x": 1})
    KeyValueCache(path).put("b", {"y": 2})
    assert KeyValueCache(path).get("a") == {"x": 1}
    assert KeyValueCache(path).get("b") == {"y": 2}


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": 3}', "\x00"])
def test_a_damaged_file_counts_as_empty(tmp_path: Path, text: str) -> None:
    path = tmp_path / "values.json"
    path.write_text(text)
    assert KeyValueCache(path).get("a") is None
    KeyValueCache(path).put("a", {"x": 1})
    assert KeyValueCache(path).get("a") == {"x": 1}


def test_a_file_that_cannot_be_written_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    values = KeyValueCache(tmp_path / "file" / "values.json")
    values.put("a", {"x": 1})
    assert values.get("a") is None
