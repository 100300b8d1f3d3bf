"""The user's folder: what this program keeps between runs, such as keys and tokens."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path


def user_folder(platform: str = sys.platform, environ: Mapping[str, str] | None = None) -> Path:
    """Return the folder of this program's own files, which may not exist yet.

    This is `realtime-mer` in `$XDG_CONFIG_HOME` (or `~/.config`) on Linux, in
    `~/Library/Application Support` on macOS, in `%APPDATA%` on Windows.
    """
    environ = os.environ if environ is None else environ
    if platform == "win32":
        roaming = environ.get("APPDATA")
        base = Path(roaming) if roaming else _home() / "AppData" / "Roaming"
    elif platform == "darwin":
        base = _home() / "Library" / "Application Support"
    else:
        # The XDG specification says to ignore a relative path.
        named = Path(environ.get("XDG_CONFIG_HOME", ""))
        base = named if named.is_absolute() else _home() / ".config"
    return base / "realtime-mer"


def write_private(path: Path, content: bytes, *, keep: bool = False) -> None:
    """Write a file that only the user can read, under another name first.

    Args:
        path: the file; a missing folder is created, for the user only.
        content: any bytes.
        keep: leave a file that is there, also one that another program makes at this moment.

    Raises:
        FileExistsError: with `keep`, there is a file.
        OSError: the file cannot be written; an older one is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(handle)  # else a power cut may leave an empty file under the new name
        if keep:
            _rename_new(Path(draft), path)
        else:
            Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def _rename_new(draft: Path, path: Path) -> None:
    """Rename a file where there is none of the new name."""
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if path.exists():
            raise FileExistsError(f"{path} exists") from None
        draft.replace(path)
    else:
        draft.unlink()


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # a user of a container without a home: a folder that cannot be made
        return Path(os.devnull)
