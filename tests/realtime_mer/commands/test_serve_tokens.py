"""`realtime-mer serve` with tokens, as a user runs it: what it asks for, prints and hides."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import segno
import soundfile
from live_support import TIMEOUT_S, receive
from support import music
from support_radio import Answer, running_radio
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from realtime_mer.cli import main
from realtime_mer.commands.token_options import qr_code

COMMAND = [sys.executable, "-m", "realtime_mer", "serve", "--port", "0"]
WRONG = "a-secret-of-another-server"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such terminals")
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is missing")


class Serving:
    """A running `serve` whose standard output is a terminal or a pipe."""

    def __init__(self, *options: str, terminal: bool, environ: dict[str, str]) -> None:
        if terminal:
            ours, theirs = os.openpty()
            stdout: Any = os.fdopen(ours, "rb")
        else:
            stdout, theirs = None, subprocess.PIPE
        self.popen = subprocess.Popen(
            [*COMMAND, *options],
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=subprocess.PIPE,
            env={**os.environ, "COLUMNS": "80", **environ},
        )
        if terminal:
            os.close(theirs)
        self._lines: queue.Queue[str] = queue.Queue()
        self.printed: list[str] = []
        self._streams: list[Any] = [stdout or self.popen.stdout, self.popen.stderr]
        self._readers = [
            threading.Thread(target=self._read, args=(stream,), daemon=True)
            for stream in self._streams
        ]
        for reader in self._readers:
            reader.start()
        self.url = self.line("realtime-mer is at (http://.*/)")

    def _read(self, stream: Any) -> None:
        data = b""
        # At the end of a terminal's other side reading fails.
        with contextlib.suppress(OSError):
            while part := stream.read1():
                *lines, data = (data + part).split(b"\n")
                for line in lines:
                    self._lines.put(line.decode().rstrip("\r"))

    def line(self, pattern: str) -> str:
        """Wait for a line that matches; return its first group, or all of it."""
        while True:
            try:
                line = self._lines.get(timeout=TIMEOUT_S)
            except queue.Empty:
                pytest.fail(f"no line like {pattern!r} in: {self.printed}")
            self.printed.append(line)
            if match := re.fullmatch(pattern, line):
                return match[1] if match.groups() else match[0]

    def connect(self, **options: Any) -> ClientConnection:
        url = self.url.replace("http", "ws") + "ws"
        client: ClientConnection = connect(url, close_timeout=1.0, ping_interval=None, **options)
        return client

    def http(self, path: str, **headers: str) -> tuple[http.client.HTTPResponse, str]:
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(str(parts.netloc), timeout=TIMEOUT_S)
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            return response, response.read().decode()
        finally:
            connection.close()

    def enter(self, link: str) -> str:
        """Open a link as a browser does; return the cookie."""
        response, _ = self.http("/" + link.partition("/enter")[1][1:] + link.partition("/enter")[2])
        assert response.status == 303
        return str(response.headers["Set-Cookie"]).partition(";")[0]

    def stop(self) -> str:
        """End it as Ctrl-C does; return all that it printed."""
        self.popen.send_signal(signal.SIGINT)
        assert self.popen.wait(TIMEOUT_S) == 0
        for reader in self._readers:
            reader.join(TIMEOUT_S)
        while not self._lines.empty():
            self.printed.append(self._lines.get())
        return "\n".join(self.printed)

    def close(self) -> None:
        self.popen.kill()
        self.popen.wait()
        for reader in self._readers:
            reader.join(TIMEOUT_S)
        for stream in self._streams:
            stream.close()


@contextlib.contextmanager
def serving(*options: str, terminal: bool = False, **environ: str) -> Iterator[Serving]:
    process = Serving(*options, terminal=terminal, environ=environ)
    try:
        yield process
    finally:
        process.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The user's configuration folder of the test."""
    return tmp_path / "config"


