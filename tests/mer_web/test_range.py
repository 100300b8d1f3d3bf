"""Scaled values on the page."""

from __future__ import annotations

from pathlib import Path

import pytest
from page_support import Open, Serve

# More than one of the generous waits of a busy machine.
pytestmark = pytest.mark.timeout(600)


def test_the_page_shows_scaled_values_and_names_their_range(
    visit: Open, serve: Serve, music_model: Path
) -> None:
    server = serve(
        "--input", "demo", "--port", "0", "--hop", "0.2", "--model", str(music_model), "--adapt"
    )
    here = visit(server.url)
    here.wait("() => mer.history.length >= 3 && mer.valueDisplay._shownAt > 0")
    assert "range: music, adapting" in here.page.locator("#about").inner_text()
    assert "The model's own value:" in (here.page.locator("#valence").get_attribute("title") or "")
    # The point and the hollow one reach the newest scaled values.
    here.pause()
    here.wait("() => !mer.plane._spring.moving && !mer.plane._fastSpring.moving")
    newest = here.js("mer.history.at(mer.paused.end - 1)")
    assert newest["scaled"]["valence"] != newest["valence"]
    shown = here.js("mer.plane.shown")
    assert shown == pytest.approx({axis: newest["scaled"][axis] for axis in shown}, abs=1e-5)
    assert here.js("mer.plane.shownFast !== null")


def test_raw_values_have_no_hint(visit: Open, serve: Serve, music_model: Path) -> None:
    server = serve(
        "--input", "demo", "--port", "0", "--model", str(music_model), "--range", "raw"
    )  # fmt: skip
    here = visit(server.url)
    here.wait("() => mer.history.length >= 2 && mer.valueDisplay._shownAt > 0")
    assert "range: raw" in here.page.locator("#about").inner_text()
    assert not here.page.locator("#valence").get_attribute("title")
    assert here.js("mer.newest.scaled === undefined")
