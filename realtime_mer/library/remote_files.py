"""Music in storage that fsspec reads, such as s3://bucket/music."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from realtime_mer.address import without_secrets
from realtime_mer.audio.file import AUDIO_SUFFIXES
from realtime_mer.audio.url import SCHEMES
from realtime_mer.errors import UserError
from realtime_mer.outputs.registry import needing

MAX_NAME = 60  # characters of a copy: file systems allow 255 bytes
# What storages call the time of the last change.
_TIME_KEYS = ("mtime", "LastModified", "last_modified", "updated", "modified")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file in storage.

    Attributes:
        address: such as s3://bucket/album/song.flac.
        size_bytes: 0 where the storage does not say.
        modified_ns: Unix time of the last change; 0 where the storage does not say.
    """

    address: str
    size_bytes: int
    modified_ns: int


def is_remote(text: str) -> bool:
    """Return whether a text is an address in storage: no path, no file:// and no stream."""
    scheme, separator, rest = text.partition("://")
    return bool(
        separator and rest and scheme.isascii() and scheme.replace("+", "").isalnum()
    ) and scheme.lower() not in {*SCHEMES, "file"}


def find_remote(address: str) -> Iterator[RemoteFile]:
    """Yield the music at an address, a file or a folder with the folders in it, sorted.

    Nothing hidden is in it. A file is yielded whatever its suffix.

    Raises:
        UserError: the storage cannot be read, needs a package, or has no music there.
    """
    with _explained(address):
        files, base = _file_system(address)
        if files.isfile(base):
            yield _remote_file(address, files.info(base))
            return
        found = files.find(base, detail=True)
    is_empty = True
    for path in sorted(found):
        inside = path[len(base) :].lstrip("/")
        place = PurePosixPath(inside)
        if place.suffix.lower() in AUDIO_SUFFIXES and not any(
            part.startswith(".") for part in place.parts
        ):
            is_empty = False
            yield _remote_file(f"{address.rstrip('/')}/{inside}", found[path])
    if is_empty:
        raise UserError(
            f"'{without_secrets(address)}' contains no music (.flac, .mp3, .wav and others)"
        )


def remote_file(address: str) -> RemoteFile:
    """Return what the storage says of a file.

    Raises:
        UserError: it is not there, or the storage cannot be read.
    """
    with _explained(address):
        files, path = _file_system(address)
        return _remote_file(address, files.info(path))


@contextmanager
def on_this_machine(name: str) -> Iterator[str]:
    """Copy a file of a storage to this machine; the copy is removed at the end.

    Any other name is given back as it is. What is wrong with the copy is said of the address.

    Raises:
        UserError: it cannot be read, or there is no room for it.
    """
    if not is_remote(name):
        yield name
        return
    with tempfile.TemporaryDirectory(prefix="realtime-mer-") as folder:
        copy = str(Path(folder, PurePosixPath(name).name[-MAX_NAME:]))
        with _explained(name):
            files, path = _file_system(name)
            files.get_file(path, copy)
        try:
            yield copy
        except UserError as error:
            error.args = (str(error).replace(copy, without_secrets(name)),)
            raise


def _file_system(address: str) -> tuple[Any, str]:
    """Return the storage of an address and the path in it."""
    with needing(f"'{without_secrets(address)}'", "cluster"):
        import fsspec
    files, path = fsspec.url_to_fs(address)
    return files, path.rstrip("/")


@contextmanager
def _explained(address: str) -> Iterator[None]:
    """Turn what storages raise into a sentence; their packages have errors of their own."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"there is no '{without_secrets(address)}'; check the address") from error
    except (ImportError, ValueError) as error:
        # fsspec says which package reads the storage, or that it knows none.
        raise UserError(f"'{without_secrets(address)}' cannot be read: {error}") from error
    except Exception as error:
        raise UserError(
            f"'{without_secrets(address)}' cannot be read ({type(error).__name__}: {error}); check "
            "the address, the network and the credentials"
        ) from error


def _remote_file(address: str, info: dict[str, Any]) -> RemoteFile:
    moment = next((info[key] for key in _TIME_KEYS if info.get(key)), 0)
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    if isinstance(moment, datetime):
        moment = moment.timestamp()
    return RemoteFile(address, int(info.get("size") or 0), round(moment * 1e9))
