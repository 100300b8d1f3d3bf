"""Mood and values in the tags of files: written, read back, removed; nothing else changes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from disk_support import mounted_disk
from library_support import summary, track
from numpy.typing import NDArray
from support import music

mutagen: Any = pytest.importorskip("mutagen", reason="needs the extra library")
id3: Any = pytest.importorskip("mutagen.id3")
mp3: Any = pytest.importorskip("mutagen.mp3")

from realtime_mer.library.tags import TagError, change_tags, tag_texts, tag_tracks  # noqa: E402

TEXTS = {"MER_VALENCE": "0.200", "MER_AROUSAL": "-0.100", "MER_MOOD": "calm"}
ALL = {**TEXTS, "MOOD": "calm"}
SOUNDFILE_FORMATS = {
    "song.wav": ("WAV", "PCM_16"),
    "song.aiff": ("AIFF", "PCM_16"),
    "song.flac": ("FLAC", "PCM_16"),
    "song.ogg": ("OGG", "VORBIS"),
    "song.opus": ("OGG", "OPUS"),
    "song.mp3": ("MP3", "MPEG_LAYER_III"),
}
FORMATS = [*SOUNDFILE_FORMATS, "song.m4a"]
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
ALL_FORMATS = [
    pytest.param(name, marks=needs_ffmpeg) if name == "song.m4a" else name for name in FORMATS
]


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a second of music in each format."""
    folder = tmp_path_factory.mktemp("music")
    samples = music(1.0, 48_000, channels=2)
    for name, (container, encoding) in SOUNDFILE_FORMATS.items():
        soundfile.write(folder / name, samples, 48_000, format=container, subtype=encoding)
    if shutil.which("ffmpeg"):
        subprocess.run(
            ["ffmpeg", "-loglevel", "error", "-i", "song.wav", "-c:a", "aac", "song.m4a"],
            cwd=folder,
            check=True,
        )
    return folder


