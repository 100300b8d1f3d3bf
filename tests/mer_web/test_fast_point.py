"""The second, hollow point on the page, from a real model that gives a fast answer."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from page_support import Open, Serve, ServerProcess

from realtime_mer.outputs.table import FAST_COLUMNS

APART = """() => {
  const { shown, shownFast } = mer.plane;
  return shownFast !== null && mer.readout._at > 0
    && Math.hypot(shown.valence - shownFast.valence, shown.arousal - shownFast.arousal) > 1e-3;
}"""


@pytest.fixture(scope="module")
def fast_demo(serve: Serve, fast_model: Path) -> ServerProcess:
    """The demo, five estimates a second, by a model that gives a fast answer."""
    arguments = ("--input", "demo", "--port", "0", "--hop", "0.2")
    return serve(*arguments, "--model", str(fast_model))


def test_the_newest_seconds_have_a_point_and_words_of_their_own(
    visit: Open, fast_demo: ServerProcess
) -> None:
    here = visit(fast_demo.url)
    here.wait(APART)
    for axis in ("valence", "arousal"):
        line = here.page.locator(f"#{axis}-quick")
        assert re.match(r"^last 3 s\s+[+−]\d\.\d\d$", line.inner_text())
        assert "hollow point" in (line.get_attribute("title") or "")
    plane = here.page.locator("#plane")
    assert plane.get_attribute("title") == "Hollow point: the last 3 s alone"
    assert "The last 3 seconds alone: valence" in (plane.get_attribute("aria-label") or "")
    # It glides to where the newest estimate says.
    here.page.keyboard.press("p")
    here.wait("() => !mer.plane._fastSpring.moving")
    got, said = here.js("[mer.plane.shownFast, mer.history.at(mer.paused.end - 1).fast]")
    assert got == pytest.approx({axis: said[axis] for axis in got}, abs=1e-6)


def test_the_ring_is_painted_where_it_is_said_to_be(visit: Open, fast_demo: ServerProcess) -> None:
    here = visit(fast_demo.url)
    here.wait(APART)
    # Far from the point, so that nothing else is there; then the same picture without the ring.
    painted = here.js(
        """() => {
             const { plane } = mer;
             mer.togglePause();
             const copy = document.createElement("canvas");
             copy.width = copy.height = 80;
             const context = copy.getContext("2d", { willReadFrequently: true });
             const picture = (there) => {
               plane._hasFast = there;
               plane._fastSpring.aim([-0.9, 0.5], true);
               plane._dirty = true;
               plane.draw(0, mer.paused.end, mer.paused.time);
               const x = Math.round(plane._x(-0.9)), y = Math.round(plane._y(0.5));
               context.clearRect(0, 0, 80, 80);
               context.drawImage(plane._surface.context.canvas, 40 - x, 40 - y);
               return context.getImageData(0, 0, 80, 80).data;
             };
             const [without, ring] = [picture(false), picture(true)];
             const at = (data, x, y) => data[4 * ((y + 40) * 80 + x + 40)];
             let furthest = 0, strongest = 0, strongestAt = 0;
             for (let left = 0; left < 40; left += 1) {
               const change = Math.abs(at(ring, -left, 0) - at(without, -left, 0));
               if (change > 4) furthest = left;
               if (change > strongest) [strongest, strongestAt] = [change, left];
             }
             return { furthest, strongestAt, radius: plane._plot.size * 0.0105 };
           }"""
    )
    assert painted["strongestAt"] == pytest.approx(painted["radius"], abs=2)
    assert painted["furthest"] < painted["radius"] + 4  # small: nothing beyond its own edge


def test_it_goes_where_values_are_held(visit: Open, fast_demo: ServerProcess) -> None:
    here = visit(fast_demo.url)
    here.wait(APART)
    assert here.js("() => { mer.plane.hold(); return mer.plane.shownFast; }") is None


@pytest.mark.parametrize(("width", "height"), [(320, 640), (1440, 900), (1920, 1080)])
def test_there_is_room_for_it(
    visit: Open, fast_demo: ServerProcess, width: int, height: int
) -> None:
    here = visit(fast_demo.url, viewport={"width": width, "height": height})
    here.wait(APART)
    assert here.js("document.documentElement.scrollWidth <= innerWidth")
    for axis in ("valence", "arousal"):
        box = here.page.locator(f"#{axis}-quick").bounding_box()
        assert box is not None
        assert box["height"] < 40  # one line
        assert box["x"] + box["width"] <= width
    if width >= 1440:
        assert here.js("document.documentElement.scrollHeight <= innerHeight")


def test_the_csv_has_it(visit: Open, fast_demo: ServerProcess) -> None:
    here = visit(fast_demo.url)
    here.wait(APART)
    here.page.keyboard.press("p")
    with here.page.expect_download() as download:
        here.page.get_by_role("button", name="CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    count = len(rows)
    seen = here.js("(count) => mer.history.at(mer.history.start + count - 1).fast", count)
    for name in FAST_COLUMNS:
        assert float(rows[-1][name]) == pytest.approx(seen[name.removeprefix("fast_")], abs=1e-6)


def test_an_overlay_leaves_it_out(visit: Open, fast_demo: ServerProcess) -> None:
    here = visit(f"{fast_demo.url}?overlay=1&show=plane")
    here.wait("() => mer.history.length >= 3 && mer.newest.fast !== undefined")
    assert here.js("mer.plane.shownFast") is None


def test_there_is_nothing_of_it_where_the_messages_have_none(
    visit: Open, serve: Serve, fast_model: Path
) -> None:
    arguments = ("--input", "demo", "--port", "0", "--hop", "0.2", "--lag-order", "6")
    here = visit(serve(*arguments, "--model", str(fast_model)).url)
    here.wait("() => mer.history.length >= 3 && mer.readout._at > 0")
    assert here.js("mer.plane.shownFast") is None
    assert here.page.locator("#valence-quick").is_hidden()
    assert here.page.locator("#arousal-quick").is_hidden()
    assert not here.page.locator("#plane").get_attribute("title")
    assert "alone" not in (here.page.locator("#plane").get_attribute("aria-label") or "")
