"""How this program was installed, and so how a missing package is added."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import sys
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

PROJECT = "realtime-mer"
_EXTRA = re.compile(r"""extra == ['"]([\w-]+)['"]""")


def install_command(extra: str, prefix: Path | None = None) -> str:
    """Return the command that adds the packages of an extra to this installation.

    Its quotes are those that every shell knows, also that of Windows.

    Args:
        extra: optional dependencies by their name in pyproject.toml, such as `midi`; "" for what
            the default installation has.
        prefix: folder of the Python environment; None for that of this process.
    """
    prefix = Path(sys.prefix) if prefix is None else prefix
    source, editable = _source()
    extras = f"[{extra}]" if extra else ""
    if (prefix / "pipx_metadata.json").exists():
        return " ".join(["pipx inject", PROJECT, *(f'"{each}"' for each in _requirements(extra))])
    if (prefix / "uv-receipt.toml").exists():
        where = f" @ {source}" if source else ""
        return f'uv tool install --force "{PROJECT}{extras}{where}"'
    folder = _folder(source)
    if folder is not None:
        what = f"{folder}{extras}"
    elif source:
        what = f"{PROJECT}{extras} @ {source}"
    else:
        what = f"{PROJECT}{extras}"
    python = _shown(Path(sys.executable))
    has_pip = importlib.util.find_spec("pip") is not None
    pip = f"{python} -m pip install" if has_pip else f"uv pip install --python {python}"
    return f'{pip} {"-e " if editable else ""}"{what}"'


def _source() -> tuple[str, bool]:
    """Return the address that the program was installed from, "" for an index, and if editable."""
    try:
        text = importlib.metadata.distribution(PROJECT).read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:  # run from a folder of its sources
        return Path(__file__).resolve().parent.parent.as_uri(), True
    found = json.loads(text) if text else {}
    url = str(found.get("url", ""))
    if "vcs_info" in found:
        url = f"{found['vcs_info']['vcs']}+{url}"
    return url, bool(found.get("dir_info", {}).get("editable"))


def _folder(source: str) -> str | None:
    parts = urlsplit(source)
    return _shown(Path(url2pathname(parts.path))) if parts.scheme == "file" else None


def _requirements(extra: str) -> list[str]:
    """Return the packages of an extra, with their versions."""
    needs = importlib.metadata.requires(PROJECT) or []
    return [need.split(";")[0].strip() for need in needs if extra in _EXTRA.findall(need)]


def _shown(path: Path) -> str:
    """Return a path as people type it: relative where it lies in the working folder."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
