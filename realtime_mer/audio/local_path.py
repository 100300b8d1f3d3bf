"""Paths as people write them: with `~`, or as the `file://` address of a file manager."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from urllib.parse import unquote
from urllib.request import url2pathname

from realtime_mer.errors import UserError

_FILE_ADDRESS = re.compile(r"file:(//([^/]*))?(/.*)", re.IGNORECASE | re.DOTALL)


def is_file_address(text: str) -> bool:
    """Return whether a text is a `file:` address."""
    return _FILE_ADDRESS.fullmatch(text) is not None


def local_path(text: str) -> Path:
    """Return the path that a text names: a path, `~/...`, `~user/...` or `file:///...`.

    A file whose name begins with `~` comes before a user of that name.

    Raises:
        UserError: the text is empty, or a `file:` address names another computer.
    """
    if not text:
        raise UserError("the path is empty; the folder that you are in is '.'")
    if match := _FILE_ADDRESS.fullmatch(text):
        host, encoded = match[2] or "", match[3]
        if host.lower() not in ("", "localhost", "127.0.0.1", socket.gethostname().lower()):
            raise UserError(
                f"'{text}' is on the computer '{host}'; copy the file, or give its path on this one"
            )
        if os.name == "nt":
            return Path(url2pathname(encoded))
        return Path(unquote(encoded, errors="surrogateescape"))
    if text.startswith("~") and not exists(text):
        return Path(os.path.expanduser(text))  # noqa: PTH111 - Path's raises for unknown users
    return Path(text)


# The methods of Path raise where the system does not answer: a name that is too long, a locked
# folder, a circle of links.


def exists(path: str | Path) -> bool:
    """Return whether a file, folder or link exists; False where the system does not say."""
    return os.path.lexists(path)


def is_file(path: str | Path) -> bool:
    """Return whether a regular file exists; False where the system does not say."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: str | Path) -> bool:
    """Return whether a folder exists; False where the system does not say."""
    return os.path.isdir(path)  # noqa: PTH112


def is_same_path(one: str | Path, other: str | Path) -> bool:
    """Return whether two paths name the same place, links followed."""
    return os.path.realpath(one) == os.path.realpath(other)
