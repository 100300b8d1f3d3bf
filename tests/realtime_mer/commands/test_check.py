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


def test_what_is_missing_for_a_hall_and_for_link_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "aalink", None)
    monkeypatch.delitem(sys.modules, "realtime_mer.live.link_clock", raising=False)
    Path("realtime-mer.toml").write_text(
        """
        [[osc]]
        to = "127.0.0.1:7000"
        range = "hall"
        hall = "club.json"
        [[scene]]
        name = "storm"
        quantise = "link"
        do = [{ blackout = true }]
        """
    )
    assert main(["listen", "--check"]) == 2
    hall, link = capsys.readouterr().err.splitlines()
    assert "osc 127.0.0.1:7000: the file of the hall club.json cannot be read" in hall
    assert 'a scene with quantise = "link" needs the package aalink' in link


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


def test_port_hall_and_package_that_would_stop_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "aalink", None)
    monkeypatch.delitem(sys.modules, "realtime_mer.live.link_clock", raising=False)
    Path("realtime-mer.toml").write_text(
        """\
[server]
port = 70000
[[osc]]
to = "127.0.0.1:7000"
range = "hall"
hall = "missing.json"
[[scene]]
name = "storm"
quantise = "link"
"""
    )
    assert main(["serve", "--check"]) == 2
    port, hall, link = capsys.readouterr().err.splitlines()
    assert "the port is 70000" in port
    assert "missing.json cannot be read" in hall
    assert "aalink" in link


def test_the_person_of_the_file_and_the_target_are_looked_at(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("realtime-mer.toml").write_text('[session]\nperson = "anna"\n')
    assert main(["serve", "--check", "--port", "0"]) == 0
    assert "person: anna\n" in capsys.readouterr().out
    assert main(["listen", "--check"]) == 0
    assert "person" not in capsys.readouterr().out
    wrong = ["serve", "--check", "--port", "0", "--person", "?", "--target", "way.toml"]
    assert main([*wrong, "--record-audio"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "problem: --record-audio needs a folder for the recording; give --record DIR too",
        "problem: the target way.toml cannot be read (No such file or directory)",
        "problem: '?' is not a name of a person; use up to 60 letters, digits, spaces, dots, "
        "hyphens and underscores, or the path of a file that ends in .json",
    ]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("max_viewers = -5", "the number of viewers is -5"),
        ("drain = -1.0", "the time to drain is -1 s"),
        ("speed = -3.0", "the speed is -3.0"),
        ('proxy = ["foo"]', "foo"),
        ('allow_origin = ["foo"]', "'foo' is not an origin"),
        ('allow_frame = ["foo"]', "'foo' is no origin that may frame the page"),
        ('stage_scenes = "/nope/x"', "/nope/x"),
        ('tls_cert = "/nope"', "--tls-key is missing"),
        ('tls_cert = "/nope"\ntls_key = "/nope"', "/nope"),
        ('host = ""', "the --host is empty"),
        ('stage_scenes = ""', "the path is empty"),
        ('tls_cert = ""\ntls_key = ""', "the path is empty"),
    ],
)
def test_options_of_the_server_that_would_stop_the_start(
    lines: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("realtime-mer.toml").write_text(f"[server]\nport = 0\n{lines}\n")
    assert main(["serve", "--check"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("problem: ")
    assert message in error
    # What serves says the same, before the model is loaded, and nothing else.
    assert main(["serve", "--input", "demo"]) == 2
    found = capsys.readouterr().err
    assert found.startswith("realtime-mer serve: ")
    assert len(found.splitlines()) == 1
    assert message in found


def test_options_in_profiles_that_were_not_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    Path("realtime-mer.toml").write_text(
        "[server]\nport = 0\n[profile.club.server]\nprt = 5\n[profile.hall.input]\ninput = 3\n"
    )
    assert main(["serve", "--check"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "line 4: [server] has no key prt; did you mean port?" in first
    assert "(profile club)" in first
    assert "line 6: [input] input" in second
    assert "(profile hall)" in second


def test_a_newline_in_a_name_stays_in_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    Path("realtime-mer.toml").write_text('[[osc]]\nto = "127.0.0.1:7000"\nname = "a\\nb"\n')
    assert main(["listen", "--check"]) == 0
    assert "output: a\ufffdb, 30 a second" in capsys.readouterr().out.splitlines()
