"""The instruction that installs an extra, for each way in which the distribution is installed."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest
from mer_engine.install_hint import install_hint, packages_hint

METADATA = """\
Metadata-Version: 2.4
Name: realtime-mer
Version: 9.9.9
Requires-Dist: numpy>=2.1
Provides-Extra: tensorrt
Requires-Dist: cuda-bindings>=13; (platform_machine == 'x86_64') and extra == 'tensorrt'
Requires-Dist: cuda-bindings>=13; (platform_machine == 'AMD64') and extra == 'tensorrt'
Requires-Dist: onnx>=1.17; extra == 'tensorrt'
Provides-Extra: train
Requires-Dist: torch==2.11.*; extra == 'train'
Requires-Dist: pandas>=2.2; extra == "train"
"""


class Installation:
    """A folder of installed packages that holds the metadata of this distribution."""

    def __init__(self, site: Path, prefix: Path) -> None:
        self.prefix = prefix
        self._info = site / "realtime_mer-9.9.9.dist-info"
        self._info.mkdir(parents=True)
        (self._info / "METADATA").write_text(METADATA)

    def came_from(self, **direct_url: object) -> None:
        """Record the origin, as installers do (PEP 610)."""
        (self._info / "direct_url.json").write_text(json.dumps(direct_url))

    def without_metadata(self) -> None:
        (self._info / "METADATA").unlink()
        self._info.rmdir()


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    site, prefix = tmp_path / "site-packages", tmp_path / "venvs" / "realtime-mer"
    prefix.mkdir(parents=True)
    installation = Installation(site, prefix)
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    monkeypatch.setattr(sys, "prefix", str(prefix))
    monkeypatch.setattr(sys, "executable", "/opt/my music/bin/python")
    return installation


def command(hint: str) -> list[str]:
    """The words of the command that a hint gives, as a shell reads them."""
    start, _, line = hint.rpartition("run: ")
    assert "realtime-mer[" not in start
    return shlex.split(line)


PIP = ["/opt/my music/bin/python", "-m", "pip", "install"]


def test_an_editable_checkout(installation: Installation, tmp_path: Path) -> None:
    checkout = tmp_path / "real time"
    checkout.mkdir()
    installation.came_from(url=checkout.as_uri(), dir_info={"editable": True})
    assert command(install_hint("train")) == [*PIP, "-e", f"{checkout}[train]"]


def test_a_checkout_that_was_copied(installation: Installation, tmp_path: Path) -> None:
    installation.came_from(url=tmp_path.as_uri(), dir_info={})
    assert command(install_hint("tensorrt")) == [*PIP, f"{tmp_path}[tensorrt]"]


def test_a_wheel(installation: Installation, tmp_path: Path) -> None:
    wheel = tmp_path / "realtime_mer-9.9.9-py3-none-any.whl"
    wheel.touch()
    installation.came_from(url=wheel.as_uri(), archive_info={})
    assert command(install_hint("train")) == [*PIP, f"{wheel}[train]"]


def test_a_wheel_that_is_gone(installation: Installation, tmp_path: Path) -> None:
    installation.came_from(url=(tmp_path / "gone.whl").as_uri(), archive_info={})
    assert install_hint("train").startswith("install torch==2.11.*, pandas>=2.2; run: ")
    assert command(install_hint("train")) == [*PIP, "torch==2.11.*", "pandas>=2.2"]


def test_a_wheel_from_the_network(installation: Installation) -> None:
    installation.came_from(url="https://music.example/a.whl", archive_info={})
    expected = "realtime-mer[train] @ https://music.example/a.whl"
    assert command(install_hint("train")) == [*PIP, expected]


@pytest.mark.parametrize(
    ("vcs_info", "address"),
    [
        ({"vcs": "git", "requested_revision": "v1", "commit_id": "abc"}, "https://x.example/m@v1"),
        ({"vcs": "git", "commit_id": "abc"}, "https://x.example/m@abc"),
    ],
)
def test_a_repository(installation: Installation, vcs_info: dict[str, str], address: str) -> None:
    installation.came_from(url="https://x.example/m", vcs_info=vcs_info)
    assert command(install_hint("train")) == [*PIP, f"realtime-mer[train] @ git+{address}"]


def test_pipx(installation: Installation, tmp_path: Path) -> None:
    (installation.prefix / "pipx_metadata.json").touch()
    installation.came_from(url=tmp_path.as_uri(), dir_info={})
    pipx = ["pipx", "inject", "realtime-mer"]
    assert command(install_hint("train")) == [*pipx, "torch==2.11.*", "pandas>=2.2"]
    assert command(install_hint("tensorrt")) == [*pipx, "cuda-bindings>=13", "onnx>=1.17"]
    assert command(packages_hint(["soxr"])) == [*pipx, "soxr"]


def test_uv_tool(installation: Installation, tmp_path: Path) -> None:
    (installation.prefix / "uv-receipt.toml").touch()
    installation.came_from(url=tmp_path.as_uri(), dir_info={})
    assert command(install_hint("train")) == ["uv", "tool", "install", f"{tmp_path}[train]"]


def test_an_environment_without_pip(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.came_from(url=tmp_path.as_uri(), dir_info={"editable": True})
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if not _holds_pip(folder)])
    monkeypatch.delitem(sys.modules, "pip", raising=False)
    expected = ["uv", "pip", "install", "--python", "/opt/my music/bin/python"]
    assert command(install_hint("train")) == [*expected, "-e", f"{tmp_path}[train]"]
    assert command(packages_hint(["soxr"])) == [*expected, "soxr"]


def _holds_pip(folder: str) -> bool:
    return (Path(folder) / "pip" / "__init__.py").is_file()


@pytest.mark.usefixtures("installation")
def test_an_unknown_origin_names_the_packages() -> None:
    hint = install_hint("tensorrt")
    assert hint.startswith("install cuda-bindings>=13, onnx>=1.17; run: ")
    assert command(hint) == [*PIP, "cuda-bindings>=13", "onnx>=1.17"]


@pytest.mark.parametrize("record", ["", "[]", "{}", "no json"])
def test_a_damaged_record_of_the_origin(installation: Installation, record: str) -> None:
    installation.came_from()
    (next(Path(sys.path[0]).iterdir()) / "direct_url.json").write_text(record)
    assert install_hint("train").startswith("install torch==2.11.*, pandas>=2.2; run: ")


def test_without_metadata_it_names_the_checkout(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.without_metadata()
    monkeypatch.setattr(sys, "path", sys.path[:1])
    assert install_hint("train").startswith("in the checkout of realtime-mer, run: ")


def test_windows_takes_double_quotes(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.came_from(url=tmp_path.as_uri(), dir_info={})
    monkeypatch.setattr(sys, "platform", "win32")
    hint = install_hint("train")
    assert hint.startswith('run: "/opt/my music/bin/python" -m pip install ')
    assert hint.endswith('[train]"')
