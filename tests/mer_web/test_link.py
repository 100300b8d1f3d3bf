"""A one-time link in a real browser."""

from __future__ import annotations

import os
import queue
import sys
import threading
import tomllib
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from page_support import START_TIMEOUT_S, Open, Serve

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# More than one of the generous waits of a busy machine.
pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.platform == "win32", reason="needs a shell"),
]


def test_a_link_opens_the_page_once(
    visit: Open,
    browser: Browser,
    serve: Serve,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened = tmp_path / "opened"
    os.mkfifo(opened)
    script = tmp_path / "browser"
    script.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    script.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{script} %s")
    links: queue.Queue[str] = queue.Queue()
    # Reading a FIFO waits for its writer.
    threading.Thread(target=lambda: links.put(opened.read_text().strip()), daemon=True).start()
    path = tmp_path / "tokens.toml"
    server = serve("--input", "demo", "--port", "0", "--open", "--token", str(path))
    link = links.get(timeout=START_TIMEOUT_S)
    code = link.partition("code=")[2]
    assert code

    here = visit(link)
    here.wait("() => window.mer && mer.hello !== null")
    assert here.page.url == server.url
    # The code is neither in the history nor told to the page, and no script reads the cookie.
    here.page.go_back()
    assert "enter" not in here.page.url
    here.page.goto(server.url)
    here.wait("() => window.mer && mer.hello !== null")
    assert here.js("[document.cookie, document.referrer]") == ["", ""]
    cookies = here.page.context.cookies()
    assert [(c["httpOnly"], c["sameSite"]) for c in cookies] == [(True, "Strict")]
    assert cookies[0]["value"].startswith("control.")
    shown = here.page.content() + here.js("JSON.stringify({...localStorage, ...sessionStorage})")
    hidden = [code, cookies[0]["value"], *tomllib.loads(path.read_text()).values()]
    assert not [secret for secret in hidden if secret in shown]

    # Another browser comes too late, and reads what to do.
    with closing(browser.new_context()) as another:
        page = another.new_page()
        page.goto(link)
        assert "each link opens the page once" in page.inner_text("body")
        assert page.get_by_role("link", name="Open the page").get_attribute("href") == "/"
