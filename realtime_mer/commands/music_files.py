"""The files that the arguments of `analyze` name: files, folders, playlists and patterns."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from realtime_mer.address import without_secrets
from realtime_mer.audio.file import AUDIO_SUFFIXES
from realtime_mer.audio.local_path import exists, is_file, is_file_address, is_folder, local_path
from realtime_mer.audio.playlist import (
    MAX_BYTES,
    PLAYLIST_SUFFIXES,
    Playlist,
    playlist_entries,
    recognise_playlist,
    resolve_in_folder,
)
from realtime_mer.audio.url import looks_like_url
from realtime_mer.errors import UserError
from realtime_mer.library.remote_files import find_remote, is_remote

_WILDCARD = re.compile(r"[*?[]")


@dataclass(frozen=True, slots=True)
class MusicFile:
    """A file to analyse, or why an argument names none.

    Attributes:
        name: its path, or "demo".
        place: the path of its outputs in a folder of outputs, with the suffix of the file.
        listed: it was found in a folder or playlist or by a pattern, as others may be.
        error: why it cannot be analysed; None if nothing is known against it.
        version: size in bytes and Unix time of the last change in ns, where a storage has said it.
    """

    name: str
    place: Path
    listed: bool = False
    error: UserError | None = None
    version: tuple[int, int] | None = None


def find_music(texts: Iterable[str]) -> list[MusicFile]:
    """Return the files that arguments name, in order, each once.

    What cannot be used, for example a folder without music, is an item with an `error`.

    Args:
        texts: files, "demo", folders (with the folders in them), playlists, and patterns with `*`,
            `?`, `[...]` and `**`; each may begin with `~` or `file://`. Files and folders in
            storage, such as s3://bucket/music, which fsspec reads.
    """
    files: dict[str, MusicFile] = {}
    for text in texts:
        try:
            for file in _files_of(text):
                files.setdefault(_identity(file), file)
        except UserError as error:
            files.setdefault(text, MusicFile(text, Path(text), error=error))
    return list(files.values())


def _identity(file: MusicFile) -> str:
    try:
        known = file.error or is_remote(file.name)
        return file.name if known else os.path.realpath(file.name)
    except (OSError, ValueError):  # the current folder is gone; a null character of a playlist
        return file.name


def _files_of(text: str) -> Iterator[MusicFile]:
    if not text.strip():
        raise UserError("the name of a file is empty; give an audio file or 'demo'")
    if text == "-":
        raise UserError("analyze reads files; 'realtime-mer listen --input -' reads standard input")
    if is_remote(text):
        yield from _files_in_storage(text)
        return
    if looks_like_url(text) and not is_file_address(text):
        raise _is_address(text)
    path = local_path(text)
    if text == "demo" and not is_file(text):
        yield MusicFile(text, path)
    elif is_folder(path):
        yield from _files_in_folder(path)
    elif path.suffix.lower() in PLAYLIST_SUFFIXES and is_file(path):
        yield from _files_in_playlist(path)
    elif _WILDCARD.search(str(path)) and not exists(path):
        yield from _matching_files(path)
    else:
        yield MusicFile(str(path), Path(path.name))


def _files_in_folder(folder: Path) -> Iterator[MusicFile]:
    """Yield the music in a folder and the folders in it, but nothing hidden, sorted.

    Raises:
        UserError: there is none.
    """
    errors: list[OSError] = []
    paths: list[Path] = []
    seen = {os.path.realpath(folder)}
    for parent, folders, names in os.walk(folder, onerror=errors.append, followlinks=True):
        paths += [Path(parent, name) for name in names if _is_music(name)]
        inner = {name: os.path.realpath(Path(parent, name)) for name in folders}
        # A link may lead back to a folder above it.
        folders[:] = [n for n in folders if not n.startswith(".") and inner[n] not in seen]
        seen.update(inner[name] for name in folders)
    for path in sorted(paths):
        yield MusicFile(str(path), path.relative_to(folder), listed=True)
    for error in errors:
        yield _unusable(
            Path(os.fsdecode(error.filename)),
            f"the folder '{os.fsdecode(error.filename)}' cannot be read ({error.strerror})",
        )
    if not paths and not errors:
        raise UserError(f"the folder '{folder}' contains no music (.flac, .mp3, .wav and others)")


def _is_music(name: str) -> bool:
    # `._song.mp3` is not music, but what macOS stores beside song.mp3.
    return not name.startswith(".") and Path(name).suffix.lower() in AUDIO_SUFFIXES


def _files_in_storage(address: str) -> Iterator[MusicFile]:
    """Yield the music at an address in storage.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    base = address.rstrip("/")
    for file in find_remote(address):
        version = file.size_bytes, file.modified_ns
        inside = PurePosixPath(file.address[len(base) :].lstrip("/") or PurePosixPath(base).name)
        yield MusicFile(file.address, Path(inside), listed=file.address != address, version=version)


