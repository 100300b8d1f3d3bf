"""Artist and title of files, from their tags."""

from __future__ import annotations

import importlib.util
from typing import NamedTuple

from realtime_mer.audio.local_path import local_path
from realtime_mer.errors import printable_line


class SongName(NamedTuple):
    """Artist and title of a file; "" where it does not say."""

    artist: str
    title: str


class SongNames:
    """Reads artists and titles of files, each once. Without mutagen all of them are empty."""

    def __init__(self) -> None:
        self._names: dict[str, SongName] = {}
        self._readable = importlib.util.find_spec("mutagen") is not None

    def of(self, path: str) -> SongName:
        """Return what the tags of a file say; empty texts where it cannot be read."""
        if path not in self._names:
            self._names[path] = _read(path) if self._readable else SongName("", "")
        return self._names[path]

    def key(self, path: str) -> tuple[str, str] | None:
        """Return what the files of one song have in common; None where that is not known."""
        artist, title = self.of(path)
        return (artist.casefold(), title.casefold()) if artist and title else None

    def shown(self, path: str) -> str:
        """Return `artist - title`, or the name of the file, in one line."""
        artist, title = self.of(path)
        if not title:
            return printable_line(local_path(path).stem)
        return f"{artist} - {title}" if artist else title


def _read(path: str) -> SongName:
    import mutagen

    try:
        file = mutagen.File(local_path(path), easy=True)
    except (mutagen.MutagenError, OSError, ValueError):
        return SongName("", "")
    return SongName(_first(file, "artist"), _first(file, "title"))


def _first(file: object, field: str) -> str:
    """Return the first text of a field; WAV and AIFF have no easy names in mutagen."""
    tags = getattr(file, "tags", None)
    if tags is None:
        return ""
    frame = {"artist": "TPE1", "title": "TIT2"}[field]
    found = tags.get(frame) if hasattr(tags, "getall") else tags.get(field)
    texts = getattr(found, "text", found)
    return printable_line(str(texts[0]).strip()) if texts else ""
