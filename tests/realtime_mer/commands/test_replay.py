from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pythonosc.osc_packet import OscPacket
from support import ESTIMATE

from realtime_mer.cli import main
from realtime_mer.core.types import State
from realtime_mer.outputs.table_file import TableFile

MOODS = ["calm", "calm", "tense", "tense", "tense", "tense", "calm"]


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    """A program that listens to OSC."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        found.settimeout(60.0)
        yield found


@pytest.fixture
def recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recording of seven seconds."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evening.csv"
    with TableFile(path, "csv") as table:
        for seq, mood in enumerate(MOODS):
            estimate = replace(ESTIMATE, seq=seq, t=seq + 1.0, mood=mood, state=State.TRACKING)
            table.write(estimate)
    return path


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


def test_outputs_and_scenes_work_from_a_recording(
    recording: Path, receiver: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(receiver)
    assert main(["replay", "evening.csv", "--speed", "20"]) == 0
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == [f"0:0{n}.0" for n in range(1, 8)]
    assert "tense" in out
    *scenes, outputs, reason = err.splitlines()
    assert scenes == [
        "scene storm starts: mood is tense",
        "scene storm ends: mood is calm, not tense",
    ]
    assert re.fullmatch(r"1 of 1 outputs ok; [1-9]\d* sent, 0 dropped", outputs)
    assert reason == "the recording has ended"
    assert received(receiver, "/storm", 2) == [1, 0]


def test_an_output_that_fails_is_told(
    recording: Path, receiver: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(receiver)
    port = receiver.getsockname()[1]
    receiver.close()
    assert main(["replay", "evening.csv", "--speed", "20"]) == 0
    err = capsys.readouterr().err.splitlines()
    fault = f"nobody listens at 127.0.0.1:{port}"
    assert f"the output visuals fails: {fault}" in err
    assert any(line.startswith(f"0 of 1 outputs ok; visuals failing ({fault}); ") for line in err)


def test_rows_are_those_of_the_recording(
    recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", "evening.csv", "--speed", "100", "--format", "csv"]) == 0
    assert capsys.readouterr().out == recording.read_text()


def test_json_lines_of_an_output_instead_of_lines(
    recording: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("realtime-mer.toml").write_text("[[jsonl]]\nrate_hz = 50\n")
    assert main(["replay", "evening.csv", "--speed", "100"]) == 0
    kinds = {json.loads(line)["type"] for line in capfd.readouterr().out.splitlines()}
    assert {"values", "event"} <= kinds
    assert main(["replay", "evening.csv", "--format", "csv"]) == 2
    assert "standard output" in capfd.readouterr().err


def test_a_cut_off_row_is_told_and_a_wrong_one_ends_the_replay(
    recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = recording.read_text()
    recording.write_text(text[:-5])
    assert main(["replay", "evening.csv", "--speed", "1000"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 6
    assert "line 8 of evening.csv was cut off and is left out\n" in err
    recording.write_text(text.replace("\n5,", "\nfive,"))
    assert main(["replay", "evening.csv", "--speed", "1000"]) == 2
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 5
    assert err.startswith("realtime-mer replay: evening.csv line 7: this is not an estimate")
    assert err.count("\n") == 1


def test_a_wrong_speed_is_a_sentence(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for speed in ("0", "-1", "nan", "1e9"):
        assert main(["replay", "evening.csv", f"--speed={speed}"]) == 2
        err = capsys.readouterr().err
        assert "it must lie between 0.1 and 1000" in err
        assert err.count("\n") == 1


def test_ctrl_c_ends_without_a_traceback(recording: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "realtime_mer", "replay", "evening.csv", "--speed", "0.1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # If the tests run in the background of a script, they and their children ignore SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("0:01.0")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")
