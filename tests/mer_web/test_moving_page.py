"""Pages behind nginx whose server goes away: they go on with another one, and lose no history."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from live_support import TIMEOUT_S, wait_for
from page_support import Open, Visit
from replica_clients import Replicas, viewers
from replica_support import replicas

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# More than one of the generous waits of a busy machine.
pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals"),
]

NOTE_PHASES = """() => {
  window.phases = [];
  mer.connection.addEventListener("phase", () => phases.push(mer.connection.phase.name));
}"""


# The browser first: without one there is nothing to start.
@pytest.fixture
def pair(browser: Browser, tmp_path: Path) -> Iterator[Replicas]:
    with replicas(tmp_path, "--input", "demo", "--no-token") as running:
        yield running


def open_page(visit: Open, pair: Replicas) -> Visit:
    here = visit(pair.url, ignore_https_errors=True)
    here.wait("() => window.mer && mer.history.length >= 5")
    here.js(NOTE_PHASES)
    return here


def stop_server_of_page(pair: Replicas, here: Visit) -> None:
    """Stop the server that the only page is on, and wait until the page is on the other."""
    leaving, staying = sorted(pair.servers, key=viewers, reverse=True)
    assert (viewers(leaving), viewers(staying)) == (1, 0)
    leaving.process.send_signal(signal.SIGTERM)
    assert leaving.process.wait(TIMEOUT_S) == 0
    assert leaving.tracebacks() == 0
    wait_for(lambda: viewers(staying) == 1, "the page is on the other server")


def test_a_page_that_watches(visit: Open, pair: Replicas) -> None:
    here = open_page(visit, pair)
    session = here.js("mer.hello.session")
    before = here.js("mer.history.end")
    stop_server_of_page(pair, here)
    here.wait("(session) => mer.hello.session !== session", session)
    here.wait(
        """() => {
             const { history } = mer;
             const at = (index) => history.session[history.slot(index)];
             return history.end > 5 && at(history.end - 5) === at(history.end - 1)
               && at(history.end - 1) === history.sessions.length - 1;
           }"""
    )
    # Two sessions on one time axis. The other server has heard the same time: no gap.
    assert here.js("mer.history.sessions.length") == 2
    assert here.js("mer.history.end") > before
    widest_s = here.js(
        """() => {
             const { history } = mer;
             const times = Array.from({ length: history.length }, (_, k) =>
               history.time[history.slot(history.start + k)]);
             return Math.max(...times.slice(1).map((time, k) => time - times[k]));
           }"""
    )
    # Of the servers themselves, on a busy machine.
    assert widest_s < 10.0
    # Never without a connection.
    assert here.js("phases") == ["open"]


def test_a_page_that_sends_its_microphone(visit: Open, pair: Replicas) -> None:
    here = open_page(visit, pair)
    here.page.keyboard.press("m")
    here.wait("() => mer.hello.input.kind === 'browser' && mer.input.isSending")
    session = here.js("mer.hello.session")
    here.wait("() => ['tracking', 'settling'].includes(mer.newest?.state)")
    before = here.js("mer.history.end")
    stop_server_of_page(pair, here)
    here.wait(
        "(session) => mer.hello.input.kind === 'browser' && mer.hello.session !== session", session
    )
    here.wait("(before) => mer.history.end > before + 5", before)
    assert here.js("mer.input.choice.kind") == "microphone"
    assert here.js("mer.input.isSending")
    assert here.js("mer.input.droppedSeconds") == 0
    assert here.page.locator("#notice").is_hidden()
    assert here.js("phases") == ["open"]
