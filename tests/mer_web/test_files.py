"""The table of files: complete, with correct types, and without references to other hosts."""

from __future__ import annotations

import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from urllib.parse import urljoin

import mer_web
import pytest

PACKAGE = Path(mer_web.__file__).parent
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# The SVG namespace is a URL that is never requested.
NAMESPACE = "http://www.w3.org/2000/svg"
PATHS = sorted(mer_web.FILES)


def test_table_matches_the_folder() -> None:
    served = sorted(name for name, _ in mer_web.FILES.values())
    present = sorted(
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc") and path.name != "py.typed"
    )
    assert served == present


def read(path: str) -> str:
    """Return the text of a served file."""
    return (PACKAGE / mer_web.FILES[path][0]).read_text(encoding="utf-8")


def test_root_is_the_page() -> None:
    assert read("/").startswith("<!doctype html>")
    assert mer_web.FILES["/"][1] == "text/html; charset=utf-8"


@pytest.mark.parametrize("path", PATHS)
def test_name_type_and_content(path: str) -> None:
    name, content_type = mer_web.FILES[path]
    assert path in ("/", f"/{name}", f"/{Path(name).stem}")
    assert content_type == TYPES[Path(name).suffix]
    assert read(path)


@pytest.mark.parametrize("path", PATHS)
def test_no_file_names_another_host(path: str) -> None:
    text = read(path).replace(NAMESPACE, "")
    # "http://localhost" occurs in a text for the user only.
    assert re.findall(r"(?:https?|wss?):(?:\\?/){2}(?!localhost)\S+", text) == []
    assert re.findall(r"""(?:src|href)=["']//""", text) == []
    assert "@import" not in text


SCRIPTS = [path for path in PATHS if path.endswith(".js")]


def imports(path: str) -> list[str]:
    """Return what a script imports, as it is written there."""
    code = re.sub(r"/\*.*?\*/", "", read(path), flags=re.S)
    return re.findall(r"""(?:from|import)\s*\(?\s*["']([^"']+)["']""", code)


@pytest.mark.parametrize("path", SCRIPTS)
def test_modules_import_only_served_files(path: str) -> None:
    for target in imports(path):
        assert target.startswith(("./", "../")), target
        assert urljoin(path, target) in mer_web.FILES, target


def test_no_import_circle() -> None:
    graph = {path: [urljoin(path, target) for target in imports(path)] for path in SCRIPTS}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import circle: {' -> '.join(error.args[1])}")


# Other pages, and what the server makes.
LINKED = {"/", "/wall", "/calibrate", "/report.html"}


@pytest.mark.parametrize(
    ("path", "script"), [("/", "app.js"), ("/calibrate", "calibrate.js"), ("/wall", "wall.js")]
)
def test_page_references_only_served_files(path: str, script: str) -> None:
    html = read(path)
    references = re.findall(r"""(?:src|href)="([^"#]+)\"""", html)
    assert {script, "base.css", "icon.svg"} <= set(references)
    for target in references:
        assert f"/{target.removeprefix('./')}" in {*mer_web.FILES, *LINKED}, target


@pytest.mark.parametrize("path", ["/", "/calibrate", "/wall"])
def test_page_has_no_inline_style_or_script(path: str) -> None:
    # The content security policy 'self' forbids both.
    html = read(path)
    assert re.findall(r"\sstyle=|\son[a-z]+=|<style|<script(?![^>]*\ssrc=)|javascript:", html) == []


@pytest.mark.parametrize("path", ["/", "/calibrate", "/wall"])
def test_element_ids_are_unique(path: str) -> None:
    html = read(path)
    ids = re.findall(r'\sid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
