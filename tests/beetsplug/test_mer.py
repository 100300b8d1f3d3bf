"""The plugin in a real beets, with a library of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
from support import music

pytest.importorskip("beets", reason="needs beets")
mutagen: Any = pytest.importorskip("mutagen", reason="needs the extra library")
ROOT = Path(__file__).parent.parent.parent
FORMAT = "$title|$mer_valence|$mer_arousal|$mer_mood"

pytestmark = pytest.mark.timeout(900)  # a dozen programs one after the other

Beet = Callable[..., str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two songs."""
    folder = tmp_path / "incoming"
    folder.mkdir()
    for number in (1, 2):
        with soundfile.SoundFile(folder / f"{number}.flac", "w", 44_100, 1, format="FLAC") as file:
            file.artist, file.title = f"Artist {number}", f"Song {number}"
            file.album = "Album"
            file.write(music(8.0, seed=number))
    return folder


@pytest.fixture
def beet(tmp_path: Path) -> Beet:
    """Runs beets and returns what it prints; the first argument is the plugin's configuration."""

    def run(config: str, *arguments: str) -> str:
        (tmp_path / "config.yaml").write_text(
            f"directory: {tmp_path / 'music'}\n"
            f"library: {tmp_path / 'library.db'}\n"
            "plugins: [mer]\n"
            "create_backup_before_migrations: no\n"
            "import: {copy: yes, autotag: no}\n"
            f"mer: {config}\n"
        )
        paths = [str(ROOT / part) for part in (".", "engine", "web", "integrations")]
        result = subprocess.run(
            [sys.executable, "-m", "beets", *arguments],
            env={**os.environ, "BEETSDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(paths)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout + result.stderr

    return run


def rows(text: str) -> dict[str, list[str]]:
    """Return the fields of each title, in the form of `FORMAT`."""
    lines = [line.split("|") for line in text.splitlines() if line.startswith("Song")]
    return {title: fields for title, *fields in lines}


def tags(folder: Path) -> list[dict[str, list[str]]]:
    return [dict(mutagen.File(path).tags) for path in sorted(folder.rglob("*.flac"))]


def test_the_command_fills_fields_that_queries_understand(
    beet: Beet, folder: Path, tmp_path: Path
) -> None:
    beet("{}", "import", "-q", str(folder))
    before = tags(tmp_path / "music")
    beet("{}", "mer", "title:Song 1")
    found = rows(beet("{}", "list", "-f", FORMAT, "mer_valence:-1..1"))
    assert list(found) == ["Song 1"]
    valence, arousal, mood = found["Song 1"]
    assert abs(float(valence)) <= 1.0
    assert mood
    value = float(arousal)
    queries = {f"mer_arousal:{value - 0.01}..{value + 0.01}": 1, f"mer_arousal:{value + 0.01}..": 0}
    for query, count in queries.items():
        assert len(rows(beet("{}", "list", "-f", FORMAT, query))) == count
    assert tags(tmp_path / "music") == before  # files change only when that is asked

    beet("{}", "modify", "-y", "title:Song 1", "mer_mood=odd")
    beet("{}", "mer")
    found = rows(beet("{}", "list", "-f", FORMAT))
    assert found["Song 1"][2] == "odd"  # analysed before
    assert found["Song 2"][2]
    beet("{}", "mer", "--force", "--write")
    found = rows(beet("{}", "list", "-f", FORMAT))
    assert found["Song 1"] == [valence, arousal, mood]
    written = tags(tmp_path / "music")[0]
    assert written["mer_valence"] == [valence]
    assert written["mer_arousal"] == [arousal]
    assert written["mer_mood"] == [mood]
    assert written["title"] == ["Song 1"]
    assert not beet("{}", "update", "-p").strip()  # beets knows the new time of change


def test_import_analyses_and_writes_the_copies(beet: Beet, folder: Path, tmp_path: Path) -> None:
    originals = tags(folder)
    beet("{auto: yes, write: yes}", "import", "-q", str(folder))
    found = rows(beet("{}", "list", "-f", FORMAT))
    assert len(found) == 2
    written = tags(tmp_path / "music")
    assert [each["mer_mood"] for each in written] == [[row[2]] for row in found.values()]
    assert tags(folder) == originals


def test_a_track_that_cannot_be_read_is_told_and_the_others_go_on(
    beet: Beet, folder: Path, tmp_path: Path
) -> None:
    beet("{}", "import", "-q", str(folder))
    broken = sorted((tmp_path / "music").rglob("*.flac"))[0]
    broken.write_bytes(b"no music")
    output = beet("{}", "mer")
    assert f"mer: '{broken}'" in output
    assert "Traceback" not in output
    assert len(rows(beet("{}", "list", "-f", FORMAT, "mer_valence:-1..1"))) == 1
