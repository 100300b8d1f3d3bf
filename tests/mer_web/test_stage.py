"""Stage mode in a browser: keys, corners, black-out, users' scenes, and no flashes."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from page_support import Open, Serve, ServerProcess, Visit

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Frames are drawn by the processor, which may be busy.
pytestmark = pytest.mark.timeout(600)

SCENES = ("aurora", "particles", "contours", "rings", "plain")
RATE_HZ = 60
COPY = (36, 64)
"""Rows and columns of the copies of frames that are analysed."""

STROBE = """
export const label = "Strobe";
export function create({ canvas }) {
  const context = canvas.getContext("2d");
  const colors = COLORS;
  let seconds = 0;
  return {
    draw(moment, elapsed) {
      seconds += elapsed;
      context.fillStyle = colors[Math.floor(seconds * 2 * HZ) % 2];
      context.fillRect(0, 0, canvas.width, canvas.height);
    },
  };
}
"""
CHECKERS = """
export const label = "Checkers";
export function create({ canvas }) {
  const context = canvas.getContext("2d");
  let seconds = 0;
  return {
    draw(moment, elapsed) {
      seconds += elapsed;
      const side = canvas.width / 96;
      const odd = Math.floor(seconds * 20) % 2;
      context.fillStyle = "#000";
      context.fillRect(0, 0, canvas.width, canvas.height);
      context.fillStyle = "#fff";
      for (let row = 0; row < 54; row += 1) {
        for (let column = (row + odd) % 2; column < 96; column += 2) {
          context.fillRect(column * side, row * side, side, side);
        }
      }
    },
  };
}
"""
BROKEN = """
export const label = "Broken";
export function create() {
  let frames = 0;
  return { draw() { if (++frames > 3) throw new Error("no more ideas"); } };
}
"""
PROBE = """
export const label = "Probe";
export function create() {
  return { draw(moment, seconds) { (window.seen ??= []).push({ ...moment, seconds }); } };
}
"""
STROBES = {
    f"{name}-{hz}": STROBE.replace("COLORS", colors).replace("HZ", str(hz))
    for name, colors in (
        ("white", '["#000", "#fff"]'),
        ("red", '["#f00", "#00f"]'),
    )
    for hz in (10, 15)
}
FINE_COPY = (108, 192)
"""Rows and columns of a copy in which squares of a 96th of the width are seen."""

OWN = {**STROBES, "checkers": CHECKERS, "broken": BROKEN, "probe": PROBE}

# Draws frames with a clock of its own, and returns small copies of what would be on the screen.
RUN = """
async ({ scene, webgl, reducedMotion, frames, state, size, copied: [rows, columns] }) => {
  const { Picture } = await import("/stage-picture.js");
  const { Palette } = await import("/palette.js");
  const palette = new Palette("dark");
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = size;
  const picture = new Picture(canvas, {
    webgl, reducedMotion, palette: (valence, arousal) => palette.bytes(valence, arousal),
    load: (name) => import(`/scenes/${name}.js`),
  });
  await picture.show(scene);
  const copy = document.createElement("canvas");
  [copy.width, copy.height] = [columns, rows];
  const context = copy.getContext("2d", { willReadFrequently: true, alpha: false });
  context.imageSmoothingQuality = "high";
  const bytes = new Uint8Array(frames * columns * rows * 3);
  let at = 0;
  for (let k = 0; k < frames; k += 1) {
    const time = k / 60;
    // The worst music: onsets and jumps of the level at 15 Hz, the mood from corner to corner.
    const high = Math.floor(time * 30) % 2;
    const side = Math.floor(time * 8) % 2 ? 1 : -1;
    picture.draw({
      time, valence: side, arousal: side, fast: null, level: high, onset: high,
      bands: new Float32Array(6).fill(high), color: palette.bytes(side, side), mood: "", state,
      change: high === 1,
    }, (k * 1000) / 60);
    context.drawImage(canvas, 0, 0, columns, rows);
    const { data } = context.getImageData(0, 0, columns, rows);
    for (let p = 0; p < data.length; p += 4) {
      bytes[at] = data[p]; bytes[at + 1] = data[p + 1]; bytes[at + 2] = data[p + 2];
      at += 3;
    }
  }
  let text = "";
  for (let k = 0; k < bytes.length; k += 8192) {
    text += String.fromCharCode(...bytes.subarray(k, k + 8192));
  }
  return { bytes: btoa(text), webgl: picture.webgl, trouble: picture.trouble };
}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scenes of a user: strobes, a broken one, and one that tells what it gets."""
    path = tmp_path_factory.mktemp("scenes")
    for name, text in OWN.items():
        (path / f"{name}.js").write_text(text)
    return path


@pytest.fixture(scope="module")
def server(serve: Serve, folder: Path) -> ServerProcess:
    return serve("--input", "demo", "--port", "0", "--hop", "0.2", "--stage-scenes", str(folder))


@pytest.fixture(scope="module")
def with_webgl(launch: Callable[..., Browser]) -> Browser:
    """A browser that draws WebGL2 with the processor."""
    return launch(
        "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"
    )


def with_webgl2(visit: Open, server: ServerProcess, browser: Browser) -> Visit:
    """Open the page in a browser that has WebGL2; skip the test in one that has not."""
    here = visit(server.url, using=browser)
    if not here.js("document.createElement('canvas').getContext('webgl2') !== null"):
        pytest.skip("this browser has no WebGL2")
    return here


def frames_of(visit: Visit, scene: str, **options: Any) -> NDArray[np.uint8]:
    """Return small copies of the frames of a scene: uint8, (frames, rows, columns, 3)."""
    wanted = {
        "scene": scene, "webgl": False, "reducedMotion": False, "frames": 3 * RATE_HZ,
        "state": "tracking", "size": [192, 108], "copied": COPY,
    }  # fmt: skip
    result = visit.js(RUN, {**wanted, **options})
    assert result["trouble"] == ""
    assert result["webgl"] == {**wanted, **options}["webgl"]
    found = np.frombuffer(base64.b64decode(result["bytes"]), dtype=np.uint8)
    return found.reshape(-1, *{**wanted, **options}["copied"], 3)


def linear(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    part = frames / 255.0
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def luminance(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    light = linear(frames)
    return 0.2126 * light[..., 0] + 0.7152 * light[..., 1] + 0.0722 * light[..., 2]


def redness(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(R - G - B) * 320 as in WCAG, 0 where it is negative."""
    light = linear(frames)
    return np.maximum(0.0, light[..., 0] - light[..., 1] - light[..., 2]) * 320.0


