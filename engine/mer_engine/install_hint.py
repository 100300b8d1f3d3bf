"""How to install an optional extra, or a missing package, into this installation."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mer_engine.strict_json import load_json

if TYPE_CHECKING:
    from importlib.metadata import Distribution

DISTRIBUTION = "realtime-mer"
_ORIGIN_LIMIT = 65_536
_EXTRA = re.compile(r"""extra\s*==\s*["']([^"']+)["']""")
_SAFE_ON_WINDOWS = re.compile(r"[\w.:=*/\\-]+")


def install_hint(extra: str) -> str:
    """Return the instruction that installs an extra, for the way this copy was installed.

    The instruction names the source that this copy came from (checkout, wheel, repository), never
    a package registry. It covers pip, uv, pipx and `uv tool`. Where the source is unknown or gone,
    it names the packages of the extra.

    Args:
        extra: an optional dependency group of the distribution, such as "train" or "tensorrt".

    Returns:
        A phrase in the imperative, to stand after a semicolon: "run: ..." or "install ...".
    """
    # Imported here: they take time, and most processes never need a hint.
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        installed = distribution(DISTRIBUTION)
    except PackageNotFoundError:
        command = _command([*_pip_install(), "-e", f".[{extra}]"])
        return f"in the checkout of {DISTRIBUTION}, run: {command}"
    packages = _packages(installed, extra)
    if (Path(sys.prefix) / "pipx_metadata.json").is_file() and packages:
        return f"run: {_command(['pipx', 'inject', Path(sys.prefix).name, *packages])}"
    source = _source(installed, extra)
    if source is None:
        if not packages:
            return f"install the packages of the extra '{extra}' of {DISTRIBUTION}"
        return f"install {', '.join(packages)}; run: {_command([*_pip_install(), *packages])}"
    if (Path(sys.prefix) / "uv-receipt.toml").is_file():
        return f"run: {_command(['uv', 'tool', 'install', *source])}"
    return f"run: {_command([*_pip_install(), *source])}"


def packages_hint(packages: Sequence[str]) -> str:
    """Return the instruction that installs packages into this environment: "run: ..."."""
    if (Path(sys.prefix) / "pipx_metadata.json").is_file():
        return f"run: {_command(['pipx', 'inject', Path(sys.prefix).name, *packages])}"
    return f"run: {_command([*_pip_install(), *packages])}"


def _pip_install() -> list[str]:
    """Return the start of the command that installs packages for the running Python."""
    python = sys.executable or "python"
    if importlib.util.find_spec("pip") is None:  # uv makes environments without pip
        return ["uv", "pip", "install", "--python", python]
    return [python, "-m", "pip", "install"]


def _packages(installed: Distribution, extra: str) -> list[str]:
    """Return the requirements of an extra, without markers and without repetitions."""
    found: dict[str, None] = {}
    for requirement in installed.requires or []:
        package, _, marker = requirement.partition(";")
        if extra in _EXTRA.findall(marker):
            found[package.replace(" ", "")] = None
    return list(found)


def _source(installed: Distribution, extra: str) -> list[str] | None:
    """Return the arguments of `install` for the source of this copy with an extra.

    None where the source is not recorded or does not exist any more.
    """
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    text = installed.read_text("direct_url.json")
    if text is None:
        return None
    try:
        origin: dict[str, Any] = load_json(text, limit=_ORIGIN_LIMIT)
        url = str(origin["url"])
    except (ValueError, KeyError, TypeError):
        return None
    if "vcs_info" in origin:
        vcs = origin["vcs_info"]
        revision = vcs.get("requested_revision") or vcs.get("commit_id")
        url = f"{vcs.get('vcs', 'git')}+{url}" + (f"@{revision}" if revision else "")
        if origin.get("subdirectory"):
            url += f"#subdirectory={origin['subdirectory']}"
    elif urlsplit(url).scheme == "file":
        path = Path(url2pathname(urlsplit(url).path))
        if not path.exists():
            return None
        editable = origin.get("dir_info", {}).get("editable", False)
        return [*(["-e"] if editable else []), f"{path}[{extra}]"]
    return [f"{DISTRIBUTION}[{extra}] @ {url}"]


def _command(words: Sequence[str]) -> str:
    """Return a command line with the words quoted for the shell."""
    if sys.platform == "win32":
        return " ".join(w if _SAFE_ON_WINDOWS.fullmatch(w) else f'"{w}"' for w in words)
    return shlex.join(words)
