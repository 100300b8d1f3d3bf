"""Signals, closed terminals and outputs that nobody takes, with real processes."""

from __future__ import annotations

import contextlib
import csv
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from live_support import TIMEOUT_S, wait_for
from recording_support import estimates_of
from support import music

if sys.platform == "win32":
    pytest.skip("Windows has other signals and terminals", allow_module_level=True)

import fcntl
import pty
import termios

RATE_HZ = 16_000
COMMAND = [sys.executable, "-m", "realtime_mer"]
LISTEN = ["listen", "--input", "demo", "--loop", "--hop", "0.1", "--record", "evening"]
SHOW_CURSOR, HIDE_CURSOR = b"\x1b[?25h", b"\x1b[?25l"
CTRL_C, CTRL_S = b"\x03", b"\x13"
NAMES = ["SIGINT", "SIGTERM", "SIGHUP"]


class Terminal:
    """A terminal with a program in it, which it controls.

    Attributes:
        shown: what the program has written so far.
    """

    def __init__(self, arguments: list[str], folder: Path) -> None:
        self._end, program_end = pty.openpty()
        self.shown = b""

        def take_terminal() -> None:
            os.setsid()
            fcntl.ioctl(program_end, termios.TIOCSCTTY, 0)
            reset_signals()

        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=folder,
            stdin=program_end,
            stdout=program_end,
            stderr=program_end,
            env=environment(),
            preexec_fn=take_terminal,
        )
        os.close(program_end)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def type(self, keys: bytes) -> None:
        os.write(self._end, keys)

    def close(self) -> None:
        """Close the window."""
        os.close(self._end)

    def wait(self) -> int:
        """Wait for the end of the program and of its output."""
        code = self.process.wait(TIMEOUT_S)
        self._reader.join(TIMEOUT_S)
        return code

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while select.select([self._end], [], [], 0.1)[0] or self.process.poll() is None:
                if select.select([self._end], [], [], 0.1)[0]:
                    self.shown += os.read(self._end, 65_536)


@pytest.fixture
def terminals(tmp_path: Path) -> Iterator[list[Terminal]]:
    started: list[Terminal] = []
    yield started
    for terminal in started:
        terminal.process.kill()
        terminal.process.wait()


def environment() -> dict[str, str]:
    path = os.pathsep.join(sys.path)
    return {**os.environ, "PYTHONPATH": path, "TERM": "xterm-256color", "COLUMNS": "100"}


def reset_signals() -> None:
    """If the tests run in the background of a script, they and their children ignore SIGINT."""
    for name in NAMES:
        signal.signal(getattr(signal, name), signal.SIG_DFL)


def rows(path: Path) -> list[int]:
    """The `seq` of each row of a table; all rows are whole."""
    text = path.read_text()
    assert text.endswith("\n")
    found = list(csv.DictReader(text.splitlines()))
    assert all(None not in row.values() and None not in row for row in found)
    return [int(row["seq"]) for row in found]


def recorded(path: Path) -> list[int]:
    """The `seq` of each estimate of a recording; all lines are whole."""
    return [estimate["seq"] for estimate in estimates_of(path.parent)]


