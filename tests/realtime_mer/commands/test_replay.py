from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from live_support import receive_kind, receive_until
from page_support import STOP_TIMEOUT_S
from pythonosc.osc_packet import OscPacket
from support import ESTIMATE
from websockets.sync.client import connect

from realtime_mer.cli import main
from realtime_mer.core.events import Event, EventKind, Marker
from realtime_mer.core.target import TargetPoint, TargetTrajectory
from realtime_mer.core.types import State
from realtime_mer.outputs.table_file import TableFile
from realtime_mer.recording.header import RecordingHeader
from realtime_mer.recording.lines import Losses, RecordedEnd

MOODS = ["calm", "calm", "tense", "tense", "tense", "tense", "calm"]
TARGET = TargetTrajectory((TargetPoint(0.0, -0.5, 0.5), TargetPoint(6.0, 0.5, -0.5)))
HEADER = RecordingHeader(
    version="0.1",
    model={"name": "mer-7", "version": "1", "sha256": "00"},
    configuration={"adapt": True},
    input={"kind": "microphone", "name": "USB Audio", "sample_rate_hz": 48_000, "channels": 2},
    backend="tensorrt",
    versions={},
    hop_s=1.0,
    window_s=10.0,
    coverage=0.8,
    range="raw",
    started_utc="2026-11-20T19:30:00.000Z",
    time_zone="+01:00",
    target=TARGET,
)
EVENT = Event(EventKind.RISE, 2.0, 3.0, ESTIMATE.utc, 0.5)
MARKER = Marker(3.5, ESTIMATE.utc, "opens eyes")


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    """A program that listens to OSC."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        found.settimeout(60.0)
        yield found


@pytest.fixture
def recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table of seven seconds."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evening.csv"
    with TableFile(path, "csv") as table:
        for seq, mood in enumerate(MOODS):
            estimate = replace(ESTIMATE, seq=seq, t=seq + 1.0, mood=mood, state=State.TRACKING)
            table.write(estimate)
    return path


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recorded session of seven seconds, with a change, a marker, a loss and a target."""
    monkeypatch.chdir(tmp_path)
    items: list[dict[str, object]] = [HEADER.to_dict()]
    for seq, mood in enumerate(MOODS):
        items.append(
            replace(ESTIMATE, seq=seq, t=seq + 1.0, mood=mood, state=State.TRACKING).to_dict()
        )
        if seq == 3:
            losses = Losses(4.0, ESTIMATE.utc, {"dropped_samples": 24_000})
            items += [EVENT.to_dict(), MARKER.to_dict(), losses.to_dict()]
    items.append(RecordedEnd(7.0, ESTIMATE.utc, "stopped").to_dict())
    folder = tmp_path / "evening"
    folder.mkdir()
    (folder / "estimates.jsonl").write_text("".join(f"{json.dumps(item)}\n" for item in items))
    return folder


def replayed(*arguments: str) -> int:
    """Replay at a free port, up to the end."""
    return main(["replay", *arguments, "--port", "0", "--exit-at-end"])


