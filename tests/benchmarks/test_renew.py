"""Renewing the speed results: what is kept, what is named, what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import renew
from live_support import wait_for
from renew import Part
from support import running_program

WRITE = "import sys; open(sys.argv[1], 'w').write('{\"figure\": 2}')"


def run(part: Part, tmp_path: Path) -> tuple[str, Path]:
    """Renew a result; return why it failed, and where the result is."""
    drafts, out = tmp_path / "drafts", tmp_path / "out"
    drafts.mkdir(exist_ok=True)
    out.mkdir(exist_ok=True)
    return renew.renew(part, drafts, out, time.monotonic()), out / f"{part.name}.json"


@pytest.mark.parametrize(
    "command", [("-c", WRITE, "RESULT"), ("-c", "print('{\"figure\": 2}')")], ids=["file", "output"]
)
def test_a_result_has_the_load_average_before_it(command: tuple[str, ...], tmp_path: Path) -> None:
    reason, path = run(Part("a", command, 60.0, timed=False), tmp_path)
    assert reason == ""
    result = json.loads(path.read_text())
    assert result["figure"] == 2
    assert result["load_average_before"] >= 0.0


def test_a_part_that_fails_leaves_the_old_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, path = run(Part("a", ("-c", WRITE, "RESULT"), 60.0, timed=False), tmp_path)
    old = path.read_text()
    program = "import sys; print('no disk', file=sys.stderr); sys.exit(3)"
    reason, path = run(Part("a", ("-c", program), 60.0, timed=False), tmp_path)
    assert reason == "it ended with exit code 3: no disk"
    assert path.read_text() == old
    assert "    no disk" in capsys.readouterr().err
    # So does one that was stopped, though it prints what it has.
    reason, path = run(Part("a", ("-c", "print('{\"stopped\": true}')"), 60.0, False), tmp_path)
    assert reason == "it wrote no complete result"
    assert path.read_text() == old


def test_a_missed_goal_is_a_result_and_a_failure(tmp_path: Path) -> None:
    program = WRITE + "; sys.exit(1)"
    reason, path = run(Part("a", ("-c", program, "RESULT"), 60.0, timed=False), tmp_path)
    assert reason == "it ended with exit code 1"
    assert json.loads(path.read_text())["figure"] == 2


def test_a_part_that_takes_too_long_ends_with_what_it_started(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    program = (
        "import subprocess, sys, time; child = subprocess.Popen(['sleep', '600']); "
        "open(sys.argv[1], 'w').write(str(child.pid)); time.sleep(600)"
    )
    limit_s = 1.0
    while not pid.exists():  # on a busy machine Python starts slowly
        reason, _ = run(Part("a", ("-c", program, str(pid)), limit_s, timed=False), tmp_path)
        assert reason == f"stopped after {limit_s:.0f} s"
        limit_s *= 2.0
    wait_for(lambda: ended(int(pid.read_text())), "the end of what the part started")


def ended(pid: int) -> bool:
    """Return whether a process runs no longer; nobody may have asked for its exit code yet."""
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_every_part_names_a_script_that_is_there() -> None:
    for quick in (False, True):
        parts, left_out = renew.parts_of(
            music=["a.flac"], data=Path("data"), cache=Path("cache"), quick=quick
        )
        assert not left_out
        for part in parts:
            assert part.command[0] == "-m" or Path(part.command[0]).is_file()
    parts, left_out = renew.parts_of(music=[], data=None, cache=None, quick=False)
    assert set(left_out) == {"side_by_side", "beats"}
    assert sum(part.limit_s for part in parts) > 0.0


@pytest.mark.timeout(300)
def test_the_script_renews_a_result(tmp_path: Path, scripts: Path) -> None:
    command = [str(scripts / "all.sh"), "--quick", "--out", str(tmp_path), "--only", "fuzz"]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHON": sys.executable}
    )
    assert done.returncode == 0, done.stderr
    assert "\nfuzz: " in done.stderr
    assert "left out: beats: it needs --data DIR" in done.stderr
    assert json.loads((tmp_path / "fuzz.json").read_text())["messages"] == 200


@pytest.mark.timeout(300)
def test_stopping_it_keeps_the_results_so_far(tmp_path: Path, scripts: Path) -> None:
    command = [sys.executable, str(scripts / "renew.py"), "--quick", "--out", str(tmp_path)]
    with running_program(
        [*command, "--only", "soak", "fuzz"], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("soak (load average ")
        process.send_signal(signal.SIGTERM)
        told = process.stderr.read()
    assert process.returncode == 143
    assert told.strip() == "stopped; the parts so far are renewed"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--quick"], "give a folder with --out"),
        (["--only", "all"], "no part 'all'; there are start_up, latency"),
        (["--only", "beats"], "it needs --data DIR"),
        (["--music", "."], "there is no music in"),
        (["--quick", "--out", f"{os.devnull}/a"], f"nothing can be written to {os.devnull}/a"),
    ],
)
def test_bad_arguments(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        renew.main(arguments)
    assert left.value.code == 2
    assert words in capsys.readouterr().err
