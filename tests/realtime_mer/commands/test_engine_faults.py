"""Commands whose engine fails or hangs: real processes, signals, sentences and exit codes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import soundfile
from live_support import TIMEOUT_S, receive, receive_kind, wait_for
from recording_support import estimates_of
from support import music
from support_pulse import VirtualMicrophone, missing_for_pulse
from websockets.sync.client import connect

RATE = 16_000
STOPPED_S = 6.0  # longer than a call of the engine may take
# PulseAudio keeps 4 MiB for a recording: 2.7 s of two channels at this rate, and 12 s at 44.1 kHz.
STUDIO_RATE_HZ = 192_000
# A fault injector around the real engine: it obeys the content of a file, from the first call on or
# after the engine was loaded.
PROGRAM = """\
import sys, threading
from pathlib import Path
import mer_engine
from mer_engine.backends.onnxruntime import OnnxRuntimeEngine
from realtime_mer.cli import main
fault = Path(sys.argv.pop(1))
infer = OnnxRuntimeEngine.infer
loaded = []
load_engine = mer_engine.load_engine
def load(*arguments, **options):
    loaded.append(load_engine(*arguments, **options))
    return loaded[-1]
mer_engine.load_engine = load
def faulty(self, *arrays):
    text = fault.read_text()
    if text == "fail at once":
        raise RuntimeError("the injected fault")
    if not loaded:
        return infer(self, *arrays)
    if text == "hang":
        fault.with_suffix(".hangs").touch()
        threading.Event().wait()
    if text == "fail":
        raise RuntimeError("the injected fault")
    return infer(self, *arrays)
OnnxRuntimeEngine.infer = faulty
sys.exit(main())
"""


class Command:
    """A command with a fault injector in its engine."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        fault: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._fault = folder / "fault"
        self._fault.write_text(fault)
        self._errors = folder / "errors"
        with self._errors.open("w") as errors:
            self.popen = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(self._fault), *arguments],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True,
                env={**os.environ, **(environment or {})},
            )  # fmt: skip

    def set(self, fault: str) -> None:
        new = self._fault.with_suffix(".new")
        new.write_text(fault)
        new.replace(self._fault)

    @property
    def hangs(self) -> bool:
        return self._fault.with_suffix(".hangs").exists()

    @property
    def errors(self) -> str:
        return self._errors.read_text()

    def url(self) -> str:
        """Return the address of a server, without a slash at its end."""
        assert self.popen.stdout is not None
        match = re.fullmatch("realtime-mer is at (.*)/\n", self.popen.stdout.readline())
        assert match is not None, self.errors
        return match[1]


@contextlib.contextmanager
def command(
    folder: Path,
    *arguments: str,
    fault: str = "",
    environment: Mapping[str, str] | None = None,
) -> Iterator[Command]:
    this = Command(folder, *arguments, fault=fault, environment=environment)
    try:
        yield this
    finally:
        this.popen.kill()
        this.popen.communicate()


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("music") / "song.wav"
    soundfile.write(path, music(6.0, RATE), RATE)
    return path


