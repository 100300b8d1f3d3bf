"""Options of the file hold unless the command line gives them; their mistakes name the line."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from realtime_mer.cli import build_parser, main

TEXT = """\
[input]
input = "song.flac"
loop = true
pcm_rate = 8000
[estimation]
hop = 0.5
range = "raw"
model = "~/x.onnx"
[server]
port = 9000
allow_origin = ["https://a.example"]
token = "tokens.toml"
[profile.club]
server.port = 9100
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def parsed(*arguments: str) -> argparse.Namespace:
    return build_parser().parse_args(arguments)


def test_the_file_gives_defaults() -> None:
    Path("realtime-mer.toml").write_text(TEXT)
    args = parsed("serve")
    assert (args.input, args.loop, args.pcm_rate, args.hop) == ("song.flac", True, 8000, 0.5)
    assert (args.range, args.port, args.token) == ("raw", 9000, "tokens.toml")
    assert args.model == Path("~/x.onnx").expanduser()
    assert args.allow_origin == ["https://a.example"]
    assert args.max_viewers == 200
    assert args.configuration.file == Path("realtime-mer.toml")
    listen = parsed("listen")
    assert (listen.input, listen.hop) == ("song.flac", 0.5)
    assert not hasattr(listen, "port")


def test_the_command_line_wins() -> None:
    Path("realtime-mer.toml").write_text(TEXT)
    options = ["--port", "8765", "--hop", "1.0", "--input", "demo", "--no-token"]
    args = parsed("serve", *options, "--allow-origin", "https://b.example")
    assert (args.port, args.hop, args.input) == (8765, 1.0, "demo")
    assert (args.token, args.no_token) == (None, True)
    assert args.allow_origin == ["https://b.example"]
    assert parsed("serve", "--profile", "club").port == 9100
    assert parsed("serve", "--profile=club", "--port=1").port == 1
    Path("empty.toml").touch()
    assert parsed("serve", "--config", "empty.toml").port == 8765
    osc = parsed("serve", "--osc", "h:1", "--osc", "h:2").configuration.outputs
    assert [output.to for output in osc] == ["h:1", "h:2"]


def test_without_a_file() -> None:
    assert parsed("serve").configuration.file is None
    assert parsed("serve").port == 8765


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[server]\nprot = 1", "line 2: [server] has no key prot; did you mean port?"),
        (
            "[server]\nport = '1'",
            'line 2: [server] port is the text "1"; it must be a whole number',
        ),
        ("[estimation]\nhop = true", "line 2: [estimation] hop is true; it must be a number"),
        ("[estimation]\nrange = 'musik'", 'it must be "raw" or "music"; did you mean music?'),
        ("[estimation]\nbackend = 'x'", "line 2: [estimation] backend is the text"),
        ("[input]\nloop = 1", "line 2: [input] loop is 1; it must be true or false"),
        ("[server]\nproxy = 'x'", 'line 2: [server] proxy is the text "x"; it must be a list'),
        ("[[osc]]", "line 1: [[osc]] needs the key to"),
    ],
)
@pytest.mark.parametrize("command", ["serve", "listen"])
def test_mistakes(
    text: str, sentence: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("show.toml").write_text(text)
    assert main([command, "--config", "show.toml"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"realtime-mer {command}: show.toml line ")
    assert sentence in error
    assert error.count("\n") == 1


def test_files_that_cannot_be_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--config", "none.toml"]) == 2
    assert capsys.readouterr().err == "realtime-mer serve: none.toml: No such file or directory\n"
    assert main(["serve", "--config", str(folder)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["serve", "--profile", "club"]) == 2
    assert "'realtime-mer init' writes one" in capsys.readouterr().err


def test_the_help_needs_no_valid_file(capsys: pytest.CaptureFixture[str]) -> None:
    Path("realtime-mer.toml").write_text("nonsense")
    with pytest.raises(SystemExit) as left:
        main(["serve", "--help"])
    assert left.value.code == 0
    assert "--config FILE" in capsys.readouterr().out


def test_options_that_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    Path("show.toml").write_text("[server]\ntoken = 'x'\nno_token = true")
    assert main(["serve", "--config", "show.toml"]) == 2
    sentence = "show.toml line 3: [server] no_token excludes token; remove one of them"
    assert sentence in capsys.readouterr().err
