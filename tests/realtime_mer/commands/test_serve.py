"""`realtime-mer serve` as a user runs it: a process, signals, exit codes."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from live_support import TIMEOUT_S, receive, receive_kind, receive_until
from mer_engine import Engine
from numpy.typing import NDArray
from recording_support import estimates_of
from support import music
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from realtime_mer.cli import main
from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.pipeline import Pipeline

COMMAND = [sys.executable, "-m", "realtime_mer", "serve"]
RATE = 44_100
# A busy machine computes windows late, at a hop of 0.1 s above all.
NO_AUDIO_LOST = r"(nothing lost|(late windows|skipped updates) \d+(, skipped updates \d+)?)$"


class Process:
    """A running `serve`, its address and its output."""

    def __init__(self, *options: str, stdin: int | None = subprocess.DEVNULL) -> None:
        self.popen = subprocess.Popen(
            [*COMMAND, "--port", "0", *options],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=stdin != subprocess.PIPE,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._printed: list[str] = []
        self._readers = [
            threading.Thread(target=self._read, args=(stream,), daemon=True)
            for stream in (self.popen.stdout, self.popen.stderr)
        ]
        for reader in self._readers:
            reader.start()
        self.url = self.line("realtime-mer is at (http://.*/)")

    def _read(self, stream: Any) -> None:
        for line in stream:
            self._lines.put(line if isinstance(line, str) else line.decode())

    def line(self, pattern: str) -> str:
        """Wait for a line that matches; return its first group, or all of it."""
        while True:
            try:
                line = self._lines.get(timeout=TIMEOUT_S).rstrip()
            except queue.Empty:
                pytest.fail(f"no line like {pattern!r} in: {self._printed}")
            self._printed.append(line)
            match = re.fullmatch(pattern, line)
            if match is not None:
                return match[1] if match.groups() else match[0]

    def connect(self, query: str = "") -> ClientConnection:
        # A client that a slow test has not read for long would miss the pongs, and close.
        url = self.url.replace("http", "ws") + "ws" + query
        return connect(url, close_timeout=1.0, ping_interval=None)

    def stop(self, number: int) -> int:
        self.popen.send_signal(number)
        return self.popen.wait(TIMEOUT_S)

    def printed(self) -> str:
        """Return all output after the end of the process."""
        for reader in self._readers:
            reader.join(TIMEOUT_S)
        while not self._lines.empty():
            self._printed.append(self._lines.get().rstrip())
        return "\n".join(self._printed)


@contextlib.contextmanager
def serving(*options: str, stdin: int | None = subprocess.DEVNULL) -> Iterator[Process]:
    process = Process(*options, stdin=stdin)
    try:
        yield process
    finally:
        process.popen.kill()
        process.popen.wait()
        for stream in (process.popen.stdin, process.popen.stdout, process.popen.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("music") / "song.flac"
    soundfile.write(path, music(12.3, RATE, channels=2), RATE)
    return path


def rows(estimates: list[Any]) -> NDArray[np.float64]:
    names = ("seq", "t", "valence", "arousal", "valence_low", "valence_high", "level_db")
    return np.array([[e[name] for name in names] for e in estimates])


def test_live_equals_offline(engine: Engine, song: Path) -> None:
    samples, rate = soundfile.read(song, dtype="float32", always_2d=True)
    pipeline = Pipeline(engine, sample_rate_hz=rate, channels=2, config=PipelineConfig(hop_s=0.5))
    offline = [e.to_dict() for e in pipeline.feed(samples) + pipeline.finish()]
    with serving("--input", str(song), "--hop", "0.5", "--speed", "20") as process:
        process.line(r"song.flac is over; the page stays open \(Ctrl-C ends\)")
        with process.connect() as client:
            assert receive(client)["input"]["name"] == "song.flac"
            snapshot = receive(client)
            assert receive_kind(client, "end")["reason"] == "song.flac is over"
    np.testing.assert_allclose(rows(snapshot["estimates"]), rows(offline), atol=2e-5)
    assert [e["state"] for e in snapshot["estimates"]] == [e["state"] for e in offline]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(number: int) -> None:
    with serving("--input", "demo", "--hop", "0.1") as process:
        process.line(r"input: demo, .*\(Ctrl-C ends\)")
        with process.connect() as client:
            assert receive_kind(client, "estimate")["seq"] >= 0
            assert process.stop(number) == 0
            with pytest.raises(ConnectionClosed) as closed:
                receive_until(client, "never")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
        printed = process.printed()
    assert re.search(
        rf"stopped after \d+ s: \d+ estimates, at most 1 viewer\(s\), {NO_AUDIO_LOST}", printed
    )
    assert "Traceback" not in printed


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_a_second_signal_ends_the_wait_for_clients() -> None:
    with serving("--input", "demo", "--hop", "0.1", "--drain", "3000") as process:
        process.line(r"input: demo, .*\(Ctrl-C ends\)")
        with process.connect() as client:
            receive_kind(client, "estimate")
            process.popen.send_signal(signal.SIGTERM)
            assert receive_kind(client, "going_away")["closes_in_s"] == 3000.0
            process.line(r"going away: waiting up to 3000 s until 1 client has left .*")
            # Everything goes on; signals within 0.3 s of each other count as one. A busy server
            # makes the estimates of a second in less.
            told_at = time.monotonic()
            while time.monotonic() < told_at + 0.5:
                receive_kind(client, "estimate")
            assert process.stop(signal.SIGINT) == 0
            with pytest.raises(ConnectionClosed) as closed:
                receive_until(client, "never")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
        assert re.search(rf"stopped after .* {NO_AUDIO_LOST}", process.printed())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_nobody_is_waited_for_where_nobody_is() -> None:
    with serving("--input", "demo", "--drain", "3000") as process:
        process.line(r"input: demo, .*\(Ctrl-C ends\)")
        assert process.stop(signal.SIGTERM) == 0
        assert "going away" not in process.printed()


@pytest.mark.parametrize("seconds", ["-1", "3601", "nan"])
def test_a_time_to_drain_has_limits(seconds: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "realtime_mer", "serve", "--input", "browser", "--drain", seconds],
        capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 2
    assert "the time to drain is" in run.stderr
    assert "it must lie between 0 and 3600 s" in run.stderr


def test_exit_at_end_sends_the_end_to_viewers(song: Path) -> None:
    with serving("--input", str(song), "--exit-at-end", "--speed", "3", "--quiet") as process:
        with process.connect() as client:
            assert receive_until(client, "end")[-1]["reason"] == "song.flac is over"
        assert process.popen.wait(TIMEOUT_S) == 0
        assert process.printed().startswith("realtime-mer is at http://127.0.0.1:")
        assert process.printed().count("\n") == 0


def test_a_damaged_file_ends_every_command_in_the_same_way(tmp_path: Path) -> None:
    path = tmp_path / "cut.wav"
    soundfile.write(path, music(4.0, RATE), RATE)
    path.write_bytes(path.read_bytes()[:200_000])
    ends = []
    for command in (
        ["serve", "--exit-at-end", "--speed", "100", "--port", "0", "--input", str(path)],
        ["listen", "--input", str(path)],
        ["analyze", str(path)],
    ):
        run = subprocess.run(
            [sys.executable, "-m", "realtime_mer", *command], capture_output=True, text=True
        )
        ends.append((run.returncode, re.findall("cut.wav breaks off at .*", run.stderr)))
    assert ends[0] == ends[1] == ends[2]
    code, sentences = ends[0]
    assert code == 2
    assert len(sentences) == 1


def test_a_looping_file_does_not_end(song: Path) -> None:
    with (
        serving("--input", str(song), "--loop", "--speed", "50") as process,
        process.connect() as client,
    ):
        t = 0.0
        while t < 20.0:
            t = receive_kind(client, "estimate")["t"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_pcm_on_standard_input() -> None:
    options = (
        "--input",
        "-",
        "--pcm-rate",
        "16000",
        "--pcm-channels",
        "1",
        "--pcm-format",
        "f32le",
    )
    with serving(*options, "--hop", "0.5", stdin=subprocess.PIPE) as process:
        stdin = process.popen.stdin
        assert stdin is not None
        with process.connect() as client:
            # The estimate is in no snapshot, and no later one takes its place on a busy machine.
            receive_kind(client, "snapshot")
            stdin.write(music(0.7, 16_000).tobytes())
            stdin.flush()
            estimate = receive_kind(client, "estimate")
            while estimate["state"] == "stalled":  # before there was any audio
                estimate = receive_kind(client, "estimate")
            assert estimate["t"] == 0.5
            stdin.close()
            receive_until(client, "end")
        assert process.stop(signal.SIGINT) == 0


def test_page_health_and_metrics() -> None:
    with serving("--input", "demo") as process:
        with urllib.request.urlopen(process.url, timeout=TIMEOUT_S) as page:
            assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        with urllib.request.urlopen(process.url + "healthz", timeout=TIMEOUT_S) as page:
            assert json.load(page)["input"]["kind"] == "demo"
        with urllib.request.urlopen(process.url + "metrics", timeout=TIMEOUT_S) as page:
            assert b"realtime_mer_info" in page.read()


def test_browsers_only() -> None:
    with serving("--input", "browser") as process, process.connect() as client:
        process.line("input: the microphones of browsers .*")
        assert receive(client)["input"]["kind"] == "browser"


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
def test_open_opens_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = tmp_path / "opened"
    os.mkfifo(opened)
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    received: queue.Queue[str] = queue.Queue()
    # Reading a FIFO waits for its writer.
    threading.Thread(target=lambda: received.put(opened.read_text()), daemon=True).start()
    with serving("--input", "demo", "--open") as process:
        assert received.get(timeout=TIMEOUT_S).strip() == process.url


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
@pytest.mark.parametrize("columns", [0, 80, 40])  # 0: the terminal does not say
def test_a_status_line_on_a_terminal(columns: int) -> None:
    import fcntl
    import termios

    terminal, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    command = [*COMMAND, "--input", "demo", "--port", "0", "--hop", "0.1"]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs
    ) as process:
        os.close(theirs)
        try:
            shown = b""
            last = b"valence" if columns == 40 else b"nothing lost|late windows|skipped updates"
            while not re.search(last, shown):
                assert select.select([terminal], [], [], TIMEOUT_S)[0], shown
                shown += os.read(terminal, 1024)
            process.send_signal(signal.SIGINT)
            assert process.wait(TIMEOUT_S) == 0
        finally:
            process.kill()  # where the test fails
    shown += os.read(terminal, 1024)
    os.close(terminal)
    assert re.search(rb"(settling|stalled) (\w+|\xe2\x80\x93) +valence [+-]\d\.\d\d  arousa", shown)
    # A longer line would go on in the next one, and stay there.
    lines = [part for part in shown.decode().split("\r\x1b[K") if "valence" in part]
    assert max(map(len, lines)) < (columns or 81)
    # The status line is cleared before the summary.
    assert b"\r\x1b[Kstopped after" in shown


def test_a_recording_with_audio_gives_its_values_again(song: Path, tmp_path: Path) -> None:
    options = ["--speed", "20", "--hop", "0.5"]
    told = []
    for number, source in enumerate((song, tmp_path / "1" / "audio.flac"), start=1):
        folder = tmp_path / str(number)
        audio = ["--record-audio"] if number == 1 else []
        with serving("--input", str(source), *options, "--record", str(folder), *audio) as process:
            process.line(r".*\.flac is over; the page stays open \(Ctrl-C ends\)")
            with process.connect() as client:
                told.append(json.loads(client.recv(timeout=TIMEOUT_S)))
            assert process.stop(signal.SIGTERM) == 0
            with_audio = ", with the audio" if audio else ""
            assert f"recording to {folder}{with_audio}\n" in process.printed()
            seconds = "; 12.3 s of audio" if audio else ""
            assert f"24 estimates recorded in {folder}{seconds}\n" in process.printed()
    assert [hello["recording"] for hello in told] == [True, True]
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == [
        "audio.flac", "estimates.jsonl", "estimates.jsonl",
    ]  # fmt: skip
    np.testing.assert_allclose(
        rows(estimates_of(tmp_path / "1")), rows(estimates_of(tmp_path / "2")), atol=1e-5
    )


def test_without_the_option_nothing_is_recorded(song: Path, tmp_path: Path) -> None:
    with serving("--input", str(song), "--config", os.devnull) as process:
        with process.connect() as client:
            assert json.loads(client.recv(timeout=TIMEOUT_S))["recording"] is False
        assert process.stop(signal.SIGTERM) == 0
    assert "record" not in process.printed()


def one_line(code: int, out: str, err: str) -> str:
    """Return the message of a `serve` that must not start."""
    assert code == 2, err
    assert out == ""
    assert "Traceback" not in err
    assert err.count("\n") == 1, err
    return err


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a `serve` that must not start; return its message."""
    return lambda *options: one_line(main(["serve", *options]), *capsys.readouterr())


