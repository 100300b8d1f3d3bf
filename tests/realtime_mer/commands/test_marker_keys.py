"""Markers by keys of the terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from live_support import TIMEOUT_S, wait_for
from support import ESTIMATE, running_program

from realtime_mer.commands.marker_keys import MarkerKeys, marker_text
from realtime_mer.core.events import MAX_MARKER_LENGTH, Marker
from realtime_mer.live.hub import Hub
from realtime_mer.recording.reader import SessionReader

pytest.importorskip("termios", reason="this system has no such terminals")
import pty
import re
import termios

COMMAND = [sys.executable, "-m", "realtime_mer"]


def markers_of(keys: str) -> list[str]:
    """Press keys that come together; return the texts of the markers."""
    hub = Hub()
    heard = hub.subscribe_lossless()
    MarkerKeys(hub, use=False).take(keys)
    return [item.text for item in heard.take() if isinstance(item, Marker)]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("mpatient opened eyes\n", ["patient opened eyes"]),
        ("xyz\nmone\rqmtwo\n", ["one", "two"]),
        ("mmm\n", ["mm"]),
        ("m\n", []),
        ("m  \n", []),
        ("mwrong\x1b\nmright\n", ["right"]),
        ("mab\x7f\x7f\x7fçé\x08\n", ["ç"]),
        ("mwrong\x15right\n", ["right"]),
        ("ma\x1b[D\x1b[3~\x1bOPb\x1b[1;5C\n", ["ab"]),
        ("ma\x00\x07b\n", ["ab"]),
        ("m" + "a" * 9999 + "\n", ["a" * MAX_MARKER_LENGTH]),
    ],
)
def test_keys(keys: str, expected: list[str]) -> None:
    assert markers_of(keys) == expected


def test_a_marker_belongs_to_the_moment_of_its_key() -> None:
    hub = Hub()
    heard = hub.subscribe_lossless()
    keys = MarkerKeys(hub, use=False)
    assert keys.prompt == ""
    hub.publish(replace(ESTIMATE, t=61.0))
    keys.take("mpati")
    assert keys.prompt.startswith("marker: pati")
    hub.publish(replace(ESTIMATE, seq=99, t=70.0))
    keys.take("ent\n")
    (marker,) = [item for item in heard.take() if isinstance(item, Marker)]
    assert (marker.t, marker.text) == (61.0, "patient")
    assert keys.prompt == ""
    assert marker_text(marker) == "marker at 1:01: patient"


def test_keys_of_a_terminal_that_is_not_in_front_do_not_arrive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As below `timeout` in a script, and behind `&`."""
    end, terminal = pty.openpty()
    with os.fdopen(end, "wb", buffering=0) as typed, os.fdopen(terminal) as standard_input:
        monkeypatch.setattr(sys, "stdin", standard_input)
        monkeypatch.setattr(sys, "__stdin__", standard_input)
        with MarkerKeys(Hub()) as keys:
            assert keys.descriptor == terminal
            typed.write(b"mtext\n")
            keys.poll()
            assert keys.typed is None
            assert not keys.arrive


class Program:
    """A program in a terminal of its own.

    Attributes:
        shown: what it has written so far.
        end: number of the terminal's file.
    """

    def __init__(self, arguments: list[str], folder: Path) -> None:
        pid, self.end = pty.fork()
        if pid == 0:  # the program, in this terminal
            with suppress(BaseException):
                os.chdir(folder)
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                path = os.pathsep.join(sys.path)
                environment = {**os.environ, "PYTHONPATH": path, "TERM": "xterm", "COLUMNS": "100"}
                os.execve(sys.executable, [*COMMAND, *arguments], environment)
            os._exit(1)
        self.pid = pid
        self.code: int | None = None
        self.shown = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def type(self, keys: bytes) -> None:
        os.write(self.end, keys)

    def wait_for(self, shown: bytes) -> None:
        wait_for(lambda: shown in self.shown, f"{shown!r} is shown")

    def takes_keys(self) -> bool:
        """Whether the terminal gives keys at once, without showing them."""
        return not int(termios.tcgetattr(self.end)[3]) & (termios.ICANON | termios.ECHO)

    def wait(self) -> int:
        """Wait for the end and return the exit code."""
        self._reader.join(TIMEOUT_S)
        if self.code is None:
            self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.code

    def _read(self) -> None:
        with suppress(OSError):
            while data := os.read(self.end, 65_536):
                self.shown += data


@contextmanager
def program(arguments: list[str], folder: Path) -> Iterator[Program]:
    this = Program(arguments, folder)
    try:
        yield this
    finally:
        if this.code is None:  # else the number may be another process's by now
            os.kill(this.pid, signal.SIGKILL)
        this.wait()
        os.close(this.end)


LISTEN = ["listen", "--input", "demo", "--hop", "0.1", "--loop"]
SERVE = ["serve", "--input", "demo", "--hop", "0.1", "--port", "0"]


@pytest.mark.parametrize(
    "arguments",
    [LISTEN, [*LISTEN, "--format", "csv"], SERVE, [*SERVE, "--quiet"]],
    ids=["display", "rows", "serve", "quiet"],
)
def test_a_marker_in_a_running_session(arguments: list[str], tmp_path: Path) -> None:
    with program([*arguments, "--record", "evening"], tmp_path) as this:
        part = tmp_path / "evening" / "estimates.jsonl"
        wait_for(lambda: part.exists() and b'"estimate"' in part.read_bytes(), "it listens")
        wait_for(this.takes_keys, "keys make markers")
        this.type(b"m")
        this.wait_for(b"marker: ")
        this.type("öffnet die Augen".encode())
        this.wait_for("öffnet die Augen▏".encode())
        if arguments == LISTEN:
            assert b"m marks, Ctrl-C ends" in this.shown
        before = len(this.shown)
        this.type(b"\n")
        wait_for(lambda: b'"marker"' in part.read_bytes(), "it is recorded")
        if "--quiet" not in arguments:
            said = rb"0:0\d  \x1b\[0mmarker: " if arguments == LISTEN else rb"marker at 0:0"
            wait_for(lambda: re.search(said, this.shown[before:]) is not None, "it is said")
        this.type(b"\x03")
        # The mode of before, which the terminal keeps as long as it is open here.
        wait_for(lambda: not this.takes_keys(), "the terminal is given back")
        assert this.wait() == 0, this.shown.decode()
    with SessionReader(tmp_path / "evening") as recording:
        (marker,) = [item for item in recording if isinstance(item, Marker)]
    assert marker.text == "öffnet die Augen"


def test_a_program_that_ends_at_the_second_ctrl_c_gives_the_terminal_back(tmp_path: Path) -> None:
    with program(LISTEN, tmp_path) as this:
        wait_for(this.takes_keys, "keys make markers")
        this.type(b"\x13")  # Ctrl-S, so that the first one takes its time
        while this.takes_keys():
            os.kill(this.pid, signal.SIGINT)
            threading.Event().wait(0.05)
        assert this.wait() in (0, 130)


@pytest.mark.parametrize("arguments", [LISTEN, SERVE], ids=["listen", "serve"])
def test_standard_input_that_is_no_terminal_is_left_alone(
    arguments: list[str], tmp_path: Path
) -> None:
    with running_program(
        [*COMMAND, *arguments, "--record", "evening"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdin is not None
        process.stdin.write(b"mtext\n")
        process.stdin.flush()
        part = tmp_path / "evening" / "estimates.jsonl"
        wait_for(lambda: part.exists() and part.read_bytes().count(b"\n") > 5, "it records")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 0, errors
    assert b'"marker"' not in part.read_bytes()
