"""The timeline: zoom, pan, the moments that it tells, and other sessions beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from page_server import PageServer
from page_support import Open, ServerProcess, Visit

pytestmark = pytest.mark.timeout(600)

# Twenty minutes with an estimate a second; values that a test can compute.
PAST = """(seconds) => {
  const { history } = mer;
  const first = history.at(history.end - 1);
  const start = Date.parse(first.utc);
  for (let k = 1; k <= seconds; k += 1) {
    const valence = 0.4 * Math.sin(k / 60);
    mer._handleEstimate({
      ...first, seq: first.seq + k, t: first.t + k, utc: new Date(start + 1000 * k).toISOString(),
      valence, valence_low: valence - 0.2, valence_high: valence + 0.2, arousal: -0.4,
    });
  }
}"""
DRAWN = """() => new Promise((drawn) =>
  requestAnimationFrame(() => requestAnimationFrame(drawn)))"""
WINDOW = "[mer.timeline.window.isLive, mer.timeline.window.right, mer.timeline.window.seconds]"


@pytest.fixture
def server() -> Iterator[PageServer]:
    with PageServer().serving() as server:
        yield server


def with_past(visit: Open, server: PageServer, **options: object) -> Visit:
    """A page with twenty minutes of history, whose view is paused at their end."""
    here = visit(server.url, **options)
    here.wait("() => window.mer && mer.newest && mer.timeline.view")
    server.running = False
    here.js(PAST, 1200)
    here.wait("() => mer.timeline.edge > mer.history.newest - 30")
    here.pause()
    here.js(DRAWN)
    return here


def place(here: Visit, share: float) -> tuple[float, float]:
    """Returns a point of the timeline, so far from its left edge."""
    box = here.page.locator("#timeline").bounding_box()
    assert box is not None
    view = here.js("mer.timeline.view")
    return box["x"] + view["left"] + share * view["width"], box["y"] + box["height"] / 2


def test_the_wheel_zooms_about_the_pointer(visit: Open, server: PageServer) -> None:
    here = with_past(visit, server)
    here.page.keyboard.press("2")
    here.js(DRAWN)
    here.page.mouse.move(*place(here, 0.25))
    before = here.js("mer.timeline.timeAt(mer.timeline.pointer)")
    here.page.mouse.wheel(0, -300)
    here.wait("() => mer.timeline.zoom < 400")
    here.js(DRAWN)
    after = here.js("mer.timeline.timeAt(mer.timeline.pointer)")
    assert after == pytest.approx(before, abs=3)
    assert here.page.locator("input[name=zoom]:checked").count() == 0
    assert here.page.locator("#to-now").is_visible()
    for _ in range(9):
        here.page.mouse.wheel(0, 2000)
    here.wait("() => mer.timeline.window.isLive")
    assert here.js("mer.timeline.zoom") <= here.js("mer.timeline.window.limit")


def test_dragging_pans_and_new_estimates_do_not_move_the_view(
    visit: Open, server: PageServer
) -> None:
    here = with_past(visit, server)
    here.page.keyboard.press("p")
    x, y = place(here, 0.5)
    here.page.mouse.move(x, y)
    here.page.mouse.down()
    here.page.mouse.move(x + 50, y)
    here.page.mouse.move(x + 250, y)
    here.page.mouse.up()
    here.js(DRAWN)
    is_live, right, seconds = here.js(WINDOW)
    assert not is_live
    assert seconds == 60
    here.js(PAST, 20)
    here.js(DRAWN)
    assert here.js(WINDOW) == [False, right, 60]
    button = here.page.get_by_role("button", name="Back to now")
    here.wait("() => /^−(0:[2-9]|[1-9]\\d*:)\\d+$/.test(behind.textContent)")
    button.click()
    here.wait("() => mer.timeline.window.isLive && document.querySelector('#to-now').hidden")


def test_a_double_click_returns_to_now(visit: Open, server: PageServer) -> None:
    here = with_past(visit, server)
    here.js("() => { mer.timeline.window.pan(-300); }")
    here.js(DRAWN)
    assert not here.js("mer.timeline.window.isLive")
    here.page.mouse.dblclick(*place(here, 0.5))
    assert here.js("mer.timeline.window.isLive")


def test_the_keyboard_reads_moments_zooms_and_returns(visit: Open, server: PageServer) -> None:
    here = with_past(visit, server)
    slider = here.page.get_by_role("slider", name="Valence and arousal over time")
    slider.focus()
    for _ in range(10):
        here.page.keyboard.press("ArrowLeft")
    here.wait("() => !document.querySelector('#moment').hidden")
    here.js(DRAWN)
    moment = here.js("mer.history.nearest(mer.timeline.cursor)")
    sign = "−" if moment["raw"]["valence"] < -0.005 else "+"
    value = f"valence {sign}{abs(moment['raw']['valence']):.2f}"
    told = slider.get_attribute("aria-valuetext") or ""
    assert "calm; " in told
    assert value in told
    here.wait("(value) => document.querySelector('#moment').textContent.includes(value)",
              value.split()[1])  # fmt: skip
    assert int(slider.get_attribute("aria-valuenow") or 0) < 0
    here.page.keyboard.press("+")
    assert here.js("mer.timeline.zoom") < 60
    here.page.keyboard.press("Home")
    assert here.js("mer.timeline.cursor <= mer.history.oldest + 1")
    assert not here.js("mer.timeline.window.isLive")
    here.page.keyboard.press("Escape")
    here.wait("() => document.querySelector('#moment').hidden")
    here.page.keyboard.press("End")
    assert here.js("mer.timeline.window.isLive")


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_card_of_a_moment_stays_on_a_small_screen(
    visit: Open, server: PageServer, theme: str
) -> None:
    here = with_past(visit, server, viewport={"width": 320, "height": 700}, color_scheme=theme)
    here.page.locator("#timeline").scroll_into_view_if_needed()
    here.js(DRAWN)
    for share in (0.02, 0.5, 0.98):
        here.page.mouse.move(*place(here, share))
        here.wait("() => mer.timeline.told && !document.querySelector('#moment').hidden")
        here.js(DRAWN)
        box = here.page.locator("#moment").bounding_box()
        canvas = here.page.locator("#timeline").bounding_box()
        assert box is not None
        assert canvas is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 320
        assert box["y"] >= canvas["y"] - 1
        moment = here.js("mer.history.nearest(mer.timeline.timeAt(mer.timeline.pointer))")
        sign = "−" if moment["raw"]["valence"] < -0.005 else "+"
        text = here.page.locator("#moment").inner_text()
        assert f"{sign}{abs(moment['raw']['valence']):.2f}" in text
    assert here.js("document.documentElement.scrollWidth") <= 320


class Fingers:
    """Touches the page at points, in CSS pixels."""

    def __init__(self, here: Visit) -> None:
        self._session = here.page.context.new_cdp_session(here.page)

    def __call__(self, kind: str, *points: tuple[float, float]) -> None:
        touches = [{"x": x, "y": y, "id": k} for k, (x, y) in enumerate(points)]
        self._session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})


def test_one_finger_pans_two_zoom_and_a_tap_reads(visit: Open, server: PageServer) -> None:
    here = with_past(
        visit, server, viewport={"width": 844, "height": 900}, has_touch=True, is_mobile=True
    )
    here.page.locator("#timeline").scroll_into_view_if_needed()
    assert here.js("getComputedStyle(timeline).touchAction") == "pan-y"
    x, y = place(here, 0.5)
    touch = Fingers(here)
    touch("touchStart", (x, y))
    for step in range(1, 9):
        touch("touchMove", (x + 25 * step, y))
    touch("touchEnd")
    here.wait("() => !mer.timeline.window.isLive")
    seconds = here.js("mer.timeline.zoom")
    touch("touchStart", (x - 50, y), (x + 50, y))
    for step in range(1, 9):
        touch("touchMove", (x - 50 - 12 * step, y), (x + 50 + 12 * step, y))
    touch("touchEnd")
    here.wait("(seconds) => mer.timeline.zoom < 0.6 * seconds", seconds)
    here.js(DRAWN)
    here.page.touchscreen.tap(*place(here, 0.4))
    here.wait("() => !document.querySelector('#moment').hidden")
    here.page.locator("#mood").tap()


def test_the_end_label_is_the_big_number(visit: Open, demo: ServerProcess) -> None:
    here = visit(demo.url)
    here.wait("() => window.mer && mer.valueDisplay.shown && mer.timeline.view")
    pairs = here.js(
        """() => new Promise((done) => {
             const { timeline } = mer;
             const { context } = timeline._surface;
             const [draw, write] = [timeline.draw, context.fillText];
             const edge = (timeline.view.left + timeline.view.width) * timeline.view.ratio;
             const pairs = [];
             let texts = [];
             context.fillText = function (text, x, y) {
               if (x > edge) texts.push(text);
               write.call(this, text, x, y);
             };
             timeline.draw = (...parts) => {
               texts = [];
               if (draw.apply(timeline, parts) && texts.length === 2) {
                 pairs.push([texts.join(), `${valence.textContent},${arousal.textContent}`]);
               }
               // Enough that the number has changed several times.
               if (new Set(pairs.map(([, shown]) => shown)).size >= 5) {
                 timeline.draw = draw;
                 done(pairs);
               }
               return true;
             };
           })"""
    )
    assert all(drawn == shown for drawn, shown in pairs)


def test_small_values_use_the_height_and_the_axis_says_so(visit: Open, server: PageServer) -> None:
    here = with_past(visit, server)
    here.wait("() => mer.timeline.scale === 0.5")
    here.page.keyboard.press("p")
    here.js(
        """() => {
             const one = mer.newest;
             const utc = new Date(Date.parse(one.utc) + 1000).toISOString();
             mer._handleEstimate({ ...one, seq: one.seq + 5, t: one.t + 1, utc, arousal: -0.9 });
           }"""
    )
    here.wait("() => mer.timeline.scale === 1")


def recording(path: Path, count: int) -> Path:
    lines = [{"type": "recording", "schema": 1}]
    lines += [
        {"type": "estimate", "t": float(t), "valence": 0.3, "arousal": 0.1} for t in range(count)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_recording_is_compared_with_and_not_sent(
    visit: Open, server: PageServer, tmp_path: Path
) -> None:
    here = with_past(visit, server)
    picture = "() => window.timeline.toDataURL()"
    assert here.page.locator("#compare-row").is_hidden()
    plain = here.js(picture)
    path = recording(tmp_path / "estimates.jsonl", 2000)
    here.page.locator("#compare-file").set_input_files(path)
    here.wait("() => mer.comparison.ghost !== null")
    here.js(DRAWN)
    compared = here.js(picture)
    assert compared != plain
    select = here.page.get_by_label("Compare with", exact=True)
    assert select.locator("option:checked").inner_text() == "estimates.jsonl"
    here.page.mouse.move(*place(here, 0.5))
    here.wait("() => /other\\+0\\.30\\+0\\.10/.test(document.querySelector('#moment').textContent)")
    here.page.mouse.move(5, 5)
    here.wait("() => document.querySelector('#moment').hidden")
    select.select_option(label="no comparison")
    here.wait("() => mer.comparison.ghost === null")
    here.js(DRAWN)
    assert here.js(picture) != compared
    assert server.received == []


def test_a_file_to_compare_with_may_be_dropped(visit: Open, server: PageServer) -> None:
    here = with_past(visit, server)
    drop = """(text) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([text], "evening.csv"));
      window.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true }));
    }"""
    here.js(drop, "t,valence,arousal\n1,0.25,7\n")
    here.wait("() => notice.textContent.includes('Line 2 of “evening.csv” is no estimate')")
    assert here.js("mer.comparison.ghost") is None
    here.js(drop, "t,valence,arousal\n1,0.25,0.5\n2,0.25,0.5\n")
    here.wait("() => mer.comparison.ghost !== null")
    assert here.js("mer.input.choice.kind") == "server"
    here.wait("() => document.querySelector('#compare-note').textContent === 'ended at 0:02'")


def test_an_earlier_session_of_the_page_is_compared_with(visit: Open, server: PageServer) -> None:
    here = with_past(visit, server)
    here.page.keyboard.press("p")
    here.js(
        """() => {
             const one = mer.newest;
             mer.history.startSession("two", "again");
             for (let k = 1; k < 60; k += 1) {
               const utc = new Date(Date.parse(one.utc) + 1000 * k).toISOString();
               mer._handleEstimate({ ...one, seq: k, t: 300 + k, utc });
             }
           }"""
    )
    here.wait("() => compare.options.length === 2")
    here.page.get_by_label("Compare with", exact=True).select_option(index=1)
    here.wait("() => mer.comparison.ghost !== null")
    place = here.js("mer.comparison.ghost.at(299.5, 300.5)")
    assert place["arousal"] == pytest.approx(-0.4)


def test_all_shows_the_whole_history(visit: Open, server: PageServer) -> None:
    here = with_past(visit, server)
    here.page.keyboard.press("4")
    here.js(DRAWN)
    assert 1200 <= here.js("mer.timeline.zoom") < 1200 * 1.3
    assert here.js("document.querySelector('input[name=zoom]:checked').value") == "Infinity"
