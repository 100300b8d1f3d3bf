"""Who may import whom, as in docs/architecture.md; imports inside functions count."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {
    "realtime_mer": ROOT / "realtime_mer",
    "mer_engine": ROOT / "engine" / "mer_engine",
    "mer_research": ROOT / "engine" / "mer_research",
    "mer_web": ROOT / "web" / "mer_web",
}
# For each part: the parts of this project that it may import. A part is a folder or a module.
MAY_IMPORT = {
    "mer_web": set(),
    "mer_engine": set(),
    "mer_engine.backends": {"mer_engine"},
    "mer_engine.datasets": {"mer_engine"},
    "mer_engine.training": {"mer_engine", "mer_engine.backends", "mer_engine.datasets"},
    "mer_research": {"mer_engine", "mer_engine.datasets"},
    "realtime_mer": set(),
    "realtime_mer.core": {"mer_engine", "realtime_mer"},
    "realtime_mer.audio": {"realtime_mer", "realtime_mer.core"},
    "realtime_mer.live": {"mer_engine", "realtime_mer", "realtime_mer.core", "realtime_mer.audio"},
    "realtime_mer.server": {
        "mer_engine",
        "mer_web",
        "realtime_mer",
        "realtime_mer.core",
        "realtime_mer.audio",
        "realtime_mer.live",
    },
    "realtime_mer.outputs": {
        "mer_engine",
        "realtime_mer",
        "realtime_mer.core",
        "realtime_mer.audio",
        "realtime_mer.live",
    },
    "realtime_mer.recording": {
        "mer_engine",
        "realtime_mer",
        "realtime_mer.core",
        "realtime_mer.audio",
        "realtime_mer.live",
        "realtime_mer.outputs",
    },
    "realtime_mer.report": {
        "realtime_mer",
        "realtime_mer.core",
        "realtime_mer.live",
        "realtime_mer.recording",
        "realtime_mer.outputs",
    },
    "realtime_mer.library": {
        "mer_engine",
        "realtime_mer",
        "realtime_mer.core",
        "realtime_mer.audio",
        "realtime_mer.outputs",
    },
    "realtime_mer.scenes": {
        "realtime_mer",
        "realtime_mer.core",
        "realtime_mer.live",
        "realtime_mer.outputs",
    },
    "realtime_mer.configuration": {
        "realtime_mer",
        "realtime_mer.live",
        "realtime_mer.outputs",
        "realtime_mer.scenes",
    },
    "realtime_mer.bench": {
        "mer_engine",
        "mer_engine.backends",
        "realtime_mer",
        "realtime_mer.core",
        "realtime_mer.audio",
        "realtime_mer.live",
        "realtime_mer.server",
    },
    "realtime_mer.evaluation": {
        "mer_engine",
        "mer_engine.datasets",
        "realtime_mer",
        "realtime_mer.bench",
        "realtime_mer.core",
    },
}
# Modules at the top of a package that stand above its parts.
ABOVE = {
    "mer_engine",
    "mer_engine.loading",
    "mer_engine.network_import",
    "realtime_mer",
    "realtime_mer.analysis",
    "realtime_mer.api",
    "realtime_mer.client",
    "realtime_mer.cli",
    "realtime_mer.__main__",
}


@cache
def modules() -> dict[str, Path]:
    """Every module of the project by its dotted name."""
    found = {}
    for package, folder in PACKAGES.items():
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            name = ".".join((package, *parts))
            found[name.removesuffix(".__init__")] = path
    return found


@cache
def imports(name: str) -> frozenset[str]:
    """Dotted names that a module imports anywhere in its text."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(modules()[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} has a relative import"
            assert node.module is not None
            for alias in node.names:
                # `from package import module` imports the module.
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in modules() else node.module)
    return frozenset(found)


def own_imports(name: str) -> set[str]:
    """Modules of this project that a module imports."""
    return {target for target in imports(name) if target in modules()} - {name}


def third_party(name: str) -> set[str]:
    """Top-level names of everything else that a module imports."""
    return {target.split(".")[0] for target in imports(name)} - set(PACKAGES)


def part_of(name: str) -> str:
    """The part that a module belongs to: its folder below the package, else the package."""
    package, *rest = name.split(".")
    if not rest or (modules()[name].parent == PACKAGES[package]):
        return package
    return package if package == "mer_research" else f"{package}.{rest[0]}"


def test_no_import_circle() -> None:
    graph = {name: own_imports(name) for name in modules()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import circle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_a_part_imports_only_what_lies_below_it(part: str) -> None:
    members = [name for name in modules() if part_of(name) == part and name not in ABOVE]
    assert members
    for name in members:
        for target in own_imports(name):
            assert part_of(target) in {part, *MAY_IMPORT[part]}, f"{name} imports {target}"


def test_the_python_api_needs_no_server_and_no_command() -> None:
    allowed = {f"realtime_mer.{part}" for part in ("core", "audio", "live", "outputs", "library")}
    for name in (
        "realtime_mer",
        "realtime_mer.api",
        "realtime_mer.analysis",
        "realtime_mer.client",
    ):
        for target in own_imports(name):
            assert part_of(target) in {"mer_engine", "realtime_mer", *allowed}, f"{name}: {target}"


def test_every_package_has_import_rules() -> None:
    without = {part_of(name) for name in modules()} - set(MAY_IMPORT)
    assert without == {"realtime_mer.commands"}  # may import everything


def test_only_the_command_line_imports_commands() -> None:
    for name in modules():
        if part_of(name) != "realtime_mer.commands" and name != "realtime_mer.cli":
            targets = {part_of(target) for target in own_imports(name)}
            assert "realtime_mer.commands" not in targets, name


def test_only_reproduce_imports_the_research() -> None:
    importers = {
        name
        for name in modules()
        if not name.startswith("mer_research")
        and any(target.startswith("mer_research") for target in own_imports(name))
    }
    assert importers == {"realtime_mer.commands.reproduce"}


def test_the_core_has_no_threads_and_no_sockets() -> None:
    for name in modules():
        if part_of(name) == "realtime_mer.core":
            assert not third_party(name) & {"threading", "asyncio", "websockets", "socket"}, name


def test_the_engine_never_imports_the_application_or_the_research() -> None:
    for name in modules():
        if name.startswith("mer_engine"):
            packages = {target.split(".")[0] for target in own_imports(name)}
            assert packages <= {"mer_engine"}, name


def test_data_sets_need_no_torch() -> None:
    reached = {name for name in modules() if part_of(name) == "mer_engine.datasets"}
    waiting = list(reached)
    while waiting:
        name = waiting.pop()
        assert not third_party(name) & {"torch", "torchaudio"}, name
        new = own_imports(name) - reached
        reached |= new
        waiting += new


def test_only_the_microphone_imports_sounddevice() -> None:
    importers = [name for name in modules() if "sounddevice" in third_party(name)]
    assert importers == ["realtime_mer.audio.microphone"]


def test_using_the_engine_imports_nothing_heavy() -> None:
    code = (
        "import sys, mer_engine, realtime_mer.core.pipeline, realtime_mer.cli;"
        "mer_engine.load_engine();"
        "print(*sorted({'torch', 'torchaudio', 'pandas', 'sklearn', 'scipy', 'matplotlib', 'onnx',"
        " 'PIL', 'sounddevice'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == []
