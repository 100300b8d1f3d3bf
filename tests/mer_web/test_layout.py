"""Sizes of screens, fonts, notices above the page, the first use of the microphone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import mer_web
import pytest
from page_server import PageServer
from page_support import Open, Visit

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# More than one of the generous waits of a busy machine.
pytestmark = pytest.mark.timeout(600)

LIVE = "() => mer.history.length >= 3 && document.querySelector('#mood').dataset.kind === 'mood'"
SIZE = "(id) => parseFloat(getComputedStyle(document.getElementById(id)).fontSize)"
PARTS = (".bar", ".field", ".now", ".desk", ".past", ".health")
NOTICE = "The microphone was unplugged: plug it in again, or choose another input."
# Each as the only family of the page, as on a machine that has no other.
FAMILIES = ("Inter", "Cantarell", "Noto Sans", "DejaVu Sans")


@pytest.fixture
def server() -> Iterator[PageServer]:
    with PageServer().serving() as server:
        yield server


@pytest.fixture(scope="module")
def full(browser: Browser) -> Iterator[Visit]:
    """A page that has everything to show, for tests of one size after another."""
    with PageServer().serving() as server, closing(browser.new_context()) as context:
        server.hello = {
            "recording": True,
            "target": {"points": [{"t_s": 0.0, "valence": 0.5, "arousal": 0.5}]},
        }
        # The button of the wall is there too.
        server.sessions = 8
        here = Visit(context, server.url)
        # The widest letters of all, where they are installed.
        here.js(
            "document.documentElement.style.setProperty('--font', '\"DejaVu Sans\", sans-serif')"
        )
        here.wait(LIVE)
        here.wait("() => !document.querySelector('#wall-link').hidden")
        yield here
        here.check()


@pytest.fixture(scope="module")
def usual(browser: Browser) -> Iterator[Visit]:
    """A page as it mostly is, for tests of one font after another."""
    with PageServer().serving() as server, closing(browser.new_context()) as context:
        here = Visit(context, server.url)
        here.wait(LIVE)
        yield here
        here.check()


def resize(here: Visit, width: int, height: int) -> None:
    """Change the size of the window, and wait until the page has drawn it so."""
    here.page.set_viewport_size({"width": width, "height": height})
    here.wait("([w, h]) => innerWidth === w && innerHeight === h", [width, height])
    here.js("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def overlaps(here: Visit) -> list[str]:
    """Return the pairs of parts, and of controls, that lie on each other."""
    found: list[str] = here.js(
        """(parts) => {
             const boxes = (nodes) => nodes.filter((node) => node.checkVisibility())
               .map((node) => [node.id || node.className, node.getBoundingClientRect()]);
             const pairs = (list) => list.flatMap(([name, a], k) => list.slice(k + 1)
               .filter(([, b]) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
                 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1)
               .map(([other]) => `${name} on ${other}`));
             return [
               ...pairs(boxes(parts.map((name) => document.querySelector(name)))),
               ...pairs(boxes([...document.querySelectorAll(
                 ".tool:not(.notice *), .choice, .number, #state, #mood, #source, #link, .within,"
                 + " .reading, #recording")])),
             ];
           }""",
        list(PARTS),
    )
    return found


def outside(here: Visit) -> list[str]:
    """Return the texts and controls that reach beyond the window's sides, or are cut."""
    found: list[str] = here.js(
        """() => [...document.querySelectorAll("button, .number, #mood, .within, canvas, .legend")]
             .filter((node) => node.checkVisibility())
             .filter((node) => {
               const { left, right } = node.getBoundingClientRect();
               return left < 0 || right > innerWidth + 0.5 || node.scrollWidth
                 > node.clientWidth + 1;
             }).map((node) => node.id || node.className)"""
    )
    return found