def count(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.parametrize("name", NAMES)
def test_a_signal_ends_listening_and_restores_the_terminal(
    name: str, tmp_path: Path, terminals: list[Terminal]
) -> None:
    terminal = Terminal(LISTEN, tmp_path)
    terminals.append(terminal)
    wait_for(lambda: count(tmp_path / "evening" / "estimates.jsonl") > 5, "five rows are recorded")
    if name == "SIGINT":
        terminal.type(CTRL_C)
    else:
        terminal.process.send_signal(getattr(signal, name))
    assert terminal.wait() == 0, terminal.shown.decode()
    assert terminal.shown.rfind(SHOW_CURSOR) > terminal.shown.rfind(HIDE_CURSOR) > 0
    assert b"Traceback" not in terminal.shown
    numbers = recorded(tmp_path / "evening" / "estimates.jsonl")
    assert numbers == list(range(len(numbers)))
    assert f"{len(numbers)} estimates recorded".encode() in terminal.shown


def test_closing_the_terminal_loses_no_row(tmp_path: Path, terminals: list[Terminal]) -> None:
    terminal = Terminal(LISTEN, tmp_path)
    terminals.append(terminal)
    path = tmp_path / "evening" / "estimates.jsonl"
    wait_for(lambda: count(path) > 5, "five rows are recorded")
    terminal.close()
    assert terminal.process.wait(TIMEOUT_S) == 0
    numbers = recorded(path)
    assert numbers == list(range(len(numbers)))


def stopped_terminal(recording: Path, terminals: list[Terminal]) -> Terminal:
    """Start to listen and record, and stop the terminal after some rows."""
    terminal = Terminal(LISTEN, recording.parent.parent)
    terminals.append(terminal)
    wait_for(lambda: count(recording) > 5, "five rows are recorded")
    terminal.type(CTRL_S)
    return terminal


def test_a_stopped_terminal_holds_up_neither_the_recording_nor_the_end(
    tmp_path: Path, terminals: list[Terminal]
) -> None:
    path = tmp_path / "evening" / "estimates.jsonl"
    terminal = stopped_terminal(path, terminals)
    before = count(path)
    wait_for(lambda: count(path) > before + 30, "the recording goes on")
    terminal.process.terminate()
    assert terminal.process.wait(TIMEOUT_S) == 0
    numbers = recorded(path)
    assert numbers == list(range(len(numbers)))


@pytest.mark.parametrize("options", [[], ["--format", "csv"]])
def test_a_pipe_that_nobody_reads_holds_up_neither_the_recording_nor_the_end(
    options: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "evening" / "estimates.jsonl"
    reader, writer = os.pipe()
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    process = subprocess.Popen(
        [*COMMAND, *LISTEN, *options],
        cwd=tmp_path,
        stdout=writer,
        stderr=subprocess.PIPE,
        env=environment(),
        preexec_fn=reset_signals,
    )
    os.close(writer)
    wait_for(lambda: count(path) > 100, "the recording goes on")  # the pipe holds 40 lines
    process.terminate()
    _, err = process.communicate(timeout=TIMEOUT_S)
    os.close(reader)
    assert process.returncode == 0, err
    numbers = recorded(path)
    assert numbers == list(range(len(numbers)))
    assert f"{len(numbers)} estimates recorded".encode() in err
    assert b"Traceback" not in err


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path, terminals: list[Terminal]) -> None:
    """The terminal is stopped, so that the first one takes its time."""
    path = tmp_path / "evening" / "estimates.jsonl"
    terminal = stopped_terminal(path, terminals)
    before = count(path)
    wait_for(lambda: count(path) > before + 20, "the display waits for the terminal")
    while terminal.process.poll() is None:
        terminal.process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    assert terminal.process.returncode in (0, 130)  # 0 where the processor was busy elsewhere
    numbers = recorded(path)
    assert numbers == list(range(len(numbers)))


def test_nohup_keeps_listening(tmp_path: Path) -> None:
    path = tmp_path / "evening" / "estimates.jsonl"
    process = subprocess.Popen(
        [*COMMAND, *LISTEN],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment(),
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    wait_for(lambda: count(path) > 5, "five rows are recorded")
    process.send_signal(signal.SIGHUP)
    before = count(path)
    wait_for(lambda: count(path) > before + 5, "it goes on")
    process.terminate()
    process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0


@pytest.mark.parametrize("name", NAMES)
def test_an_interrupted_analysis_has_the_exit_code_of_the_signal(name: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", np.tile(music(10.0, RATE_HZ), (120, 1)), RATE_HZ)
    with (tmp_path / "rows.csv").open("wb") as table:
        process = subprocess.Popen(
            [*COMMAND, "analyze", "long.wav"],
            cwd=tmp_path,
            stdout=table,
            stderr=subprocess.PIPE,
            env=environment(),
            preexec_fn=reset_signals,
        )
    wait_for(lambda: count(tmp_path / "rows.csv") > 1, "a row follows the header")
    process.send_signal(getattr(signal, name))
    _, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 128 + getattr(signal, name)
    assert b"Traceback" not in err
    assert rows(tmp_path / "rows.csv")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_a_rerun_that_is_ended_leaves_the_old_table(name: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", np.tile(music(10.0, RATE_HZ), (120, 1)), RATE_HZ)
    table = tmp_path / "table.csv"
    table.write_text("old\n")
    process = subprocess.Popen(
        [*COMMAND, "analyze", "long.wav", "-o", str(table)],
        cwd=tmp_path,
        env=environment(),
        preexec_fn=reset_signals,
    )
    wait_for(lambda: any(map(count, tmp_path.glob(".table.csv.*"))), "the new table is begun")
    process.send_signal(getattr(signal, name))
    assert process.wait(TIMEOUT_S) in (128 + signal.SIGTERM, -signal.SIGKILL)
    assert table.read_text() == "old\n"
    assert any(tmp_path.glob(".table.csv.*")) == (name == "SIGKILL")
    soundfile.write(tmp_path / "long.wav", music(2.0, RATE_HZ), RATE_HZ)
    command = [*COMMAND, "analyze", "long.wav", "-o", str(table)]
    subprocess.run(command, cwd=tmp_path, env=environment(), check=True)
    assert rows(table) == [0, 1]
    assert not any(tmp_path.glob(".table.csv.*"))


def test_a_signal_in_a_callback_of_a_c_library_is_not_lost(tmp_path: Path) -> None:
    """The callback cannot raise, so the signal would have no effect."""
    program = """
import ctypes, os, signal, sys, time
from realtime_mer import cli

def compare(left, right):
    os.kill(os.getpid(), signal.SIGTERM)
    return 0

def run(arguments):
    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(compare)
    ctypes.CDLL(None).qsort(ctypes.create_string_buffer(2), 2, 1, callback)
    while True:
        time.sleep(0.01)

cli._run = run
sys.exit(cli.main(["devices"]))
"""
    run = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, timeout=TIMEOUT_S
    )
    assert run.returncode == 128 + signal.SIGTERM, run.stderr
    assert b"Traceback" not in run.stderr


def test_a_stopped_terminal_stops_no_server(tmp_path: Path, terminals: list[Terminal]) -> None:
    terminal = Terminal(["serve", "--input", "demo", "--port", "0"], tmp_path)
    terminals.append(terminal)
    # The status line follows, every second.
    wait_for(lambda: b"viewers 0" in terminal.shown, "the server shows its status")
    found = re.search(rb"realtime-mer is at (http://[^/\s]+)", terminal.shown)
    assert found is not None
    terminal.type(CTRL_S)
    stopped_at = time.monotonic()
    while time.monotonic() - stopped_at < 4.0:
        with urllib.request.urlopen(f"{found[1].decode()}/healthz", timeout=TIMEOUT_S) as answer:
            assert answer.status == 200
        time.sleep(0.1)
    terminal.process.terminate()
    assert terminal.process.wait(TIMEOUT_S) == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_signal_ends_the_server(name: str, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "serve", "--input", "demo", "--port", "0"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        preexec_fn=reset_signals,
    )
    assert process.stdout is not None
    assert b"realtime-mer is at" in process.stdout.readline()
    process.send_signal(getattr(signal, name))
    _, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, err
    assert b"stopped after" in err
    assert b"Traceback" not in err
