"""Pulses on the page, and a page that opens while the input is away."""

from __future__ import annotations

import json

import pytest
from page_server import PageServer
from page_support import Open, ServerProcess

# More than one of the generous waits of a busy machine.
pytestmark = pytest.mark.timeout(600)

# Looks at the pulse in each frame until it has seen all that is asked for.
SEES = """() => {
  const { level, bands, onset, live } = mer.pulse.at(performance.now());
  const seen = window.seen ??= { level: 0, bands: 0, onset: 0, live: false };
  seen.level = Math.max(seen.level, level);
  seen.bands = Math.max(seen.bands, ...bands);
  seen.onset = Math.max(seen.onset, onset);
  seen.live ||= live;
  return seen.level > 0.3 && seen.bands > 0.3 && seen.onset > 0.1 && seen.live;
}"""
CALM = """() => {
  const { level, bands, onset, live } = mer.pulse.at(performance.now());
  return !live && Math.max(level, onset, ...bands) < 0.01;
}"""
# Playwright cannot hide a page.
HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_the_pulse_follows_the_music(visit: Open, demo: ServerProcess) -> None:
    here = visit(demo.url)
    here.wait(SEES)


def test_a_hidden_page_asks_for_nothing(visit: Open, demo: ServerProcess) -> None:
    here = visit(demo.url)
    here.wait(SEES)
    here.js(HIDE, True)
    here.wait(CALM)
    here.js("() => { delete window.seen; }")
    here.js(HIDE, False)
    here.wait(SEES)


def test_the_pulse_of_the_own_microphone(visit: Open, demo: ServerProcess) -> None:
    here = visit(demo.url)
    here.wait("() => mer.connection.phase.name === 'open'")
    here.js("() => mer.panel.selectMicrophone()")
    here.wait("() => mer.hello?.input.kind === 'browser'")
    here.js("() => { delete window.seen; }")
    here.wait(SEES)


def test_a_page_that_opens_while_the_input_is_away_says_so(visit: Open) -> None:
    with PageServer().serving() as server:
        here = visit(server.url)
        here.wait("() => mer.history.length >= 1")
        # As the server repeats it to whoever comes.
        gone = {"type": "warning", "code": "input_lost", "message": "the desk is unplugged"}
        server.connections[-1].send(json.dumps(gone))
        here.wait("() => document.body.innerText.includes('the desk is unplugged')")
        # The next connection gets no such warning: it is over.
        server.connections[-1].close()
        here.wait("() => !document.body.innerText.includes('the desk is unplugged')")