def health(url: str) -> int:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=TIMEOUT_S) as page:
            return int(page.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_a_server_whose_engine_hangs_says_so_and_ends_on_ctrl_c(tmp_path: Path) -> None:
    with command(tmp_path, "serve", "--port", "0", "--input", "demo", "--hop", "0.5") as this:
        url = this.url()
        with connect(url.replace("http", "ws") + "/ws") as client:
            receive_kind(client, "estimate")
            assert health(url) == 200
            this.set("hang")
            messages = [receive(client)]
            while messages[-1].get("code") != "engine_stalled":
                messages.append(receive(client))
            while messages[-1].get("state") != "stalled":
                messages.append(receive(client))
            assert health(url) == 503
            with connect(url.replace("http", "ws") + "/ws") as late:
                assert receive_kind(late, "warning")["code"] == "engine_stalled"
        this.popen.send_signal(signal.SIGINT)
        began = time.monotonic()
        assert this.popen.wait(TIMEOUT_S) == 1
        assert time.monotonic() - began < TIMEOUT_S / 2
        assert re.search(
            r"\nthe backend onnxruntime has not returned from a call for \d+ s; stopped without "
            r"waiting for it; if it happens again, choose another --backend\n$",
            this.errors,
        )
        assert "Traceback" not in this.errors


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_listening_with_an_engine_that_hangs_ends_on_ctrl_c(tmp_path: Path) -> None:
    record = tmp_path / "evening"
    arguments = ("listen", "--input", "demo", "--format", "jsonl", "--record", str(record))
    with command(tmp_path, *arguments) as this:
        assert this.popen.stdout is not None
        assert json.loads(this.popen.stdout.readline())["seq"] == 0
        this.set("hang")
        wait_for(lambda: this.hangs, "the hang")
        this.popen.send_signal(signal.SIGINT)
        assert this.popen.wait(TIMEOUT_S) == 1
        assert "has not returned from a call for" in this.errors
        assert "Traceback" not in this.errors
        # The engine may hang after the first estimate.
        assert re.search(r"^\d+ estimates? recorded in ", this.errors, re.MULTILINE)
        assert estimates_of(record)


def test_an_engine_that_fails_while_a_file_is_served_or_heard_gives_exit_code_1(
    song: Path, tmp_path: Path
) -> None:
    for name, options in (
        ("serve", ("--port", "0", "--exit-at-end", "--speed", "4")),
        ("listen", ("--format", "csv")),
    ):
        folder = tmp_path / name
        folder.mkdir()
        with command(folder, name, "--input", str(song), *options, fault="fail") as this:
            output, _ = this.popen.communicate(timeout=TIMEOUT_S)
            assert this.popen.returncode == 1
            said = this.errors
            assert said.count("the backend onnxruntime failed (RuntimeError: the injected") == 1
            assert said.count("Traceback") == 1  # one line of the log
            if name == "listen":
                assert len(output.splitlines()) == 1 + 6


def test_analyze_ends_a_file_where_the_engine_fails(song: Path, tmp_path: Path) -> None:
    for name, files in (("one", [song]), ("two", [song, "demo"])):
        folder = tmp_path / name
        folder.mkdir()
        with command(folder, "analyze", *map(str, files), fault="fail") as this:
            output, _ = this.popen.communicate(timeout=TIMEOUT_S)
            assert this.popen.returncode == 1
            assert output == ""  # no row of repeated values
            said = this.errors
        assert f"{song}: the backend onnxruntime failed (RuntimeError: the injected fault)" in said
        assert said.count("the injected fault") == len(files)
        assert "Traceback" not in said


def test_an_engine_that_fails_while_it_is_loaded_is_one_sentence(tmp_path: Path) -> None:
    with command(tmp_path, "listen", "--input", "demo", fault="fail at once") as this:
        this.popen.communicate(timeout=TIMEOUT_S)
        assert this.popen.returncode == 2
        assert this.errors.startswith(
            "realtime-mer listen: no backend may run on this machine: onnxruntime: the injected "
            "fault"
        )
        assert this.errors.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_a_server_that_was_stopped_for_seconds_goes_on(tmp_path: Path) -> None:
    """A client's stream fills the gap from its queue: its time goes on without a loss."""
    with command(
        tmp_path, "serve", "--port", "0", "--input", "browser", "--hop", "0.5", "--quiet"
    ) as this:
        url = this.url()
        signal_s = music(20.0, RATE)
        with connect(url.replace("http", "ws") + "/ws") as client:
            client.send(json.dumps({"type": "start", "sample_rate_hz": RATE, "format": "f32le"}))
            client.send(signal_s[: 2 * RATE].tobytes())
            receive_kind(client, "estimate")
            os.kill(this.popen.pid, signal.SIGSTOP)
            try:
                time.sleep(STOPPED_S)
            finally:
                os.kill(this.popen.pid, signal.SIGCONT)
            for start in range(2 * RATE, len(signal_s), RATE // 2):
                client.send(signal_s[start : start + RATE // 2].tobytes())
            client.send('{"type": "stop"}')
            messages = [receive(client)]
            while messages[-1]["type"] != "end":
                messages.append(receive(client))
        times = [m["t"] for m in messages if m["type"] == "estimate"]
        assert times[-1] == 20.0
        codes = [m["code"] for m in messages if m["type"] == "warning"]
        assert not [code for code in codes if code.startswith("engine")]
        assert health(url) == 200


@pytest.mark.skipif(missing_for_pulse() is not None, reason=str(missing_for_pulse()))
def test_the_time_of_a_device_counts_what_a_stopped_process_did_not_hear(tmp_path: Path) -> None:
    with VirtualMicrophone() as microphone, contextlib.ExitStack() as stack:
        microphone.add_sink("studio", rate_hz=STUDIO_RATE_HZ)
        microphone.set_default("studio")
        arguments = ("serve", "--port", "0", "--input", "default", "--hop", "0.5", "--quiet")
        this = stack.enter_context(
            command(tmp_path, *arguments, environment=microphone.environment)
        )
        url = this.url()
        with connect(url.replace("http", "ws") + "/ws") as client:
            before = 0.0
            while not before:  # the device may start late, with an estimate of no audio
                before = receive_kind(client, "estimate")["t"]
            began = time.monotonic()
            os.kill(this.popen.pid, signal.SIGSTOP)
            try:
                time.sleep(STOPPED_S + 2.0)
            finally:
                os.kill(this.popen.pid, signal.SIGCONT)
            codes = list[str]()
            behind_s = STOPPED_S
            while abs(behind_s) > 2.0:  # of the 8 s, 5 s are lost
                assert time.monotonic() - began < TIMEOUT_S, f"{behind_s} s behind"
                message = receive(client)
                if message["type"] == "warning":
                    # A busy machine makes fewer estimates for a while, and says so.
                    if message["code"] not in ("slower", "full_rate"):
                        codes.append(message["code"])
                elif message["type"] == "estimate" and message["t"] > before:
                    behind_s = time.monotonic() - began - (message["t"] - before)
            message = receive_kind(client, "health")
        assert message["counters"]["dropped_samples"] > 3.0 * STUDIO_RATE_HZ
        assert codes in ([], ["stalled"])
