"""Recording a session to a file, whatever happens to the file and its disk."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from live_support import wait_for
from support import ESTIMATE

from realtime_mer.errors import UserError
from realtime_mer.live.hub import Hub, LosslessQueue, Notice
from realtime_mer.outputs import recorder as recorder_module
from realtime_mer.outputs.recorder import Recorder

HEADER_LINES = {"csv": 1, "jsonl": 0, "ndjson": 0}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if sys.platform != "linux":
        pytest.skip("only Linux has a tmpfs")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def publish(hub: Hub, first: int, count: int) -> None:
    for seq in range(first, first + count):
        hub.publish(replace(ESTIMATE, seq=seq))


def notices(subscription: LosslessQueue) -> list[Notice]:
    return [item for item in subscription.take() if isinstance(item, Notice)]


def numbers(path: Path) -> list[int]:
    """The `seq` of each row; every row is whole, but while the recorder tries to write one."""
    text = "?"

    def whole() -> bool:
        nonlocal text
        text = path.read_text()
        return text == "" or text.endswith("\n")

    wait_for(whole, "whole rows")
    lines = text.splitlines()
    if path.suffix != ".csv":
        return [json.loads(line)["seq"] for line in lines]
    assert lines[0].startswith("seq,t,utc,")
    assert {line.count(",") for line in lines} == {lines[0].count(",")}
    return [int(line.split(",")[0]) for line in lines[1:]]


@pytest.mark.parametrize("suffix", HEADER_LINES)
def test_every_estimate_is_recorded_in_order(tmp_path: Path, suffix: str) -> None:
    hub = Hub()
    with Recorder(hub, tmp_path / f"evening.{suffix}", hop_s=0.1) as recorder:
        publish(hub, 0, 2000)
        # Without a call of the recorder, and before it is closed.
        wait_for(lambda: recorder.rows == 2000, "all rows are written")
        assert len(recorder.path.read_text().splitlines()) == 2000 + HEADER_LINES[suffix]
        publish(hub, 2000, 3)
    assert recorder.remark == ""
    assert recorder.missing == 0
    assert numbers(recorder.path) == list(range(2003))
    assert recorder.summary == f"2003 estimates recorded in {recorder.path}"
    assert hub.subscribers == 0
    recorder.close()


@pytest.mark.parametrize("suffix", HEADER_LINES)
@pytest.mark.parametrize("cut", [0, 1, 40])
def test_a_recording_is_continued_after_its_program_was_killed(
    tmp_path: Path, suffix: str, cut: int
) -> None:
    path = tmp_path / f"evening.{suffix}"
    for _ in range(2):
        hub = Hub()
        with Recorder(hub, path) as recorder:
            publish(hub, 0, 3)
        path.write_bytes(path.read_bytes()[: -cut or None])
    kept = [0, 1, 2] if cut == 0 else [0, 1]
    with Recorder(Hub(), path) as recorder:
        assert numbers(path) == 2 * kept
    assert "is continued" in recorder.remark
    assert ("cut off and is removed" in recorder.remark) == (cut > 0)


@pytest.mark.parametrize("suffix", HEADER_LINES)
def test_a_recording_that_was_killed_in_its_first_line_is_begun_again(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"evening.{suffix}"
    hub = Hub()
    with Recorder(hub, path):
        publish(hub, 0, 1)
    path.write_bytes(path.read_bytes()[:15])
    hub = Hub()
    with Recorder(hub, path):
        publish(hub, 7, 1)
    assert numbers(path) == [7]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("evening.jsonl", b"precious\n"),
        ("evening.csv", b"seq,t,utc\n1,2,3\n"),
        ("evening.csv", b"precious"),
        ("evening.csv", b'{"type": "estimate", "seq": 0}\n'),
        ("evening.csv", b"\0" * 100_000),
        ("evening.jsonl", b'{"type": "estimate", "seq": 0' + b" " * 100_000),
    ],
)
def test_another_file_is_not_changed(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match="exists already, is no recording of this version"):
        Recorder(Hub(), path)
    assert path.read_bytes() == content


def test_two_programs_do_not_record_into_one_file(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="this system has no locks of files")
    path = tmp_path / "evening.csv"
    with Recorder(Hub(), path), pytest.raises(UserError, match="another program records into"):
        Recorder(Hub(), path)
    Recorder(Hub(), path).close()


@pytest.mark.parametrize(
    "name", ["evening.txt", "evening", "missing/evening.csv", "a" * 300 + ".csv", "folder.csv"]
)
def test_paths_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UserError, match=r"must end in|cannot be written"):
        Recorder(Hub(), tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_a_fifo_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "evening.csv")
    with pytest.raises(UserError, match="not a regular file"):
        Recorder(Hub(), tmp_path / "evening.csv")


def test_a_recording_that_cannot_be_started_leaves_no_file(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="this system has no limit on the size of files")
    program = """
import resource
from pathlib import Path
from realtime_mer.errors import UserError
from realtime_mer.live.hub import Hub
from realtime_mer.outputs.recorder import Recorder
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
try:
    Recorder(Hub(), Path("evening.csv"))
except UserError as error:
    print(error)
