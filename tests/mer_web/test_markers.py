"""Markers, changes of the music and the target on the page."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from live_support import wait_for
from page_server import PageServer
from page_support import Open, Visit

pytestmark = pytest.mark.timeout(600)

LIVE = "() => window.mer && mer.newest && mer.timeline.view"
FLAGS = ".remark[data-kind=marker]"
TICKS = ".remark[data-kind=change]"
# Here flags two seconds apart do not overlap.
WIDE = {"width": 2600, "height": 900}
TARGET = {
    "points": [
        {"t_s": 0.0, "valence": -0.75, "arousal": 0.5},
        {"t_s": 3600.0, "valence": 0.25, "arousal": -0.5},
    ]
}


@pytest.fixture
def server() -> Iterator[PageServer]:
    with PageServer().serving() as server:
        yield server


def marker(t: float, text: str) -> dict[str, object]:
    return {"type": "marker", "t": t, "utc": datetime.now(UTC).isoformat(), "text": text}


def event(t: float, kind: str, mood: str = "") -> dict[str, object]:
    utc = datetime.now(UTC).isoformat()
    more = {"mood": mood} if mood else {}
    return {
        "type": "event", "kind": kind, "t": t, "detected_t": t, "utc": utc, "strength": 0.5, **more,
    }  # fmt: skip


def opened(visit: Open, server: PageServer, **options: object) -> Visit:
    """A page that has heard several seconds."""
    here = visit(server.url, **options)
    here.wait("() => window.mer && mer.newest && mer.newest.t > 4 && mer.timeline.view")
    return here


def wait_for_count(here: Visit, selector: str, count: int) -> None:
    here.wait(
        "([selector, count]) => document.querySelectorAll(selector).length === count",
        [selector, count],
    )


def test_a_key_opens_the_field_and_enter_marks_the_moment(visit: Open, server: PageServer) -> None:
    here = opened(visit, server)
    press = here.page.keyboard.press
    field = here.page.get_by_role("textbox", name="Marker at")
    press("k")
    opened_at = here.js("mer.markers._t")
    assert field.is_visible()
    here.page.keyboard.type("  opens eyes, 2 times p ")
    assert here.js("[mer.paused, mer.timeline.zoom]") == [None, 60], "keys are text here"
    press("Escape")
    assert field.is_hidden()
    press("k")
    assert field.input_value() == ""
    here.wait("(t) => mer.newest.t > t + 1", opened_at)
    here.page.keyboard.type("opens eyes")
    moment = here.js("mer.markers._t")
    press("Enter")
    assert field.is_hidden()
    wait_for(lambda: bool(server.received), "the marker")
    assert server.received == [{"type": "control", "marker": "opens eyes", "marker_t": moment}]
    # Everyone gets it from the server.
    assert here.page.locator(FLAGS).count() == 0
    server.send(marker(moment, "opens eyes"))
    wait_for_count(here, FLAGS, 1)
    here.wait("() => document.querySelector('#spoken').textContent === 'Marker: opens eyes.'")


def test_an_empty_marker_is_not_sent_and_a_button_opens_and_closes(
    visit: Open, server: PageServer
) -> None:
    here = opened(visit, server)
    button = here.page.get_by_role("button", name="Mark", exact=True)
    button.click()
    assert button.get_attribute("aria-expanded") == "true"
    assert "Nothing is recorded" in here.page.locator("#marker-hint").inner_text()
    here.page.keyboard.press("Enter")
    assert here.page.locator("#marker-form").is_visible()
    here.page.get_by_role("button", name="Close without a marker").click()
    assert here.page.locator("#marker-form").is_hidden()
    assert button.evaluate("(button) => button === document.activeElement")
    assert server.received == []


def test_whoever_may_only_watch_cannot_mark(visit: Open, server: PageServer) -> None:
    server.hello = {"role": "view"}
    here = opened(visit, server)
    assert here.page.locator("#mark").is_hidden()
    here.page.keyboard.press("k")
    assert here.page.locator("#marker-form").is_hidden()


def test_flags_and_ticks_tell_their_text(visit: Open, server: PageServer) -> None:
    here = opened(visit, server, viewport=WIDE)
    server.send(marker(1.0, "opens eyes"), marker(3.0, "<b>smiles</b>"))
    server.send(event(2.0, "mood_leave", "tense"), event(2.0, "mood_enter", "calm"))
    server.send(event(3.6, "section"), event(1.0, "of a newer server"))
    wait_for_count(here, FLAGS, 2)
    wait_for_count(here, TICKS, 2)
    here.pause()  # what moves cannot be pointed at
    bubble = here.page.locator("#remark-text")
    assert bubble.is_hidden()
    here.page.get_by_role("button", name="Marker: <b>smiles</b>").hover()
    assert "<b>smiles</b>" in bubble.inner_text()
    here.page.mouse.move(2, 2)
    assert bubble.is_hidden()
    places = here.js(
        """() => [...document.querySelectorAll('.remark')]
             .sort((a, b) => a.getBoundingClientRect().x - b.getBoundingClientRect().x)
             .map((flag) => flag.getAttribute('aria-label').split(', ')[0])"""
    )
    expected = ["Marker: opens eyes", "Change: mood: calm", "Marker: <b>smiles</b>",
                "Change: another part begins"]  # fmt: skip
    assert places == expected
    # One stop for the Tab key; the arrow keys go from one to the next.
    stops = here.page.locator(".remark[tabindex='0']")
    assert stops.count() == 1
    here.page.get_by_role("button", name="Marker: opens eyes").focus()
    for label in expected[1:]:
        here.page.keyboard.press("ArrowRight")
        focused = here.js("document.activeElement.getAttribute('aria-label')")
        assert focused.startswith(label)
        assert label.partition(": ")[2] in bubble.inner_text()
    assert stops.count() == 1
    here.page.keyboard.press("Escape")
    assert bubble.is_hidden()


def test_a_long_text_stays_on_the_screen(visit: Open, server: PageServer) -> None:
    here = opened(visit, server, viewport={"width": 1280, "height": 720})
    server.send(marker(1.0, "opens eyes " * 45), marker(1.0, "hums along " * 45))
    wait_for_count(here, FLAGS, 1)
    here.pause()
    here.page.locator(FLAGS).hover()
    box = here.page.locator("#remark-text").bounding_box()
    assert box is not None
    assert box["height"] > 200
    assert box["y"] >= 0
    assert box["y"] + box["height"] <= 720


def test_flags_of_a_wider_window_do_not_widen_the_page(visit: Open, server: PageServer) -> None:
    here = opened(visit, server, viewport=WIDE)
    server.send(marker(here.js("mer.newest.t"), "opens eyes"))
    wait_for_count(here, FLAGS, 1)
    here.wait("() => mer.timeline.view.width > 600")
    # The frame that would move them is late.
    here.js("() => { window.requestAnimationFrame = () => 0; }")
    here.page.set_viewport_size({"width": 360, "height": 800})
    here.wait("() => innerWidth === 360")
    assert here.js("document.documentElement.scrollWidth") <= 360


def test_what_is_told_again_is_there_once_and_not_announced(
    visit: Open, server: PageServer
) -> None:
    here = opened(visit, server, viewport=WIDE)
    told = marker(0.4, "opens eyes")
    server.send(told, told)
    wait_for_count(here, FLAGS, 1)
    here.js("() => { mer._catchesUp = true; spoken.textContent = ''; }")
    server.send(told, marker(3.6, "smiled before this page came"))
    wait_for_count(here, FLAGS, 2)
    assert "smiled" not in here.page.locator("#spoken").inner_text()


def test_a_finger_opens_the_text_and_sets_a_marker(visit: Open, server: PageServer) -> None:
    here = opened(
        visit, server, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    here.page.locator("#mark").tap()
    here.page.locator("#marker").fill("hums along")
    assert here.js("document.documentElement.scrollWidth <= innerWidth")
    font = here.js("parseFloat(getComputedStyle(document.querySelector('#marker')).fontSize)")
    assert font >= 16, "a phone would zoom in"
    here.page.locator("#marker-form button[type=submit]").tap()
    wait_for(lambda: bool(server.received), "the marker")
    server.send(marker(2.0, "hums along"))
    wait_for_count(here, FLAGS, 1)
    here.page.locator("#pause").tap()
    here.js("() => new Promise((drawn) => requestAnimationFrame(drawn))")
    box = here.page.locator(FLAGS).bounding_box()
    assert box is not None
    assert min(box["width"], box["height"]) >= 40
    here.page.locator(FLAGS).tap()
    here.wait("() => !document.querySelector('#remark-text').hidden")
    assert "hums along" in here.page.locator("#remark-text").inner_text()


def test_a_text_is_kept_while_the_connection_is_lost(visit: Open, server: PageServer) -> None:
    here = opened(visit, server)
    here.may_lose_server = True
    here.page.keyboard.press("k")
    here.page.keyboard.type("opens eyes")
    here.js("() => { mer.connection.close(); }")
    here.page.keyboard.press("Enter")
    assert "no connection" in here.page.locator("#marker-hint").inner_text()
    assert here.page.locator("#marker").input_value() == "opens eyes"
    here.js("() => { mer.connection.open(); }")
    here.wait("() => mer.connection.isOpen")
    here.page.locator("#marker").press("Enter")
    wait_for(lambda: bool(server.received), "the marker")
    assert server.received[0]["marker"] == "opens eyes"


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_target_is_on_plane_and_timeline(visit: Open, server: PageServer, theme: str) -> None:
    pictures = "() => ['plane', 'timeline'].map((id) => window[id].toDataURL())"
    server.hello = {"target": TARGET}
    here = opened(visit, server, color_scheme=theme)
    line = here.page.locator("#aim-text")
    assert line.inner_text().startswith("1.41 from the target (−0.75, +0.50)")
    here.pause()
    with_target = here.js(pictures)
    here.js(
        """() => {
             mer.plane.setTarget(null);
             mer.timeline.setTarget(null, "");
             const frame = () => new Promise((drawn) => requestAnimationFrame(drawn));
             return frame().then(frame);
           }"""
    )
    assert all(one != other for one, other in zip(here.js(pictures), with_target, strict=True))


def test_without_a_target_nothing_is_said_of_it(visit: Open, server: PageServer) -> None:
    here = opened(visit, server)
    assert here.page.locator("#aim").is_hidden()


def test_a_picture_for_the_audience_shows_neither(visit: Open, server: PageServer) -> None:
    server.hello = {"target": TARGET}
    here = opened(visit, server)
    here.page.goto(f"{server.url}?overlay=1&show=timeline")
    here.wait(LIVE)
    server.send(marker(1.0, "opens eyes"))
    here.wait("() => mer.remarks.version === 1")
    assert here.page.locator("#remarks").is_hidden()


def test_a_replay_says_what_it_is(visit: Open, server: PageServer) -> None:
    info = {"kind": "recording", "name": "evening", "sample_rate_hz": 0, "channels": 0}
    server.hello = {"input": info, "speed": 4.0}
    here = opened(visit, server)
    source = here.page.locator("#source").inner_text()
    assert source == "recording evening · 4 times as fast"
    here.page.keyboard.press("k")
    hint = here.page.locator("#marker-hint").inner_text()
    assert "A replay does not change its recording" in hint
    server.send({"type": "end", "session": "one", "reason": "the recording has ended"})
    here.wait(
        "() => document.querySelector('#notice p')?.textContent === 'The recording has ended.'"
    )
