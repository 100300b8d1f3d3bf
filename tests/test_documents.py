"""The documents point to files, headings and names that exist."""

from __future__ import annotations

import re
import string
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted(
    path.relative_to(ROOT)
    for path in chain(
        ROOT.glob("*.md"), ROOT.glob("docs/**/*.md"), ROOT.glob("benchmarks/*.md"),
        ROOT.glob("engine/mer_engine/models/*.md"),
    )
)  # fmt: skip
LINK = re.compile(r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]+))?\)")
# A class or function in backticks: `Hub`, `Hub.publish`, `Engine.infer(frames, past)`.
CLASS = re.compile(r"`([A-Z][a-z]+[A-Za-z]*)(?:\.(\w+))?(?:\([^`]*\))?`")
MODULE = re.compile(r"`((?:\w+/)*\w+\.py)`")


def anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    kept = string.ascii_lowercase + string.digits + "-_ "
    return {
        "".join(c for c in heading.lower() if c in kept).replace(" ", "-") for heading in headings
    }


def source() -> str:
    """Return the text of all modules of the packages."""
    packages = (ROOT / "realtime_mer", ROOT / "engine", ROOT / "web")
    return "\n".join(
        path.read_text(encoding="utf-8") for package in packages for path in package.rglob("*.py")
    )


@pytest.mark.parametrize("name", DOCUMENTS, ids=str)
def test_links_lead_somewhere(name: Path) -> None:
    document = ROOT / name
    for path, anchor in LINK.findall(document.read_text(encoding="utf-8")):
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), f"{name}: {path}"
        assert not anchor or anchor in anchors(target), f"{name}: {path}#{anchor}"


@pytest.mark.parametrize("name", ["docs/architecture.md", "docs/design.md", "docs/streams.md"])
def test_modules_and_classes_exist(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    modules = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("[!.]*/**/*.py")}
    for module in MODULE.findall(text):
        if "NAME" not in module:  # of a recipe
            assert any(f"/{path}".endswith(f"/{module}") for path in modules), module
    code = source()
    for owner, member in CLASS.findall(text):
        assert re.search(rf"\b(?:class {owner}\b|{owner} =)", code), owner
        assert not member or re.search(rf"\bdef {member}\b|^    {member}: ", code, re.MULTILINE), (
            f"{owner}.{member}"
        )
