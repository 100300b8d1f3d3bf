"""`make release`: the version, the changelog, reproducible files and the list of parts."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest

from realtime_mer import __version__

ROOT = Path(__file__).parent.parent


def test_the_version_is_in_one_place() -> None:
    where = [
        "pyproject.toml", "Makefile", "deploy/*", "realtime_mer/**/*.py", "engine/**/*.py",
        "web/mer_web/**/*.*", "docs/*.md", "README.md",
    ]  # fmt: skip
    number = re.compile(rf"(?<![\d.]){re.escape(__version__)}(?![\d.]\d)")
    naming = [
        path.relative_to(ROOT).as_posix()
        for pattern in where
        for path in ROOT.glob(pattern)
        if path.suffix not in (".onnx", ".png", ".svg")
        and number.search(path.read_text(encoding="utf-8", errors="replace"))
    ]
    assert naming == ["realtime_mer/__init__.py"]


def test_the_changelog_has_an_entry_for_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    heading, _, rest = changelog.partition("\n## ")[2].partition("\n")
    version, _, when = heading.partition(" ")
    assert version == __version__
    assert re.fullmatch(r"\((unreleased|\d{4}-\d\d-\d\d)\)", when), heading
    assert re.search(r"^\* \w", rest.partition("\n## ")[0], re.MULTILINE), "it lists no change"


def test_the_metadata_give_the_licence_of_the_weights() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    card = (ROOT / "engine" / "mer_engine" / "models" / "MODEL_CARD.md").read_text("utf-8")
    weights = re.search(r"weights are under \*\*(CC [A-Z-]+ [\d.]+)\*\*", card)
    assert weights is not None
    assert project["license"] == f"MIT AND {weights[1].replace(' ', '-')}"


def make(folder: Path, target: str, out: Path, environment: Path, *, umask: int = -1) -> Path:
    """Run a target of the Makefile in a checkout with the tools of this Python.

    Args:
        folder: the checkout.
        target: one or several, with spaces in between.
        out: folder for what is made.
        environment: folder that stands for the environment that the Makefile makes.
    """
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    for module in ("build", "twine", "cyclonedx_py"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    environment.mkdir(exist_ok=True)
    (environment / ".installed-release").touch()
    command = ["make", "-C", str(folder), *target.split(), f"DIST={out}", f"VENV={environment}"]
    variables = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
    run = subprocess.run(
        [*command, f"BIN={Path(sys.executable).parent}"],
        capture_output=True, text=True, check=False, env=variables, umask=umask,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    return out


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what `make release` makes; the wheel also ran in an empty environment."""
    folder = tmp_path_factory.mktemp("release")
    return make(ROOT, "release", folder / "dist", folder / "environment")


@pytest.mark.timeout(600)
def test_wheel_and_sdist_are_the_same_bytes_again(released: Path, tmp_path: Path) -> None:
    """From the sdist instead of the checkout, in another folder, with other times and modes."""
    with tarfile.open(released / f"realtime_mer-{__version__}.tar.gz") as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extractall(tmp_path / "elsewhere", filter="data")
        else:  # Python 3.11.3 and older
            archive.extractall(tmp_path / "elsewhere")
    (copy,) = (tmp_path / "elsewhere").iterdir()
    for path in copy.rglob("*"):
        os.utime(path, (1e9, 1e9))
        path.chmod(path.stat().st_mode & 0o700)
    again = make(copy, "wheel sdist", tmp_path / "dist", tmp_path / "environment", umask=0o077)
    made = {path.name: path.read_bytes() for path in again.iterdir()}
    assert {name.partition(__version__)[2] for name in made} == {"-py3-none-any.whl", ".tar.gz"}
    assert made == {name: (released / name).read_bytes() for name in made}


@pytest.mark.timeout(600)
def test_the_list_of_parts(released: Path) -> None:
    written = (released / f"realtime-mer-{__version__}.cdx.json").read_text(encoding="utf-8")
    parts = json.loads(written)
    assert parts["bomFormat"] == "CycloneDX"
    root = parts["metadata"]["component"]
    assert (root["name"], root["version"]) == ("realtime-mer", __version__)
    names = {part["name"].lower() for part in parts["components"]}
    assert {"numpy", "onnxruntime", "websockets"} <= names
    # What is no part of it: the tools, and the environment of the tests.
    assert not {"pip", "hatchling", "cyclonedx-bom", "pytest", "torch"} & names
    # Nothing of this machine, and no time: the list is reproducible too.
    assert "file:" not in written
    assert str(released.parent) not in written
    assert "timestamp" not in parts["metadata"]
