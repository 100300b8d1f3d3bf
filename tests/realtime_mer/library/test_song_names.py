"""Artists and titles, from the tags of each format."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from realtime_mer.library.song_names import SongNames

mutagen: Any = pytest.importorskip("mutagen", reason="needs the extra library")
id3: Any = pytest.importorskip("mutagen.id3")


def written(path: Path, artist: str, title: str) -> str:
    form = {".opus": "OGG"}.get(path.suffix, path.suffix[1:].upper())
    subtype = "OPUS" if path.suffix == ".opus" else None
    soundfile.write(path, np.zeros(48_000), 48_000, format=form, subtype=subtype)
    file = mutagen.File(path)
    if file.tags is None:
        file.add_tags()
    if path.suffix in (".mp3", ".wav", ".aiff"):
        file.tags.add(id3.TPE1(encoding=3, text=[artist]))
        file.tags.add(id3.TIT2(encoding=3, text=[title]))
    else:
        file.tags["artist"], file.tags["title"] = [artist], [title]
    file.save()
    return str(path)


@pytest.mark.parametrize("suffix", ["flac", "ogg", "opus", "mp3", "wav", "aiff"])
def test_each_format(suffix: str, tmp_path: Path) -> None:
    path = written(tmp_path / f"song.{suffix}", "Björk", "Jóga\nlive")
    names = SongNames()
    assert names.of(path) == ("Björk", "Jóga\ufffdlive")  # one line, whatever a tag holds
    assert names.shown(path) == "Björk - Jóga\ufffdlive"
    assert names.key(path) == ("björk", "jóga\ufffdlive")


def test_files_without_tags_have_their_name(tmp_path: Path) -> None:
    names = SongNames()
    path = tmp_path / "no tags.flac"
    soundfile.write(path, np.zeros(100), 8000)
    text = tmp_path / "text.mp3"
    text.write_text("no music")
    odd = tmp_path / os.fsdecode(b"caf\xe9.flac")
    odd.write_bytes(path.read_bytes())
    for place, shown in (
        (str(path), "no tags"),
        (str(text), "text"),
        (str(tmp_path / "gone.flac"), "gone"),
        (odd.as_uri(), "caf\ufffd"),
        ("s3://music/song.flac", "song"),
    ):
        assert names.of(place) == ("", "")
        assert names.shown(place) == shown
        assert names.key(place) is None
