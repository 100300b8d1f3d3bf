"""The page in the frame of a page of another origin."""

from __future__ import annotations

import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from page_support import START_TIMEOUT_S, WAIT_MS, Serve

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Frame

# More than one of the generous waits of a busy machine.
pytestmark = pytest.mark.timeout(600)

# By the clock: a frame of another site may be drawn seldom.
POLL_MS = 100
LIVE = "() => window.mer !== undefined && mer.history.length >= 2"
LOCKED = "() => window.mer !== undefined && mer.connection.phase.name === 'locked'"
# Chromium maps it to this machine (CHROMIUM_ARGUMENTS): another site, not only another port.
FOREIGN = "insecure.test"


class _Dashboard(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        framed = parse_qs(urlsplit(self.path).query).get("frame", [""])[0]
        body = f'<!doctype html><iframe src="{framed}" width="600" height="400"></iframe>'.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def dashboard_port() -> Iterator[int]:
    """A web server whose page shows what its query names in a frame."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Dashboard) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@contextmanager
def framed(context: BrowserContext, origin: str, url: str) -> Iterator[tuple[Frame, list[str]]]:
    """Open a page of an origin that frames a URL; gives the frame and what the console says."""
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    lines: list[str] = []
    page.on("console", lambda message: lines.append(message.text))
    page.goto(f"{origin}/?frame={url}")
    deadline = time.monotonic() + WAIT_MS / 1000
    while len(page.frames) < 2 and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    yield page.frames[1], lines
    page.close()


def test_nobody_may_frame_the_page_by_default(
    browser: Browser, serve: Serve, dashboard_port: int
) -> None:
    server = serve("--input", "demo", "--port", "0", "--hop", "0.2")
    with (
        closing(browser.new_context()) as context,
        framed(context, f"http://127.0.0.1:{dashboard_port}", server.url) as (frame, lines),
    ):
        deadline = time.monotonic() + WAIT_MS / 1000
        while not lines and time.monotonic() < deadline:
            frame.page.wait_for_timeout(50)
        assert "frame-ancestors 'none'" in lines[0]


def test_named_pages_may_frame_the_page(
    browser: Browser, serve: Serve, dashboard_port: int
) -> None:
    same_site, foreign = f"http://127.0.0.1:{dashboard_port}", f"http://{FOREIGN}:{dashboard_port}"
    server = serve(
        "--input", "demo", "--port", "0", "--hop", "0.2", "--allow-frame", foreign
    )  # fmt: skip
    with closing(browser.new_context()) as context:
        for query in ("", "?overlay=1&show=badge"):
            with framed(context, foreign, f"{server.url}{query}".replace("&", "%26")) as (frame, _):
                frame.wait_for_function(LIVE, polling=POLL_MS)
        # The same machine, but not the same name.
        with framed(context, same_site, server.url) as (frame, lines):
            deadline = time.monotonic() + WAIT_MS / 1000
            while not lines and time.monotonic() < deadline:
                frame.page.wait_for_timeout(50)
            assert "frame-ancestors" in lines[0]


@pytest.fixture
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """Return the link that a server with `--open` gives to the browser."""
    if sys.platform == "win32":
        pytest.skip("needs a shell")
    opened = tmp_path / "opened"
    script = tmp_path / "browser"
    script.write_text(f'#!/bin/sh\necho "$1" > {opened}.new && mv {opened}.new {opened}\n')
    script.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{script} %s")

    def link() -> str:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not opened.exists():
            assert time.monotonic() < deadline, "the server opened no link"
            time.sleep(0.05)
        return opened.read_text().strip()

    return link


def test_tokens_in_a_frame(
    browser: Browser, serve: Serve, dashboard_port: int, tmp_path: Path, links: Callable[[], str]
) -> None:
    same_site, foreign = f"http://127.0.0.1:{dashboard_port}", f"http://{FOREIGN}:{dashboard_port}"
    path = tmp_path / "tokens.toml"
    server = serve(
        "--input", "demo", "--port", "0", "--hop", "0.2", "--token", str(path), "--open",
        "--allow-frame", same_site, "--allow-frame", foreign,
    )  # fmt: skip
    token = tomllib.loads(path.read_text())["view"]
    with closing(browser.new_context()) as context:
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.goto(links())
        page.wait_for_function(LIVE)
        # The cookie of the link reaches a frame in a page of the same host, and of no other.
        with framed(context, same_site, server.url) as (frame, _):
            frame.wait_for_function(LIVE, polling=POLL_MS)
            assert frame.evaluate("mer.hello.role") == "control"
        with framed(context, foreign, server.url) as (frame, _):
            frame.wait_for_function(LOCKED, polling=POLL_MS)
            # The token itself works there.
            frame.get_by_label("Token", exact=True).fill(token)
            frame.get_by_role("button", name="Connect").click()
            frame.wait_for_function(LIVE, polling=POLL_MS)
            assert frame.evaluate("mer.hello.role") == "view"