def secrets_in(path: Path) -> dict[str, str]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("wrong", [("--proxy", "foo"), ("--allow-frame", "foo"), ("--drain", "-1")])
@pytest.mark.parametrize("more", [(), ("--tls", "self-signed")])
def test_a_start_that_is_refused_leaves_no_files(
    folder: Path,
    wrong: tuple[str, ...],
    more: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
    arguments = ("serve", "--host", "0.0.0.0", "--port", "0", "--input", "demo")
    assert main([*arguments, *wrong, *more]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not folder.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the folder is Linux's")
def test_other_machines_need_a_token_that_is_made_once(folder: Path) -> None:
    path = folder / "realtime-mer" / "tokens.toml"
    seen = []
    for _ in range(2):
        with serving(
            "--host", "0.0.0.0", "--input", "demo", XDG_CONFIG_HOME=str(folder)
        ) as process:
            process.line(f"a token is needed; the tokens are in {re.escape(str(path))}")
            secrets = secrets_in(path)
            with process.connect(additional_headers=bearer(secrets["view"])) as client:
                assert receive(client)["role"] == "view"
            with pytest.raises(InvalidStatus):
                process.connect(additional_headers=bearer(WRONG))
            printed = process.stop()
        seen.append(secrets)
        # Standard output may be a log here.
        assert "/enter" not in printed
        assert "Traceback" not in printed
    assert seen[0] == seen[1]


def test_on_this_machine_a_token_is_needed_where_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "show.toml"
    with serving("--input", "demo", "--token", str(path)) as process:
        with process.connect() as client:
            client.send(json.dumps({"type": "auth", "token": secrets_in(path)["control"]}))
            assert receive(client)["role"] == "control"
        assert process.http("/metrics")[0].status == 401
        assert json.loads(process.http("/healthz")[1])["token"] == "required"
    with serving("--input", "demo") as process, process.connect() as client:
        assert receive(client)["role"] == "control"


def test_the_token_of_the_environment() -> None:
    secret = "the-secret-of-a-container"
    with serving("--input", "demo", "--token", "env", REALTIME_MER_TOKEN=secret) as process:
        process.line("a token is needed; the tokens are in the environment")
        with process.connect(additional_headers=bearer(secret)) as client:
            assert receive(client)["role"] == "control"
        assert secret not in process.stop()


def test_no_token_says_what_it_opens(folder: Path) -> None:
    with serving(
        "--host", "0.0.0.0", "--no-token", "--input", "demo", XDG_CONFIG_HOME=str(folder)
    ) as process:
        with process.connect() as client:
            assert receive(client)["role"] == "control"
        printed = process.stop()
    assert "binding 0.0.0.0 without a token: every device that can reach" in printed
    assert not folder.exists()


def test_a_server_behind_a_proxy_is_reached_from_elsewhere(folder: Path) -> None:
    options = ("--proxy", "127.0.0.1", "--input", "demo")
    with serving(*options, XDG_CONFIG_HOME=str(folder)) as process:
        process.line("a token is needed; the tokens are in .*")
        assert process.http("/metrics")[0].status == 401
    with serving(*options, "--no-token", XDG_CONFIG_HOME=str(folder)) as process:
        assert process.http("/metrics")[0].status == 200
        assert "no token behind the proxy: everyone whom it lets pass can" in process.stop()


def test_a_terminal_shows_a_link_and_a_new_one_after_its_use(tmp_path: Path) -> None:
    options = ("--input", "demo", "--token", str(tmp_path / "tokens.toml"))
    with serving(*options, terminal=True) as process:
        links = []
        for _ in range(3):
            process.line("this link opens the page once, to watch and to send sound:")
            links.append(process.line(r"(http://127\.0\.0\.1:\d+/enter\?code=[\w-]{22})"))
            shown = [process.line("\x1b.*█+.*") for _ in range(8)]
            assert all(line.endswith("\x1b[0m") for line in shown)
            cookie = process.enter(links[-1])
            with process.connect(additional_headers={"Cookie": cookie}) as client:
                assert receive(client)["role"] == "send"
        assert len(set(links)) == 3
        assert process.http("/enter" + links[0].partition("/enter")[2])[0].status == 403
        process.stop()


def test_quiet_shows_the_link_without_its_code(tmp_path: Path) -> None:
    options = ("--input", "demo", "--quiet", "--token", str(tmp_path / "tokens.toml"))
    with serving(*options, terminal=True) as process:
        process.enter(process.line(r"(http://.*/enter\?code=.*)"))
        process.line(r"(http://.*/enter\?code=.*)")
        assert "█" not in process.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="the addresses are found so on Linux")
def test_the_link_of_all_addresses_is_one_that_a_phone_reaches(tmp_path: Path) -> None:
    from realtime_mer.server.own_addresses import own_addresses

    addresses = own_addresses(ipv6=False)
    if not addresses:
        pytest.skip("this machine has no network")
    options = ("--input", "demo", "--host", "0.0.0.0", "--token", str(tmp_path / "tokens.toml"))
    with serving(*options, terminal=True) as process:
        for address in addresses:
            process.line(f"other devices find it at http://{address}:.*/")
        link = process.line(r"(http://.*/enter\?code=.*)")
        assert link.startswith(f"http://{addresses[0]}:")


def test_the_link_behind_a_proxy_is_one_of_its_site(tmp_path: Path) -> None:
    options = [
        "--proxy", "127.0.0.1", "--allow-origin", "null", "--allow-origin", "https://mer.example",
        "--token", str(tmp_path / "tokens.toml"),
    ]  # fmt: skip
    with serving("--input", "demo", *options, terminal=True) as process:
        link = process.line(r"(http.*/enter\?code=.*)")
        assert link.startswith("https://mer.example/enter?code=")
        response, _ = process.http(link.removeprefix("https://mer.example"), Host="mer.example")
        assert response.status == 303


def test_open_opens_a_link_with_control(tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    os.mkfifo(opened)
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(0o755)
    received: queue.Queue[str] = queue.Queue()
    # Reading a FIFO waits for its writer.
    threading.Thread(target=lambda: received.put(opened.read_text()), daemon=True).start()
    options = ("--input", "demo", "--open", "--token", str(tmp_path / "tokens.toml"))
    with serving(*options, BROWSER=f"{browser} %s") as process:
        cookie = process.enter(received.get(timeout=TIMEOUT_S).strip())
        with process.connect(additional_headers={"Cookie": cookie}) as client:
            assert receive(client)["role"] == "control"


# Refused options.


@pytest.mark.parametrize("secret", ["Zk3vY0uP4nq8s1tX7bW2cR5dM9gH6jL0", "s" * 400])
def test_a_token_as_an_option_is_refused_and_not_repeated(tmp_path: Path, secret: str) -> None:
    done = _refused(tmp_path, "--token", secret)
    assert "never the token itself" in done
    assert secret not in done
    assert list(tmp_path.iterdir()) == []


def test_bad_tokens_are_exit_code_2(tmp_path: Path) -> None:
    short = tmp_path / "short.toml"
    short.write_text('control = "secret"')
    short.chmod(0o600)
    assert "has 6 characters" in _refused(tmp_path, "--token", str(short))
    short.chmod(0o644)
    assert "other users can read" in _refused(tmp_path, "--token", str(short))
    assert "REALTIME_MER_TOKEN is not set" in _refused(tmp_path, "--token", "env")
    assert "not allowed with" in _refused(tmp_path, "--token", "--no-token")
    (tmp_path / "config").write_text("not a folder")
    message = _refused(tmp_path, "--host", "0.0.0.0", XDG_CONFIG_HOME=str(tmp_path / "config"))
    if sys.platform == "linux":
        assert "--token FILE" in message


def _refused(folder: Path, *options: str, **environ: str) -> str:
    """Run a `serve` that must not start; return its message."""
    done = subprocess.run(
        [*COMMAND, "--input", "demo", *options],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        env={**os.environ, **environ},
    )
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


# The code for phones.


def test_the_code_fits_a_terminal_and_is_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    link = f"http://[2001:db8:1234:5678:9abc:def0:1234:5678]:65535/enter?code={'x' * 22}"
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    code = qr_code(link)
    assert code is not None
    lines = [re.sub("\x1b[^m]*m", "", line) for line in code.splitlines()]
    assert max(map(len, lines)) <= 80
    # Light is the foreground, which the colours make white.
    halves = {" ": (1, 1), "▀": (0, 1), "▄": (1, 0), "█": (0, 0)}
    rows = [[halves[c][half] for c in line] for line in lines for half in (0, 1)]
    expected = [list(row) for row in segno.make(link, error="l", micro=False).matrix_iter(border=2)]
    assert rows[: len(expected)] == expected
    monkeypatch.setenv("COLUMNS", "30")
    assert qr_code(link) is None
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="latin-1"))
    assert qr_code(link) is None


