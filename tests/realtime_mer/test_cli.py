import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from realtime_mer import __version__, cli
from realtime_mer.cli import COMMANDS, HELP, build_parser, command_module, main
from realtime_mer.errors import UserError


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"realtime-mer {__version__}\n"


def test_without_a_command_it_prints_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "serve" in capsys.readouterr().err


def test_an_interrupted_import_of_a_library_is_an_interruption(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(arguments: object) -> int:
        # As pybind11 does while it imports.
        raise ImportError("initialization failed") from KeyboardInterrupt(signal.SIGTERM)

    monkeypatch.setattr(cli, "_run", interrupted)
    assert main(["bench"]) == 143


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as left:
        main([name, "--help"])
    assert left.value.code == 0
    text = capsys.readouterr().out
    module = command_module(name)
    assert HELP[name] == module.HELP
    assert module.DESCRIPTION.split("\n", maxsplit=1)[0] in text
    assert f"realtime-mer {name}" in module.EXAMPLES
    assert module.EXAMPLES.strip().split("\n", maxsplit=1)[0].strip() in text
    assert max(len(line) for line in text.splitlines()) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_help_text(name: str) -> None:
    parser = build_parser()
    with pytest.raises(SystemExit):
        parser.parse_args([name, "--no-such-option"])
    (commands,) = (a for a in parser._actions if a.dest == "command")
    assert isinstance(commands.choices, dict)
    for action in commands.choices[name]._actions:
        assert action.help, f"{name} {action.dest}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sing"], "invalid choice: 'sing'"),
        (["analyze"], "the following arguments are required: FILE"),
        (["analyze", "x", "--hop", "fast"], "invalid float value: 'fast'"),
        (["analyze", "x", "--colour"], "unrecognized arguments: --colour"),
        (
            ["playlist", "x", "--from", "-0.5,0.8"],
            "begins with a minus is given as --OPTION=-VALUE",
        ),
    ],
)
def test_wrong_options_give_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (FileNotFoundError(2, "No such file or directory", "song.wav"),
         "song.wav: No such file or directory"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (UserError("give another name than caf\udce9"), "give another name than caf\ufffd"),
    ],
)  # fmt: skip
def test_errors_of_the_system_are_sentences(
    error: Exception,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(args: argparse.Namespace) -> int:
        raise error

    monkeypatch.setattr("realtime_mer.commands.devices.run", run)
    assert main(["devices"]) == 2
    assert capsys.readouterr().err == f"realtime-mer devices: {sentence}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", "{}", "--data", "csv=."],
        ["evaluate", "--data", "deam={}"],
        ["evaluate", "--data", "{}"],
        ["export", "{}", "--out", "x.onnx"],
        ["export", "x.onnx", "--out", "{}"],
        ["train", "--data", "csv={}"],
        ["train", "--data", "csv=.", "--out", "{}"],
        ["train", "--data", "csv=.", "--init", "{}"],
        ["reproduce", "table1", "--data", "{}"],
        ["analyze", "demo", "--model", "{}"],
        ["listen", "--input", "demo", "--model", "{}"],
        ["listen", "--input", "demo", "--record", "{}"],
    ],
)
@pytest.mark.parametrize("path", ["circle/x", "file/x", "a" * 300])
def test_paths_that_make_the_system_fail_give_one_line(
    path: str,
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A circle of links, a path below a file, and a name that is too long."""
    monkeypatch.chdir(tmp_path)
    Path("circle").symlink_to("circle")
    Path("file").touch()
    assert main([argument.format(path) for argument in arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"realtime-mer {arguments[0]}: ")
    assert err.count("\n") == 1


def test_the_home_folder_in_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No shell expands the ~ in --model=~/x or deam=~/x."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for arguments in (["analyze", "demo", "--model=~/x"], ["evaluate", "--data", "csv=~/x"]):
        assert main(arguments) == 2
        assert str(tmp_path / "x") in capsys.readouterr().err


def test_a_closed_pipe_of_standard_output_is_not_an_error() -> None:
    run = subprocess.run(
        f"{sys.executable} -m realtime_mer analyze demo --hop 0.1 | head -1",
        shell=True,
        capture_output=True,
        text=True,
    )
    assert run.stdout.startswith("seq,t,utc,valence")
    assert run.stderr == ""


@pytest.mark.parametrize(
    ("command", "given", "threads"),
    [("analyze", {}, "1"), ("analyze", {"OPENBLAS_NUM_THREADS": "2"}, "2"), ("train", {}, "None")],
)
def test_commands_that_fit_nothing_multiply_matrices_in_one_thread(
    command: str, given: dict[str, str], threads: str
) -> None:
    code = (
        "import os, sys\n"
        "from realtime_mer.cli import build_parser\n"
        "assert 'numpy' not in sys.modules\n"  # it reads the number when it is imported
        "try:\n"
        f"    build_parser().parse_args(['{command}', '--help'])\n"
        "except SystemExit:\n"
        "    print(os.environ.get('OPENBLAS_NUM_THREADS'))\n"
    )
    inherited = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    run = subprocess.run(
        [sys.executable, "-c", code], env=inherited | given, capture_output=True, text=True
    )
    assert run.stdout.splitlines()[-1] == threads, run.stderr
