"""A server that hangs, sends nonsense or closes, a clock that is set, a computer that sleeps."""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from page_server import PageServer
from page_support import Open, ServerProcess, Visit

# More than one of the generous waits of a busy machine.
pytestmark = pytest.mark.timeout(600)

LIVE = "() => mer.history.length >= 3"
# Right-to-left override, isolate, null, escape, markup, and a heap of marks on one letter.
HOSTILE = "\u202egnp.exe\u2066 \x00\x1b[31m<img src=x onerror=alert(1)><b>Z" + "\u0335" * 5000
LONG = HOSTILE + "endless " * 2000


@pytest.fixture
def server() -> Iterator[PageServer]:
    with PageServer().serving() as server:
        yield server


def text(visit: Visit, selector: str) -> str:
    return visit.page.locator(selector).inner_text()


def wait_for_estimates(here: Visit) -> None:
    end = here.js("mer.history.end")
    here.wait("(end) => mer.history.end > end + 3", end)


def test_engine_that_hangs_is_seen(visit: Open, server: PageServer) -> None:
    """The server answers and sends its health, and no more estimates."""
    here = visit(server.url)
    here.wait(LIVE)
    here.wait("() => document.querySelector('#state-text').textContent === 'tracking'")
    server.running = False
    here.wait("() => document.querySelector('#mood').textContent === 'no news'")
    assert text(here, "#state-text").startswith("no new estimates arrive · last: ")
    assert here.js("document.querySelector('.now').classList.contains('frozen')")
    assert here.js("mer.plane._frozen"), "the point is a ring"
    assert here.js("mer.connection.phase.name") == "open"
    server.running = True
    here.wait(
        """() => document.querySelector('#state-text').textContent === 'tracking'
                 && !mer.plane._frozen"""
    )


def test_notices_of_the_server_and_their_ends(visit: Open, server: PageServer) -> None:
    here = visit(server.url)
    here.wait(LIVE)
    notice = here.page.locator("#notice p")
    for code, end in (
        ("engine_failed", "engine_back"),
        ("engine_stalled", "engine_back"),
        ("clock_changed", None),
        ("computer_slept", None),
    ):
        sentence = f"this is the sentence of {code}"
        server.send({"type": "warning", "code": code, "message": sentence})
        here.wait("(text) => document.querySelector('#notice p')?.textContent === text", sentence)
        assert here.page.locator("#notice").is_visible()
        if end is None:
            here.page.get_by_role("button", name="Dismiss").click()
        else:
            server.send({"type": "warning", "code": end, "message": f"the end of {code}"})
        notice.wait_for(state="hidden")
    wait_for_estimates(here)


def test_a_stall_of_the_engine_is_not_told_as_one_of_the_audio(
    visit: Open, server: PageServer
) -> None:
    here = visit(server.url)
    here.wait(LIVE)

    def state_becomes(expected: str) -> None:
        here.wait("(text) => document.querySelector('#mood').textContent === text", expected)

    audio, engine = "no audio", "stalled"
    server.state, server.level_db = "stalled", -120.0
    state_becomes(audio)
    for code, expected in (
        ("engine_failed", engine), ("stalled", audio), ("engine_stalled", engine),
        ("engine_back", audio),
    ):  # fmt: skip
        server.send({"type": "warning", "code": code, "message": f"the sentence of {code}"})
        state_becomes(expected)
    # A page that came later has heard no warning, but audio with a level.
    server.level_db = -20.0
    state_becomes(engine)
    server.state = "tracking"
    here.wait("() => document.querySelector('#state-text').textContent === 'tracking'")


def test_a_server_that_starts_again_takes_its_notices_back(visit: Open, server: PageServer) -> None:
    here = visit(server.url)
    here.wait(LIVE)
    server.send({"type": "warning", "code": "engine_stalled", "message": "a call hangs"})
    here.wait("() => !document.querySelector('#notice').hidden")
    server.close(1001, "the server stops")
    here.page.locator("#notice").wait_for(state="hidden")
    wait_for_estimates(here)