def changes(values: NDArray[np.float64], step: float) -> NDArray[np.bool_]:
    """Mark where cells change by a step, up and down in turn; the first axis is that of frames."""
    marks = np.zeros(values.shape, dtype=bool)
    low, high = values[0].copy(), values[0].copy()
    direction = np.zeros(values.shape[1:], dtype=int)
    for k, value in enumerate(values):
        low, high = np.minimum(low, value), np.maximum(high, value)
        up = (direction <= 0) & (value - low >= step)
        down = (direction >= 0) & (high - value >= step) & ~up
        direction = np.where(up, 1, np.where(down, -1, direction))
        marks[k] = up | down
        low, high = np.where(marks[k], value, low), np.where(marks[k], value, high)
    return marks


def most_flashes(frames: NDArray[np.uint8]) -> int:
    """Return the most flashes in any second in a quarter of any field of a third of the picture."""
    most = 0
    for values, step in ((luminance(frames), 0.1), (redness(frames), 20.0)):
        marks = np.cumsum(changes(values, step), axis=0)
        marks = np.concatenate([np.zeros_like(marks[:1]), marks])
        # A second has so many changes; two of them are a flash.
        flashes = (marks[RATE_HZ:] - marks[:-RATE_HZ]).max(axis=0) // 2
        height, width = frames.shape[1] // 3, frames.shape[2] // 3
        for row in range(0, frames.shape[1] - height + 1, height // 4):
            for column in range(0, frames.shape[2] - width + 1, width // 7):
                field = flashes[row : row + height, column : column + width]
                most = max(most, int(np.quantile(field, 0.75)))
        whole = changes(values.mean(axis=(1, 2))[:, None], step)[:, 0].cumsum()
        whole = np.concatenate([[0], whole])
        most = max(most, int((whole[RATE_HZ:] - whole[:-RATE_HZ]).max() // 2))
    return most


def test_the_analysis_finds_flashes() -> None:
    strobe = np.zeros((120, *COPY, 3), dtype=np.uint8)
    strobe[(np.arange(120) // 3) % 2 == 1] = 255
    assert most_flashes(strobe) == 10
    assert most_flashes(np.full((120, *COPY, 3), 90, dtype=np.uint8)) == 0


@pytest.mark.parametrize("name", STROBES)
def test_a_strobe_flashes_at_most_three_times_a_second(
    server: ServerProcess, visit: Open, name: str
) -> None:
    frames = frames_of(visit(server.url), name)
    assert most_flashes(frames) <= 3
    # It is held back, and not left out.
    assert frames.reshape(len(frames), -1).max() > 100


def test_squares_that_change_places_flash_at_most_three_times_a_second(
    server: ServerProcess, visit: Open
) -> None:
    here = visit(server.url)
    frames = frames_of(here, "checkers", size=[1920, 1080], copied=FINE_COPY, frames=90)
    assert most_flashes(frames) <= 3
    assert frames.max() > 100


HASTE = """
async () => {
  const { Picture } = await import("/stage-picture.js");
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [96, 54];
  const white = { create: ({ canvas }) => ({
    draw() {
      const context = canvas.getContext("2d");
      context.fillStyle = "#fff";
      context.fillRect(0, 0, canvas.width, canvas.height);
    },
  }) };
  const picture = new Picture(canvas, {
    webgl: false, reducedMotion: false, palette: () => [0, 0, 0], load: async () => white,
  });
  const moment = { time: 0, valence: 0, arousal: 0, fast: null, level: 1, onset: 0,
    bands: new Float32Array(6), color: [0, 0, 0], mood: "", state: "tracking", change: false };
  const middle = () => canvas.getContext("2d").getImageData(48, 27, 1, 1).data[0];
  await picture.show("first");
  let now = 0;
  const draw = (frames) => {
    for (let k = 0; k < frames; k += 1) picture.draw(moment, (now += 1000 / 60));
  };
  draw(600);
  const before = middle();
  for (let k = 0; k < 12; k += 1) {
    await picture.show(`scene ${k}`);
    draw(6);
  }
  draw(60);
  return [before, middle()];
}
"""


def test_scenes_changed_in_haste_do_not_darken_the_picture(
    server: ServerProcess, visit: Open
) -> None:
    before, after = visit(server.url).js(HASTE)
    assert before > 200
    assert after >= before


@pytest.mark.parametrize("scene", SCENES)
def test_no_scene_flashes_with_the_worst_music(
    server: ServerProcess, visit: Open, scene: str
) -> None:
    frames = frames_of(visit(server.url), scene)
    assert most_flashes(frames) <= 3
    assert frames[-1].max() > 40


@pytest.mark.parametrize("scene", SCENES)
def test_no_shader_flashes_with_the_worst_music(
    server: ServerProcess, visit: Open, with_webgl: Browser, scene: str
) -> None:
    here = with_webgl2(visit, server, with_webgl)
    frames = frames_of(here, scene, webgl=True, size=[64, 36], frames=RATE_HZ + 20)
    assert most_flashes(frames) <= 3
    assert frames[-1].max() > 30


LEAVE = """
async (leave) => {
  const { Picture } = await import("/stage-picture.js");
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [96, 54];
  const picture = new Picture(canvas, {
    webgl: true, reducedMotion: false, palette: () => [200, 120, 60],
    load: (name) => import(`/scenes/${name}.js`),
  });
  const moment = { time: 0, valence: 0, arousal: 0, fast: null, level: 1, onset: 0,
    bands: new Float32Array(6).fill(1), color: [200, 120, 60], mood: "", state: "tracking",
    change: false };
  const small = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  let now = 0;
  const brightness = (frames) => {
    const found = [];
    for (let k = 0; k < frames; k += 1) {
      picture.draw(moment, (now += 1000 / 60));
      small.drawImage(canvas, 0, 0, 1, 1);
      found.push(Math.max(...small.getImageData(0, 0, 1, 1).data.slice(0, 3)));
    }
    return found;
  };
  await picture.show("plain");
  const before = brightness(400).at(-1);
  const lost = () => new Promise((resolve) => {
    const layer = picture._layers[0].canvas;
    layer.addEventListener("webglcontextlost", () => setTimeout(resolve));
    layer.getContext("webgl2").getExtension("WEBGL_lose_context").loseContext();
  });
  if (leave === "lost") await lost();
  else picture.leaveWebgl();
  const found = brightness(2);
  while (!picture._layers.length && !picture.trouble) {
    await new Promise((resolve) => setTimeout(resolve));
  }
  found.push(...brightness(400));
  const { webgl, scene, trouble, _layers: { length } } = picture;
  return { before, least: Math.min(...found), webgl, scene, layers: length, trouble };
}
"""


@pytest.mark.parametrize("leave", ["slow", "lost"])
def test_the_picture_goes_on_without_webgl(
    server: ServerProcess, visit: Open, with_webgl: Browser, leave: str
) -> None:
    here = with_webgl2(visit, server, with_webgl)
    found = here.js(LEAVE, leave)
    assert found["before"] > 100
    assert found["least"] > 0.5 * found["before"]
    assert (found["webgl"], found["scene"], found["layers"]) == (False, "plain", 1)
    assert found["trouble"] == ""


def test_without_music_the_wall_is_not_black(server: ServerProcess, visit: Open) -> None:
    here = visit(server.url)
    for scene in SCENES:
        frames = frames_of(here, scene, frames=300, state="lost")
        assert frames[-1].max() > 20, scene


def test_without_music_the_picture_is_dim_but_moves(server: ServerProcess, visit: Open) -> None:
    here = visit(server.url)
    for state in ("silence", "stalled", "lost"):
        music = luminance(frames_of(here, "plain", frames=120)).mean(axis=(1, 2))[-1]
        calm = luminance(frames_of(here, "rings", frames=300, state=state))
        assert calm[-1].mean() < music / 2
        assert calm[-1].max() < 0.5
        assert np.abs(calm[-1] - calm[-120]).max() > 0.001, "it stands still"


def test_little_motion_where_it_is_wanted(server: ServerProcess, visit: Open) -> None:
    here = visit(server.url)
    frames_of(here, "probe", reducedMotion=True)
    seen = here.js("window.seen")
    assert all(moment["onset"] == 0 and not moment["change"] for moment in seen)
    assert seen[-1]["time"] < 0.3
    steps = np.diff([moment["level"] for moment in seen])
    assert np.abs(steps).max() < 0.02


def enter(visit: Open, url: str, query: str = "?stage=1", **options: Any) -> Visit:
    here = visit(url + query, **options)
    here.wait("() => window.mer.stage?.active && window.mer.newest")
    return here


def test_the_plain_page_loads_nothing_of_it(server: ServerProcess, visit: Open) -> None:
    here = visit(server.url)
    here.wait("() => window.mer.newest")
    assert not [url for url in here.requests if "stage" in url or "/scenes/" in url]
    here.page.keyboard.press("s")
    here.wait("() => window.mer.stage?.active")
    assert [url for url in here.requests if url.endswith("/stage.js")]


def test_keys_change_scenes_and_leave(server: ServerProcess, visit: Open) -> None:
    here = enter(visit, server.url, "?stage=1&scene=rings")
    scene = "() => window.mer.stage.picture.scene === "
    here.wait(f"{scene}'rings'")
    here.page.keyboard.press("1")
    here.wait(f"{scene}'aurora'")
    here.page.keyboard.press("ArrowRight")
    here.wait(f"{scene}'particles'")
    here.page.keyboard.press("ArrowLeft")
    here.page.keyboard.press("ArrowLeft")
    # The user's own scenes come after those of the page.
    assert here.js("window.mer.stage.picture.scene") == sorted(OWN)[-1]
    here.page.keyboard.press("h")
    assert "black" in here.page.locator(".stage-keys").inner_text()
    # The keys of the page have no effect below.
    here.page.keyboard.press("p")
    assert here.js("window.mer.paused") is None
    here.page.keyboard.press("Escape")
    assert here.page.locator(".stage-keys").count() == 0
    here.page.keyboard.press("Escape")
    here.wait("() => !window.mer.stage.active && !document.querySelector('.stage')")
    here.page.keyboard.press("p")
    here.wait("() => window.mer.paused !== null")


def test_a_finger_enters_it(server: ServerProcess, visit: Open) -> None:
    here = visit(server.url, has_touch=True)
    here.page.get_by_role("button", name="Stage mode").tap()
    here.wait("() => window.mer.stage?.active")
    here.page.locator(".stage").tap()
    here.page.locator(".stage-keys").get_by_text("leave").tap()
    here.wait("() => !window.mer.stage.active")


def test_leaving_at_once_lets_the_screen_go_off(server: ServerProcess, visit: Open) -> None:
    here = enter(visit, server.url)
    if not here.js("'wakeLock' in navigator"):
        pytest.skip("this browser cannot keep the screen on")
    here.js(
        """async () => {
             const { stage } = window.mer;
             const { wakeLock } = navigator;
             const request = wakeLock.request.bind(wakeLock);
             window.locks = [];
             wakeLock.request = (kind) => {
               const asked = request(kind);
               window.locks.push(asked);
               return asked;
             };
             stage.leave();
             for (let k = 0; k < 5; k += 1) {
               stage.enter();
               stage.leave();
             }
             window.locks = await Promise.all(window.locks);
           }"""
    )
    here.wait("() => window.locks.length === 5 && window.locks.every((lock) => lock.released)")


def test_without_a_connection_the_shown_scene_stays(server: ServerProcess, visit: Open) -> None:
    here = enter(visit, server.url, "?stage=1&scene=rings")
    here.wait("() => window.mer.stage.picture._layers.at(-1)?.name === 'rings'")
    here.page.route("**/scenes/*.js", lambda route: route.abort())
    here.page.keyboard.press("2")
    here.wait("() => window.mer.stage.picture.trouble")
    here.wait("() => window.mer.stage.picture.scene === 'rings'")
    here.page.unroute("**/scenes/*.js")
    here.errors.clear()


def test_nothing_but_the_picture_is_seen(server: ServerProcess, visit: Open) -> None:
    here = enter(visit, server.url)
    assert here.js(
        """() => {
             const { root, canvas } = window.mer.stage;
             const { width, height } = canvas.getBoundingClientRect();
             const at = (part) => document.elementFromPoint(part * innerWidth, part * innerHeight);
             return width === innerWidth && height === innerHeight
               && getComputedStyle(root).cursor === "none"
               && [0.1, 0.5, 0.9].every((part) => at(part) === canvas);
           }"""
    )


BRIGHTEST = """
  () => {
    const { canvas } = window.mer.stage;
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.reduce((most, byte, k) => (k % 4 < 3 ? Math.max(most, byte) : most), 0);
  }
"""


def test_black_out(server: ServerProcess, visit: Open) -> None:
    here = enter(visit, server.url, "?stage=1&scene=plain")
    here.wait(f"() => ({BRIGHTEST})() > 20")
    here.page.keyboard.press("b")
    here.wait(f"() => ({BRIGHTEST})() === 0")
    here.page.keyboard.press("b")
    here.wait(f"() => ({BRIGHTEST})() > 20")


def test_the_corners_go_where_they_are_dragged(server: ServerProcess, visit: Open) -> None:
    here = enter(visit, server.url)
    here.page.keyboard.press("m")
    handle = here.page.get_by_role("button", name=re.compile("^top left"))
    handle.wait_for()
    here.page.mouse.move(2, 2)
    here.page.mouse.down()
    here.page.mouse.move(200, 150, steps=4)
    here.page.mouse.up()
    here.page.keyboard.press("ArrowRight")
    here.page.keyboard.press("Shift+ArrowDown")
    here.page.keyboard.press("m")
    handle.wait_for(state="detached")
    place = """
      () => {
        const frame = document.querySelector(".stage-frame");
        const matrix = new DOMMatrix(getComputedStyle(frame).transform);
        const { x, y, w } = matrix.transformPoint(new DOMPoint(0, 0));
        const hit = (left, top) => document.elementFromPoint(left, top)?.tagName;
        const near = (by) => [x / w + by, y / w + by];
        const places = [near(-3), near(3), [innerWidth - 3, innerHeight - 3]];
        return [x / w, y / w, ...places.map(([left, top]) => hit(left, top))];
      }
    """
    x, y, outside, inside, other = here.js(place)
    assert (x, y) == pytest.approx((201.0, 160.0), abs=0.01)
    assert (outside, inside, other) == ("DIV", "CANVAS", "CANVAS")
    here.page.reload()
    here.wait("() => window.mer.stage?.active")
    assert here.js(place)[:2] == pytest.approx([201.0, 160.0], abs=0.01)
    here.page.keyboard.press("m")
    here.page.keyboard.press("r")
    assert here.js(place)[:2] == [0, 0]


def test_a_scene_that_fails_does_not_end_the_show(server: ServerProcess, visit: Open) -> None:
    here = enter(visit, server.url, "?stage=1&scene=broken")
    here.wait("() => window.mer.stage.picture.scene === 'plain'")
    here.wait(f"() => ({BRIGHTEST})() > 20")
    here.page.keyboard.press("s")
    notice = here.page.locator(".notice", has_text="scene")
    notice.wait_for()
    assert "The scene broken failed: no more ideas" in notice.inner_text()
    assert any("no more ideas" in error for error in here.errors)
    here.errors.clear()


def test_an_unknown_scene_is_told(server: ServerProcess, visit: Open) -> None:
    here = enter(visit, server.url, "?stage=1&scene=disco")
    here.page.keyboard.press("Escape")
    notice = here.page.locator(".notice", has_text="scene")
    notice.wait_for()
    assert "There is no scene disco; there are: aurora, " in notice.inner_text()


def test_little_motion_begins_with_the_plain_colour(server: ServerProcess, visit: Open) -> None:
    here = enter(visit, server.url, reduced_motion="reduce")
    assert here.js("window.mer.stage.picture.scene") == "plain"


def test_the_example_of_the_documents_is_a_scene(
    server: ServerProcess, visit: Open, folder: Path
) -> None:
    document = Path(__file__).parents[2] / "docs" / "stage-mode.md"
    (example,) = re.findall(r"```js\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL)
    (folder / "moon.js").write_text(example)
    frames = frames_of(visit(server.url), "moon")
    assert most_flashes(frames) <= 3
    assert frames[-1].max() > 40
