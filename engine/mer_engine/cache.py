"""The user's cache: what was computed once for this machine and may be deleted at any time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_MAGIC = b"realtime-mer cache 1\n"
# A header line is a few hundred bytes; more is not ours.
_HEADER_LIMIT = 65_536


class DamagedError(Exception):
    """A file of the cache is not what was written."""


def cache_folder(platform: str = sys.platform, environ: Mapping[str, str] | None = None) -> Path:
    """Where the user's cache of this program lies; it need not exist yet.

    `$REALTIME_MER_CACHE` where that is set; else in `$XDG_CACHE_HOME` (or `~/.cache`) on Linux, in
    `~/Library/Caches` on macOS, in `%LOCALAPPDATA%` on Windows.
    """
    environ = os.environ if environ is None else environ
    chosen = environ.get("REALTIME_MER_CACHE")
    if chosen:
        return Path(chosen)
    if platform == "win32":
        local = environ.get("LOCALAPPDATA")
        base = Path(local) if local else Path.home() / "AppData" / "Local"
        return base / "realtime-mer" / "Cache"
    if platform == "darwin":
        return Path.home() / "Library" / "Caches" / "realtime-mer"
    # The XDG specification: a relative path is to be ignored.
    named = Path(environ.get("XDG_CACHE_HOME", ""))
    return (named if named.is_absolute() else Path.home() / ".cache") / "realtime-mer"


def write_file(path: Path, header: Mapping[str, Any], content: bytes) -> None:
    """Write a file of the cache, whole or not at all: nobody ever reads a half of it.

    Args:
        path: its folder is made where it is missing.
        header: what the content was made for and with; JSON.
        content: any bytes; their checksum is kept beside them.

    Raises:
        OSError: the folder cannot be written.
    """
    described = {**header, "sha256": hashlib.sha256(content).hexdigest()}
    line = json.dumps(described, sort_keys=True).encode() + b"\n"
    _replace(path, _MAGIC + line + content)


def read_file(path: Path) -> tuple[dict[str, Any], bytes]:
    """Read what `write_file` wrote: header and content.

    Raises:
        FileNotFoundError: there is none.
        OSError: it cannot be read.
        DamagedError: it was cut short, changed, or is not a file of this cache.
    """
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise DamagedError(f"{path} is not a file of this cache")
        try:
            header = json.loads(file.readline(_HEADER_LIMIT))
            expected = header.pop("sha256")
        except (ValueError, AttributeError, KeyError) as error:
            raise DamagedError(f"{path} has a damaged header") from error
        content = file.read()
    if hashlib.sha256(content).hexdigest() != expected:
        raise DamagedError(f"{path} is damaged: its checksum is not the one it was written with")
    return header, content


class KeyValueCache:
    """Small findings about this machine, by key; kept over runs in one JSON file.

    What cannot be read counts as not known, and what cannot be written is found again next time:
    a cache is never a reason to fail.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, key: str) -> dict[str, Any] | None:
        """What was noted under a key; None if nothing was."""
        found = self._read().get(key)
        return found if isinstance(found, dict) else None

    def put(self, key: str, value: Mapping[str, Any]) -> None:
        """Note something, in place of what was noted under the key."""
        notes = {**self._read(), key: dict(value)}
        with contextlib.suppress(OSError):
            _replace(self._path, json.dumps(notes, indent=1, sort_keys=True).encode())

    def _read(self) -> dict[str, Any]:
        try:
            notes = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return {}
        return notes if isinstance(notes, dict) else {}


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
