"""The program with standard streams that are closed, full or of another encoding."""

from __future__ import annotations

import csv
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from recording_support import estimates_of
from support import music

from realtime_mer.commands.streams import reason_of

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
needs_full_device = pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="no /dev/full on this system"
)
RATE_HZ = 16_000
TIMEOUT_S = 120.0


@pytest.fixture(autouse=True)
def song(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "song.wav"
    soundfile.write(path, music(2.2, RATE_HZ), RATE_HZ)
    return path


def run(
    command: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a command line of a shell, in which `MER` is the program."""
    program = f"{shlex.quote(sys.executable)} -m realtime_mer"
    # `exec` keeps the shell from using a number of a closed stream for itself.
    return subprocess.run(
        ["sh", "-c", command.replace("MER", f"exec {program}")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=TIMEOUT_S,
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "command",
    [
        "MER analyze song.wav",
        "MER analyze song.wav song.wav missing.wav",
        "MER listen --input song.wav --format csv",
        "MER devices --json",
    ],
)
@pytest.mark.parametrize(
    ("output", "reason"),
    [
        pytest.param("> /dev/full", "No space left on device", marks=needs_full_device),
        (">&-", "it is closed"),
    ],
)
def test_an_output_that_cannot_be_written_is_told(
    command: str, output: str, reason: str, unbuffered: str
) -> None:
    ended = run(f"{command} {output}", {"PYTHONUNBUFFERED": unbuffered})
    assert ended.returncode == 2, ended.stderr
    assert f"{reason})" in ended.stderr.decode()
    assert b"standard output cannot be written" in ended.stderr
    assert b"Traceback" not in ended.stderr
    assert b"Exception ignored" not in ended.stderr


@pytest.mark.parametrize("output", [pytest.param("> /dev/full", marks=needs_full_device), ">&-"])
def test_help_and_version_are_output_too(output: str) -> None:
    ended = run(f"MER --version {output}", {"PYTHONUNBUFFERED": ""})
    assert ended.returncode == 2
    assert ended.stderr.startswith(b"realtime-mer: standard output cannot be written")


def test_a_table_needs_no_standard_stream(tmp_path: Path) -> None:
    """Nor does it get the rows or messages of another one that took the number of a stream."""
    ended = run("MER analyze song.wav -o table.csv >&- 2>&- <&-")
    assert ended.returncode == 0
    with (tmp_path / "table.csv").open() as table:
        assert [row["t"] for row in csv.DictReader(table)] == ["1.0", "2.0"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["song.wav", "table.csv"]


@pytest.mark.parametrize("errors", [pytest.param("2> /dev/full", marks=needs_full_device), "2>&-"])
def test_messages_that_nobody_sees_do_not_end_the_program(errors: str) -> None:
    ended = run(f"MER analyze missing.wav song.wav {errors}")
    assert ended.returncode == 2
    rows = list(csv.DictReader(ended.stdout.decode().splitlines()))
    assert [row["t"] for row in rows] == ["1.0", "2.0"]


@needs_full_device
def test_a_recording_goes_on_without_the_output(tmp_path: Path) -> None:
    ended = run("MER listen --input song.wav --record evening > /dev/full")
    assert ended.returncode == 2
    assert b"The recording goes on" in ended.stderr
    assert len(estimates_of(tmp_path / "evening")) == 2


@pytest.mark.parametrize("output", [pytest.param("> /dev/full", marks=needs_full_device), ">&-"])
def test_serve_needs_no_output(output: str) -> None:
    ended = run(f"MER serve --input song.wav --speed 100 --exit-at-end --port 0 {output}")
    assert ended.returncode == 0
    assert b"stopped after" in ended.stderr
    assert b"Traceback" not in ended.stderr


ENVIRONMENTS = [
    {"PYTHONIOENCODING": "cp1252"},
    {"PYTHONIOENCODING": "ascii:strict"},
    {"PYTHONIOENCODING": "utf-8:strict"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"LC_ALL": "C"},
]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("name", ["Café 🎵.wav", os.fsdecode(b"caf\xe9.wav")])
def test_names_that_the_output_cannot_hold(
    name: str, environment: dict[str, str], tmp_path: Path
) -> None:
    try:
        (tmp_path / name).touch()  # empty, which the error tells with the name
    except OSError:
        pytest.skip("this file system has no such names")
    ended = run(f"MER analyze song.wav {shlex.quote(name)}", environment)
    assert ended.returncode == 2
    assert b"is empty (0 bytes)" in ended.stderr
    assert b"Traceback" not in ended.stderr
    assert ended.stdout.count(b"\n") == 3


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
@pytest.mark.parametrize("environment", ENVIRONMENTS[:1] + ENVIRONMENTS[2:4])
def test_a_name_in_every_output(environment: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9 \xf0\x9f\x8e\xb5")
    name = shlex.quote(f"{folder.name}/{folder.name}.m4a")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system has no such names")
    encode = ["ffmpeg", "-loglevel", "error", "-i", "song.wav", f"{folder}/{folder.name}.m4a"]
    subprocess.run(encode, stdin=subprocess.DEVNULL, check=True)

    ended = run(f"MER analyze {name} -o out/ --plot plot.png", environment)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert (tmp_path / "out" / f"{folder.name}.csv").read_bytes().decode()
    ended = run(f"MER analyze {shlex.quote(folder.name)} --format jsonl", environment)
    assert (ended.returncode, ended.stderr) == (0, b"")
    for line in ended.stdout.splitlines():
        json.loads(line)["file"].encode()  # no half of a character
    for command in ("listen --duration 1", "serve --exit-at-end --speed 100 --port 0"):
        ended = run(f"MER {command} --input {name}", environment)
        assert ended.returncode == 0, ended.stderr
        assert b"Traceback" not in ended.stderr


def test_the_reason_of_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file") as error:
        (tmp_path / "missing").rename(tmp_path / "other")
    assert reason_of(error.value) == (
        f"{tmp_path / 'missing'} and {tmp_path / 'other'}: No such file or directory"
    )
    assert reason_of(OSError(28, "No space left on device")) == "No space left on device"
    assert reason_of(OSError("the card is gone")) == "the card is gone"
    assert reason_of(TimeoutError()) == "TimeoutError"
