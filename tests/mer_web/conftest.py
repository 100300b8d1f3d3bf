"""The real server as a process, and the real page in a headless browser."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import soundfile
from page_support import CHROMIUM_ARGUMENTS, Open, Serve, ServerProcess, Visit, chromium
from support import music

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def serve() -> Iterator[Serve]:
    """Starts servers; each is stopped at the end."""
    with contextlib.ExitStack() as stack:

        def start(*arguments: str) -> ServerProcess:
            server = ServerProcess(*arguments)
            stack.callback(server.stop)
            return server

        yield start


@pytest.fixture(scope="module")
def demo(serve: Serve) -> ServerProcess:
    """One server with the demo, five estimates a second."""
    return serve("--input", "demo", "--port", "0", "--hop", "0.2")


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of music: mono, 44.1 kHz, 16 bit."""
    path = tmp_path_factory.mktemp("songs") / "small song.wav"
    soundfile.write(path, music(4.0, seed=3), 44_100, subtype="PCM_16")
    return path


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the browser's microphone hears, again and again."""
    path = tmp_path_factory.mktemp("room") / "room.wav"
    soundfile.write(path, music(20.0, 48_000, channels=2, seed=5), 48_000, subtype="PCM_16")
    return path


@pytest.fixture(scope="module")
def launch(room: Path) -> Iterator[Callable[..., Browser]]:
    """Starts browsers; each is closed at the end. Skips where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = chromium()
    if path is None:
        pytest.skip("no Chromium in PATH")
    with api.sync_playwright() as playwright:

        def start(*arguments: str) -> Browser:
            browser: Browser = playwright.chromium.launch(
                executable_path=path,
                headless=True,
                args=[*CHROMIUM_ARGUMENTS, f"--use-file-for-fake-audio-capture={room}", *arguments],
            )
            return browser

        # Closing playwright closes its browsers.
        yield start


@pytest.fixture(scope="module")
def browser(launch: Callable[..., Browser]) -> Browser:
    """A browser whose user says yes to the microphone."""
    return launch("--use-fake-ui-for-media-stream")


@pytest.fixture(scope="module")
def shy_browser(launch: Callable[..., Browser]) -> Browser:
    """A browser whose user never says yes."""
    return launch("--deny-permission-prompts")


@pytest.fixture
def visit(browser: Browser) -> Iterator[Open]:
    """Opens pages, each in a profile of its own, and checks at the end what they did."""
    with contextlib.ExitStack() as stack:
        visits: list[Visit] = []

        def start(url: str, *, using: Browser = browser, **options: Any) -> Visit:
            options.setdefault("viewport", {"width": 1280, "height": 720})
            context = stack.enter_context(contextlib.closing(using.new_context(**options)))
            visits.append(Visit(context, url))
            return visits[-1]

        yield start
        for one in visits:
            one.check()