def _files_in_playlist(path: Path) -> Iterator[MusicFile]:
    """Yield the files that a playlist names, in its order.

    Raises:
        UserError: it cannot be read, is damaged or names no file.
    """
    label = f"'{path}'"
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"{label} cannot be read ({error.strerror})") from error
    playlist = recognise_playlist(data, suffix=path.suffix)
    if playlist is None:  # something else under that name; opening it says what
        yield MusicFile(str(path), Path(path.name))
        return
    if playlist is Playlist.HLS:
        raise UserError(
            f"{label} is the playlist of a stream (HLS), not of files; 'realtime-mer listen "
            "--input ADDRESS' plays a stream"
        )
    entries = playlist_entries(data, playlist, label=label)
    if not entries:
        raise UserError(f"{label} is a playlist that names no file")
    for entry in entries:
        name = resolve_in_folder(entry, path.parent)
        if is_remote(name):
            yield MusicFile(name, Path(PurePosixPath(name).name), listed=True)
        elif looks_like_url(name):
            yield MusicFile(name, Path(entry), listed=True, error=_is_address(name))
        else:
            yield MusicFile(name, Path(Path(name).name), listed=True)


def _matching_files(pattern: Path) -> Iterator[MusicFile]:
    """Yield the files that match a pattern, and the music in folders that match.

    A pattern without a suffix of its own, such as `album/*`, selects only music.

    Raises:
        UserError: no music matches.
    """
    parts = pattern.parts
    known = 0
    # A folder whose name has brackets is a folder, not a pattern.
    while exists(Path(*parts[: known + 1])):
        known += 1
    folder, rest = Path(*parts[:known]), parts[known:]
    try:
        matches = sorted(folder.glob(str(Path(*rest))))
    except (OSError, ValueError, NotImplementedError) as error:
        raise UserError(f"the pattern '{pattern}' cannot be used ({error})") from None
    if not any(part.startswith(".") for part in rest):
        matches = [match for match in matches if not _is_hidden(match.relative_to(folder))]
    takes_all = pattern.suffix and not _WILDCARD.search(pattern.suffix)
    found = False
    for match in matches:
        if not is_folder(match) and (takes_all or _is_music(match.name)):
            found = True
            yield MusicFile(str(match), Path(match.name), listed=True)
    for match in filter(is_folder, matches):
        with contextlib.suppress(UserError):  # no music in this one
            for file in _files_in_folder(match):
                found = True
                yield file
    if not found:
        raise UserError(f"no music matches '{pattern}'; check the pattern and the folder")


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _is_address(address: str) -> UserError:
    shown = without_secrets(address)
    return UserError(
        f"'{shown}' is a network address, and analyze takes files; to play it: realtime-mer "
        f"listen --input {shown}"
    )


def _unusable(path: Path, reason: str) -> MusicFile:
    return MusicFile(str(path), Path(path.name), listed=True, error=UserError(reason))
