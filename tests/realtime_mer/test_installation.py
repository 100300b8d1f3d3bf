"""The command that adds a package, for each way to install the program."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from pathlib import Path

import pytest

from realtime_mer.installation import install_command

EDITABLE = {"url": "file:///home/me/mer", "dir_info": {"editable": True}}
FOLDER = {"url": "file:///home/me/mer", "dir_info": {}}
GIT = {"url": "https://git.example/mer", "vcs_info": {"vcs": "git", "commit_id": "1"}}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the metadata of an installed version, first in the search path."""
    folder = tmp_path / "realtime_mer-9.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(
        "Metadata-Version: 2.4\nName: realtime-mer\nVersion: 9\n"
        "Requires-Dist: numpy>=2\n"
        "Requires-Dist: mido>=1.3; extra == 'midi'\n"
        "Requires-Dist: python-rtmidi>=1.5; extra == 'midi'\n"
        "Requires-Dist: sacn>=1; extra == 'dmx'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert importlib.metadata.version("realtime-mer") == "9"
    return folder


@pytest.mark.parametrize(
    ("source", "end"),
    [
        (None, ' install "realtime-mer[midi]"'),
        (EDITABLE, ' install -e "/home/me/mer[midi]"'),
        (FOLDER, ' install "/home/me/mer[midi]"'),
        (GIT, ' install "realtime-mer[midi] @ git+https://git.example/mer"'),
    ],
)
def test_with_pip(
    source: object, end: str, installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if source is not None:
        (installed / "direct_url.json").write_text(json.dumps(source))
    python = tmp_path / "work" / "bin" / "python"
    monkeypatch.setattr(sys, "executable", str(python))
    command = install_command("midi")
    assert command.startswith(str(python)) or f"--python {python} " in command
    assert command.replace(f" --python {python}", "").endswith(end)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert "bin/python" in install_command("midi").split()


def test_with_pipx(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "pipx_metadata.json").touch()
    command = install_command("midi", tmp_path)
    assert command == 'pipx inject realtime-mer "mido>=1.3" "python-rtmidi>=1.5"'


def test_with_uv_tool(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "uv-receipt.toml").touch()
    assert install_command("dmx", tmp_path) == 'uv tool install --force "realtime-mer[dmx]"'
    assert install_command("", tmp_path) == 'uv tool install --force "realtime-mer"'
    (installed / "direct_url.json").write_text(json.dumps(FOLDER))
    assert install_command("dmx", tmp_path) == (
        'uv tool install --force "realtime-mer[dmx] @ file:///home/me/mer"'
    )
