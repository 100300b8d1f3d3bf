import contextlib
import json
import os
import pty
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from live_support import wait_for
from mer_engine import Engine
from recording_support import estimates_of
from support import music, running_program, values

from realtime_mer.cli import main
from realtime_mer.core.pipeline import Pipeline

RATE_HZ = 22_050
COMMAND = [sys.executable, "-m", "realtime_mer", "listen"]


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.wav"
    soundfile.write(path, music(2.6, RATE_HZ), RATE_HZ, subtype="FLOAT")
    return path


def test_live_rows_equal_offline_estimates(
    song: Path, engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "evening"
    started = time.monotonic()
    options = ["--format", "jsonl", "--record", str(record)]
    assert main(["listen", "--input", str(song), *options]) == 0
    assert time.monotonic() - started > 2.0  # in real time
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in out.splitlines()]
    pipeline = Pipeline(engine, sample_rate_hz=RATE_HZ)
    samples = soundfile.read(song, dtype="float32", always_2d=True)[0]
    offline = values([*pipeline.feed(samples), *pipeline.finish()])
    live = np.array([[line["t"], line["valence"], line["arousal_low"]] for line in lines])
    np.testing.assert_allclose(live, offline[:, [0, 1, 5]], atol=1e-5)
    assert [estimate["t"] for estimate in estimates_of(record)] == [1.0, 2.0]
    assert "2 estimates recorded" in err
    assert "song.wav" in err


def value_lines(output: bytes) -> list[str]:
    """The lines with values; not those of a stall, which a busy machine may have."""
    lines = output.decode().splitlines()
    return [line for line in lines if "  valence " in line and " stalled " not in line]


def test_raw_pcm_on_standard_input() -> None:
    samples = (music(1.8, RATE_HZ, channels=2) * 20_000).astype("<i2")
    options = ["--pcm-rate", str(RATE_HZ), "--pcm-channels", "2", "--hop", "0.5"]
    run = subprocess.run(
        [*COMMAND, "--input", "-", *options], input=samples.tobytes(), capture_output=True
    )
    assert run.returncode == 0, run.stderr
    lines = run.stdout.decode().splitlines()
    values = value_lines(run.stdout)
    assert [line.split()[0] for line in values] == ["0:00.5", "0:01.5"]  # at most one a second
    assert "0:00.0  event: music begins" in lines


def test_encoded_audio_on_standard_input_is_decoded_only_if_asked(song: Path) -> None:
    command = [*COMMAND, "--input", "-"]
    run = subprocess.run(command, input=song.read_bytes(), capture_output=True)
    assert run.returncode == 2
    assert b"standard input contains a WAV file, not raw PCM; give --pcm-format auto" in run.stderr
    assert run.stderr.count(b"\n") == 1
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed")
    command += ["--pcm-format", "auto"]
    run = subprocess.run(command, input=song.read_bytes(), capture_output=True)
    assert run.returncode == 0, run.stderr
    assert len(value_lines(run.stdout)) == 2


def test_the_live_display_in_a_terminal(song: Path) -> None:
    main_end, terminal_end = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
    process = subprocess.Popen(
        [*COMMAND, "--input", str(song), "--hop", "0.5"],
        stdout=terminal_end,
        stderr=terminal_end,
        env=environment,
    )
    os.close(terminal_end)
    shown = b""
    while select.select([main_end], [], [], 60.0)[0]:
        try:
            part = os.read(main_end, 65536)
        except OSError:  # on Linux, the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(main_end)
    assert process.wait(60) == 0
    text = shown.decode()
    for words in ("valence", "arousal", "settling", "looks back 10 s"):
        assert words in text
    assert re.search("nothing lost|late windows|skipped updates", text)  # of a busy machine


@pytest.mark.parametrize("variable", ["TERM=dumb", "NO_COLOR=1"])
def test_a_terminal_without_cursor_or_colours_gets_lines(song: Path, variable: str) -> None:
    terminal, theirs = pty.openpty()
    name, _, value = variable.partition("=")
    with running_program(
        [*COMMAND, "--input", str(song)],
        stdout=theirs,
        stderr=subprocess.PIPE,
        env={**os.environ, "TERM": "xterm-256color", name: value},
    ) as process:
        os.close(theirs)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    shown = os.read(terminal, 65_536).decode()
    os.close(terminal)
    assert "\x1b" not in shown
    assert shown.count("  valence ") == 2