@pytest.mark.parametrize("hours", [1, -1])
def test_the_servers_clock_is_set(visit: Open, server: PageServer, hours: int) -> None:
    here = visit(server.url)
    here.wait(LIVE)
    server.skew = timedelta(hours=hours)
    wait_for_estimates(here)
    server.skew = timedelta()
    wait_for_estimates(here)
    # One axis without a jump, in one piece, and the view at its end.
    newest, oldest, runs, edge = here.js(
        """() => { const { history } = mer; return [history.newest, history.time[history.start],
             history.runs.length, mer.viewTime(performance.now() / 1000)]; }"""
    )
    assert 0 <= newest - oldest < 600
    assert runs == 1
    assert abs(newest - edge) < 30
    # What is saved has the times that the server sent.
    times = here.js("Array.from({length: mer.history.end}, (_, k) => mer.history.at(k).utc)")
    assert len({time[:13] for time in times}) >= 2


def test_the_browsers_clock_is_set(visit: Open, server: PageServer) -> None:
    here = visit(server.url)
    here.wait(LIVE)
    session, connections = here.js("mer.hello.session"), len(server.connections)
    for shift in (3_600_000, -7_200_000):
        here.js("(shift) => { const now = Date.now; Date.now = () => now() + shift; }", shift)
        # The page takes it for a sleep, asks the server, and stays.
        here.js("() => { window.pong = false; }")
        here.js(
            """() => mer.connection.addEventListener("message", ({ detail }) => {
                 if (detail.type === "pong") pong = true; })"""
        )
        here.js("() => mer.connection.wake()")
        here.wait("() => pong && mer.connection._answerBy === Infinity")
        wait_for_estimates(here)
    here.pause()
    edge = here.js("mer.timeline.edge")
    end = here.js("mer.history.end")
    here.wait("(end) => mer.history.end > end + 3", end)
    assert here.js("mer.timeline.edge") == edge
    here.page.keyboard.press("p")
    here.wait("(edge) => mer.timeline.edge > edge", edge)
    assert here.js("[mer.hello.session, mer.connection.phase.name]") == [session, "open"]
    assert len(server.connections) == connections
    assert here.js("mer.history.newest - mer.history.time[0]") < 600


def test_messages_that_are_none(visit: Open, server: PageServer) -> None:
    here = visit(server.url)
    here.wait(LIVE)
    deep = "[" * 100_000 + "]" * 100_000
    bad = [
        "nonsense", "", "[1]", "7", "null", '{"type": 3}', deep, "[" * 100_000,
        json.dumps({**server.estimate(), "valence": "0.5"}),
        json.dumps({**server.estimate(), "utc": "yesterday"}),
        json.dumps({**server.estimate(), "seq": 1e300}),
        '{"type": "estimate", "seq": 1e999}', '{"type": "snapshot", "estimates": {}}',
    ]  # fmt: skip
    ignored = ['{"type": "weather", "more": ' + deep + "}", '{"type": "health"}']
    server.send(*bad, *ignored)
    wait_for_estimates(here)
    assert here.page.locator("#notice").is_hidden()
    warnings = [error for error in here.errors if "ignored a message of the server: " in error]
    assert len(warnings) == len(bad)
    here.errors = [error for error in here.errors if error not in warnings]


@pytest.mark.parametrize("size", [(390, 844), (1280, 800)])
def test_hostile_texts_are_shown_as_text(
    visit: Open, server: PageServer, size: tuple[int, int], tmp_path: Path
) -> None:
    width, height = size
    server.hello = {
        "server": LONG, "model": {"name": LONG, "version": LONG}, "backend": LONG,
        "backend_note": LONG, "range": LONG,
        "input": {"kind": LONG, "name": LONG, "sample_rate_hz": 44_100, "channels": 2},
    }  # fmt: skip
    here = visit(server.url, viewport={"width": width, "height": height})
    here.wait(LIVE)
    server.send(
        {"type": "warning", "code": "input_lost", "message": LONG},
        {"type": "health", "session": "one", "counters": {LONG: 3}, "viewers": 1, "sessions": 0,
         "uptime_s": 1.0},
        {**server.estimate(), "mood": LONG, "state": LONG},
    )  # fmt: skip
    here.wait("() => !document.querySelector('#notice').hidden")
    empty = tmp_path / f"{HOSTILE[:30].replace(chr(0), '').replace('/', '')}.wav"
    empty.touch()
    here.page.locator("#file").set_input_files(empty)
    here.wait("() => document.querySelector('#notice p')?.textContent.endsWith('is empty.')")
    wait_for_estimates(here)
    found = here.js(
        """() => {
             const shown = document.body.innerText + document.title
               + [...document.querySelectorAll("[title]")].map((node) => node.title).join("");
             return {
               // The page has pictures and bold words of its own.
               made: [...document.querySelectorAll("img, b")].filter((node) =>
                 node.getAttribute("src") === "x" || node.textContent.startsWith("Z")).length,
               forbidden: /[\\p{Cf}\\p{Cc}]/u.test(shown.replace(/[\\n\\t]/g, "")),
               markup: shown.includes("<img src=x onerror=alert(1)>"),
               wide: document.documentElement.scrollWidth > innerWidth,
             };
           }"""
    )
    assert found == {"made": 0, "forbidden": False, "markup": True, "wide": False}
    timeline = here.page.locator("#timeline").bounding_box()
    assert timeline is not None
    assert timeline["height"] >= 100