@pytest.mark.parametrize(
    ("width", "height"),
    [
        (320, 640), (390, 844), (568, 320), (844, 390), (600, 960), (820, 1180), (1024, 640),
        (1024, 768), (1366, 768), (1440, 900), (1920, 1080), (2560, 1080), (3840, 2160),
    ],
)  # fmt: skip
def test_every_size_shows_everything_in_its_place(full: Visit, width: int, height: int) -> None:
    here = full
    here.js("(text) => mer.notice.show(text, 'input')", NOTICE)
    resize(here, width, height)
    assert here.js("document.documentElement.scrollWidth <= innerWidth")
    # A point on the edge of the plane is whole.
    assert here.js(
        """() => {
             const { left, top } = mer.plane.positionOf(1, 1);
             const { width, height } = document.querySelector("#plane");
             return Math.min((1 - left) * width, top * height) > 1.4 * mer.plane._pointRadius;
           }"""
    )
    assert overlaps(here) == []
    assert outside(here) == []
    if width >= 1024:
        assert here.js("document.documentElement.scrollHeight <= innerHeight")
    # The plane, the word and the numbers are seen without scrolling where a window is wide.
    if width > height:
        for part in ("#plane", "#mood", "#valence", "#arousal"):
            assert here.js(
                "(part) => document.querySelector(part).getBoundingClientRect().bottom"
                " <= innerHeight",
                part,
            ), part
    # A sixtieth of the height is read from three metres.
    smallest = here.js(
        """() => Math.min(...[...document.querySelectorAll("p, dt, dd, button, b, label span")]
             .filter((node) => node.checkVisibility() && node.textContent.trim())
             .map((node) => parseFloat(getComputedStyle(node).fontSize)))"""
    )
    assert smallest >= (height / 60 if width == 3840 else 13)
    drawn = here.js("0.92 * mer.timeline._plot.text / mer.timeline._plot.ratio")
    assert drawn >= (height / 60 if width == 3840 else 9.5)
    # The largest text is a number, not the word.
    sizes = [
        here.js(f"parseFloat(getComputedStyle({name}).fontSize)") for name in ("mood", "valence")
    ]
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize(
    ("width", "height"), [(960, 608), (1024, 640), (1280, 640), (1366, 640), (1440, 720)]
)
def test_more_than_fits_makes_the_page_longer(full: Visit, width: int, height: int) -> None:
    here = full
    resize(here, width, height)
    # A person's map, an output, values of the last seconds and a stream that is followed, as well.
    hidden = here.js(
        """() => {
             const more = [...document.querySelectorAll("#personal, #show, .fast, .following")];
             const hidden = more.map((node) => node.hidden);
             for (const node of more) node.hidden = false;
             return hidden;
           }"""
    )
    try:
        assert len(hidden) >= 3
        assert overlaps(here) == []
        # The height of a page is a rounded number, as browsers define it.
        ends = """() => [
          Math.round(document.querySelector(".health").getBoundingClientRect().bottom + scrollY),
          document.documentElement.scrollHeight,
        ]"""
        bottom, height_of_page = here.js(ends)
        assert bottom <= height_of_page
    finally:
        here.js(
            """(hidden) => document.querySelectorAll("#personal, #show, .fast, .following")
                 .forEach((node, index) => { node.hidden = hidden[index]; })""",
            hidden,
        )


def test_only_weights_that_every_family_has() -> None:
    parts = [path for path in Path(mer_web.__file__).parent.rglob("*.*s") if path.suffix != ".py"]
    weights = [
        (path.name, weight)
        for path in parts
        for weight in re.findall(
            r"(?:font-weight: *|font = `)(\d+)", path.read_text(encoding="utf-8")
        )
    ]
    assert len(weights) > 10
    assert [each for each in weights if each[1] not in ("400", "700")] == []


