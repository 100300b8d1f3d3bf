"""`--check` says what would run and what is wrong, and opens nothing."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from realtime_mer.cli import main


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_what_would_run(capsys: pytest.CaptureFixture[str]) -> None:
    port, control = free_port(socket.SOCK_STREAM), free_port(socket.SOCK_DGRAM)
    Path("realtime-mer.toml").write_text(
        f"""\
        [input]
        input = "https://user:secret@radio.example/stream"
        [server]
        port = {port}
        [[osc]]
        to = "127.0.0.1:7000"
        [[jsonl]]
        [[scene]]
        name = "storm"
        when = {{ arousal = ">0.5" }}
        do = [{{ output = "osc", address = "/x" }}]
        [control.osc]
        port = {control}
        [profile.club]
        server.port = {port}
        """
    )
    assert main(["serve", "--check", "--profile", "club", "--osc", "localhost:7001"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines() == [
        "configuration: realtime-mer.toml, profile club",
        "input: https://radio.example/stream",
        f"server: 127.0.0.1, port {port}",
        "output: osc 127.0.0.1:7000, 30 a second",
        "output: standard output, 1 a second",
        "output: osc localhost:7001, 30 a second",
        "scene: storm",
        f"control: osc, 127.0.0.1, port {control}",
        "everything can run",
    ]
    assert main(["listen", "--check"]) == 0
    assert "server:" not in capsys.readouterr().out


def test_all_that_is_wrong_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control,
    ):
        control.bind(("127.0.0.1", 0))
        port, control_port = server.getsockname()[1], control.getsockname()[1]
        Path("realtime-mer.toml").write_text(
            f"""\
[estimation]
hop = 7.0
[[osc]]
to = "nowhere.invalid:7000"
[[scene]]
name = "storm"
do = [{{ output = "lamp", level = 1 }}]
[control.osc]
port = {control_port}
[[profile.club.osc]]
rat = 1
"""
        )
        assert main(["serve", "--check", "--port", str(port)]) == 2
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == "not everything can run"
    problems = err.splitlines()
    assert len(problems) == 6
    assert "line 11: [[osc]] has no key rat; did you mean rate_hz? (profile club)" in problems[0]
    assert "7" in problems[1]
    assert f"the server cannot listen at 127.0.0.1, port {port} (Address" in problems[2]
    assert "the host nowhere.invalid of the output osc nowhere.invalid:7000 is not" in problems[3]
    assert "scene storm" in problems[4]
    assert "lamp" in problems[4]
    assert f"control by osc cannot listen at 127.0.0.1, port {control_port}" in problems[5]


def test_a_hall_that_was_not_calibrated(capsys: pytest.CaptureFixture[str]) -> None:
    Path("realtime-mer.toml").write_text(
        '[[osc]]\nto = "127.0.0.1:7000"\nrange = "hall"\nhall = "club.json"'
    )
    assert main(["listen", "--check"]) == 2
    assert "the file of the hall club.json cannot be read" in capsys.readouterr().err


def test_a_scene_that_waits_for_a_package_that_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "aalink", None)
    monkeypatch.delitem(sys.modules, "realtime_mer.live.link_clock", raising=False)
    Path("realtime-mer.toml").write_text('[[scene]]\nname = "a"\nquantise = "link"')
    assert main(["listen", "--check"]) == 2
    assert "needs the package aalink, which is not installed" in capsys.readouterr().err
