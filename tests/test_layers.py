"""The packages depend in one direction, and a light installation stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {
    "mer_engine": ROOT / "engine" / "mer_engine",
    "mer_web": ROOT / "web" / "mer_web",
}


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize(("package", "folder"), PACKAGES.items())
def test_neither_engine_nor_page_knows_the_application(package: str, folder: Path) -> None:
    others = {"realtime_mer", *PACKAGES} - {package}
    for path in folder.rglob("*.py"):
        assert not imported(path) & others, path


def test_only_the_microphone_imports_sounddevice() -> None:
    importers = [
        path.name
        for path in (ROOT / "realtime_mer").rglob("*.py")
        if "sounddevice" in imported(path)
    ]
    assert importers == ["microphone.py"]


def test_using_the_engine_imports_nothing_heavy() -> None:
    code = (
        "import sys, mer_engine, realtime_mer.core.pipeline, realtime_mer.cli;"
        "mer_engine.load_engine();"
        "print(*sorted({'torch', 'torchaudio', 'pandas', 'sklearn', 'scipy', 'matplotlib', 'onnx',"
        " 'PIL', 'sounddevice'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == []
