"""Pictures of the page in all its modes, states, themes and sizes, from real servers.

python web/test/gallery.py OUT [--input FILE]

OUT gets the pictures and an index.html that shows them all. FILE is music of half a minute or more
that libsndfile reads (WAV, FLAC, OGG, MP3); without it, the built-in demo plays. It needs Chromium
and playwright, and espeak-ng for the state "speech"; on two cores it takes about four minutes.
Exit code 1: a page could not be brought into its state, or wrote an error to its console.
"""

from __future__ import annotations

import argparse
import html
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import mer_web
import numpy as np
import soundfile
from numpy.typing import NDArray
from websockets.sync.client import connect

from realtime_mer.bench.demo_audio import demo_audio

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parents[2]
SIZES = (
    (320, 640), (390, 844), (844, 390), (820, 1180), (1366, 768), (1440, 900), (1920, 1080),
    (3840, 2160),
)  # fmt: skip
DESK, PHONE, PROJECTOR = (1440, 900), (390, 844), (1920, 1080)
THEMES = ("dark", "light")
# What a mixer shows, with the size of its source.
PIECES = {
    "badge": (520, 100), "plane": (600, 600), "timeline": (1200, 300), "wash": (800, 450),
    "badge,timeline": (1200, 450), "wash,badge,plane": (1280, 720),
}  # fmt: skip
RATE_HZ = 22_050
BLOCK_S = 0.2
STREAMS = ("Studio A", "Foyer", "Dance floor", "Therapy room")  # on the wall
MUSIC_S = 20.0  # before silence, speech or a stall
START_TIMEOUT_S = 90.0
STATE_TIMEOUT_MS = 60_000
DRAWN_MS = 600  # transitions and the flight of the point
SPOKEN = "This is a person who talks about the weather, the trains and the news of the day. " * 12
SHOW = """
[[osc]]
name = "visuals"
to = "127.0.0.1:9"

[[osc]]
name = "lights"
to = "127.0.0.1:10"
"""
HISTORY = "(count) => mer.history.length >= count"
STATE = "(state) => mer.newest?.state === state"
# What Chromium itself writes while a server is away.
EXPECTED = re.compile(r"WebSocket connection to|Failed to load resource")


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        url: of its page.
        process: its process.
    """

    url: str
    process: subprocess.Popen[bytes]


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[Server]:
    """Run `serve` until the end of the `with` block; its messages go to a file in the folder."""
    command = [sys.executable, "-m", "realtime_mer", "serve", "--port", "0", *options]
    path = os.pathsep.join([str(ROOT), *(str(ROOT / part) for part in ("engine", "web"))])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    with (
        tempfile.NamedTemporaryFile(dir=folder, suffix=".log", delete=False) as log,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment
        ) as process,
    ):
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if found := re.search(rb"https?://\S+", line):
                    yield Server(found.group().decode().rstrip("/") + "/", process)
                    break
            else:
                raise SystemExit(f"a server did not start: {Path(log.name).read_text()}")
        finally:
            process.terminate()


@dataclass
class Gallery:
    """Takes the pictures.

    Attributes:
        browser: takes them.
        folder: gets them.
        pictures: their names, in order.
        faults: what went wrong.
    """

    browser: Browser
    folder: Path
    pictures: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @contextmanager
    def page(
        self, name: str, url: str, size: tuple[int, int] = DESK, theme: str = "dark"
    ) -> Iterator[Page]:
        """Open a page, and take a picture of it at the end of the `with` block.

        Without a server of this page, there is no picture. A state that does not come is a fault.
        """
        width, height = size
        with self.browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="light" if theme == "light" else "dark",
            has_touch=width < 500,
        ) as context:
            page = context.new_page()
            page.set_default_timeout(STATE_TIMEOUT_MS)
            page.on("pageerror", lambda error: self.faults.append(f"{name}: {error}"))
            page.on(
                "console",
                lambda message: (
                    self.faults.append(f"{name}: {message.text}")
                    if message.type == "error" and not EXPECTED.search(message.text)
                    else None
                ),
            )
            begun = time.monotonic()
            try:
                page.goto(url)
                yield page
                page.wait_for_timeout(DRAWN_MS)
                file = f"{name}-{width}x{height}-{theme}.png"
                transparent = "overlay=" in url
                page.screenshot(path=self.folder / file, omit_background=transparent)
                self.pictures.append(file)
                print(f"{file}  {time.monotonic() - begun:.1f} s", flush=True)
            except Exception as error:
                reason = str(error).splitlines()[0]
                self.faults.append(f"{name} {width}x{height} {theme}: {reason}")
                print(self.faults[-1], flush=True)

    def write_index(self) -> None:
        """Write a page that shows all pictures in groups, and what went wrong."""
        groups: dict[str, list[str]] = {}
        for file in self.pictures:
            groups.setdefault(file.split("-")[0], []).append(file)
        parts = [
            "<!doctype html><html lang=en><meta charset=utf-8><title>Gallery</title><style>"
            "body{font:15px system-ui,sans-serif;margin:2rem;background:#777;color:#fff}"
            "div{display:flex;flex-wrap:wrap;gap:1rem}figure{margin:0;max-width:31rem}"
            "img{max-width:100%;max-height:24rem;background:repeating-conic-gradient(#666 0 25%,"
            "#888 0 50%) 0 0/2rem 2rem}a{color:inherit}</style><h1>Gallery</h1>"
        ]
        parts += [f"<p>{html.escape(fault)}</p>" for fault in self.faults]
        for group, files in groups.items():
            parts.append(f"<h2>{html.escape(group)}</h2><div>")
            for file in files:
                name = html.escape(file)
                parts.append(
                    f"<figure><a href='{name}'><img src='{name}' alt='{name}' loading=lazy></a>"
                    f"<figcaption>{name.removesuffix('.png')}</figcaption></figure>"
                )
            parts.append("</div>")
        (self.folder / "index.html").write_text("".join(parts), encoding="utf-8")


def read_music(file: Path | None) -> NDArray[np.float32]:
    """Return a minute of music at `RATE_HZ`, float32 [samples], repeated if it is shorter."""
    import soxr

    if file is None:
        return demo_audio(60.0, RATE_HZ)
    try:
        samples, rate_hz = soundfile.read(file, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise SystemExit(f"{file} cannot be read ({error}); give a WAV, FLAC, OGG or MP3") from None
    if not len(samples):
        raise SystemExit(f"{file} holds no music; give another file")
    mono = np.asarray(soxr.resample(samples.mean(axis=1), rate_hz, RATE_HZ), dtype=np.float32)
    return np.resize(mono, round(60.0 * RATE_HZ))


def speech(folder: Path) -> NDArray[np.float32] | None:
    """Return some speech at `RATE_HZ`; None without espeak-ng."""
    if shutil.which("espeak-ng") is None:
        return None
    file = folder / "speech.wav"
    subprocess.run(["espeak-ng", "-w", str(file), SPOKEN], check=True)
    samples, rate_hz = soundfile.read(file, dtype="float32")
    assert rate_hz == RATE_HZ
    return np.asarray(samples, dtype=np.float32)


@contextmanager
def streams(server: Server, music: NDArray[np.float32]) -> Iterator[None]:
    """Send parts of the music to a server until the end of the `with` block, as browsers do."""
    ended = threading.Event()

    def send(name: str, start_s: float) -> None:
        samples = np.roll(music, -round(start_s * RATE_HZ))
        blocks = np.array_split(samples, round(len(samples) / RATE_HZ / BLOCK_S))
        with connect(f"ws{server.url.removeprefix('http')}ws") as socket:
            socket.send(json.dumps({"type": "start", "sample_rate_hz": RATE_HZ, "name": name}))
            for block in itertools.cycle(blocks):
                socket.send(block.tobytes())
                while not ended.is_set():
                    with suppress(TimeoutError):
                        socket.recv(0.0)
                        continue
                    break
                if ended.wait(BLOCK_S):
                    return

    threads = [
        threading.Thread(target=send, args=(name, 60.0 * index / len(STREAMS)))
        for index, name in enumerate(STREAMS)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def take(gallery: Gallery, source: str, folder: Path, music: NDArray[np.float32]) -> None:
    """Take all pictures.

    Args:
        gallery: takes them.
        source: the input of the server that plays all the time.
        folder: for files of the servers.
        music: float32 [samples] at `RATE_HZ`.
    """
    before = music[: round(MUSIC_S * RATE_HZ)]
    config = folder / "show.toml"
    config.write_text(SHOW, encoding="utf-8")
    sounds = {"silence": np.zeros(round(600 * RATE_HZ), np.float32)}
    if (spoken := speech(folder)) is not None:
        sounds["speech"] = np.tile(spoken, 4)
    with ExitStack() as stack:

        def serve(*options: str) -> Server:
            return stack.enter_context(serving(folder, *options))

        playing = ("--input", source, "--loop", "--hop", "0.5")
        live = serve(*playing)
        for size in (DESK, PHONE):
            with gallery.page("state-settling", live.url, size) as page:
                page.wait_for_function(STATE, arg="settling")
        states = {}
        for state, sound in sounds.items():
            file = folder / f"{state}.wav"
            soundfile.write(file, np.concatenate([before, sound]), RATE_HZ, subtype="PCM_16")
            states[state] = serve("--input", str(file), "--hop", "0.5")
        stalled = serve("--input", "-", "--pcm-rate", str(RATE_HZ), "--hop", "0.5")
        assert stalled.process.stdin is not None
        stalled.process.stdin.write((before * 32767).astype("<i2").tobytes())
        stalled.process.stdin.flush()
        empty = serve("--input", "browser")
        locked = serve("--input", "browser", "--token", str(folder / "tokens.toml"))

        desk = serve(*playing, "--config", str(config), "--person", str(folder / "anna.json"))

        take_entries(gallery, empty, locked, desk)
        take_page(gallery, live, desk)
        take_modes(gallery, live)
        if "/wall" in mer_web.FILES:
            with streams(live, music):
                take_wall(gallery, live)
        for state, server in {**states, "stalled": stalled}.items():
            for size in (DESK, PHONE):
                with gallery.page(f"state-{state}", server.url, size) as page:
                    page.wait_for_function(STATE, arg=state)
        with gallery.page("state-lost", stalled.url) as page:
            page.wait_for_function(HISTORY, arg=1)
            stalled.process.kill()
            page.wait_for_function("() => mer.connection.phase.name !== 'open'")


def take_entries(gallery: Gallery, empty: Server, locked: Server, desk: Server) -> None:
    """Take what newcomers see: nothing yet, a token, taps."""
    with gallery.page("state-waiting", empty.url) as page:
        page.wait_for_function("() => mer.hello !== null")
    with gallery.page("state-notice", empty.url) as page:
        page.wait_for_function("() => mer.hello !== null")
        page.keyboard.press("e")  # there is nothing to save yet
    for theme in THEMES:
        for size in (DESK, PHONE):
            with gallery.page("gate", locked.url, size, theme) as page:
                page.wait_for_function("() => mer.connection.phase.name === 'locked'")
            with gallery.page("calibrate", f"{desk.url}calibrate", size, theme) as page:
                page.wait_for_function("() => document.querySelector('#prompt').dataset.ready")


def take_page(gallery: Gallery, live: Server, desk: Server) -> None:
    """Take the page in each size and theme, and what opens on it."""
    for theme in THEMES:
        for size in SIZES:
            with gallery.page("page", live.url, size, theme) as page:
                page.wait_for_function(STATE, arg="tracking")
        for size in (DESK, PHONE, (844, 390)):
            with gallery.page("help", live.url, size, theme) as page:
                page.wait_for_function(STATE, arg="tracking")
                page.keyboard.press("?")
            with gallery.page("show", desk.url, size, theme) as page:
                page.wait_for_function("() => !document.querySelector('#show').hidden")
                page.locator("#show summary").click()
                page.locator("#show").scroll_into_view_if_needed()
    with gallery.page("state-paused", live.url) as page:
        page.wait_for_function(STATE, arg="tracking")
        page.keyboard.press("p")
    for zoom in ("10m", "1h"):
        with gallery.page(f"page_{zoom}", f"{live.url}?zoom={zoom}") as page:
            page.wait_for_function(STATE, arg="tracking")


def take_wall(gallery: Gallery, live: Server) -> None:
    """Take the wall of all streams."""
    for theme in THEMES:
        for size in (PHONE, DESK, (3840, 2160)):
            with gallery.page("wall", f"{live.url}wall", size, theme) as page:
                page.wait_for_function(
                    """(count) => [...document.querySelectorAll(".tile-word")]
                      .filter((word) => word.textContent).length > count""",
                    arg=len(STREAMS),
                )


def take_modes(gallery: Gallery, live: Server) -> None:
    """Take the stage with each of its scenes, the pieces of an overlay and the report."""
    scenes = [
        path.removeprefix("/scenes/").removesuffix(".js")
        for path in mer_web.FILES
        if path.startswith("/scenes/") and path.endswith(".js")
    ]
    for scene in scenes:
        for size in (DESK, PROJECTOR, PHONE):
            with gallery.page(f"stage-{scene}", f"{live.url}?stage=1&scene={scene}", size) as page:
                page.wait_for_function(STATE, arg="tracking")
                page.wait_for_timeout(1500)  # a scene fades in
    for piece, size in PIECES.items():
        for theme in THEMES:
            name = f"overlay-{piece.replace(',', '+')}"
            url = f"{live.url}?overlay=1&show={piece}&theme={theme}"
            with gallery.page(name, url, size, theme) as page:
                page.wait_for_function(STATE, arg="tracking")
    with gallery.browser.new_context() as context:
        answer = context.request.get(f"{live.url}report.html")
        report = answer.text() if answer.ok else ""
    for theme in THEMES if report else ():
        for size in (DESK, PHONE):
            with gallery.page("report", "about:blank", size, theme) as page:
                page.set_content(report)  # the server gives it as a download


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the pictures")
    parser.add_argument("--input", type=Path, metavar="FILE", help="music (default: the demo)")
    args = parser.parse_args(arguments)
    browsers = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    chromium = next(filter(None, map(shutil.which, browsers)), None)
    if chromium is None:
        print(f"no browser: none of {', '.join(browsers)} is in PATH", file=sys.stderr)
        return 2
    music = read_music(args.input)
    args.out.mkdir(parents=True, exist_ok=True)
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--no-first-run"]
        )
        gallery = Gallery(browser, args.out)
        begun = time.monotonic()
        source = "demo" if args.input is None else str(args.input.resolve())
        take(gallery, source, Path(folder), music)
        browser.close()
    gallery.write_index()
    for fault in gallery.faults:
        print(fault, file=sys.stderr)
    print(
        f"{len(gallery.pictures)} pictures in {time.monotonic() - begun:.0f} s, "
        f"{len(gallery.faults)} faults: {args.out / 'index.html'}"
    )
    return 1 if gallery.faults else 0


if __name__ == "__main__":
    sys.exit(main())
