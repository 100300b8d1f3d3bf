"""The real server as a process, and a page that remembers its requests and complaints."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

START_TIMEOUT_S = 40.0
WAIT_MS = 30_000
CHROMIUM_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    # A name that no browser takes for its own machine, so that the page is not a secure one.
    "--host-resolver-rules=MAP insecure.test 127.0.0.1",
    "--use-fake-device-for-media-stream",
)
# What a browser itself writes to the console when a server is away; no page can prevent it.
SERVER_AWAY = re.compile(r"^WebSocket connection to 'ws://[^']+' failed")


class ServerProcess:
    """`realtime-mer serve` as a user starts it; `url` is where it says it is."""

    def __init__(self, *arguments: str) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        # Unbuffered, so that its first line is there when it is printed.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "realtime_mer", "serve", *arguments],
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self._killed = False
        self.url = self._address()

    def _address(self) -> str:
        assert self._process.stdout is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        for line in self._process.stdout:
            found = re.search(r"http://\S+", line)
            if found:
                return found.group().rstrip("/") + "/"
            assert time.monotonic() < deadline, "the server did not say where it is"
        raise AssertionError(f"the server left with code {self._process.wait()}: {self._said()}")

    def _said(self) -> str:
        self._errors.seek(0)
        return self._errors.read()

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port is not None
        return port

    def kill(self) -> None:
        """Ends it as a power cut would."""
        self._killed = True
        self._process.kill()
        self._reap()

    def stop(self) -> None:
        """Ends it as a user would, and fails where it has ended by itself."""
        if self._killed:
            return
        code = self._process.poll()
        if code is None:
            self._process.terminate()
        said = self._reap()
        assert code is None, f"the server left by itself with code {code}: {said}"
        assert "Traceback" not in said, said

    def _reap(self) -> str:
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        said = self._said()
        self._errors.close()
        return said


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def chromium() -> str | None:
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        path = shutil.which(name)
        if path:
            return path
    return None


class Visit:
    """A page, and all that it asked for and complained about."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.page: Page = context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.may_miss_server = False
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("websocket", lambda socket: self.requests.append(socket.url))
        self.url = url
        self.page.goto(url)

    def _console(self, message: Any) -> None:
        if message.type not in ("error", "warning"):
            return
        if self.may_miss_server and SERVER_AWAY.match(message.text):
            return
        self.complaints.append(f"{message.type}: {message.text}")

    def wait(self, condition: str, argument: object = None) -> None:
        """Waits until a JavaScript expression (or function of the argument) is true."""
        self.page.wait_for_function(condition, arg=argument)

    def js(self, expression: str, argument: object = None) -> Any:
        return self.page.evaluate(expression, argument)

    def check(self) -> None:
        """No complaint, and no request to anything but the page's own server."""
        assert not self.complaints, self.complaints
        own = urlsplit(self.url).netloc
        strange = [
            url
            for url in self.requests
            if urlsplit(url).netloc != own and urlsplit(url).scheme not in ("blob", "data")
        ]
        assert not strange, strange
        assert any(url.startswith("ws") for url in self.requests) or "bench" in self.url


Serve = Callable[..., ServerProcess]
Open = Callable[..., Visit]