@pytest.fixture
def copy(originals: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Copy a file, with an artist of its own, into a folder of the test."""

    def copied(name: str) -> Path:
        path = tmp_path / name
        shutil.copyfile(originals / name, path)
        set_artist(path)
        return path

    return copied


def set_artist(path: Path) -> None:
    file = mutagen.File(path)
    if file.tags is None:
        file.add_tags()
    if path.suffix in (".wav", ".aiff", ".mp3"):
        file.tags.add(id3.TPE1(encoding=3, text=["Björk"]))
    else:
        file.tags["\xa9ART" if path.suffix == ".m4a" else "artist"] = ["Björk"]
    file.save()


def decoded(path: Path) -> NDArray[Any]:
    """Return all samples of a file."""
    if path.suffix != ".m4a":
        return soundfile.read(path)[0]  # type: ignore[no-any-return]
    raw = subprocess.run(
        ["ffmpeg", "-loglevel", "error", "-i", path, "-f", "s16le", "-"],
        check=True,
        capture_output=True,
    ).stdout
    return np.frombuffer(raw, "<i2")


def raw_tags(path: Path) -> dict[str, str]:
    """Return all tags as mutagen shows them."""
    file = mutagen.File(path)
    if file.tags is None:
        return {}
    if isinstance(file.tags, list):  # Vorbis comments: pairs
        return {name.upper(): text for name, text in file.tags}
    return {str(key): str(value) for key, value in file.tags.items()}


def read_back(path: Path) -> dict[str, str]:
    """Return the written fields, by the names of each kind of tags."""
    file = mutagen.File(path)
    tags = file.tags
    if path.suffix in (".wav", ".aiff", ".mp3"):
        found = {frame.desc: frame.text[0] for frame in tags.getall("TXXX")}
        moods = [frame.text[0] for frame in tags.getall("TMOO")]
        return {**found, "MOOD": moods[0]} if moods else found
    if path.suffix == ".m4a":
        prefix = "----:com.apple.iTunes:"
        return {
            key.removeprefix(prefix): bytes(value[0]).decode()
            for key, value in tags.items()
            if key.startswith(prefix)
        }
    return {name: text for name, text in raw_tags(path).items() if name in ALL}


@pytest.mark.parametrize("name", ALL_FORMATS)
def test_written_read_back_and_removed(name: str, copy: Callable[[str], Path]) -> None:
    path = copy(name)
    path.chmod(0o640)
    before, samples = raw_tags(path), decoded(path)
    assert before

    changes = change_tags(path, TEXTS)
    assert changes == {field: ("", text) for field, text in ALL.items()}
    assert read_back(path) == ALL
    assert before.items() <= raw_tags(path).items()
    np.testing.assert_array_equal(decoded(path), samples)
    assert path.stat().st_mode & 0o777 == 0o640

    written = path.stat()
    assert change_tags(path, TEXTS) == {}
    assert path.stat().st_mtime_ns == written.st_mtime_ns
    assert path.stat().st_ino == written.st_ino  # not even replaced by an equal file

    assert set(change_tags(path, {})) == set(ALL)
    assert raw_tags(path) == before
    np.testing.assert_array_equal(decoded(path), samples)
    assert [file.name for file in path.parent.iterdir()] == [name]


@pytest.mark.parametrize("name", ALL_FORMATS)
def test_a_file_without_any_tags(name: str, originals: Path, tmp_path: Path) -> None:
    path = tmp_path / name
    shutil.copyfile(originals / name, path)
    samples = decoded(path)
    change_tags(path, TEXTS)
    assert read_back(path) == ALL
    np.testing.assert_array_equal(decoded(path), samples)


@pytest.mark.parametrize("name", ALL_FORMATS)
def test_a_mood_of_the_users_own_stays(name: str, copy: Callable[[str], Path]) -> None:
    path = copy(name)
    change_tags(path, {"MER_MOOD": "Sunday morning"})
    change_tags(path, TEXTS)  # MOOD follows: it was ours
    assert read_back(path)["MOOD"] == "calm"
    file = mutagen.File(path)
    if path.suffix in (".wav", ".aiff", ".mp3"):
        file.tags.add(id3.TMOO(encoding=3, text=["for Anna"]))
    else:
        prefix = "----:com.apple.iTunes:" if path.suffix == ".m4a" else ""
        file.tags[f"{prefix}MOOD"] = [b"for Anna" if prefix else "for Anna"]
    file.save()
    change_tags(path, {**TEXTS, "MER_MOOD": "joyful"})
    assert read_back(path)["MOOD"] == "for Anna"
    assert read_back(path)["MER_MOOD"] == "joyful"
    change_tags(path, {})
    assert read_back(path) == {"MOOD": "for Anna"}


@pytest.mark.parametrize("minor", [3, 4])
def test_id3_keeps_its_version_foreign_frames_and_id3v1(
    minor: int, originals: Path, tmp_path: Path
) -> None:
    path = tmp_path / "song.mp3"
    shutil.copyfile(originals / "song.mp3", path)
    tags = id3.ID3()
    tags.add(id3.TIT2(encoding=1, text=["One title that is longer than ID3v1 can hold"]))
    tags.add(id3.TSOP(encoding=0, text=["not in the standard of ID3v2.3"]))
    tags.add(id3.TYER(encoding=0, text=["1999"]))  # not in that of ID3v2.4
    tags.save(path, v1=2, v2_version=minor)
    data = path.read_bytes()
    assert data[-128:-125] == b"TAG"
    old_title = b"Another title".ljust(30, b"\0")
    path.write_bytes(data[:-125] + old_title + data[-95:])  # ID3v1 says something else

    change_tags(path, TEXTS)
    after = id3.ID3(path, translate=False, load_v1=False)
    assert after.version[:2] == (2, minor)
    assert after["TSOP"].text == ["not in the standard of ID3v2.3"]
    assert after["TYER"].text == ["1999"]
    assert after["TIT2"].text == ["One title that is longer than ID3v1 can hold"]
    assert path.read_bytes()[-128:] == b"TAG" + old_title + data[-95:]
    assert read_back(path) == ALL


def id3v22(*frames: tuple[bytes, bytes]) -> bytes:
    """Return an ID3v2.2 tag, which mutagen does not write."""
    data = b"".join(name + len(text).to_bytes(3, "big") + text for name, text in frames)
    assert len(data) < 128
    return b"ID3\2\0\0\0\0\0" + bytes([len(data)]) + data


def test_id3v22_becomes_id3v23_if_nothing_is_lost(originals: Path, tmp_path: Path) -> None:
    path = tmp_path / "song.mp3"
    audio = (originals / "song.mp3").read_bytes()
    title = (b"TT2", b"\0Old iTunes")
    path.write_bytes(id3v22(title) + audio)
    samples = decoded(path)
    change_tags(path, TEXTS)
    after = id3.ID3(path, translate=False, load_v1=False)
    assert after.version[:2] == (2, 3)
    assert after["TIT2"].text == ["Old iTunes"]
    assert read_back(path) == ALL
    np.testing.assert_array_equal(decoded(path), samples)

    unknown = id3v22(title, (b"XYZ", b"what nobody knows")) + audio
    path.write_bytes(unknown)
    with pytest.raises(TagError, match=r"ID3v2\.2 frames that would be lost"):
        change_tags(path, TEXTS)
    assert path.read_bytes() == unknown


def test_only_id3v1(originals: Path, tmp_path: Path) -> None:
    path = tmp_path / "song.mp3"
    shutil.copyfile(originals / "song.mp3", path)
    tags = id3.ID3()
    tags.add(id3.TIT2(encoding=0, text=["Old song"]))
    tags.save(path, v1=2)
    tags.delete(path, delete_v1=False)
    assert mp3.MP3(path, load_v1=False).tags is None
    change_tags(path, TEXTS)
    assert id3.ID3(path, load_v1=False)["TIT2"].text == ["Old song"]
    assert read_back(path) == ALL


def test_a_dry_run_changes_nothing(copy: Callable[[str], Path]) -> None:
    path = copy("song.flac")
    before, status = path.read_bytes(), path.stat()
    assert change_tags(path, TEXTS, dry_run=True) == {k: ("", v) for k, v in ALL.items()}
    assert path.read_bytes() == before
    assert path.stat().st_mtime_ns == status.st_mtime_ns


def test_a_link_stays_a_link(copy: Callable[[str], Path]) -> None:
    path = copy("song.flac")
    link = path.parent / "link.flac"
    link.symlink_to(path.name)
    change_tags(link, TEXTS)
    assert link.is_symlink()
    assert read_back(path) == ALL


@pytest.mark.parametrize("name", ["song.mp3", "song.flac"])
def test_a_kill_leaves_the_old_file_or_the_new_one(name: str, copy: Callable[[str], Path]) -> None:
    """The process dies in the middle of writing, again and again, each time one step later."""
    path = copy(name)
    before, samples = raw_tags(path), decoded(path)
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from realtime_mer.library.tags import change_tags\n"
        "steps = int(sys.argv[2])\n"
        "def trace(event, args):\n"
        "    global steps\n"
        "    if event in ('open', 'os.chmod', 'os.rename', 'os.chown') and Path(\n"
        "        sys.argv[1]\n"
        "    ).name in str(args[0]):\n"
        "        steps -= 1\n"
        "        if steps < 0:\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.addaudithook(trace)\n"
        f"change_tags(Path(sys.argv[1]), {TEXTS!r})\n"
    )
    killed = 0
    for steps in range(40):
        run = subprocess.run([sys.executable, "-c", script, str(path), str(steps)], check=False)
        np.testing.assert_array_equal(decoded(path), samples)
        if run.returncode == 0:
            break
        assert raw_tags(path) == before
        killed += 1
    assert killed >= 3
    assert run.returncode == 0
    assert read_back(path) == ALL
    # The drafts of the killed are gone.
    assert [file.name for file in path.parent.iterdir()] == [name]


def test_rows_hold_after_their_files_were_written(copy: Callable[[str], Path]) -> None:
    row = track(copy("song.flac"), summary())
    (tagging,) = tag_tracks([row])
    status = Path(row.path).stat()
    assert (tagging.track.size_bytes, tagging.track.modified_ns) == (
        status.st_size,
        status.st_mtime_ns,
    )
    assert tagging.track.modified_ns != row.modified_ns
    assert not tagging.problem
    (again,) = tag_tracks([tagging.track])
    assert again.track == tagging.track
    assert not again.changes
    (removed,) = tag_tracks([again.track], remove=True)
    assert set(removed.changes) == set(ALL)
    assert removed.track.modified_ns == Path(row.path).stat().st_mtime_ns


def test_what_is_not_written_and_why(
    copy: Callable[[str], Path], originals: Path, tmp_path: Path
) -> None:
    changed, read_only, good = copy("song.flac"), copy("song.ogg"), copy("song.mp3")
    rows = [
        track(changed, summary()),
        track(tmp_path / "gone.mp3", summary()),
        track("s3://music/there.mp3", summary()),
        track(tmp_path / "speech.mp3", summary(None, None, mood="")),
        track(tmp_path / "broken.mp3", None, skipped="it is damaged"),
    ]
    os.utime(changed, ns=(1, 1))
    text = tmp_path / "text.mp3"
    text.write_text("no music at all")
    notes = tmp_path / "notes.txt"
    notes.write_text("no music either")
    empty = tmp_path / "empty.m4a"
    empty.touch()
    cut = tmp_path / "cut.flac"
    cut.write_bytes((originals / "song.flac").read_bytes()[:30])
    read_only.chmod(0o444)
    rows += [track(path, summary()) for path in (text, notes, empty, cut, read_only, good)]
    done = {Path(each.track.path).name: each for each in tag_tracks(rows)}
    assert "has changed since it was analysed" in done["song.flac"].problem
    assert "No such file" in done["gone.mp3"].problem
    assert "network address" in done["there.mp3"].problem
    assert "cannot be written (can't sync to MPEG frame)" in done["text.mp3"].problem
    assert "cannot be tagged: it is no music file" in done["notes.txt"].problem
    assert "empty.m4a cannot be tagged" in done["empty.m4a"].problem
    assert "cannot be written" in done["cut.flac"].problem
    assert "is read-only" in done["song.ogg"].problem
    assert read_back(good) == ALL
    assert "speech.mp3" not in done
    assert "broken.mp3" not in done
    problems = [each.problem for each in done.values() if each.problem]
    assert all("\n" not in problem for problem in problems)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_that_may_not_be_written(copy: Callable[[str], Path]) -> None:
    path = copy("song.flac")
    path.parent.chmod(0o555)
    (tagging,) = tag_tracks([track(path, summary())])
    path.parent.chmod(0o755)
    assert "may not be written" in tagging.problem


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    with mounted_disk(tmp_path / "disk", 64) as folder:
        yield folder


def test_a_full_disk_leaves_the_file(small_disk: Path, originals: Path) -> None:
    path = small_disk / "song.wav"
    path.write_bytes((originals / "song.wav").read_bytes()[:50_000])
    before = path.read_bytes()
    (tagging,) = tag_tracks([track(path, summary())])
    assert "No space left" in tagging.problem
    assert path.read_bytes() == before
    assert [file.name for file in small_disk.iterdir()] == ["song.wav"]


def test_the_texts() -> None:
    assert tag_texts(0.2, -0.1, "calm") == TEXTS
    assert tag_texts(-0.00001, 1.0, "") == {"MER_VALENCE": "-0.000", "MER_AROUSAL": "1.000"}
    assert tag_texts(None, None, "") == {}
