"""Single text fields in the tags of music files, without any change of what else is there.

Needs mutagen.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

import mutagen
from mutagen import aiff, flac, id3, mp3, mp4, oggflac, oggopus, oggspeex, oggvorbis, wave

_ID3_KINDS = (mp3.MP3, wave.WAVE, aiff.AIFF)
_VORBIS_KINDS = (
    flac.FLAC,
    oggvorbis.OggVorbis,
    oggopus.OggOpus,
    oggflac.OggFLAC,
    oggspeex.OggSpeex,
)
_FREEFORM = "----:com.apple.iTunes:"
_ID3V1_BYTES = 128
_SEPARATOR = "; "


class UnsupportedTagsError(ValueError):
    """The format of a file has no tags of these kinds, or they cannot be kept as they are."""


class TaggedFile(Protocol):
    """Text fields of an open file, in upper case: one's own, and `MOOD`."""

    def text(self, name: str) -> str:
        """Return the text of a field; several are joined; "" for none."""
        ...

    def set(self, name: str, text: str) -> None:
        """Set a field, or remove it for ""."""
        ...

    def save(self, path: Path) -> None:
        """Write the tags into a copy of the file."""
        ...


def open_tags(path: Path) -> TaggedFile:
    """Open a file for its tags.

    Raises:
        UnsupportedTagsError: the file or its tags are of another kind.
        OSError, mutagen.MutagenError: the file cannot be read.
    """
    file = mutagen.File(path)
    if isinstance(file, _ID3_KINDS):
        return _Id3File(path, type(file))
    if isinstance(file, _VORBIS_KINDS):
        return _VorbisFile(file)
    if isinstance(file, mp4.MP4):
        return _Mp4File(file)
    kind = "no music file that is known" if file is None else f"of the kind {type(file).__name__}"
    raise UnsupportedTagsError(f"it is {kind}; MP3, WAV, AIFF, FLAC, Ogg and MP4 files have tags")


class _Id3File:
    """ID3: fields are TXXX frames, moods TMOO.

    The version and all other frames stay, also those that do not belong to the version.
    """

    def __init__(self, path: Path, kind: Any) -> None:
        file = kind(path, translate=False, load_v1=False)
        minor = 4
        if file.tags is None:
            file = kind(path)  # frames of ID3v1, if there are any, become frames of ID3v2
            if file.tags is None:
                file.add_tags()
        elif file.tags.version[1] == 3:
            minor = 3
        elif file.tags.version[1] == 2:  # three-letter frames; iTunes rewrites them like this
            if file.tags.unknown_frames:
                raise UnsupportedTagsError(
                    "it has ID3v2.2 frames that would be lost; let a tag editor save it as ID3v2.3"
                )
            file.tags.update_to_v23()
            minor = 3
        self._file: Any = file
        self._minor = minor
        self._id3v1 = _ending(path)

    def text(self, name: str) -> str:
        frames = self._extended(name)
        if name == "MOOD":
            frames += self._file.tags.getall("TMOO")
        return _SEPARATOR.join(str(text) for frame in frames for text in frame.text)

    def set(self, name: str, text: str) -> None:
        tags, latin = self._file.tags, id3.Encoding.LATIN1
        for frame in self._extended(name):
            del tags[frame.HashKey]
        if name == "MOOD":
            tags.delall("TMOO")
        if not text:
            return
        frames: Any = id3
        tags.add(
            frames.TMOO(encoding=latin, text=[text])
            if name == "MOOD"
            else frames.TXXX(encoding=latin, desc=name, text=[text])
        )

    def save(self, path: Path) -> None:
        self._file.save(path, v2_version=self._minor, v23_sep=None)
        if self._id3v1:  # mutagen has written it anew, from what ID3v2 says
            with path.open("r+b") as stream:
                stream.seek(-_ID3V1_BYTES, os.SEEK_END)
                stream.write(self._id3v1)

    def _extended(self, name: str) -> list[Any]:
        return [frame for frame in self._file.tags.getall("TXXX") if frame.desc.upper() == name]


def _ending(path: Path) -> bytes:
    """Return the ID3v1 tag at the end of a file; empty for none."""
    with path.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(size - _ID3V1_BYTES, 0))
        ending = stream.read()
    return ending if len(ending) == _ID3V1_BYTES and ending.startswith(b"TAG") else b""


class _VorbisFile:
    """Vorbis comments."""

    def __init__(self, file: Any) -> None:
        self._file = file
        if file.tags is None:
            file.add_tags()

    def text(self, name: str) -> str:
        return _SEPARATOR.join(self._file.tags.get(name, ()))

    def set(self, name: str, text: str) -> None:
        if text:
            self._file.tags[name] = [text]
        elif name in self._file.tags:
            del self._file.tags[name]

    def save(self, path: Path) -> None:
        self._file.save(path)


class _Mp4File:
    """MP4: freeform atoms, as iTunes and Picard write them."""

    def __init__(self, file: Any) -> None:
        self._file = file
        if file.tags is None:
            file.add_tags()

    def text(self, name: str) -> str:
        values = self._file.tags.get(_FREEFORM + name, ())
        return _SEPARATOR.join(bytes(value).decode("utf-8", "replace") for value in values)

    def set(self, name: str, text: str) -> None:
        key = _FREEFORM + name
        if text:
            self._file.tags[key] = [text.encode()]
        elif key in self._file.tags:
            del self._file.tags[key]

    def save(self, path: Path) -> None:
        self._file.save(path)