# No secret comes out.


@needs_ffmpeg
def test_no_secret_in_any_output(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.toml"
    song = io.BytesIO()
    soundfile.write(song, music(2.0, 44_100), 44_100, format="MP3")
    outputs: list[str] = []
    with running_radio() as radio:
        # It plays once, without a stated length, and is then gone; ffmpeg asks without login first.
        live = Answer(song.getvalue(), login="me:radio-password", length=0)
        radio.answers["/live?key=radio-key"] = [live, live, live, Answer(b"gone", status=404)]
        playlist = f"{radio.address}/live?key=radio-key".replace("//", "//me:radio-password@")
        radio.answers["/list?key=list-key"] = Answer(playlist.encode(), "audio/x-mpegurl")
        address = f"{radio.address}/list?key=list-key".replace("//", "//me:list-password@")
        options = ("--host", "0.0.0.0", "--hop", "0.1", "--input", address, "--token", str(tokens))
        with serving(*options, terminal=True) as process:
            secrets = secrets_in(tokens)
            link = process.line(r"(http://.*/enter\?code=.*)")
            cookie = process.enter(link)
            process.line(r"input: url, http://127.0.0.1:\d+/list\?\.\.\., .*")
            if sys.platform == "linux":
                outputs.append(Path(f"/proc/{process.popen.pid}/cmdline").read_text())
                outputs[0] = outputs[0].replace(address, "")  # what the user wrote there
            for token in (WRONG, *secrets.values()):
                with (
                    contextlib.suppress(InvalidStatus),
                    process.connect(additional_headers=bearer(token)) as client,
                ):
                    outputs.append(str(receive(client)))
                with process.connect() as client:
                    client.send(json.dumps({"type": "auth", "token": token}))
                    outputs.append(str(receive(client)))
                for path in ("/metrics", "/healthz", "/", "/enter?code=wrong"):
                    response, body = process.http(path, **bearer(token))
                    outputs += [str(response.headers), body]
            with process.connect(additional_headers={"Cookie": cookie}) as client:
                process.line(".*was ended by the server.*")
                outputs.append(process.stop())
                with contextlib.suppress(ConnectionClosed):
                    while True:
                        outputs.append(str(receive(client)))
    hidden = [WRONG, *secrets.values(), cookie.partition("=")[2]]
    hidden += ["radio-key", "radio-password", "list-key", "list-password"]
    everything = "\n".join(outputs)
    assert "/list?..." in everything
    assert "Traceback" not in everything
    for secret in hidden:
        assert secret not in everything


@needs_ffmpeg
@pytest.mark.parametrize("command", ["listen", "doctor", "analyze"])
def test_no_secret_of_an_address_in_other_commands(tmp_path: Path, command: str) -> None:
    song = io.BytesIO()
    soundfile.write(song, music(3.0, 44_100), 44_100, format="MP3")
    with running_radio() as radio:
        radio.answers["/live?key=radio-key"] = Answer(song.getvalue(), login="me:radio-password")
        address = f"{radio.address}/live?key=radio-key".replace("//", "//me:radio-password@")
        options = {
            "listen": ["--input", address, "--record", "evening"],
            "doctor": ["--input", address, "--json"],
            "analyze": [address],
        }[command]
        done = subprocess.run(
            [sys.executable, "-m", "realtime_mer", command, *options],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
    files = [path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.jsonl")]
    everything = done.stdout + done.stderr + "".join(files)
    assert "/live?..." in everything, everything
    for secret in ("radio-key", "radio-password"):
        assert secret not in everything
