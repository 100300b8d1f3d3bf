"""The wheel, installed where nothing else is, outside the checkout: what a new user gets."""

import csv
import io
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WHEEL_LIMIT_BYTES = 10_000_000
INSTALLED_LIMIT_BYTES = 250_000_000


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
    subprocess.run([*command, str(folder), str(ROOT)], check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def home(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    venv.create(folder / "env", with_pip=True)
    python = folder / "env" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", str(wheel)], check=True, cwd=folder)
    return folder


def installed(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(home / "env" / "bin" / "realtime-mer"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=home, check=False)


@pytest.mark.timeout(300)
def test_the_wheel_is_small_and_the_installation_light(wheel: Path, home: Path) -> None:
    assert wheel.stat().st_size < WHEEL_LIMIT_BYTES
    packages = {path.name for path in (home / "env").glob("lib/python3*/site-packages/*")}
    assert {"realtime_mer", "mer_engine", "mer_web"} <= packages
    assert not {"torch", "torchaudio", "pandas", "sklearn", "onnx"} & packages
    size = sum(p.stat().st_size for p in (home / "env").rglob("*") if p.is_file())
    assert size < INSTALLED_LIMIT_BYTES


@pytest.mark.timeout(300)
def test_it_analyses_the_demo(home: Path) -> None:
    run = installed(home, "analyze", "demo")
    assert run.returncode == 0, run.stderr
    rows = list(csv.DictReader(io.StringIO(run.stdout)))
    assert len(rows) > 80
    assert rows[-1]["state"] == "tracking"
    assert run.stderr == ""


def test_it_has_the_page(home: Path) -> None:
    code = (
        "import importlib.resources as resources, mer_web; "
        "page = resources.files(mer_web) / 'index.html'; "
        "print(len(page.read_bytes()), *mer_web.FILES)"
    )
    python = home / "env" / "bin" / "python"
    out = subprocess.run([python, "-c", code], capture_output=True, text=True, cwd=home, check=True)
    size, *paths = out.stdout.split()
    assert int(size) > 1000
    assert {"/", "/app.js"} <= set(paths)


def test_training_says_what_it_needs(home: Path) -> None:
    run = installed(home, "train", "--data", str(home))
    assert run.returncode == 2
    assert "pip install 'realtime-mer[train]'" in run.stderr
