"""The page /calibrate, and a person's map on the main page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from mer_engine import Engine
from page_support import Open, Serve, ServerProcess, Visit

from realtime_mer.core.personal_map import Tap, fit_personal_map
from realtime_mer.core.types import Estimate

# More than one of the generous waits of a busy machine.
pytestmark = pytest.mark.timeout(600)

READY = "() => document.querySelector('#prompt').dataset.ready === 'yes'"
TAPS = "(text) => document.querySelector('#count').textContent.startsWith(text)"


def every_tap(file: Path) -> list[dict[str, float]]:
    taps: list[dict[str, float]] = json.loads(file.read_text(encoding="utf-8"))["every_tap"]
    return taps


def press(here: Visit, name: str) -> None:
    here.page.get_by_role("button", name=name).click()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "anna.json"


@pytest.fixture
def start(serve: Serve, song: Path, file: Path) -> Callable[[], ServerProcess]:
    """Start a server for a person, with music that never pauses."""
    arguments = ("--input", str(song), "--loop", "--port", "0", "--hop", "0.2")
    return lambda: serve(*arguments, "--person", str(file))


def test_taps_by_finger_and_by_keys(
    visit: Open, start: Callable[[], ServerProcess], file: Path
) -> None:
    server = start()
    here = visit(f"{server.url}calibrate", viewport={"width": 360, "height": 640})
    here.wait(READY)
    assert here.js("document.documentElement.scrollWidth <= innerWidth")
    plane = here.page.locator("#plane")
    # A place of the plane, in pixels of the canvas.
    place = here.js("merCalibration._plane.positionOf(0.5, -0.25)")
    box = plane.bounding_box()
    assert box is not None
    plane.click(position={"x": place["left"] * box["width"], "y": place["top"] * box["height"]})
    here.wait(TAPS, "1 tap in 1 piece")
    assert here.page.locator("#mark").get_attribute("data-saved") == "yes"
    (tap,) = every_tap(file)
    assert (tap["valence"], tap["arousal"]) == pytest.approx((0.5, -0.25), abs=0.02)

    here.js("() => { merCalibration._at = { valence: 0, arousal: 0 }; }")
    for key in ("ArrowLeft", "ArrowLeft", "ArrowUp"):
        plane.press(key)
    plane.press("Enter")
    here.wait(TAPS, "2 taps")
    assert (every_tap(file)[1]["valence"], every_tap(file)[1]["arousal"]) == (-0.1, 0.05)

    press(here, "Undo last tap")
    here.wait(TAPS, "1 tap in")
    press(here, "Begin anew")
    press(here, "Keep the taps")
    here.wait("() => !document.querySelector('#question').open")
    press(here, "Begin anew")
    here.page.locator("#question button[value=reset]").click()
    here.wait(TAPS, "0 taps")
    assert not file.exists()


def test_without_a_person_the_page_says_how(visit: Open, serve: Serve) -> None:
    server = serve("--input", "demo", "--port", "0")
    here = visit(f"{server.url}calibrate")
    here.wait("() => document.querySelector('#prompt').textContent.includes('--person')")
    assert here.page.get_by_role("button", name="Undo last tap").is_disabled()


def test_the_map_is_a_layer_of_its_own(
    visit: Open, start: Callable[[], ServerProcess], file: Path, engine: Engine
) -> None:
    taps = [Tap("", piece, 0.6, 0.4, (0.0, -0.1, -0.3, 0.3, -0.4, 0.2)) for piece in range(12)]
    person = fit_personal_map(taps, coverage=engine.info.coverage)
    assert person.worth_using
    model = {"name": "m", "version": "1", "sha256": engine.info.sha256}
    file.write_text(
        json.dumps({
            "type": "personal map", "schema": 1, "model": model,
            "every_tap": [tap.to_dict() for tap in taps],
        })
    )  # fmt: skip
    here = visit(start().url)
    here.wait("() => mer.plane.shownPersonal !== null")
    assert here.page.locator("#personal-name").inner_text() == "your map (12 taps)"
    # The ring reaches where the person would tap; the point stays where it is.
    here.pause()
    here.wait("() => !mer.plane._personalSpring.moving && !mer.plane._spring.moving")
    shown = here.js("mer.plane.shownPersonal")
    mapped = person.apply(Estimate.from_dict(here.js("mer.personal._estimate")))
    assert shown == pytest.approx({"valence": mapped.valence, "arousal": mapped.arousal}, abs=2e-3)
    here.page.get_by_role("checkbox", name="your map (12 taps)").uncheck()
    assert here.js("mer.plane.shownPersonal") is None
    assert here.page.locator("#personal-values").inner_text() == ""
    here.page.reload()
    here.wait("() => mer.newest !== null && mer.personal._personal !== undefined")
    assert not here.page.get_by_role("checkbox", name="your map (12 taps)").is_checked()
