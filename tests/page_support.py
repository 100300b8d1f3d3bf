"""The server as a process, and a browser page that records its requests and console errors."""

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

# Long enough for a busy machine: only a failing test waits this long.
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 60.0
WAIT_MS = 120_000
CHROMIUM_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    # A name that browsers do not treat as localhost, so that the page is not a secure context.
    "--host-resolver-rules=MAP insecure.test 127.0.0.1",
)
# The browser writes this to the console while the server is away; a page cannot prevent it.
CONNECTION_FAILED = re.compile(
    r"^(WebSocket connection to 'wss?://[^']+' failed|Failed to load resource: )"
)


class ServerProcess:
    """`realtime-mer serve` as a process; `url` is the address that it prints."""

    def __init__(self, *arguments: str) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        # Unbuffered, so that the printed address arrives at once.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "realtime_mer", "serve", *arguments],
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self._killed = False
        try:
            self.url = self._read_url()
        except BaseException:  # the time limit of the test, too
            self._process.kill()
            self._reap()
            raise

    def _read_url(self) -> str:
        assert self._process.stdout is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        for line in self._process.stdout:
            found = re.search(r"https?://\S+", line)
            if found:
                return found.group().rstrip("/") + "/"
            assert time.monotonic() < deadline, "the server did not print its address"
        raise AssertionError(f"the server exited with code {self._process.wait()}: {self.errors()}")

    def errors(self) -> str:
        """Return what it has printed to standard error."""
        self._errors.seek(0)
        return self._errors.read()

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port is not None
        return port

    def kill(self) -> None:
        """Kill it, as a power cut would."""
        self._killed = True
        self._process.kill()
        self._reap()

    def stop(self) -> None:
        """Stop it with SIGTERM; fail if it has already exited or printed a traceback."""
        if self._killed:
            return
        code = self._process.poll()
        if code is None:
            self._process.terminate()
        errors = self._reap()
        assert code is None, f"the server had exited with code {code}: {errors}"
        assert "Traceback" not in errors, errors

    def _reap(self) -> str:
        try:
            self._process.wait(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        errors = self.errors()
        self._errors.close()
        return errors


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def chromium() -> str | None:
    """Return the path of an installed Chromium, if there is one."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        path = shutil.which(name)
        if path:
            return path
    return None


# A busy machine makes fewer estimates, and the page says so at any moment: in place of the notice
# that a test waits for, and with a button more. The page does not get to know of it.
HIDE_LOAD = """
  window.WebSocket = class extends WebSocket {
    constructor(...parts) {
      super(...parts);
      this.addEventListener("message", (event) => {
        if (/"code": ?"(slower|full_rate)"/.test(event.data)) event.stopImmediatePropagation();
      });
    }
  };
"""


class Visit:
    """A page, and its requests and console errors."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.page: Page = context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.page.add_init_script(HIDE_LOAD)
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.may_lose_server = False
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.errors.append(f"uncaught: {error}"))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("websocket", lambda socket: self.requests.append(socket.url))
        self.url = url
        self.page.goto(url)

    def _console(self, message: Any) -> None:
        if message.type not in ("error", "warning"):
            return
        if self.may_lose_server and CONNECTION_FAILED.match(message.text):
            return
        self.errors.append(f"{message.type}: {message.text}")

    def wait(self, condition: str, argument: object = None) -> None:
        """Wait until a JavaScript expression (or function of the argument) is true."""
        self.page.wait_for_function(condition, arg=argument)

    def js(self, expression: str, argument: object = None) -> Any:
        """Evaluate a JavaScript expression (or function of the argument)."""
        return self.page.evaluate(expression, argument)

    def pause(self) -> None:
        """Pauses the view, and waits until the page has drawn it so."""
        self.page.keyboard.press("p")
        self.js("() => new Promise((drawn) => requestAnimationFrame(drawn))")
        # Numbers change at most four times a second: the last ones may still be due.
        self.wait("() => !mer.valueDisplay._pending")

    def retry(self) -> None:
        """Presses "try now" as soon as it is shown; a pointer would wait until nothing moves."""
        self.wait(
            """() => {
                 const button = document.getElementById("retry");
                 const shown = !button.hidden;
                 if (shown) button.click();
                 return shown;
               }"""
        )

    def check(self) -> None:
        """Fail on a console error, and on a request to any other server."""
        assert not self.errors, self.errors
        own = urlsplit(self.url).netloc
        foreign = [
            url
            for url in self.requests
            if urlsplit(url).netloc != own and urlsplit(url).scheme not in ("blob", "data")
        ]
        assert not foreign, foreign
        assert any(url.startswith("ws") for url in self.requests) or "bench" in self.url


Serve = Callable[..., ServerProcess]
Open = Callable[..., Visit]