def test_the_plane_marks_the_word_that_is_shown(visit: Open, server: PageServer) -> None:
    here = visit(server.url)
    here.wait(LIVE)
    server.mood = "sad"
    agree = "mer.plane.mood === document.querySelector('#mood').textContent"
    # At the end of each frame, from the change of the estimates to that of the word.
    seen = here.js(
        f"""() => new Promise((done) => {{
             const seen = [];
             const look = () => requestAnimationFrame(() => {{
               seen.push({agree});
               if (mer.plane.mood === "sad") done(seen);
               else look();
             }});
             look();
           }})"""
    )
    assert seen[-1]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_fits(usual: Visit, family: str) -> None:
    here = usual
    if not here.js("(family) => document.fonts.check(`16px '${family}'`)", family):
        pytest.skip(f"no font {family}")
    here.js(
        "(family) => document.documentElement.style.setProperty('--font', `'${family}'`)", family
    )
    for width, height in (
        (320, 640), (844, 390), (820, 1180), (1024, 640), (1366, 768), (1440, 900),
    ):  # fmt: skip
        resize(here, width, height)
        assert here.js("document.documentElement.scrollWidth <= innerWidth"), width
        assert overlaps(here) == [], width
        assert outside(here) == [], width
    # Digits of another width must not shift what is beside or below them.
    boxes = here.js(
        """() => ["+0.11", "−0.88"].map((text) => {
             valence.textContent = text;
             const { top, left } = document.querySelector("#arousal").getBoundingClientRect();
             return [top, left, document.querySelector("#timeline").getBoundingClientRect().top];
           })"""
    )
    assert boxes[0] == boxes[1]


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (844, 390), (320, 640)])
def test_notices_float_and_move_nothing(
    visit: Open, server: PageServer, width: int, height: int
) -> None:
    here = visit(server.url, viewport={"width": width, "height": height})
    here.wait(LIVE)
    boxes = """() => ["plane", "mood", "valence", "timeline", "use-file"].map((id) => {
      const { x, y, width, height } = document.getElementById(id).getBoundingClientRect();
      return [x, y, width, height];
    })"""
    before = here.js(boxes)
    here.js(
        "(text) => { for (const n of [1, 2, 3, 4]) mer.notice.show(`${n}: ${text}`, n); }", NOTICE
    )
    here.js("(text) => mer.notice.show(`new: ${text}`, 3)", NOTICE)
    here.js("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert here.js(boxes) == before
    alerts = here.page.get_by_role("alert")
    # The oldest has gone, and one of a topic has replaced that before.
    assert [text[:2] for text in alerts.all_inner_texts()] == ["4:", "ne", "2:"]
    if width == 1440:
        assert here.js(
            """() => notice.getBoundingClientRect().left
                 > document.querySelector("#plane").getBoundingClientRect().right"""
        )
    # From the end of the page, no button lies below a notice.
    here.js("() => scrollTo(0, document.documentElement.scrollHeight)")
    if width != 1440:
        covered = here.js(
            """() => [...document.querySelectorAll(".choice, .tool")].filter((button) => {
                 const a = button.getBoundingClientRect(), b = notice.getBoundingClientRect();
                 return button.checkVisibility() && !button.closest("#notice") && a.bottom > b.top
                   && a.top < b.bottom && a.right > b.left && a.left < b.right && a.top >= 0;
               }).map((button) => button.id)"""
        )
        assert covered == []
    # Dismissed with the keyboard, one after the other.
    alerts.first.get_by_role("button").focus()
    for left in (2, 1, 0):
        here.page.keyboard.press("Enter")
        here.wait("(left) => document.querySelectorAll('.notice').length === left", left)
    assert here.page.locator("#notice").is_hidden()


def test_the_state_takes_the_place_of_the_word_and_gives_it_back(
    visit: Open, server: PageServer
) -> None:
    here = visit(server.url)
    here.may_lose_server = True
    here.wait(LIVE)
    word = "document.querySelector('#mood').textContent"
    mood = here.js(word)
    for state in ("silence", "speech", "noise"):
        server.state = state
        here.wait(f"(state) => {word} === state", state)
        assert here.page.locator("#state-text").inner_text().endswith(f"last: {mood}")
        assert here.js(SIZE, "mood") > here.js(SIZE, "valence")
    server.state = "tracking"
    here.wait(f"(mood) => {word} === mood", mood)
    assert here.js(SIZE, "mood") < here.js(SIZE, "valence")
    # The input is away, and comes back.
    server.send({"type": "warning", "code": "input_lost", "message": "the device has gone"})
    server.state = "stalled"
    here.wait(f"() => {word} === 'no input'")
    server.send({"type": "warning", "code": "input_back", "message": "the device is back"})
    server.state = "tracking"
    here.wait(f"(mood) => {word} === mood", mood)
    # The connection is cut, and comes back.
    here.js(
        """() => {
             window.realOpen = mer.connection.open.bind(mer.connection);
             mer.connection.open = () => {};
             mer.connection._handleLoss(1006, "");
           }"""
    )
    here.wait(f"() => {word} === 'no connection'")
    here.js("() => { mer.connection.open = realOpen; mer.connection.open(); }")
    here.wait(f"(mood) => {word} === mood", mood)


def test_a_page_opened_while_the_input_is_away_says_so(visit: Open, server: PageServer) -> None:
    server.running = False
    here = visit(server.url)
    here.wait("() => mer.hello !== null")
    server.send({"type": "warning", "code": "input_lost", "message": "the device has gone"})
    here.wait("() => document.querySelector('#mood').textContent === 'no input'")
    assert here.page.locator("#state").get_attribute("data-state") == "frozen"


def test_the_first_use_of_the_microphone_is_explained_once(visit: Open, server: PageServer) -> None:
    here = visit(server.url)
    here.wait(LIVE)
    hint = here.page.locator("#hint")
    assert hint.is_hidden()
    # The browser asks, and nobody answers.
    here.js("() => { navigator.mediaDevices.getUserMedia = () => new Promise(() => {}); }")
    here.page.keyboard.press("m")
    hint.wait_for(state="visible")
    assert "on this computer, and is not kept" in hint.inner_text()
    hint.get_by_role("button", name="Got it").click()
    assert hint.is_hidden()
    here.page.reload()
    here.wait(LIVE)
    here.js("() => { navigator.mediaDevices.getUserMedia = () => new Promise(() => {}); }")
    here.page.keyboard.press("m")
    here.wait("() => mer.input.choice.phase === 'opening'")
    assert hint.is_hidden()
    # I returns to the server's input.
    here.page.keyboard.press("i")
    here.wait("() => mer.input.choice.kind === 'server'")