"""
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout == "evening.csv cannot be written (File too large)\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_full_disk_loses_no_row_until_there_is_space(small_disk: Path, suffix: str) -> None:
    hub = Hub()
    heard = hub.subscribe_lossless()
    path = small_disk / f"evening.{suffix}"
    other = small_disk / "other"
    with Recorder(hub, path) as recorder:
        publish(hub, 0, 5)
        wait_for(lambda: recorder.rows == 5, "five rows are written")
        other.write_bytes(b"x" * 57_344)
        publish(hub, 5, 100)
        wait_for(lambda: "recording_stopped" in {n.code for n in notices(heard)}, "it is said")
        assert numbers(path) == list(range(recorder.rows))  # what fitted, in whole rows
        assert 5 <= recorder.rows < 105
        other.unlink()
        wait_for(lambda: recorder.rows == 105, "the rest is written")
        publish(hub, 105, 1)
    assert numbers(path) == list(range(106))
    assert recorder.missing == 0
    assert [notice.code for notice in notices(heard)] == ["recording_resumed"]


def test_what_does_not_fit_into_the_memory_is_counted(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "BACKLOG_S", 10.0)
    hub = Hub()
    heard = hub.subscribe_lossless()
    other = small_disk / "other"
    with Recorder(hub, small_disk / "evening.csv", hop_s=0.5) as recorder:
        other.write_bytes(b"x" * 61_440)
        publish(hub, 0, 1000)
        wait_for(lambda: "recording_stopped" in {n.code for n in notices(heard)}, "it is said")
        publish(hub, 1000, 1000)
        other.unlink()
        wait_for(lambda: "recording_resumed" in {n.code for n in notices(heard)}, "it goes on")
    rows = numbers(recorder.path)
    assert rows == sorted(set(rows))
    assert rows[-19:] == list(range(1981, 2000))  # a notice may have taken one of twenty places
    assert recorder.missing == 2000 - len(rows)
    assert f"; {recorder.missing} rows ({recorder.missing / 2:g} s) are missing" in recorder.summary


def test_a_disk_that_stays_full_is_told_at_the_end(small_disk: Path) -> None:
    hub = Hub()
    with Recorder(hub, small_disk / "evening.csv") as recorder:
        (small_disk / "other").write_bytes(b"x" * 61_440)
        publish(hub, 0, 100)
    assert numbers(recorder.path) == list(range(recorder.rows))
    missing = 100 - recorder.rows
    assert 0 < missing == recorder.missing
    end = f"{missing} rows ({missing} s) are missing (No space left on device)"
    assert recorder.summary.endswith(end)


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be moved")
@pytest.mark.parametrize("how", ["deleted", "moved", "emptied", "created anew"])
def test_a_file_that_is_taken_away_is_begun_again(tmp_path: Path, how: str) -> None:
    hub = Hub()
    heard = hub.subscribe_lossless()
    path, old = tmp_path / "evening.csv", tmp_path / "old.csv"
    with Recorder(hub, path) as recorder:
        publish(hub, 0, 3)
        wait_for(lambda: recorder.rows == 3, "three rows are written")
        if how == "deleted":
            path.unlink()
        elif how == "emptied":
            old.write_bytes(path.read_bytes())
            os.truncate(path, 0)
        else:
            path.rename(old)
        if how == "created anew":
            path.touch()
        # Also without a new row.
        wait_for(lambda: path.exists() and path.stat().st_size > 0, "the file is begun again")
        publish(hub, 3, 2)
    assert numbers(path) == [3, 4]
    if how != "deleted":
        assert numbers(old) == [0, 1, 2]
    assert recorder.rows == 5
    (notice,) = notices(heard)
    assert notice.code == "recording_resumed"
    assert "the file was moved or emptied and is begun again" in notice.message


def test_a_folder_that_is_gone_for_a_while(tmp_path: Path) -> None:
    hub = Hub()
    heard = hub.subscribe_lossless()
    folder, elsewhere = tmp_path / "disk", tmp_path / "elsewhere"
    folder.mkdir()
    with Recorder(hub, folder / "evening.jsonl") as recorder:
        publish(hub, 0, 3)
        wait_for(lambda: recorder.rows == 3, "three rows are written")
        folder.rename(elsewhere)
        wait_for(lambda: "recording_stopped" in {n.code for n in notices(heard)}, "it is said")
        publish(hub, 3, 3)
        elsewhere.rename(folder)
        wait_for(lambda: recorder.rows == 6, "the recording goes on")
    assert numbers(recorder.path) == list(range(6))


@pytest.mark.skipif(sys.platform == "win32", reason="pipes block in another way")
def test_a_drive_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full pipe in the place of the file: a write into it does not return."""
    monkeypatch.setattr(recorder_module, "HANG_S", 0.2)
    hub = Hub()
    heard = hub.subscribe_lossless()
    recorder = Recorder(hub, tmp_path / "evening.csv")
    assert recorder._file is not None
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)
    monkeypatch.setattr(type(recorder._file), "moved", False)
    os.dup2(writer, recorder._file.fileno())
    publish(hub, 0, 5)

    def said() -> bool:
        recorder.watch()
        return "recording_stopped" in {notice.code for notice in notices(heard)}

    wait_for(said, "the drive does not answer")
    started = time.monotonic()
    recorder.close(timeout_s=0.1)
    assert time.monotonic() - started < 30.0  # it does not wait for the drive
    assert "the drive has not answered" in recorder.summary
    os.close(reader)  # ends the write
    os.close(writer)
    recorder._thread.join()
