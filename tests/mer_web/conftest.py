"""The server as a process, and the page in a headless browser."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from page_support import CHROMIUM_ARGUMENTS, Open, Serve, ServerProcess, Visit, chromium, free_port
from support import music
from support_pulse import VirtualMicrophone, missing_for_pulse

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def serve() -> Iterator[Serve]:
    """Start servers; they are stopped at the end of the module."""
    with contextlib.ExitStack() as stack:

        def start(*arguments: str) -> ServerProcess:
            server = ServerProcess(*arguments)
            stack.callback(server.stop)
            return server

        yield start


@pytest.fixture(scope="module")
def demo(serve: Serve) -> ServerProcess:
    """A server with the demo, five estimates a second."""
    return serve("--input", "demo", "--port", "0", "--hop", "0.2")


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A WAV file with 2.5 s of music: mono, 44.1 kHz, 16 bit."""
    path = tmp_path_factory.mktemp("songs") / "small song.wav"
    soundfile.write(path, music(2.5, seed=3), 44_100, subtype="PCM_16")
    return path


@pytest.fixture(scope="module")
def long_song(song: Path) -> Path:
    """The same again and again: a minute, which outlasts what a test does meanwhile."""
    path = song.with_name("long song.wav")
    samples, rate = soundfile.read(song, dtype="int16")
    soundfile.write(path, np.tile(samples, 24), rate, subtype="PCM_16")
    return path


@pytest.fixture(scope="session")
def microphone_audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The audio of the browser's fake microphone, in a loop."""
    path = tmp_path_factory.mktemp("microphone") / "audio.wav"
    soundfile.write(path, music(20.0, 48_000, channels=2, seed=5), 48_000, subtype="PCM_16")
    return path


@pytest.fixture(scope="module")
def launch(microphone_audio: Path) -> Iterator[Callable[..., Browser]]:
    """Start browsers; they are closed at the end of the module. Skip without Chromium."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = chromium()
    if path is None:
        pytest.skip("no Chromium in PATH")
    with api.sync_playwright() as playwright:

        def start(*arguments: str, fake_devices: bool = True, **options: Any) -> Browser:
            fake = [
                "--use-fake-device-for-media-stream=display-media-type=browser",
                f"--use-file-for-fake-audio-capture={microphone_audio}",
            ]
            browser: Browser = playwright.chromium.launch(
                executable_path=path,
                headless=True,
                args=[*CHROMIUM_ARGUMENTS, *(fake if fake_devices else []), *arguments],
                **options,
            )
            return browser

        # Leaving this context closes the browsers.
        yield start


@pytest.fixture(scope="module")
def browser(launch: Callable[..., Browser]) -> Browser:
    """A browser that grants the microphone."""
    return launch("--use-fake-ui-for-media-stream")


@pytest.fixture
def throttled(launch: Callable[..., Browser]) -> Iterator[Callable[[str], Visit]]:
    """Open a page that another tab hides later, in a browser that slows hidden tabs down.

    Playwright usually makes every page behave as if it were in front.
    """
    port = free_port()
    browser = launch(
        "--use-fake-ui-for-media-stream",
        f"--remote-debugging-port={port}",
        ignore_default_args=[
            "--disable-background-timer-throttling",
            "--disable-backgrounding-occluded-windows",
            "--disable-renderer-backgrounding",
        ],
    )
    same = browser.browser_type.connect_over_cdp(f"http://127.0.0.1:{port}", no_defaults=True)
    visits: list[Visit] = []

    def start(url: str) -> Visit:
        visits.append(Visit(same.contexts[0], url))
        return visits[-1]

    with contextlib.closing(browser):
        yield start
        for opened in visits:
            opened.check()


@pytest.fixture
def sound_server() -> Iterator[VirtualMicrophone]:
    """A sound server with the microphones that a test plugs in."""
    reason = missing_for_pulse()
    if reason is not None:
        pytest.skip(reason)
    with VirtualMicrophone() as server:
        yield server


@pytest.fixture(scope="module")
def denying_browser(launch: Callable[..., Browser]) -> Browser:
    """A browser that denies the microphone."""
    return launch("--deny-permission-prompts")


@pytest.fixture
def visit(browser: Browser) -> Iterator[Open]:
    """Open pages, each in its own profile, and check their errors and requests at the end."""
    with contextlib.ExitStack() as stack:
        visits: list[Visit] = []

        def start(url: str, *, using: Browser = browser, **options: Any) -> Visit:
            options.setdefault("viewport", {"width": 1280, "height": 720})
            context = stack.enter_context(contextlib.closing(using.new_context(**options)))
            visits.append(Visit(context, url))
            return visits[-1]

        yield start
        for opened in visits:
            opened.check()
