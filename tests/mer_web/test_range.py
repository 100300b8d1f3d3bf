"""Scaled values on the page, the switch to raw ones, and what follows the values."""

from __future__ import annotations

from pathlib import Path

import pytest
from page_support import Open, Serve, ServerProcess

# More than one of the generous waits of a busy machine.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def scaled(serve: Serve, music_model: Path) -> ServerProcess:
    """A server with the demo whose estimates have scaled values."""
    return serve(
        "--input", "demo", "--port", "0", "--hop", "0.2", "--model", str(music_model), "--adapt"
    )


def test_the_page_shows_scaled_values_and_names_their_range(
    visit: Open, scaled: ServerProcess
) -> None:
    here = visit(scaled.url)
    here.wait("() => mer.history.length >= 3 && mer.valueDisplay._shownAt > 0")
    assert "range: music, adapting" in here.page.locator("#about").inner_text()
    assert "The model's own value:" in (here.page.locator("#valence").get_attribute("title") or "")
    # The hollow point is hidden in a stall, which a busy machine may have.
    here.wait("() => mer.plane.shownFast !== null")
    # The point reaches the newest scaled values.
    here.pause()
    here.wait("() => !mer.plane._spring.moving && !mer.plane._fastSpring.moving")
    newest = here.js("mer.history.at(mer.paused.end - 1)")
    assert newest["scaled"]["valence"] != newest["valence"]
    shown = here.js("mer.plane.shown")
    assert shown == pytest.approx({axis: newest["scaled"][axis] for axis in shown}, abs=1e-5)


def test_raw_values_have_no_hint(visit: Open, serve: Serve, music_model: Path) -> None:
    server = serve(
        "--input", "demo", "--port", "0", "--model", str(music_model), "--range", "raw"
    )  # fmt: skip
    here = visit(server.url)
    here.wait("() => mer.history.length >= 2 && mer.valueDisplay._shownAt > 0")
    assert "range: raw" in here.page.locator("#about").inner_text()
    assert not here.page.locator("#valence").get_attribute("title")
    assert here.js("mer.newest.scaled === undefined")
    # There is nothing to switch to.
    assert here.page.locator("#range").is_hidden()
    here.page.keyboard.press("r")
    assert here.js("localStorage.getItem('realtime-mer.range')") is None


def test_the_switch_changes_all_that_is_shown_and_is_remembered(
    visit: Open, scaled: ServerProcess
) -> None:
    here = visit(scaled.url)
    here.wait("() => mer.history.length >= 3 && mer.valueDisplay._shownAt > 0")
    assert here.page.get_by_role("radio", name="music", exact=True).is_checked()
    here.pause()
    here.page.keyboard.press("r")
    assert here.page.get_by_role("radio", name="raw", exact=True).is_checked()
    # The point, the numbers and the history show the model's own values.
    here.wait(
        """() => ["valence", "arousal"].every((axis) => {
             const value = mer._shown[axis];
             const number = document.getElementById(axis).textContent.replace("−", "-");
             const slot = mer.history.slot(mer.history.end - 1);
             return Math.abs(mer.plane.shown[axis] - value) < 1e-3
               && Math.abs(Number(number) - value) <= 0.0051
               && mer.history.shown[axis][slot] === mer.history[axis][slot];
           })"""
    )
    hint = here.page.locator("#valence").get_attribute("title") or ""
    assert hint.startswith("The model's own value. Its place among music:")
    here.page.reload()
    here.wait("() => mer.history.length >= 3")
    assert here.page.get_by_role("radio", name="raw", exact=True).is_checked()
    here.page.get_by_role("radio", name="music", exact=True).check()
    here.wait(
        """() => mer._shown.scaled
             && Math.abs(mer.plane._spring.target[0] - mer._shown.scaled.valence) < 1e-6"""
    )


def test_the_address_chooses_the_range(visit: Open, scaled: ServerProcess) -> None:
    here = visit(scaled.url + "?range=raw")
    here.wait("() => mer._shown !== null")
    assert here.page.get_by_role("radio", name="raw", exact=True).is_checked()
    assert here.js("Math.abs(mer.plane._spring.target[0] - mer._shown.valence) < 1e-6")


def test_the_colour_of_the_page_is_that_of_the_message(visit: Open, scaled: ServerProcess) -> None:
    here = visit(scaled.url + "?theme=dark")
    here.js(
        """() => {
             window.colours = {};
             const address = new URL("ws", document.baseURI);
             address.protocol = "ws:";
             new WebSocket(address).onmessage = ({ data }) => {
               const message = JSON.parse(data);
               if (message.type === "estimate") window.colours[message.seq] = message.color;
             };
           }"""
    )
    # Both were seen of the same estimate, and are read at the same moment.
    found = here.page.wait_for_function(
        """() => {
             if (!mer.valueDisplay.shown || !(mer.valueDisplay.shown.seq in window.colours)) {
               return null;
             }
             const style = getComputedStyle(document.documentElement);
             const read = (name) => style.getPropertyValue(name).trim();
             const { seq, scaled, level_db } = mer.valueDisplay.shown;
             return [window.colours[seq], read("--mood-color-rgb"), {
               color: read("--mood-color") === `rgb(${read("--mood-color-rgb")})`,
               valence: Math.abs(Number(read("--valence")) - scaled.valence) < 0.001,
               arousal: Math.abs(Number(read("--arousal")) - scaled.arousal) < 0.001,
               level: Math.abs(60 * (Number(read("--level")) - 1) - Math.max(-60, level_db)) < 0.06,
             }];
           }"""
    )
    sent, shown, variables = found.json_value()
    expected = [int(sent[at : at + 2], 16) for at in (1, 3, 5)]
    # Values are sent with six decimals.
    assert [int(part) for part in shown.split(", ")] == pytest.approx(expected, abs=1)
    assert all(variables.values()), variables


HEARD = "() => { const p = mer.pulse.at(performance.now()); return p.live && p.level > 0.1; }"


def test_the_plane_breathes_with_the_music(visit: Open, scaled: ServerProcess) -> None:
    here = visit(scaled.url)
    here.wait("() => mer.plane.breath.swell > 0.1 && Math.max(...mer.plane.breath.bands) > 0")
    # A paused view stands still, whatever is played.
    here.pause()
    here.wait("() => !mer.plane.breath.moving && mer.plane.breath.swell === 0")
    here.wait(HEARD)


def test_reduced_motion_stops_the_breath(visit: Open, scaled: ServerProcess) -> None:
    here = visit(scaled.url, reduced_motion="reduce")
    here.wait("() => mer.plane.shown.valence !== 0")
    here.wait(HEARD)
    drawn = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    here.js(drawn)
    breath = here.js("({...mer.plane.breath, bands: [...mer.plane.breath.bands]})")
    assert (breath["swell"], breath["beat"], max(breath["bands"])) == (0, 0, 0)
