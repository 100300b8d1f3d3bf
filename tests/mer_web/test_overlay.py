"""The overlay for OBS and other mixers: its pieces, its parameters, custom CSS."""

from __future__ import annotations

import io
import itertools
import re
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from page_server import PageServer
from page_support import WAIT_MS, Open, ServerProcess, Visit

from realtime_mer.core.mood import WORDS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, FloatRect

# More than one of the generous waits of a busy machine.
pytestmark = pytest.mark.timeout(600)

PIECES = ("badge", "plane", "timeline")
MADE = "() => window.mer !== undefined && mer.overlay !== null"
SAYS = "(word) => document.querySelector('.overlay-mood').textContent === word"
# As obs-browser inserts the custom CSS of a source (BrowserClient::OnLoadEnd).
INSERT_CSS = """
  (css) => {
    const obsCSS = document.createElement("style");
    obsCSS.innerHTML = decodeURIComponent(encodeURIComponent(css));
    document.querySelector("head").appendChild(obsCSS);
  }
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PageServer]:
    with PageServer().serving() as server:
        yield server


def overlay(visit: Open, server: PageServer, query: str, size: tuple[int, int]) -> Visit:
    here = visit(f"{server.url}?overlay=1&{query}", viewport={"width": size[0], "height": size[1]})
    here.wait(MADE)
    return here


def opacity(here: Visit) -> Any:
    from PIL import Image

    png = here.page.screenshot(omit_background=True)
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))[..., 3]


def box(here: Visit, selector: str) -> FloatRect:
    found = here.page.locator(selector).bounding_box()
    assert found is not None, selector
    return found


def style(here: Visit, selector: str, name: str) -> str:
    found: str = here.js(
        "([selector, name]) => getComputedStyle(document.querySelector(selector))[name]",
        [selector, name],
    )
    return found


@pytest.mark.parametrize(
    ("show", "size"),
    [("plane", (600, 600)), ("badge", (520, 100)), ("timeline", (900, 300))],
)
def test_one_piece_on_a_transparent_background(
    visit: Open, demo: ServerProcess, show: str, size: tuple[int, int]
) -> None:
    here = visit(
        f"{demo.url}?overlay=1&show={show}", viewport={"width": size[0], "height": size[1]}
    )
    here.wait("() => mer.history.length >= 3 && mer.newest.mood !== ''")
    alpha = opacity(here)
    assert [alpha[0, 0], alpha[0, -1], alpha[-1, 0], alpha[-1, -1]] == [0, 0, 0, 0]
    place = box(here, f".overlay-{show}")
    middle = round(place["y"] + place["height"] / 2), round(place["x"] + place["width"] / 2)
    assert alpha[middle] > 100
    # The plate is translucent too.
    assert (alpha[alpha > 0] < 255).mean() > 0.5
    shown = here.js(
        """() => [...document.body.children].filter((node) => node.checkVisibility())
                   .map((node) => node.className)"""
    )
    assert shown == ["overlay"]
    for node in ("body", "html"):
        assert style(here, node, "backgroundColor") == "rgba(0, 0, 0, 0)"
    if show == "badge":
        here.wait(
            "(words) => words.includes(document.querySelector('.overlay-mood').textContent)",
            sorted(WORDS),
        )
        values = here.page.locator(".overlay-values").inner_text()
        assert re.fullmatch(r"valence [+−]\d\.\d\d\s+arousal [+−]\d\.\d\d", values)


def test_the_wash_covers_all_and_lets_the_picture_through(visit: Open, server: PageServer) -> None:
    here = overlay(visit, server, "show=wash&opacity=0.3", (640, 360))
    here.wait("() => mer.newest !== null")
    alpha = opacity(here)
    assert alpha.min() > 5
    assert alpha.max() < 0.31 * 255
    # More at the side where pieces lie, by default the lower left corner, than in the middle.
    assert alpha[-1, 0] > 1.5 * alpha[180, 320]


# A function that returns the colour of the wash and its opacity before --overlay-opacity, 0 to 255,
# in the corner where the pieces lie.
PAINT = """
window.washed = () => {
  const wash = document.querySelector(".overlay-wash canvas");
  const copy = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  copy.drawImage(wash, 0, 1 - wash.height);
  return [...copy.getImageData(0, 0, 1, 1).data];
};
"""


def test_the_wash_breathes_with_the_music(visit: Open, demo: ServerProcess) -> None:
    here = visit(f"{demo.url}?overlay=1&show=badge,wash")
    here.js(PAINT)
    # Without music the opacity is 224.
    here.wait(
        """() => mer.pulse.at(performance.now()).live && washed()[3] > 228
                 && document.querySelector(".overlay-halo").style.transform !== "scale(0.55)" """
    )


def test_reduced_motion_stills_the_wash(visit: Open, demo: ServerProcess) -> None:
    here = visit(f"{demo.url}?overlay=1&show=badge,wash", reduced_motion="reduce")
    here.wait("() => mer.pulse.at(performance.now()).live")
    here.js(PAINT)
    here.js("window.seen = new Set()")
    here.wait(
        "() => { seen.add(washed()[3]); return mer.pulse.at(performance.now()).onset > 0.5; }"
    )
    (opacity,) = here.js("[...seen]")
    assert opacity == pytest.approx(236, abs=1)
    assert here.js("document.querySelector('.overlay-halo').style.transform") == "scale(0.55)"


@pytest.fixture(scope="module")
def everything(browser: Browser, server: PageServer) -> Iterator[Visit]:
    """An overlay with all pieces, for tests of one size after another."""
    with closing(browser.new_context()) as context:
        here = Visit(context, f"{server.url}?overlay=1&show=badge,plane,timeline,wash")
        here.wait(MADE)
        yield here
        here.check()


@pytest.mark.parametrize("size", [(1920, 1080), (600, 300), (540, 960), (320, 320), (3840, 2160)])
def test_pieces_stand_together(everything: Visit, size: tuple[int, int]) -> None:
    width, height = size
    here = everything
    here.page.set_viewport_size({"width": width, "height": height})
    here.wait("([w, h]) => innerWidth === w && innerHeight === h", list(size))
    here.js("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    for side in ("bottom-left", "top-right", "left", "right", "top", "bottom", "center"):
        here.js(
            "(side) => document.querySelector('.overlay').dataset.side = side.replace('-', ' ')",
            side,
        )
        boxes = {name: box(here, f".overlay-{name}") for name in PIECES}
        for name, place in boxes.items():
            assert place["width"] >= 40, (side, name)
            assert place["height"] >= 40, (side, name)
            assert place["x"] >= 0, (side, name)
            assert place["y"] >= 0, (side, name)
            assert place["x"] + place["width"] <= width + 0.5, (side, name)
            assert place["y"] + place["height"] <= height + 0.5, (side, name)
        for one, other in itertools.combinations(boxes.values(), 2):
            apart = (
                one["x"] + one["width"] <= other["x"] + 0.5
                or other["x"] + other["width"] <= one["x"] + 0.5
                or one["y"] + one["height"] <= other["y"] + 0.5
                or other["y"] + other["height"] <= one["y"] + 0.5
            )
            assert apart, (side, one, other)
        if width > height:
            # The plane stands at the side, the timeline beside it.
            assert (boxes["plane"]["x"] > boxes["timeline"]["x"]) == side.endswith("right")
    assert here.js("document.querySelector('#plane').width") > 40
    assert box(here, ".overlay-wash") == {"x": 0, "y": 0, "width": width, "height": height}


@pytest.mark.parametrize(
    ("side", "x", "y"),
    [
        ("bottom-left", 0, 1), ("top-right", 1, 0), ("top", 0.5, 0), ("right", 1, 0.5),
        ("center", 0.5, 0.5), ("bottom-right", 1, 1),
    ],
)  # fmt: skip
def test_sides(visit: Open, server: PageServer, side: str, x: float, y: float) -> None:
    here = overlay(visit, server, f"show=badge&side={side}", (1280, 720))
    place, margin = box(here, ".overlay-badge"), float(style(here, "html", "fontSize")[:-2])
    assert place["x"] == pytest.approx(margin + x * (1280 - 2 * margin - place["width"]), abs=1.0)
    assert place["y"] == pytest.approx(margin + y * (720 - 2 * margin - place["height"]), abs=1.0)


def test_the_first_mood_does_not_resize_the_badge(visit: Open, server: PageServer) -> None:
    here = overlay(visit, server, "show=badge", (1920, 1080))
    here.wait("() => document.querySelector('.overlay-mood').textContent === 'calm'")
    boxes = here.js(
        """() => {
             const badge = document.querySelector(".overlay-badge");
             const size = () => [badge.offsetWidth, badge.offsetHeight];
             const after = size();
             document.querySelector(".overlay-mood").textContent = "";
             for (const value of badge.querySelectorAll("b")) value.textContent = "–";
             return [size(), after];
           }"""
    )
    assert boxes[0] == boxes[1]


def test_size(visit: Open, server: PageServer) -> None:
    here = overlay(visit, server, "show=badge", (1920, 1080))
    normal = box(here, ".overlay-badge")
    larger = box(overlay(visit, server, "show=badge&size=2", (1920, 1080)), ".overlay-badge")
    assert larger["height"] == pytest.approx(2 * normal["height"], rel=0.03)
    plane = box(overlay(visit, server, "show=plane&size=0.5", (600, 600)), ".overlay-plane")
    assert plane["width"] == plane["height"] == pytest.approx(292, abs=2)
    # A badge that is too large for its source is as large as fits.
    most = box(overlay(visit, server, "show=badge&size=6", (520, 100)), ".overlay-badge")
    assert most["y"] >= 0
    assert most["y"] + most["height"] <= 100


def test_colours_and_font(visit: Open, server: PageServer) -> None:
    query = "show=badge,wash&color=f80&text=%23ffee00&ground=0011aa80&font=DejaVu%20Serif"
    here = overlay(visit, server, query, (1280, 720))
    assert style(here, ".overlay-badge", "backgroundColor") == "rgba(0, 17, 170, 0.5)"
    assert style(here, ".overlay-mood", "color") == "rgb(255, 238, 0)"
    assert style(here, ".overlay-mood", "fontFamily").startswith('"DejaVu Serif", ')
    here.js(PAINT)
    here.wait(
        """() => {
             const [red, green, blue] = washed();
             return red === 255 && Math.abs(green - 136) <= 1 && blue === 0;
           }"""
    )
    # The canvases use them too.
    assert here.js("mer._style.ink") == "#ffee00"
    assert here.js("mer._style.font").startswith('"DejaVu Serif", ')


def test_a_plate_or_an_outline(visit: Open, server: PageServer) -> None:
    query = "show=badge,plane,timeline"
    plated = overlay(visit, server, query, (1280, 720))
    outlined = overlay(visit, server, f"{query}&plate=0", (1280, 720))
    for name in PIECES:
        assert style(plated, f".overlay-{name}", "backgroundColor") == "rgba(10, 12, 20, 0.84)"
        assert style(outlined, f".overlay-{name}", "backgroundColor") == "rgba(0, 0, 0, 0)"
    assert style(plated, ".overlay-badge", "textShadow") == "none"
    assert style(outlined, ".overlay-badge", "textShadow").startswith("rgb(5, 6, 11)")
    for name in ("plane", "timeline"):
        assert style(plated, f".overlay-{name} canvas", "filter") == "none"
        assert "drop-shadow" in style(outlined, f".overlay-{name} canvas", "filter")


def test_bad_parameters_are_named_in_the_console(browser: Browser, server: PageServer) -> None:
    with closing(browser.new_context()) as context:
        page = context.new_page()
        warnings: list[str] = []
        page.on("console", lambda message: warnings.append(f"{message.type}: {message.text}"))
        page.goto(f"{server.url}?overlay=1&show=evil&size=99&color=red&font=a;b")
        page.wait_for_function(MADE, timeout=WAIT_MS)
        assert warnings == [
            "warning: the overlay ignores show=evil: write some of wash, badge, plane, timeline",
            "warning: the overlay ignores size=99: write a factor from 0.25 to 6",
            "warning: the overlay ignores color=red: write a colour such as ffcc00 or %23ffcc00",
            "warning: the overlay ignores font=a;b: write the name of a font of this machine",
        ]
        assert page.locator(".overlay-plane").is_visible()


def test_dark_unless_told_otherwise(visit: Open, server: PageServer) -> None:
    for scheme, query, theme in (
        ("light", "", "dark"), ("light", "&theme=auto", "dark"), ("dark", "&theme=light", "light"),
    ):  # fmt: skip
        url = f"{server.url}?overlay=1&show=badge{query}"
        here = visit(url, color_scheme=scheme)
        here.wait(MADE)
        assert here.js("document.documentElement.dataset.theme") == theme
        assert here.js("mer._style.theme") == theme


def test_a_state_takes_the_place_of_the_word(visit: Open) -> None:
    with PageServer().serving() as server:
        server.running = False
        here = overlay(visit, server, "show=badge", (520, 100))
        here.may_lose_server = True
        here.wait(SAYS, "listening")
        assert not here.page.locator(".overlay-dot").is_visible()
        server.running = True
        here.wait(SAYS, "calm")
        assert here.page.locator(".overlay-dot").is_visible()
        for state, word in (
            ("silence", "silence"), ("speech", "speech"), ("stalled", "no audio"),
        ):  # fmt: skip
            server.level_db = -120.0 if state == "stalled" else -50.0
            server.state = state
            here.wait(SAYS, word)
            here.wait(
                "() => getComputedStyle(document.querySelector('.overlay-dot'))"
                ".backgroundColor === 'rgba(0, 0, 0, 0)'"
            )
            assert "−0.50" in here.page.locator(".overlay-arousal").inner_text()
        server.state = "tracking"
        here.wait(SAYS, "calm")
        server.running = False
        here.wait(SAYS, "no news")
        server.running = True
        here.wait(SAYS, "calm")
        server.close(1001, "")
        here.wait(SAYS, "no connection")
        here.wait(SAYS, "calm")


def test_numbers_change_at_most_four_times_a_second(visit: Open, demo: ServerProcess) -> None:
    here = visit(f"{demo.url}?overlay=1&show=badge")
    here.wait("() => mer.newest !== null")
    here.js(
        """() => {
             window.changes = [];
             new MutationObserver(() => changes.push(performance.now())).observe(
               document.querySelector(".overlay-values"),
               { subtree: true, childList: true, characterData: true });
           }"""
    )
    here.wait("() => changes.length >= 8")
    seconds = here.js("(changes[changes.length - 1] - changes[0]) / 1000")
    # A tick that came late does not move the next one.
    assert here.js("changes.length") <= 4 * seconds + 2


def test_an_overlay_has_no_shortcuts(visit: Open, server: PageServer) -> None:
    here = overlay(visit, server, "show=badge", (520, 100))
    theme = here.js("document.documentElement.dataset.theme")
    here.page.keyboard.type("pt?")
    assert here.js("mer.paused") is None
    assert here.js("document.documentElement.dataset.theme") == theme
    assert not here.js("document.querySelector('dialog[open]')")


def policy_of(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as response:
        policy: str = response.headers["Content-Security-Policy"]
    return policy


def test_custom_css_works_in_the_overlay_alone(
    visit: Open, browser: Browser, demo: ServerProcess
) -> None:
    css = """
      body { background-color: rgba(0, 0, 0, 0); margin: 0px auto; overflow: hidden; }
      :root {
        --overlay-ground: rgba(90, 0, 60, 0.9); --overlay-text: #ffe14d; --overlay-word: #ff9ad5;
        --overlay-radius: 0; --font: "DejaVu Sans", sans-serif;
      }
      .overlay-mood { text-transform: uppercase; }
      .overlay-values { display: none; }
    """
    url = f"{demo.url}?overlay=1&show=badge,timeline&ground=ffffff&text=000000"
    assert "style-src 'self' 'unsafe-inline'" in policy_of(url)
    here = visit(url)
    here.wait(MADE)
    here.js(INSERT_CSS, css)
    # It comes after the parameters.
    for selector, name, value in (
        (".overlay-badge", "backgroundColor", "rgba(90, 0, 60, 0.9)"),
        (".overlay-badge", "borderTopLeftRadius", "0px"),
        (".overlay-mood", "color", "rgb(255, 154, 213)"),
        (".overlay-mood", "textTransform", "uppercase"),
    ):
        # Colours change gradually.
        here.wait(
            "([selector, name, value]) =>"
            " getComputedStyle(document.querySelector(selector))[name] === value",
            [selector, name, value],
        )
    assert style(here, ".overlay-mood", "fontFamily").startswith('"DejaVu Sans"')
    assert not here.page.locator(".overlay-values").is_visible()
    here.wait("() => mer._style.ink === '#ffe14d' && mer._style.font.startsWith('\"DejaVu Sans\"')")

    assert "unsafe-inline" not in policy_of(demo.url)
    with closing(browser.new_context()) as context:
        page = context.new_page()
        refused: list[str] = []
        page.on("console", lambda message: refused.append(message.text))
        page.goto(demo.url)
        page.wait_for_function("() => window.mer !== undefined", timeout=WAIT_MS)
        before = page.evaluate("getComputedStyle(document.body).color")
        page.evaluate(INSERT_CSS, "body { color: rgb(1, 2, 3) !important; }")
        assert page.evaluate("getComputedStyle(document.body).color") == before
        assert any("Content Security Policy" in line for line in refused)