def test_a_closed_door_is_named_and_left_alone(visit: Open, server: PageServer) -> None:
    here = visit(server.url)
    here.wait(LIVE)
    connections = len(server.connections)
    server.close(1008, "too many connections from this address")
    here.wait("() => !document.querySelector('#notice').hidden")
    assert text(here, "#notice p") == (
        "The server closed the connection: too many connections from this address."
    )
    assert "closed by the server" in text(here, "#link-text")
    assert here.js("mer.connection.phase.retryAt - performance.now()") > 15_000
    # Neither the network nor the user's look at the page shortens it, only the button.
    here.js("() => { for (const name of ['online', 'focus']) dispatchEvent(new Event(name)); }")
    assert here.js("mer.connection.phase.name") == "waiting"
    here.retry()
    wait_for_estimates(here)
    assert len(server.connections) == connections + 1
    assert here.page.locator("#notice").is_hidden()


def test_a_session_that_is_recorded_says_so(visit: Open, server: PageServer) -> None:
    server.hello = {"recording": True}
    here = visit(server.url)
    here.wait(LIVE)
    recording = here.page.locator("#recording")
    assert recording.is_visible()
    assert recording.get_attribute("title") == "This session is being recorded."
    # The server's own input, that is.
    assert text(here, "#rights").endswith(
        "and is not kept. Its operator sees the values, not the sound."
    )


class Proxy(socketserver.ThreadingTCPServer):
    """Passes bytes on. A connection that it mutes stays open, and nothing passes any more."""

    daemon_threads = True

    def __init__(self, target: int) -> None:
        self.target = target
        self.muted: set[socket.socket] = set()
        self.open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), ProxyHandler)

    def mute(self) -> None:
        """Mute the connections that are open now."""
        self.muted |= self.open


class ProxyHandler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Proxy)
        with socket.create_connection(("127.0.0.1", self.server.target)) as far:
            self.server.open.add(self.request)
            back = threading.Thread(target=self._copy, args=(far, self.request), daemon=True)
            back.start()
            self._copy(self.request, far)
            self.server.open.discard(self.request)
            with contextlib.suppress(OSError):
                far.shutdown(socket.SHUT_RDWR)
            back.join()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        assert isinstance(self.server, Proxy)
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if self.request not in self.server.muted:
                    sink.sendall(data)
            if self.request not in self.server.muted:
                sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def proxy(demo: ServerProcess) -> Iterator[Proxy]:
    with Proxy(demo.port) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_after_a_sleep_the_page_connects_at_once(
    throttled: Callable[[str], Visit], proxy: Proxy
) -> None:
    """As after a laptop's sleep: the connection is dead, no one says so, and the page is seen."""
    here = throttled(f"http://127.0.0.1:{proxy.server_address[1]}/")
    here.wait(LIVE)
    session, newest = here.js("[mer.hello.session, mer.newest.seq]")
    here.page.context.new_page()
    here.wait("() => document.visibilityState === 'hidden'")
    assert here.js("mer.connection._answerBy") == float("inf")
    proxy.mute()
    here.js(
        """() => {
             window.phases = [];
             mer.connection.addEventListener("phase", ({ detail }) => phases.push(detail.name));
           }"""
    )
    here.page.bring_to_front()
    # Silence alone is a loss only after 14 s; now the server has three for an answer.
    here.wait("() => mer.connection._answerBy - performance.now() <= 3000")
    here.wait("() => phases.some((name) => name !== 'open')")
    here.wait("(newest) => mer.newest?.seq > newest + 5", newest)
    # What was missed meanwhile is there.
    sequence = here.js(
        "Array.from({length: mer.history.length}, (_, k) =>"
        " mer.history.at(mer.history.start + k).seq)"
    )
    assert here.js("mer.hello.session") == session
    assert len(sequence) == sequence[-1] - sequence[0] + 1
