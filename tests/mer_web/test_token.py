"""A server that asks for a token: the form, the roles, and what becomes of the token."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from page_server import COOKIE, PageServer
from page_support import Open, Serve, Visit

# More than one of the generous waits of a busy machine.
pytestmark = pytest.mark.timeout(600)

LIVE = "() => mer.history.length >= 3"
LOCKED = "() => mer.connection.phase.name === 'locked'"
FORM_READY = "() => !document.querySelector('#gate-connect').disabled"
WATCH, SEND = "watch-token-0123456789", "send-token-0123456789"


@pytest.fixture
def locked() -> Iterator[PageServer]:
    """A server with one token for each of two roles."""
    with PageServer().serving() as server:
        server.tokens = {WATCH: "view", SEND: "send"}
        yield server


def enter(here: Visit, token: str) -> None:
    here.page.get_by_label("Token", exact=True).fill(token)
    here.page.keyboard.press("Enter")


def focused(here: Visit) -> str:
    found: str = here.js("document.activeElement.id")
    return found


def test_the_form_comes_at_once_and_a_wrong_token_is_named(visit: Open, locked: PageServer) -> None:
    here = visit(locked.url)
    here.wait(LOCKED)
    # Before the server itself has given up its wait of five seconds.
    assert locked.auths == []
    form = here.page.get_by_role("main", name="This server asks for a token")
    assert form.is_visible()
    assert "terminal" in form.inner_text()
    assert here.page.locator("main").is_hidden()
    assert focused(here) == "token"
    enter(here, "a wrong one")
    fault = here.page.locator("#gate-fault")
    here.wait("() => document.querySelector('#gate-fault').textContent !== ''")
    assert fault.inner_text() == (
        "The server did not accept the token: this token is not one of this server."
    )
    assert fault.get_attribute("role") == "alert"
    assert focused(here) == "token"
    assert here.page.locator("#token").get_attribute("aria-invalid") == "true"
    assert here.page.locator("#link-text").inner_text() == "token needed"
    enter(here, SEND)
    here.wait(LIVE)
    # The wrong one was sent once, however long the page waited.
    assert locked.auths == ["a wrong one", SEND]
    assert form.is_hidden()
    assert here.page.locator("main").is_visible()


def test_the_token_stays_in_the_tab_and_nowhere_else(visit: Open, locked: PageServer) -> None:
    here = visit(locked.url)
    here.wait(LOCKED)
    enter(here, SEND)
    here.wait(LIVE)
    here.page.reload()
    here.wait(LIVE)
    assert locked.auths == [SEND, SEND]
    assert here.js("Object.values(sessionStorage)") == [SEND]
    assert SEND not in here.js("document.documentElement.outerHTML")
    assert here.js("document.querySelector('#token').value") == ""
    assert SEND not in here.js("JSON.stringify([localStorage, document.cookie, location.href])")
    assert not [url for url in here.requests if SEND in url]
    other = here.page.context.new_page()
    other.goto(locked.url)
    other.wait_for_function(LOCKED)
    here.page.get_by_role("button", name="forget token").click()
    here.wait(LOCKED)
    assert here.js("sessionStorage.length") == 0
    assert here.page.get_by_role("button", name="forget token").is_hidden()
    here.page.reload()
    here.wait(LOCKED)


def test_a_cookie_needs_no_form(visit: Open, locked: PageServer) -> None:
    here = visit(f"{locked.url}enter?code=once")
    here.wait(LIVE)
    assert here.page.url == locked.url
    assert here.page.locator("#gate").is_hidden()
    assert locked.auths == []
    assert COOKIE.split("=")[0] not in here.js("document.cookie"), "it must be HttpOnly"


def test_too_many_wrong_tokens_say_how_long_to_wait(visit: Open, locked: PageServer) -> None:
    here = visit(locked.url)
    here.wait(LOCKED)
    for k in range(4):
        enter(here, f"guess {k}")
        here.wait(FORM_READY)
    assert here.page.locator("#gate-fault").inner_text().endswith("; try again in 60 s.")
    assert locked.auths == [f"guess {k}" for k in range(4)]


def test_a_token_that_ends_while_the_page_is_open(visit: Open, locked: PageServer) -> None:
    here = visit(locked.url)
    here.wait(LOCKED)
    enter(here, SEND)
    here.wait(LIVE)
    locked.tokens = {"another-token-0123456789": "view"}
    error = {"type": "error", "code": "unauthorized", "message": "this token has ended"}
    locked.send(error)
    here.wait(LOCKED)
    assert "this token has ended" in here.page.locator("#gate-fault").inner_text()
    assert here.js("sessionStorage.length") == 0
    # The history is kept: E saves it.
    assert here.js("mer.history.length") >= 3


def test_a_token_for_watching_sends_nothing(visit: Open, locked: PageServer) -> None:
    here = visit(locked.url)
    here.wait(LOCKED)
    enter(here, WATCH)
    here.wait(LIVE)
    rights = here.page.locator("#rights").inner_text()
    assert "watch only" in rights
    for name in ("microphone", "tab sound", "audio file"):
        button = here.page.get_by_role("button", name=name)
        assert button.get_attribute("aria-disabled") == "true", name
        assert button.get_attribute("aria-describedby") == "rights"
        button.click(force=True)
        here.wait("() => !document.querySelector('#notice').hidden")
        assert here.page.locator("#notice p").inner_text() == rights
        here.page.get_by_role("button", name="Dismiss").click()
    for key in "mo":
        here.page.keyboard.press(key)
    here.js(
        """() => {
             const transfer = new DataTransfer();
             transfer.items.add(new File(["x"], "x.wav"));
             document.body.dispatchEvent(new DragEvent("drop", {
               bubbles: true, cancelable: true, dataTransfer: transfer }));
           }"""
    )
    here.wait("() => !document.querySelector('#notice').hidden")
    assert here.page.locator("#notice p").inner_text() == rights
    assert here.js("mer.input.choice.kind") == "server"
    assert locked.received == []


def test_sound_that_the_server_forbids(visit: Open) -> None:
    """The role may have changed since the hello."""
    with PageServer().serving() as server:
        here = visit(server.url)
        here.wait(LIVE)
        here.page.keyboard.press("m")
        here.wait("() => !document.querySelector('#notice').hidden")
        assert "may watch, not send sound" in here.page.locator("#notice p").inner_text()
        here.wait("() => mer.input.choice.kind === 'server'")
        assert [message["type"] for message in server.received[:1]] == ["start"]
        end = here.js("mer.history.end")
        here.wait("(end) => mer.history.end > end + 2", end)


def test_a_token_entered_while_the_network_is_away(visit: Open, locked: PageServer) -> None:
    here = visit(locked.url)
    here.may_lose_server = True
    here.wait(LOCKED)
    here.page.context.set_offline(True)
    enter(here, SEND)
    here.wait("() => mer.connection.phase.name === 'waiting'")
    here.wait(FORM_READY)
    here.page.context.set_offline(False)
    here.wait(LIVE)
    assert here.page.locator("#gate").is_hidden()


def test_keys_typed_into_the_form_are_no_shortcuts(visit: Open, locked: PageServer) -> None:
    here = visit(locked.url)
    here.wait(LOCKED)
    theme = here.js("document.documentElement.dataset.theme")
    here.page.keyboard.type("mtp?f")
    assert here.js("document.querySelector('#token').value") == "mtp?f"
    assert here.js("document.documentElement.dataset.theme") == theme
    assert here.page.locator("#help").is_hidden()


@pytest.mark.parametrize(
    ("size", "query"),
    [
        ((320, 640), ""),
        ((390, 844), ""),
        ((1280, 720), ""),
        ((1920, 1080), ""),
        ((600, 600), "?overlay=1"),
        ((520, 100), "?overlay=1&show=badge"),
    ],
)
def test_the_form_fits(visit: Open, locked: PageServer, size: tuple[int, int], query: str) -> None:
    width, height = size
    here = visit(locked.url + query, viewport={"width": width, "height": height})
    here.wait(LOCKED)
    assert here.js("document.documentElement.scrollWidth <= innerWidth")
    for selector in ("#token", "#gate-connect"):
        box = here.page.locator(selector).bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["y"] + box["height"] <= height
        assert box["height"] >= 36
        assert box["width"] >= 60


def tokens_are_known() -> bool:
    done = subprocess.run(
        [sys.executable, "-m", "realtime_mer", "serve", "--help"],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    return "--no-token" in done.stdout


def test_a_real_server_with_tokens(visit: Open, serve: Serve, tmp_path: Path) -> None:
    if not tokens_are_known():
        pytest.skip("this version of realtime-mer serve has no tokens")
    path = tmp_path / "tokens.toml"
    server = serve("--input", "demo", "--port", "0", "--hop", "0.2", "--token", str(path))
    tokens = tomllib.loads(path.read_text())
    here = visit(server.url)
    here.wait(LOCKED)
    enter(here, "not one of them, surely")
    here.wait(FORM_READY)
    assert "The server did not accept the token" in here.page.locator("#gate-fault").inner_text()
    enter(here, tokens["view"])
    here.wait(LIVE)
    assert here.js("mer.hello.role") == "view"
    assert "watch only" in here.page.locator("#rights").inner_text()
    here.page.get_by_role("button", name="forget token").click()
    here.wait(LOCKED)
    enter(here, tokens["send"])
    here.wait("() => mer.connection.phase.name === 'open' && mer.hello.role === 'send'")
    here.page.keyboard.press("m")
    here.wait("() => mer.hello.input.kind === 'browser' && mer.newest?.t > 0.5")
