"""Before and while this browser's sound is sent: where it goes, and how to stop it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from page_support import Open, Serve, ServerProcess, Visit, free_port

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# More than one of the generous waits of a busy machine.
pytestmark = pytest.mark.timeout(600)

LIVE = "() => mer.history.length >= 3"


def text(visit: Visit, selector: str) -> str:
    return visit.page.locator(selector).inner_text()


@pytest.fixture(scope="module")
def page(browser: Browser, demo: ServerProcess) -> Iterator[Visit]:
    """A page for tests of one size after another."""
    with closing(browser.new_context()) as context:
        here = Visit(context, demo.url)
        here.wait(LIVE)
        yield here
        here.check()


@pytest.mark.parametrize("size", [(320, 640), (390, 844), (1280, 720), (1920, 1080)])
def test_sound_that_is_sent_is_named_and_can_be_stopped_anywhere(
    page: Visit, demo: ServerProcess, size: tuple[int, int]
) -> None:
    width, height = size
    here = page
    here.page.set_viewport_size({"width": width, "height": height})
    here.wait("([w, h]) => innerWidth === w && innerHeight === h", list(size))
    host = f"127.0.0.1:{demo.port}"
    assert text(here, "#rights") == (
        f"Sound from this browser goes to {host}, on this computer, and is not kept. "
        "Its operator sees the values, not the sound."
    )
    assert here.page.locator("#playing").is_hidden()
    here.page.keyboard.press("m")
    here.wait("() => mer.hello.input.kind === 'browser' && mer.input.isSending")
    here.wait("() => document.querySelector('#playing').dataset.sending === 'yes'")
    assert text(here, "#playing-name") == f"Your microphone is being sent to {host}"
    stop = here.page.get_by_role("button", name="Stop", exact=True)
    for place in ("0", "document.documentElement.scrollHeight"):
        here.js(f"scrollTo(0, {place})")
        box = stop.bounding_box()
        assert box is not None
        assert 0 <= box["y"] <= height - box["height"], place
        assert 0 <= box["x"] <= width - box["width"], place
        assert box["height"] >= 36
        # Nothing lies over it.
        middle = [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2]
        assert here.js("([x, y]) => document.elementFromPoint(x, y).id", middle) == "stop"
    assert here.js("document.documentElement.scrollWidth <= innerWidth")
    here.js("() => { window.track = mer.input._source._capture.track; }")
    stop.click()
    here.wait("() => mer.hello.input.kind === 'demo'")
    assert here.js("track.readyState") == "ended"
    assert here.page.locator("#playing").is_hidden()
    assert here.page.locator("#rights").is_visible()


def test_the_indicator_stays_when_the_controls_fade(visit: Open, demo: ServerProcess) -> None:
    here = visit(demo.url)
    here.wait(LIVE)
    here.page.keyboard.press("m")
    here.wait("() => mer.hello.input.kind === 'browser' && mer.input.isSending")
    here.page.keyboard.press("f")
    here.wait("() => document.fullscreenElement === document.documentElement")
    here.js("() => { mer.idleControls._activeAt -= 60_000; }")
    here.wait("() => getComputedStyle(document.querySelector('.tools')).opacity === '0'")
    assert here.js("getComputedStyle(document.querySelector('#playing')).opacity") == "1"


def test_nothing_is_sent_while_the_server_is_away(visit: Open, serve: Serve) -> None:
    server = serve("--input", "demo", "--port", str(free_port()), "--hop", "0.2")
    here = visit(server.url)
    here.may_lose_server = True
    here.wait(LIVE)
    here.page.keyboard.press("m")
    here.wait("() => mer.hello.input.kind === 'browser' && mer.input.isSending")
    server.kill()
    here.wait("() => document.querySelector('#playing').dataset.sending === 'no'")
    assert text(here, "#playing-name") == "Your microphone waits for the server"
    here.page.get_by_role("button", name="Stop", exact=True).click()
    here.wait("() => mer.input.choice.kind === 'server'")
    assert here.page.locator("#playing").is_hidden()
