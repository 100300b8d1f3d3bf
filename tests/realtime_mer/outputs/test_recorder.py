"""Recording a session to a file."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from support import ESTIMATE

from realtime_mer.errors import UserError
from realtime_mer.live.hub import Hub
from realtime_mer.outputs.recorder import Recorder


def test_every_estimate_is_recorded_in_order(tmp_path: Path) -> None:
    hub = Hub()
    with Recorder(hub, tmp_path / "evening.csv") as recorder:
        for seq in range(2000):
            hub.publish(replace(ESTIMATE, seq=seq))
        recorder.drain()
        assert len(recorder.path.read_text().splitlines()) == 2001
        hub.publish(replace(ESTIMATE, seq=2000))
    assert recorder.rows == 2001
    assert recorder.path.read_text().splitlines()[-1].startswith("2000,")
    assert hub.subscribers == 0
    recorder.close()


def test_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "evening.jsonl"
    path.write_text("precious\n")
    with pytest.raises(UserError, match="exists already"):
        Recorder(Hub(), path)
    assert path.read_text() == "precious\n"


@pytest.mark.parametrize(
    "name", ["evening.txt", "evening", "missing/evening.csv", "a" * 300 + ".csv"]
)
def test_paths_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"must end in|cannot be written"):
        Recorder(Hub(), tmp_path / name)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "evening.csv"
    hub = Hub()
    recorder = Recorder(hub, path)
    hub.publish(ESTIMATE)
    recorder.drain()
    # Replace the open file by a full disk without the recorder's knowledge.
    with Path("/dev/full").open("w") as full:
        os.dup2(full.fileno(), recorder._table.fileno())
    hub.publish(ESTIMATE)
    with pytest.raises(UserError, match=r"stopped after 1 rows \(No space left"):
        recorder.drain()
    assert hub.subscribers == 0
    hub.publish(ESTIMATE)
    recorder.drain()  # it has ended and said so
    recorder.close()
    assert recorder.rows == 1
    assert len(path.read_text().splitlines()) == 2