def test_the_sound_of_browsers_is_not_recorded(refused: Callable[..., str], tmp_path: Path) -> None:
    message = refused("--input", "browser", "--record", str(tmp_path / "evening"))
    assert "--record records the server's own input, and --input browser has none" in message


def test_a_port_in_use_is_exit_code_2(tmp_path: Path) -> None:
    folder = tmp_path / "evening"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [*COMMAND, "--input", "demo", "--port", str(port), "--record", str(folder)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
    message = one_line(done.returncode, done.stdout, done.stderr)
    assert not folder.exists()
    assert f"port {port} on 127.0.0.1 is in use" in message
    assert "--port 0" in message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--port", "70000"), "port is 70000; it must lie between 0 and 65535"),
        (("--hop", "0.55"), "hop is 0.55 s"),
        (("--lag-order", "21"), "lag order is 21"),
        (("--range", "raw", "--adapt"), "raw values do not adapt"),
        (("--silence-db", "3"), "silence level is 3.0 dB"),
        (("--max-viewers", "0"), "number of viewers is 0"),
        (("--allow-origin", "vj.example"), "'vj.example' is not an origin"),
        (("--allow-frame", "http://a.example/x"), "'http://a.example/x' is no origin"),
        (("--speed", "0"), "speed is 0.0"),
        (("--host", "203.0.113.7"), "203.0.113.7 is not an address of this machine"),
    ],
)
def test_invalid_options_are_exit_code_2(
    refused: Callable[..., str], options: tuple[str, ...], words: str
) -> None:
    assert words in refused("--input", "demo", *options)


def test_a_model_without_a_distribution_has_only_raw_values(
    refused: Callable[..., str], fast_model: Path
) -> None:
    message = refused("--input", "demo", "--model", str(fast_model), "--range", "music")
    assert "has no distribution of its values over music" in message


def test_a_missing_file_is_exit_code_2(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "nothing.flac" in refused("--input", str(tmp_path / "nothing.flac"))
