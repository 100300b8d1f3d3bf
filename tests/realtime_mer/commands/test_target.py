"""`--target`: how far the session is from where it should be."""

from __future__ import annotations

import re
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
import soundfile
from live_support import HangingSource, receive_kind, running_server
from mer_engine import Engine
from rich.console import Console
from support import ESTIMATE, SCALED_ESTIMATE, music

from realtime_mer.cli import main
from realtime_mer.commands.target_option import target_text
from realtime_mer.core.target import TargetPoint, TargetTrajectory
from realtime_mer.live.runner import LiveRunner
from realtime_mer.outputs.terminal import TerminalView
from realtime_mer.recording.reader import SessionReader
from realtime_mer.server.server import MerServer, ServerConfig

TARGET = TargetTrajectory((TargetPoint(0.0, -0.5, 0.5), TargetPoint(10.0, 0.5, -0.5)))
FILE = """
[[point]]
t_s = 0
valence = -0.5
arousal = 0.5
"""


def test_the_distance_is_that_on_the_plane_of_the_page() -> None:
    raw = replace(ESTIMATE, t=5.0, valence=0.3, arousal=-0.4)
    assert target_text(TARGET, raw) == "target +0.00 +0.00, 0.50 away"
    scaled = SCALED_ESTIMATE.scaled
    assert scaled is not None
    place = replace(scaled, valence=0.0, arousal=0.8)
    shown = replace(SCALED_ESTIMATE, t=5.0, scaled=place)
    assert target_text(TARGET, shown) == "target +0.00 +0.00, 0.80 away"


def test_the_display_has_a_line_for_it() -> None:
    view = TerminalView("demo", hop_s=1.0, coverage=0.8)
    view.add(ESTIMATE)
    view.set_target("target +0.00 +0.00, 0.50 away")
    console = Console(file=StringIO(), width=100)
    console.print(view)
    file = console.file
    assert isinstance(file, StringIO)
    assert "target +0.00 +0.00, 0.50 away" in file.getvalue()


def test_listen_says_it_in_each_line_and_the_recording_keeps_the_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    soundfile.write("song.wav", music(2.1, 16_000), 16_000)
    Path("way.toml").write_text(FILE)
    command = ["listen", "--input", "song.wav", "--target", "way.toml", "--record", "evening"]
    assert main(command) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "valence" in line]
    assert lines
    for line in lines:
        assert re.search(r"  target -0\.50 \+0\.50, \d\.\d\d away$", line), line
    with SessionReader(Path("evening")) as recording:
        assert recording.header is not None
        assert recording.header.target == TargetTrajectory((TargetPoint(0.0, -0.5, 0.5),))


def test_a_server_tells_the_page(engine: Engine) -> None:
    runner = LiveRunner(HangingSource(), engine)
    server = MerServer(engine, runner, config=ServerConfig(port=0), target=TARGET)
    with running_server(engine, server=server) as running, running.connect() as client:
        assert receive_kind(client, "hello")["target"] == TARGET.to_dict()


@pytest.mark.parametrize("command", ["serve", "listen"])
def test_a_wrong_file_is_a_sentence(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "way.toml"
    path.write_text(FILE.replace("0.5", "5.0"))
    assert main([command, "--input", "demo", "--target", str(path)]) == 2
    err = capsys.readouterr().err
    assert "valence is -5; it must lie between -1 and 1" in err
    assert err.count("\n") == 1