class Tmux:
    """A terminal of another size at any moment, and what it shows.

    Args:
        folder: of its socket.
        command: a shell command that runs in it, with `COLUMNS` columns and `ROWS` rows at first.
    """

    COLUMNS, ROWS = 80, 24

    def __init__(self, folder: Path, command: str) -> None:
        self._socket = str(folder / "tmux")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        for name in ("TMUX", "COLUMNS", "LINES", "NO_COLOR"):
            environment.pop(name, None)
        # Without the user's configuration, which could change keys and sizes.
        start = ["-f", os.devnull, "new-session", "-d", "-x", str(self.COLUMNS), "-y"]
        self._run(*start, str(self.ROWS), command, env=environment)

    def _run(self, *arguments: str, env: dict[str, str] | None = None) -> str:
        command = ["tmux", "-S", self._socket, *arguments]
        run = subprocess.run(command, capture_output=True, text=True, env=env, timeout=60.0)
        assert run.returncode == 0, run.stderr
        return run.stdout

    def shown(self, *, scrollback: bool = False) -> str:
        return self._run("capture-pane", "-p", *(["-S", "-"] if scrollback else []))

    def resize(self, columns: int, rows: int) -> None:
        self._run("resize-window", "-x", str(columns), "-y", str(rows))

    def type(self, key: str) -> None:
        self._run("send-keys", key)

    def close(self) -> None:
        self._run("kill-server")


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_a_resized_terminal_shows_the_view_once_and_keeps_the_last_one(tmp_path: Path) -> None:
    listen = f"{shlex.quote(sys.executable)} -m realtime_mer listen --input demo --loop --hop 0.2"
    shell = f"echo BEFORE; TERM=screen-256color {listen}; echo AFTER; exec cat"
    with contextlib.closing(Tmux(tmp_path, shell)) as terminal:

        def shows(columns: int, rows: int) -> bool:
            """Whether there is one view, of this size and nothing else."""
            lines = terminal.shown().rstrip("\n").splitlines()
            if len(lines) < 3 or not all(lines):
                return False
            titles = [line for line in lines if line.startswith("╭─ realtime-mer")]
            whole = len(titles) == 1 and lines[-1].startswith("╰") and lines[-1].endswith("╯")
            framed = all(line[0] in "╭│╰" and line[-1] in "╮│╯" for line in lines)
            wide = len(lines[0]) == min(columns, 100)
            return whole and framed and wide and len(lines) <= rows and "●" in lines[1]

        for columns, rows in [(80, 24), (40, 24), (60, 14), (120, 40), (40, 12), (80, 24)]:
            terminal.resize(columns, rows)
            wait_for(partial(shows, columns, rows), f"{columns} x {rows}")
        terminal.type("C-c")
        wait_for(lambda: "AFTER" in terminal.shown(), "it ends")
        lines = terminal.shown(scrollback=True).splitlines()
    assert lines.index("BEFORE") < lines.index("AFTER")
    assert sum(line.startswith("╭─ realtime-mer") for line in lines) == 1
    assert any("valence" in line and "●" in line for line in lines)


def test_ctrl_c_ends_without_a_traceback(song: Path, tmp_path: Path) -> None:
    record = tmp_path / "evening"
    options = ["--input", str(song), "--loop", "--hop", "0.1", "--record", str(record)]
    options += ["--format", "jsonl"]
    # If the tests run in the background of a script, they and their children ignore SIGINT.
    process = subprocess.Popen(
        [*COMMAND, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    for _ in range(5):
        assert process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert b"Traceback" not in err
    lines = estimates_of(record)
    assert [line["seq"] for line in lines] == list(range(len(lines)))
    # Every printed line is recorded; the interrupt may fall between the two.
    printed = 5 + len(out.splitlines())
    assert printed <= len(lines) <= printed + 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--input", "nowhere.wav"], "nowhere.wav"),
        (["--input", ""], "the input is empty"),
        (["--input", "demo", "--duration", "-1"], "the duration is -1.0 s"),
        (["--input", "demo", "--duration", "1e400"], "the duration is inf s; it must be finite"),
        (["--input", "demo", "--record", ""], "the path is empty"),
        (["--input", "demo", "--record", "x.csv"], "a recording is a folder: name a folder"),
        (["--input", "demo", "--record-audio"], "give --record DIR too"),
        (["--input", "a" * 300], "there is no input device"),
        (["--input", "a" * 300 + ".wav"], "File name too long"),
        (["--input", "file://nas/a.wav"], "on the computer 'nas'"),
        (["--input", "-", "--pcm-format", "s12"], "s12"),
        (["--input", "-", "--pcm-rate", "100"], "100"),
        (["--input", "browser"], "realtime-mer serve --input browser"),
    ],
)
def test_bad_input_gives_one_line(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["listen", *options]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_it_stops_after_the_duration(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--hop", "0.5", "--duration", "1", "--format", "jsonl"]
    assert main(["listen", "--input", "demo", *options]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_spike_ends_neither_the_session_nor_its_recording(
    song: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples, _ = soundfile.read(song, dtype="float32")
    samples[20_000] = 1e20
    soundfile.write(song, samples, RATE_HZ, subtype="FLOAT")
    record = tmp_path / "evening"
    options = ["--hop", "0.5", "--format", "jsonl", "--record", str(record)]
    assert main(["listen", "--input", str(song), *options]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 5
    assert err.count("1e+20") == 1
    assert "lost: bad samples 1" in err
    assert all(np.isfinite(estimate["level_db"]) for estimate in estimates_of(record))


def test_an_incomplete_file_is_reported_once_with_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cut.wav"
    soundfile.write(path, music(4.0, RATE_HZ), RATE_HZ)
    path.write_bytes(path.read_bytes()[:60_000])
    assert main(["listen", "--input", str(path), "--hop", "0.5", "--format", "jsonl"]) == 2
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert err.count("breaks off at") == 1


@pytest.mark.parametrize("form", ["~/song.wav", "file://"])
def test_a_file_named_as_people_name_it(
    form: str, song: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(song.parent))
    name = song.as_uri() if form == "file://" else form
    options = ["--duration", "1", "--hop", "0.5", "--record", "~/evening", "--format", "jsonl"]
    assert main(["listen", "--input", name, *options]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert len(estimates_of(song.parent / "evening")) == 2


def test_listening_goes_on_when_the_disk_of_the_recording_is_full(
    song: Path, tmp_path: Path
) -> None:
    """A limit on the size of files takes the place of a full disk."""
    pytest.importorskip("resource", reason="this system has no limit on the size of files")
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))\n"
        "from realtime_mer.cli import main; sys.exit(main())"
    )
    options = ["--input", str(song), "--hop", "0.1", "--record", "evening", "--format", "jsonl"]
    run = subprocess.run(
        [sys.executable, "-c", program, "listen", *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2
    count = len(estimates_of(tmp_path / "evening"))
    assert len(run.stdout.splitlines()) > count
    assert run.stderr.count(f"the recording stopped after {count} estimates (File too large)") == 1
    assert f"{count} estimates recorded" in run.stderr
    assert "Traceback" not in run.stderr
