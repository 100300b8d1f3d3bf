"""The wall: all streams of a server on one page, and following one of them."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import soundfile
from page_support import Open, Serve, ServerProcess, Visit
from support import music
from websockets.sync.client import connect

# More than one of the generous waits of a busy machine.
pytestmark = pytest.mark.timeout(600)

RATE = 16_000
BLOCK_S = 0.2
NAMES = "[...document.querySelectorAll('.tile-name')].map((node) => node.textContent)"
WORDS = "[...document.querySelectorAll('.tile-word')].map((node) => node.textContent)"


class Sender:
    """Sends music, a little faster than real time, until it is closed."""

    def __init__(self, url: str, name: str) -> None:
        self._url = f"ws{url.removeprefix('http')}ws"
        self._start = json.dumps({"type": "start", "sample_rate_hz": RATE, "name": name})
        samples = music(8.0, RATE, seed=len(name)).astype(np.float32)
        size = round(BLOCK_S * RATE)
        self._blocks = [samples[k : k + size].tobytes() for k in range(0, len(samples), size)]
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with connect(self._url) as socket:
            socket.send(self._start)
            for block in itertools.cycle(self._blocks):
                if self._closing.is_set():
                    return
                socket.send(block)
                with contextlib.suppress(TimeoutError):
                    socket.recv(BLOCK_S)

    def close(self) -> None:
        self._closing.set()
        self._thread.join()


@pytest.fixture(scope="module")
def hall(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> ServerProcess:
    """A server that plays a file again and again."""
    path = tmp_path_factory.mktemp("hall") / "hall.wav"
    soundfile.write(path, music(12.0, seed=2), 44_100, subtype="PCM_16")
    return serve("--input", str(path), "--loop", "--port", "0")


@pytest.fixture
def send(hall: ServerProcess) -> Iterator[Callable[[str], Sender]]:
    with ExitStack() as stack:

        def start(name: str) -> Sender:
            sender = Sender(hall.url, name)
            stack.callback(sender.close)
            return sender

        yield start


def test_streams_keep_their_places_and_say_when_they_have_ended(
    visit: Open, hall: ServerProcess, send: Callable[[str], Sender]
) -> None:
    left = send("stage left")
    here = visit(f"{hall.url}wall")
    here.wait(f"() => {NAMES}.join() === 'hall.wav,stage left'")
    send("stage right")
    here.wait(f"() => {NAMES}.join() === 'hall.wav,stage left,stage right'")
    here.wait("() => document.querySelectorAll('.tile[data-live=yes]').length === 3")
    assert here.page.locator("#count").inner_text() == "3 streams · values among music"
    here.wait("() => wall.points.every((point) => point && Math.abs(point.valence) <= 1)")
    values = here.js("[...document.querySelectorAll('.tile-valence')].map((n) => n.textContent)")
    assert all(value[0] in "+−" and len(value) == 5 for value in values)
    # Screen readers hear who comes and goes, not each value.
    here.wait("() => document.querySelector('#spoken').textContent === 'stage right has come.'")
    left.close()
    here.wait(f"() => {WORDS}[1] === 'ended'")
    assert here.js(NAMES) == ["hall.wav", "stage left", "stage right"]
    here.wait("() => document.querySelector('#spoken').textContent === 'stage left has ended.'")
    # A busy machine may let the others stall for a while.
    live = "[...document.querySelectorAll('.tile')].map((n) => n.dataset.live)"
    here.wait(f"() => {live}.join() === 'yes,no,yes'")


def test_a_tile_leads_to_its_stream_and_back(
    visit: Open, hall: ServerProcess, send: Callable[[str], Sender]
) -> None:
    sender = send("lobby")
    here = visit(f"{hall.url}wall")
    here.wait("() => document.querySelectorAll('.tile[data-live=yes]').length === 2")
    here.page.get_by_role("link", name="lobby").focus()
    here.page.keyboard.press("Enter")
    here.page.wait_for_url("**/?session=*")
    here.wait("() => window.mer?.hello?.input.name === 'lobby' && mer.history.length >= 3")
    assert here.page.get_by_role("navigation", name="Wall").inner_text().split("\n") == [
        "Back to the wall", "following lobby",
    ]  # fmt: skip
    # What is heard is not the server's own input, whose button leads there.
    assert here.page.locator("#use-server").get_attribute("aria-pressed") == "false"
    # The history of before comes too.
    assert here.js("mer.history.at(mer.history.start).seq") == 0
    here.page.locator("#use-server").click()
    here.page.wait_for_url(hall.url)
    here.wait("() => window.mer?.hello?.input.name === 'hall.wav'")
    assert here.page.locator("#use-server").get_attribute("aria-pressed") == "true"
    here.page.go_back()
    here.page.get_by_role("link", name="Back to the wall").click()
    here.wait(f"() => {NAMES}.length === 2")
    here.page.get_by_role("link", name="lobby").click()
    here.wait("() => window.mer?.hello?.input.name === 'lobby'")
    sender.close()
    here.wait("() => mer.hello.input.name === 'hall.wav'")
    words = here.page.get_by_role("navigation", name="Wall").inner_text()
    assert "lobby is over. This is the server's own." in words
    here.page.get_by_role("link", name="Back to the wall").click()
    here.wait(f"() => {NAMES}.join() === 'hall.wav'")


def test_the_main_page_leads_to_the_wall_while_others_send(
    visit: Open, hall: ServerProcess, send: Callable[[str], Sender]
) -> None:
    here = visit(hall.url)
    here.wait("() => mer.health !== null")
    assert here.page.locator("#wall-link").is_hidden()
    send("bar")
    here.page.locator("#wall-link", has_text="Wall (2)").click()
    here.wait(f"() => {NAMES}.join() === 'hall.wav,bar'")


def test_ten_streams_are_chosen_from_a_list(
    visit: Open, hall: ServerProcess, send: Callable[[str], Sender]
) -> None:
    for number in range(9):
        send(f"room {number}")
    here = visit(f"{hall.url}wall")
    here.wait("() => document.querySelectorAll('.tile').length === 9")
    first = here.js(NAMES)
    assert first[0] == "hall.wav"
    here.page.get_by_role("button", name="+1 more").click()
    (missing,) = {f"room {number}" for number in range(9)} - set(first)
    choices = here.page.get_by_role("dialog", name="Streams on the wall")
    assert choices.get_by_label(missing).is_disabled()
    choices.get_by_label(first[3], exact=False).uncheck()
    choices.get_by_label(missing, exact=False).check()
    here.page.keyboard.press("Escape")
    here.wait(f"(names) => {NAMES}.join() === names.join()", [*first[:3], *first[4:], missing])


def test_who_may_only_watch_is_told_what_the_wall_needs(
    visit: Open, serve: Serve, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens.toml"
    roles = {role: f"token-of-{role}-0123456789" for role in ("view", "send", "control")}
    tokens.write_text("".join(f'{role} = "{token}"\n' for role, token in roles.items()))
    tokens.chmod(0o600)
    server = serve("--input", "demo", "--port", "0", "--token", str(tokens))
    here = visit(f"{server.url}wall")
    here.page.get_by_label("Token", exact=True).fill(roles["view"])
    here.page.keyboard.press("Enter")
    here.wait("() => document.querySelector('#vacant').textContent.includes('for control')")
    assert here.page.locator("#tiles").is_hidden()
    here.js("sessionStorage.clear()")
    here.page.reload()
    here.page.get_by_label("Token", exact=True).fill(roles["control"])
    here.page.keyboard.press("Enter")
    here.wait(f"() => {NAMES}.join() === 'demo'")


SIZES = [(320, 640), (390, 844), (844, 390), (820, 1180), (1440, 900), (3840, 2160)]


def test_the_wall_fits_every_screen(
    visit: Open, hall: ServerProcess, send: Callable[[str], Sender]
) -> None:
    for number in range(3):
        send(f"a room with a rather long name, number {number}")
    here = visit(f"{hall.url}wall")
    here.wait("() => document.querySelectorAll('.tile[data-live=yes]').length === 4")
    for width, height in SIZES:
        here.page.set_viewport_size({"width": width, "height": height})
        # Nothing of a tile is cut off, once the tiles have their sizes.
        here.wait(
            """([width, height]) => innerWidth === width && innerHeight === height
                 && document.documentElement.scrollWidth <= innerWidth
                 && [...document.querySelectorAll(".tile a")].every(
                   (link) => link.scrollHeight <= link.clientHeight + 1)""",
            [width, height],
        )


def test_a_server_that_goes_away_leaves_the_last_values_dimmed(visit: Open, serve: Serve) -> None:
    server = serve("--input", "demo", "--port", "0")
    here: Visit = visit(f"{server.url}wall")
    here.may_lose_server = True
    here.wait("() => document.querySelectorAll('.tile[data-live=yes]').length === 1")
    server.kill()
    here.wait("() => document.querySelector('#tiles').dataset.lost === 'yes'")
    assert here.js(NAMES) == ["demo"]
    here.wait(
        "() => /reconnecting|server gone/.test(document.querySelector('#link-text').textContent)"
    )
