"""JSON Lines on a real standard output: read, closed, full, and not read."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# A show that sends 50 lines a second, tells on standard error how its output does, and ends when
# standard input does.
PROGRAM = """
import logging, sys, threading
from support import ESTIMATE
from realtime_mer.commands.streams import prepare_streams
from realtime_mer.core.events import Event, EventKind, RhythmEvent, RhythmKind
from realtime_mer.live.hub import Hub
from realtime_mer.live.show import Show
from realtime_mer.outputs.jsonl import JsonlSettings
from realtime_mer.outputs.output_set import OutputSet

# It tells the answers itself.
log = logging.getLogger("realtime_mer.outputs.output_worker")
log.addFilter(lambda record: " fails: " not in record.getMessage())
prepare_streams()
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
hub, show = Hub(), Show()
with OutputSet(hub, [JsonlSettings(rate_hz=50.0)], hop_s=1.0, show=show):
    hub.publish(ESTIMATE)
    hub.publish(Event(EventKind.RISE, 3.0, 4.5, "2026-01-02T03:04:05.000Z", 2 / 3))
    hub.publish(RhythmEvent(RhythmKind.BEAT, 1 / 3, 0.5, 120.0))
    told = ""
    while not ended.wait(0.01):
        answer = show.statuses()[0].answer
        if answer != told:
            told = answer
            print(answer, file=sys.stderr, flush=True)
"""
TESTS = Path(__file__).parents[2]


class Program:
    """The program above with its standard output directed somewhere."""

    def __init__(self, stdout: int, *, close_stdout: bool = False) -> None:
        path = os.pathsep.join((str(TESTS), *sys.path))
        arguments = [sys.executable, "-c", PROGRAM]
        if close_stdout:
            arguments = ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *arguments]
        self.process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=stdout, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip

    def complaint(self) -> str:
        """Wait for the next line of standard error."""
        assert self.process.stderr is not None
        return self.process.stderr.readline().strip()

    def end(self) -> tuple[int, str]:
        """End it; return the exit code and the rest of standard error."""
        _, errors = self.process.communicate("", timeout=60.0)
        return self.process.returncode, errors


def test_lines() -> None:
    program = Program(subprocess.PIPE)
    assert program.process.stdout is not None
    lines = [json.loads(program.process.stdout.readline()) for _ in range(8)]
    assert program.end() == (0, "")
    found = {line["type"]: line for line in lines}
    assert found["event"]["strength"] == 0.667
    assert found["rhythm"] == {
        "type": "rhythm", "kind": "beat", "t": 0.3333, "strength": 0.5, "bpm": 120.0,
    }  # fmt: skip
    values = found["values"]
    assert 0.0 <= values["valence"] <= 1.0
    assert values["valence"] == round(values["valence"], 4)
    assert values["state"] == "settling"
    assert values["mood"] == "still"
    assert len(values["color"]) == 3


def test_a_reader_that_is_gone_ends_nothing() -> None:
    reader, writer = os.pipe()
    program = Program(writer)
    os.close(writer)
    with os.fdopen(reader) as lines:
        lines.readline()
    assert program.complaint() == (
        "standard output cannot be written (Broken pipe); direct it elsewhere"
    )
    assert program.end() == (0, "")


def test_a_reader_that_does_not_read_ends_nothing() -> None:
    reader, writer = os.pipe()
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)  # so that it is full sooner
    program = Program(writer)
    os.close(writer)
    assert program.complaint() == "has not taken anything for 5 s"
    assert program.end() == (0, "the output standard output hangs and was left behind\n")
    with os.fdopen(reader) as lines:
        for line in lines.readlines()[:-1]:
            json.loads(line)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_ends_nothing() -> None:
    with Path("/dev/full").open("w") as full:
        program = Program(full.fileno())
    assert program.complaint().startswith("standard output cannot be written (No space left")
    assert program.end() == (0, "")


def test_no_standard_output() -> None:
    program = Program(subprocess.DEVNULL, close_stdout=True)
    assert program.complaint().startswith("standard output cannot be written (Bad file descriptor)")
    assert program.end() == (0, "")
