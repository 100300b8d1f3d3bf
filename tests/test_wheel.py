"""The wheel in a new environment, outside the checkout, and the contents of the sdist."""

import csv
import io
import shlex
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WHEEL_LIMIT_BYTES = 10_000_000
INSTALLED_LIMIT_BYTES = 260_000_000
# Where each package is in the checkout.
PACKAGES = {
    "realtime_mer": ROOT,
    "mer_engine": ROOT / "engine",
    "mer_research": ROOT / "engine",
    "mer_web": ROOT / "web",
}


def modules(folder: Path, root: Path) -> set[str]:
    """The Python files in a folder, as paths relative to `root`."""
    return {path.relative_to(root).as_posix() for path in folder.rglob("*.py")}


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


def run_installed(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command outside the checkout."""
    command = [str(home / "env" / "bin" / "realtime-mer"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=home, check=False)


def test_the_wheel_has_every_module(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for package, root in PACKAGES.items():
        expected = modules(root / package, root)
        assert f"{package}/__init__.py" in expected
        assert expected <= names
    assert not [name for name in names if name.startswith(("tests/", "examples/", "benchmarks/"))]


def test_the_sdist_has_every_module_and_the_examples(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "build", "--sdist", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(built) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for package, root in PACKAGES.items():
        assert modules(root / package, ROOT) <= names
    assert modules(ROOT / "examples", ROOT) <= names
    assert {"Makefile", "README.md", "LICENSE", "pyproject.toml"} <= names


@pytest.mark.timeout(600)
def test_the_wheel_and_the_installation_are_small(wheel: Path, home: Path) -> None:
    assert wheel.stat().st_size < WHEEL_LIMIT_BYTES
    packages = {path.name for path in (home / "env").glob("lib/python3*/site-packages/*")}
    assert PACKAGES.keys() <= packages
    assert not {"torch", "torchaudio", "pandas", "sklearn", "onnx"} & packages
    size = sum(p.stat().st_size for p in (home / "env").rglob("*") if p.is_file())
    assert size < INSTALLED_LIMIT_BYTES


@pytest.mark.timeout(600)
def test_it_analyses_the_demo(home: Path) -> None:
    run = run_installed(home, "analyze", "demo")
    assert run.returncode == 0, run.stderr
    rows = list(csv.DictReader(io.StringIO(run.stdout)))
    assert len(rows) > 80
    assert rows[-1]["state"] == "tracking"
    assert run.stderr == ""


@pytest.mark.timeout(600)
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


@pytest.mark.timeout(600)
def test_training_says_how_to_install_its_packages(home: Path, wheel: Path) -> None:
    run = run_installed(home, "train", "--data", str(home))
    assert run.returncode == 2
    python = home / "env" / "bin" / "python"
    command = shlex.join([str(python), "-m", "pip", "install", f"{wheel}[train]"])
    assert run.stderr.endswith(f"which is not installed; run: {command}\n")