class Running:
    """A replay as a process, whose page stays open."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "realtime_mer", "replay", *arguments, "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # If the tests run in the background of a script, they and their children ignore SIGINT.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        assert self._process.stderr is not None
        first = self._process.stderr.readline()
        found = re.search(r"http://(\S+)/", first)
        assert found is not None, first + self._process.stderr.read()
        self.address = found[1]

    def interrupt(self) -> tuple[int, str, str]:
        """Press Ctrl-C; return exit code, output and errors."""
        self._process.send_signal(signal.SIGINT)
        out, err = self._process.communicate(timeout=STOP_TIMEOUT_S)
        return self._process.returncode, out, err


def configure(receiver: socket.socket) -> None:
    """Write a configuration with two scenes for an OSC program."""
    Path("realtime-mer.toml").write_text(f"""
        [[osc]]
        name = "visuals"
        to = "127.0.0.1:{receiver.getsockname()[1]}"

        [[scene]]
        name = "storm"
        when = {{ mood = "tense", for_s = 2 }}
        dwell_s = 0
        do = [{{ output = "visuals", address = "/storm", args = [1] }}]
        at_end = [{{ output = "osc", address = "/storm", args = [0] }}]
    """)


def received(receiver: socket.socket, address: str, count: int) -> list[object]:
    """The arguments of the first messages to an address."""
    found: list[object] = []
    while len(found) < count:
        for message in OscPacket(receiver.recv(65_536)).messages:
            if message.message.address == address:
                found += message.message.params
    return found


@pytest.mark.parametrize("kind", ["recording", "session"])
def test_outputs_and_scenes_work_from_a_recording(
    request: pytest.FixtureRequest,
    kind: str,
    receiver: socket.socket,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path: Path = request.getfixturevalue(kind)
    configure(receiver)
    assert replayed(path.name, "--speed", "20") == 0
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == [f"0:0{n}.0" for n in range(1, 8)]
    assert "tense" in out
    scenes = [line for line in err.splitlines() if line.startswith("scene ")]
    assert scenes == [
        "scene storm starts: mood is tense",
        "scene storm ends: mood is calm, not tense",
    ]
    assert re.search(r"7 estimates, .*1 of 1 outputs ok; [1-9]\d* sent, 0 dropped", err)
    assert received(receiver, "/storm", 2) == [1, 0]


def test_an_output_that_fails_is_told(
    recording: Path, receiver: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(receiver)
    port = receiver.getsockname()[1]
    receiver.close()
    assert replayed("evening.csv", "--speed", "20") == 0
    err = capsys.readouterr().err
    fault = f"nobody listens at 127.0.0.1:{port}"
    assert f"the output visuals fails: {fault}\n" in err
    assert f"0 of 1 outputs ok; visuals failing ({fault}); " in err


def test_rows_are_those_of_the_recording(
    recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert replayed("evening.csv", "--speed", "100", "--format", "csv") == 0
    assert capsys.readouterr().out == recording.read_text()


def test_json_lines_of_an_output_instead_of_lines(
    recording: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("realtime-mer.toml").write_text("[[jsonl]]\nrate_hz = 50\n")
    assert replayed("evening.csv", "--speed", "100") == 0
    kinds = {json.loads(line)["type"] for line in capfd.readouterr().out.splitlines()}
    assert {"values", "event"} <= kinds
    assert replayed("evening.csv", "--format", "csv") == 2
    assert "standard output" in capfd.readouterr().err


def test_a_cut_off_row_is_told_and_a_wrong_one_ends_the_replay(
    recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = recording.read_text()
    recording.write_text(text[:-5])
    assert replayed("evening.csv", "--speed", "1000") == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 6
    assert "line 8 of evening.csv was cut off and is left out\n" in err
    recording.write_text(text.replace("\n5,", "\nfive,"))
    assert replayed("evening.csv", "--speed", "1000") == 2
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 5
    fault = "realtime-mer replay: evening.csv line 7: this is not an estimate"
    assert err.splitlines()[-1].startswith(fault)
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--speed", "0"], "it must lie between 0.1 and 1000"),
        (["--speed", "nan"], "it must lie between 0.1 and 1000"),
        (["--target", "nowhere.toml"], "the target nowhere.toml cannot be read"),
        (["--host", "192.0.2.1"], "192.0.2.1"),
    ],
)
def test_a_wrong_option_is_a_sentence(
    recording: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert replayed("evening.csv", "--no-token", *arguments) == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert "Traceback" not in err


def test_the_page_gets_the_session_as_it_was(session: Path) -> None:
    running = Running("evening", "--speed", "100")
    with connect(f"ws://{running.address}/ws") as client:
        hello = receive_kind(client, "hello")
        messages = [hello, *receive_until(client, "end")]
        assert hello["input"] == {
            "kind": "recording", "name": "evening, 2026-11-20 20:30", "sample_rate_hz": 48_000,
            "channels": 2,
        }  # fmt: skip
        assert (hello["model"], hello["backend"]) == (HEADER.model, "tensorrt")
        assert (hello["adapt"], hello["speed"], hello["hop_s"]) == (True, 100.0, 1.0)
        assert hello["target"] == TARGET.to_dict()
        assert messages[-1]["reason"] == "the recording has ended"
    # The page stays open: a late viewer finds everything.
    with connect(f"ws://{running.address}/ws") as client:
        messages = receive_until(client, "health")
        snapshot = next(each for each in messages if each["type"] == "snapshot")
        assert [each["t"] for each in snapshot["estimates"]] == [float(t) for t in range(1, 8)]
        assert {each["utc"] for each in snapshot["estimates"]} == {ESTIMATE.utc}
        told = [each for each in messages if each["type"] in ("event", "marker")]
        assert told == [EVENT.to_dict(), MARKER.to_dict()]
        assert messages[-1]["counters"]["dropped_samples"] == 24_000
        client.send(json.dumps({"type": "control", "marker": "too late"}))
        assert "the session has ended" in receive_kind(client, "error")["message"]
    with urllib.request.urlopen(f"http://{running.address}/healthz", timeout=60) as answer:
        assert json.load(answer)["status"] == "ended"
    code, out, err = running.interrupt()
    assert code == 0
    assert len(out.splitlines()) == 7
    assert "target" in out
    assert "the recording has ended; the page stays open (Ctrl-C ends)" in err
    assert "0.5 s of audio missing" in err


def test_the_target_of_the_command_line_wins(session: Path) -> None:
    Path("path.toml").write_text("[[point]]\nt_s = 0\nvalence = 0.1\narousal = 0.2\n")
    running = Running("evening", "--speed", "0.1", "--target", "path.toml")
    with connect(f"ws://{running.address}/ws") as client:
        target = receive_kind(client, "hello")["target"]
        assert receive_kind(client, "snapshot")["estimates"] or receive_kind(client, "estimate")
        # A marker has the time of the recording.
        client.send(json.dumps({"type": "control", "marker": "here", "marker_t": 0.0}))
        marker = receive_kind(client, "marker")
    newest = datetime.fromisoformat(ESTIMATE.utc)
    assert newest - timedelta(seconds=7.0) <= datetime.fromisoformat(marker["utc"]) < newest
    assert target == {"points": [{"t_s": 0.0, "valence": 0.1, "arousal": 0.2}]}
    assert running.interrupt()[0] == 0


def test_ctrl_c_ends_without_a_traceback(recording: Path) -> None:
    running = Running("evening.csv", "--speed", "0.1")
    with connect(f"ws://{running.address}/ws") as client:
        hello = receive_kind(client, "hello")
        assert hello["input"]["name"] == "evening.csv"
        assert hello["model"]["name"] == ""
        assert receive_kind(client, "snapshot")["estimates"] or receive_kind(client, "estimate")
        code, out, err = running.interrupt()
    assert code == 0
    assert out.startswith("0:01.0")
    assert "Traceback" not in err
    assert "stopped after" in err
