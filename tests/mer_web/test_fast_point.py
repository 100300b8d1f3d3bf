"""The hollow point of the fast values on the page."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from page_support import Open, ServerProcess

from realtime_mer.outputs.table import FAST_COLUMNS

# More than one of the generous waits of a busy machine.
pytestmark = pytest.mark.timeout(600)

APART = """() => {
  const { shown, shownFast } = mer.plane;
  return shownFast !== null && mer.valueDisplay._shownAt > 0
    && Math.hypot(shown.valence - shownFast.valence, shown.arousal - shownFast.arousal) > 1e-3;
}"""


def test_fast_values_have_a_point_and_texts(visit: Open, demo: ServerProcess) -> None:
    here = visit(demo.url)
    here.wait(APART)
    for axis in ("valence", "arousal"):
        line = here.page.locator(f"#{axis}-fast")
        assert re.match(r"^last 3 s\s+[+−]\d\.\d\d$", line.inner_text())
        assert "hollow point" in (line.get_attribute("title") or "")
    plane = here.page.locator("#plane")
    assert plane.get_attribute("title") == "Hollow point: the last 3 s alone"
    assert "The last 3 seconds alone: valence" in (plane.get_attribute("aria-label") or "")
    # The point reaches the newest estimate.
    newest = here.js("() => { mer.togglePause(); return mer.newest.fast.scaled; }")
    here.wait("() => !mer.plane._fastSpring.moving")
    shown = here.js("mer.plane.shownFast")
    assert shown == pytest.approx({axis: newest[axis] for axis in shown}, abs=1e-6)


def test_the_ring_is_painted_at_its_position(visit: Open, demo: ServerProcess) -> None:
    here = visit(demo.url)
    here.wait(APART)
    # Draw it far from the point, then draw the same image without the ring, and compare.
    painted = here.js(
        """() => {
             const { plane } = mer;
             mer.togglePause();
             const copy = document.createElement("canvas");
             copy.width = copy.height = 80;
             const context = copy.getContext("2d", { willReadFrequently: true });
             const draw = (hasFast) => {
               plane._hasFast = hasFast;
               plane._fastSpring.aim([-0.9, 0.5], true);
               plane._dirty = true;
               plane.draw(0, mer.paused.end, mer.paused.time);
               const x = Math.round(plane._x(-0.9)), y = Math.round(plane._y(0.5));
               context.clearRect(0, 0, 80, 80);
               context.drawImage(plane._surface.context.canvas, 40 - x, 40 - y);
               return context.getImageData(0, 0, 80, 80).data;
             };
             const [without, ring] = [draw(false), draw(true)];
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
    assert painted["furthest"] < painted["radius"] + 4  # nothing beyond the ring


def test_no_point_while_values_are_frozen(visit: Open, demo: ServerProcess) -> None:
    here = visit(demo.url)
    here.wait(APART)
    assert here.js("() => { mer.plane.freeze(); return mer.plane.shownFast; }") is None


def test_layout_with_fast_values(visit: Open, demo: ServerProcess) -> None:
    here = visit(demo.url)
    here.wait(APART)
    for width, height in ((320, 640), (1440, 900), (1920, 1080)):
        here.page.set_viewport_size({"width": width, "height": height})
        here.wait("([width, height]) => innerWidth === width && innerHeight === height",
                  [width, height])  # fmt: skip
        assert here.js("document.documentElement.scrollWidth <= innerWidth"), width
        for axis in ("valence", "arousal"):
            box = here.page.locator(f"#{axis}-fast").bounding_box()
            assert box is not None
            assert box["height"] < 40, width  # one line
            assert box["x"] + box["width"] <= width
        if width >= 1440:
            assert here.js("document.documentElement.scrollHeight <= innerHeight"), width


def test_csv_contains_fast_values(visit: Open, demo: ServerProcess) -> None:
    here = visit(demo.url)
    here.wait(APART)
    here.pause()
    with here.page.expect_download() as download:
        here.page.get_by_role("button", name="CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    count = len(rows)
    fast = here.js("(count) => mer.history.at(mer.history.start + count - 1).fast", count)
    for name in FAST_COLUMNS:
        assert float(rows[-1][name]) == pytest.approx(fast[name.removeprefix("fast_")], abs=1e-6)


def test_no_point_in_an_overlay(visit: Open, demo: ServerProcess) -> None:
    here = visit(f"{demo.url}?overlay=1&show=plane")
    here.wait("() => mer.history.length >= 3 && mer.newest.fast !== undefined")
    assert here.js("mer.plane.shownFast") is None


def test_nothing_without_fast_values(visit: Open, demo: ServerProcess) -> None:
    here = visit(demo.url)
    here.wait(APART)
    here.js(
        """() => {
             mer.connection.close();
             // Show the next estimate at once.
             mer.valueDisplay._shownAt = mer.valueDisplay._labelledAt = -Infinity;
             const { fast, ...estimate } = mer.newest;
             mer._handleEstimate({ ...estimate, seq: estimate.seq + 1 });
           }"""
    )
    assert here.js("mer.plane.shownFast") is None
    assert here.page.locator("#valence-fast").is_hidden()
    assert here.page.locator("#arousal-fast").is_hidden()
    assert not here.page.locator("#plane").get_attribute("title")
    here.wait(
        "() => !document.querySelector('#plane').getAttribute('aria-label').includes('alone')"
    )
