"""What axe-core finds on each page: nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from page_server import PageServer
from page_support import Open, Serve, ServerProcess, Visit
from report_support import music, session_of

from realtime_mer.report.page import report_page

# More than one of the generous waits of a busy machine.
pytestmark = pytest.mark.timeout(600)

LIVE = "() => mer.history.length >= 3"
LOCKED = "() => mer.connection.phase.name === 'locked'"
NO_MOTION = """() => document.getAnimations().every((each) => each.playState !== "running"
  || each.effect.getComputedTiming().iterations === Infinity)"""
NARROW = (320, 640)

# A page of the program says which theme it shows; an overlay keeps that of its address.
THEMED = """(theme) => {
  const shown = document.documentElement.dataset.theme;
  return shown === undefined || shown === theme || window.mer?.overlay;
}"""

Check = Callable[..., None]
# A piece is a part of somebody's picture and no document.
DOCUMENT_RULES = ("landmark-one-main", "page-has-heading-one", "region")


@pytest.fixture(scope="module")
def check() -> Check:
    """Fail on what axe-core finds on a page that has come to rest, in both themes."""
    api = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed"
    )

    def run(here: Visit, *, without: tuple[str, ...] = ()) -> None:
        options = {"rules": {name: {"enabled": False} for name in without}}
        for theme in ("light", "dark"):
            here.page.emulate_media(color_scheme=theme)
            here.wait(THEMED, theme)
            here.wait(NO_MOTION)
            found: list[dict[str, Any]] = (
                api.Axe().run(here.page, options=options).response["violations"]
            )
            assert not found, "\n".join(
                f"{theme}: {rule['id']}: {rule['help']}: {node['html'][:200]} "
                f"{node['failureSummary']}"
                for rule in found
                for node in rule["nodes"]
            )

    return run


@pytest.fixture
def watch(visit: Open) -> Open:
    """Open pages that axe-core may be put into, which the page's content policy forbids."""

    def start(url: str, **options: Any) -> Visit:
        return visit(url, bypass_csp=True, **options)

    return start


def resize(here: Visit, size: tuple[int, int]) -> None:
    here.page.set_viewport_size({"width": size[0], "height": size[1]})
    here.wait("(size) => innerWidth === size[0] && innerHeight === size[1]", list(size))


def test_the_page(watch: Open, demo: ServerProcess, check: Check) -> None:
    here = watch(demo.url)
    here.wait(LIVE)
    check(here)
    resize(here, NARROW)
    check(here)
    here.js("() => mer.help()")
    check(here)


def test_a_notice_and_a_pause(watch: Open, check: Check) -> None:
    with PageServer().serving() as server:
        here = watch(server.url)
        here.wait(LIVE)
        server.send({"type": "warning", "code": "input_lost", "message": "The input is gone."})
        here.wait("() => document.body.innerText.includes('The input is gone.')")
        check(here)
        here.pause()
        check(here)
        server.state = "silence"
        here.page.keyboard.press("p")
        here.wait("() => mer.newest.state === 'silence'")
        check(here)


def test_the_gate(watch: Open, check: Check) -> None:
    with PageServer().serving() as server:
        server.tokens = {"a-token-0123456789": "control"}
        here = watch(server.url)
        here.wait(LOCKED)
        check(here)


def test_the_show_panel(watch: Open, serve: Serve, check: Check, tmp_path: Path) -> None:
    file = tmp_path / "show.toml"
    file.write_text('[[osc]]\nname = "desk"\nto = "127.0.0.1:9"\n', encoding="utf-8")
    server = serve("--config", str(file), "--input", "demo", "--hop", "0.2", "--port", "0")
    here = watch(server.url)
    here.wait("() => !document.querySelector('#show').hidden")
    here.page.locator("#show summary").click()
    check(here)


def test_the_page_of_a_person(
    watch: Open, serve: Serve, check: Check, song: Path, tmp_path: Path
) -> None:
    options = ("--input", str(song), "--loop", "--hop", "0.2", "--port", "0")
    server = serve(*options, "--person", str(tmp_path / "anna.json"))
    here = watch(f"{server.url}calibrate")
    here.wait("() => document.querySelector('#prompt').dataset.ready === 'yes'")
    check(here)


def test_the_wall(watch: Open, demo: ServerProcess, check: Check) -> None:
    here = watch(f"{demo.url}wall")
    here.wait("() => document.querySelector('.tile-word')?.textContent")
    check(here)
    resize(here, NARROW)
    check(here)


def test_the_stage(watch: Open, demo: ServerProcess, check: Check) -> None:
    here = watch(f"{demo.url}?stage=1&scene=plain")
    here.wait("() => mer.stage?.active && mer.history.length >= 3")
    check(here, without=DOCUMENT_RULES)


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_an_overlay(watch: Open, demo: ServerProcess, check: Check, theme: str) -> None:
    here = watch(f"{demo.url}?overlay=1&show=plane,badge,timeline&theme={theme}")
    here.wait(LIVE)
    check(here, without=DOCUMENT_RULES)


def test_the_report(watch: Open, check: Check) -> None:
    moods = [(-0.4, 0.6, "tense")] * 60 + [(0.4, -0.4, "calm")] * 60
    with PageServer().serving() as server:
        here = watch(server.url)
        here.wait(LIVE)
        here.page.goto("about:blank")  # ends the page's program
        here.page.set_content(report_page(session_of(music(moods))))
        check(here)
