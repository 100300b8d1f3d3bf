"""The user's cache: results computed for this machine, which may be deleted at any time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mer_engine.draft import draft_of
from mer_engine.strict_json import load_json

_MAGIC = b"realtime-mer cache 1\n"
# A header line has a few hundred bytes. A longer one belongs to another program.
_HEADER_LIMIT = 65_536


class DamagedError(Exception):
    """A file of the cache differs from what was written."""


def cache_folder(platform: str = sys.platform, environ: Mapping[str, str] | None = None) -> Path:
    """Return the folder of this program's cache, which may not exist yet.

    This is `$REALTIME_MER_CACHE` where it is set; otherwise a folder in `$XDG_CACHE_HOME` (or
    `~/.cache`) on Linux, in `~/Library/Caches` on macOS, in `%LOCALAPPDATA%` on Windows.
    """
    environ = os.environ if environ is None else environ
    chosen = environ.get("REALTIME_MER_CACHE")
    if chosen:
        return Path(chosen)
    if platform == "win32":
        local = environ.get("LOCALAPPDATA")
        base = Path(local) if local else _home() / "AppData" / "Local"
        return base / "realtime-mer" / "Cache"
    if platform == "darwin":
        return _home() / "Library" / "Caches" / "realtime-mer"
    # The XDG specification says to ignore a relative path.
    named = Path(environ.get("XDG_CACHE_HOME", ""))
    return (named if named.is_absolute() else _home() / ".cache") / "realtime-mer"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # a user of a container without a home: a folder that cannot be made
        return Path(os.devnull)


def write_file(path: Path, header: Mapping[str, Any], content: bytes) -> None:
    """Write a file of the cache atomically.

    Args:
        path: the file; a missing folder is created.
        header: what the content was made for and with; JSON.
        content: any bytes; the header gets their checksum.

    Raises:
        OSError: the file cannot be written.
    """
    described = {**header, "sha256": hashlib.sha256(content).hexdigest()}
    line = json.dumps(described, sort_keys=True).encode() + b"\n"
    _replace(path, _MAGIC + line + content)


def read_file(path: Path) -> tuple[dict[str, Any], bytes]:
    """Return the header and the content that `write_file` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: the file cannot be read.
        DamagedError: the file was truncated or changed, or is not a file of this cache.
    """
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise DamagedError(f"{path} is not a file of this cache")
        try:
            header = load_json(file.readline(_HEADER_LIMIT), limit=_HEADER_LIMIT)
            expected = header.pop("sha256")
        except (ValueError, AttributeError, KeyError) as error:
            raise DamagedError(f"{path} has a damaged header") from error
        content = file.read()
    if hashlib.sha256(content).hexdigest() != expected:
        raise DamagedError(f"{path} is damaged: its checksum is not the one it was written with")
    return header, content


class KeyValueCache:
    """Small results by key, kept in one JSON file.

    A file that cannot be read counts as empty, and one that cannot be written is ignored: the cache
    never raises.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the value of a key; None if there is none."""
        value = self._read().get(key)
        return value if isinstance(value, dict) else None

    def put(self, key: str, value: Mapping[str, Any]) -> None:
        """Set the value of a key."""
        values = {**self._read(), key: dict(value)}
        with contextlib.suppress(OSError):
            _replace(self._path, json.dumps(values, indent=1, sort_keys=True).encode())

    def _read(self) -> dict[str, Any]:
        try:
            values = json.loads(self._path.read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        return values if isinstance(values, dict) else {}


def _replace(path: Path, content: bytes) -> None:
    """Write a file under another name, then rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with draft_of(path) as draft:
        draft.write_bytes(content)
