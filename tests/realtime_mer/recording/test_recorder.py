"""Recording a session to a folder, whatever happens to the folder and its disk."""

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
from typing import Any

import pytest
from disk_support import mounted_disk
from live_support import wait_for
from recording_support import HEADER, MARKER
from support import ESTIMATE, EVENT

from realtime_mer.core.events import RhythmEvent, RhythmKind
from realtime_mer.core.types import Estimate
from realtime_mer.errors import UserError
from realtime_mer.live.hub import STOPPED, End, Hub, LosslessQueue, Notice
from realtime_mer.live.stats import Counter, Stats
from realtime_mer.recording import recorder as recorder_module
from realtime_mer.recording.lines import Losses, RecordedEnd, RecordedNotice
from realtime_mer.recording.parts import parts_of
from realtime_mer.recording.reader import SessionReader
from realtime_mer.recording.recorder import Recorder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    with mounted_disk(tmp_path / "disk", 64) as folder:
        yield folder


def record(hub: Hub, folder: Path, *, hop_s: float = 1.0, stats: Stats | None = None) -> Recorder:
    return Recorder(hub, folder, replace(HEADER, hop_s=hop_s), stats=stats or Stats())


def publish(hub: Hub, first: int, count: int) -> None:
    for seq in range(first, first + count):
        hub.publish(replace(ESTIMATE, seq=seq, t=1.0 + seq))


def notices(subscription: LosslessQueue) -> list[Notice]:
    return [item for item in subscription.take() if isinstance(item, Notice)]


def lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a part; every one is whole, but while the recorder tries to write one."""
    text = "?"

    def whole() -> bool:
        nonlocal text
        text = path.read_text()
        return text.endswith("\n")

    wait_for(whole, "whole lines")
    found = [json.loads(line) for line in text.splitlines()]
    assert found[0]["type"] == "recording"
    return found


def numbers(path: Path) -> list[int]:
    """The `seq` of each estimate of a part."""
    return [line["seq"] for line in lines(path) if line["type"] == "estimate"]


def test_everything_is_recorded_in_order(tmp_path: Path) -> None:
    hub, stats = Hub(), Stats()
    folder = tmp_path / "evenings" / "monday"
    with record(hub, folder, stats=stats) as recorder:
        assert recorder.remark == ""
        publish(hub, 0, 1)
        hub.publish(EVENT)
        hub.publish(RhythmEvent(RhythmKind.BEAT, 1.0, 0.5))
        hub.publish(MARKER)
        hub.publish(Notice("stalled", "no audio arrives"))
        wait_for(lambda: recorder.estimates == 1, "it is written")
        stats.add(Counter.OVERFLOWS, 2)
        publish(hub, 1, 1)
        hub.publish(End(STOPPED))
    with SessionReader(folder) as recording:
        assert recording.header == replace(HEADER, hop_s=1.0)
        items = list(recording)
        assert recording.remark == ""
    assert [type(item) for item in items if not isinstance(item, Losses)] == [
        Estimate, type(EVENT), type(MARKER), RecordedNotice, Estimate, RecordedEnd,
    ]  # fmt: skip
    assert items[1:3] == [EVENT, MARKER]
    notice = items[3]
    assert isinstance(notice, RecordedNotice)
    assert (notice.t, notice.code, notice.message) == (1.0, "stalled", "no audio arrives")
    (losses,) = [item for item in items if isinstance(item, Losses)]
    assert losses.counters == stats.losses()
    assert recorder.missing == 0
    assert recorder.summary == f"2 estimates recorded in {folder}"
    assert hub.subscribers == 0
    recorder.close()


def test_lines_are_written_while_the_session_goes_on(tmp_path: Path) -> None:
    hub = Hub()
    with record(hub, tmp_path, hop_s=0.1) as recorder:
        publish(hub, 0, 2000)
        # Without a call of the recorder, and before it is closed.
        wait_for(lambda: recorder.estimates == 2000, "all lines are written")
        assert numbers(tmp_path / "estimates.jsonl") == list(range(2000))


def test_a_large_part_is_followed_by_another_that_is_complete_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "PART_BYTES", 5_000)
    hub, stats = Hub(), Stats()
    stats.add(Counter.STALLS)
    stats.add(Counter.OVERFLOWS)
    with record(hub, tmp_path, stats=stats) as recorder:
        for first in range(0, 60, 10):
            publish(hub, first, 10)
            wait_for(lambda first=first: recorder.estimates == first + 10, "it is written")  # type: ignore[misc]
    paths = parts_of(tmp_path)
    assert len(paths) > 2
    for number, path in enumerate(paths[1:], start=2):
        assert path.name == f"estimates-{number:03d}.jsonl"
        found = lines(path)
        assert found[0]["part"] == number
        assert found[1]["counters"] == stats.losses()
        assert {line["type"] for line in found[2:]} == {"estimate"}
    with SessionReader(tmp_path) as recording:
        assert [(each.seq, each.t) for each in recording.estimates()] == [
            (seq, 1.0 + seq) for seq in range(60)
        ]


@pytest.mark.parametrize("cut", [0, 1, 40, 100_000])
def test_a_run_after_one_that_was_killed_begins_a_part(tmp_path: Path, cut: int) -> None:
    first, second = tmp_path / "estimates.jsonl", tmp_path / "estimates-002.jsonl"
    with record(hub := Hub(), tmp_path):
        publish(hub, 0, 3)
    before = first.read_bytes()[: -cut or None] if cut < 1000 else b""
    first.write_bytes(before)
    with record(hub := Hub(), tmp_path) as recorder:
        publish(hub, 0, 3)
    assert first.read_bytes() == before
    assert numbers(second) == [0, 1, 2]
    assert recorder.remark == (
        f"{tmp_path} holds a recording already; it goes on in estimates-002.jsonl"
    )


def test_nothing_of_another_run_or_program_is_changed(tmp_path: Path) -> None:
    (tmp_path / "estimates-007.jsonl").write_text("precious")
    (tmp_path / "audio-009.flac").write_text("precious")
    (tmp_path / "notes.txt").write_text("precious")
    with record(hub := Hub(), tmp_path):
        publish(hub, 0, 1)
    assert numbers(tmp_path / "estimates-010.jsonl") == [0]
    for path in tmp_path.iterdir():
        assert path.name == "estimates-010.jsonl" or path.read_text() == "precious"


def test_two_programs_do_not_record_into_one_folder(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="this system has no locks of files")
    with (
        record(Hub(), tmp_path),
        pytest.raises(UserError, match=r"another program records into .*; choose another folder"),
    ):
        record(Hub(), tmp_path)
    record(Hub(), tmp_path).close()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("evening.csv", "evening.csv names a file, and a recording is a folder: name a folder, "),
        ("evening.jsonl", "/evening; 'realtime-mer report' makes CSV of it"),
        ("file", "/file-recording; 'realtime-mer report' makes CSV of it"),
        ("file/evening", "file/evening cannot be written (Not a directory)"),
        ("a" * 300, "cannot be written (File name too long)"),
    ],
)
def test_folders_that_cannot_be_used(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(UserError) as raised:
        record(Hub(), tmp_path / name)
    assert message in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_run_without_an_estimate_leaves_nothing(tmp_path: Path) -> None:
    """As when the port of the server is in use."""
    record(Hub(), tmp_path / "evening").close()
    assert not list(tmp_path.iterdir())


def test_a_recording_that_cannot_be_started_leaves_no_file(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="this system has no limit on the size of files")
    program = """
import resource
from pathlib import Path
from recording_support import HEADER
from realtime_mer.errors import UserError
from realtime_mer.live.hub import Hub
from realtime_mer.live.stats import Stats
from realtime_mer.recording.recorder import Recorder
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
try:
    Recorder(Hub(), Path("evening"), HEADER, stats=Stats())
except UserError as error:
    print(error)
"""
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout == "the recording evening cannot be written (File too large)\n"
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_full_disk_loses_no_line_until_there_is_space(small_disk: Path) -> None:
    hub = Hub()
    heard = hub.subscribe_lossless()
    path = small_disk / "estimates.jsonl"
    other = small_disk / "other"
    with record(hub, small_disk) as recorder:
        publish(hub, 0, 5)
        wait_for(lambda: recorder.estimates == 5, "five lines are written")
        other.write_bytes(b"x" * 57_344)
        publish(hub, 5, 100)
        wait_for(lambda: "recording_stopped" in {n.code for n in notices(heard)}, "it is said")
        assert numbers(path) == list(range(recorder.estimates))  # what fitted, in whole lines
        assert 5 <= recorder.estimates < 105
        other.unlink()
        wait_for(lambda: recorder.estimates == 105, "the rest is written")
        publish(hub, 105, 1)
    assert [each.name for each in small_disk.iterdir()] == [path.name]
    assert numbers(path) == list(range(106))
    assert recorder.missing == 0
    assert [notice.code for notice in notices(heard)] == ["recording_resumed"]
    with SessionReader(small_disk) as recording:  # which tells of it, too
        codes = [item.code for item in recording if isinstance(item, RecordedNotice)]
    assert codes == ["recording_stopped", "recording_resumed"]


def test_what_does_not_fit_into_the_memory_is_counted(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "BACKLOG_S", 10.0)
    hub = Hub()
    heard = hub.subscribe_lossless()
    other = small_disk / "other"
    with record(hub, small_disk, hop_s=0.5) as recorder:
        other.write_bytes(b"x" * 61_440)
        publish(hub, 0, 1000)
        wait_for(lambda: "recording_stopped" in {n.code for n in notices(heard)}, "it is said")
        publish(hub, 1000, 1000)
        other.unlink()
        wait_for(lambda: "recording_resumed" in {n.code for n in notices(heard)}, "it goes on")
    found = numbers(small_disk / "estimates.jsonl")
    assert found == sorted(set(found))
    assert found[-19:] == list(range(1981, 2000))  # a notice may have taken one of twenty places
    assert recorder.missing == 2000 - len(found)
    seconds = recorder.missing / 2
    assert f"; {recorder.missing} estimates ({seconds:g} s) are missing" in recorder.summary


def test_a_disk_that_stays_full_is_told_at_the_end(small_disk: Path) -> None:
    hub = Hub()
    with record(hub, small_disk) as recorder:
        (small_disk / "other").write_bytes(b"x" * 61_440)
        publish(hub, 0, 100)
    assert numbers(small_disk / "estimates.jsonl") == list(range(recorder.estimates))
    missing = 100 - recorder.estimates
    assert 0 < missing == recorder.missing
    end = f"{missing} estimates ({missing} s) are missing (No space left on device)"
    assert recorder.summary.endswith(end)


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be moved")
@pytest.mark.parametrize("how", ["deleted", "moved", "emptied", "created anew"])
def test_a_part_that_is_taken_away_is_followed_by_another(tmp_path: Path, how: str) -> None:
    hub = Hub()
    heard = hub.subscribe_lossless()
    path, old = tmp_path / "estimates.jsonl", tmp_path / "old.jsonl"
    with record(hub, tmp_path) as recorder:
        publish(hub, 0, 3)
        wait_for(lambda: recorder.estimates == 3, "three lines are written")
        if how == "deleted":
            path.unlink()
        elif how == "emptied":
            old.write_bytes(path.read_bytes())
            os.truncate(path, 0)
        else:
            path.rename(old)
        if how == "created anew":
            path.touch()
        # Also without a new line.
        new = tmp_path / "estimates-002.jsonl"
        wait_for(lambda: new.exists() and new.stat().st_size > 0, "another is begun")
        publish(hub, 3, 2)
    assert numbers(new) == [3, 4]
    if how != "deleted":
        assert numbers(old) == [0, 1, 2]
    assert recorder.estimates == 5
    (notice,) = notices(heard)
    assert notice.code == "recording_resumed"
    assert tmp_path.name not in notice.message  # viewers read it
    assert "the file was moved or emptied and a new one is begun" in notice.message


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be deleted")
def test_a_folder_that_is_deleted_is_begun_again(tmp_path: Path) -> None:
    hub, folder = Hub(), tmp_path / "evening"
    with record(hub, folder) as recorder:
        publish(hub, 0, 3)
        wait_for(lambda: recorder.estimates == 3, "three lines are written")
        (folder / "estimates.jsonl").unlink()
        folder.rmdir()
        publish(hub, 3, 2)
        wait_for(lambda: recorder.estimates == 5, "the recording goes on")
        with pytest.raises(UserError, match="another program records into"):
            record(Hub(), folder)
    assert numbers(folder / "estimates-002.jsonl") == [3, 4]


def test_a_folder_whose_drive_is_gone_for_a_while(tmp_path: Path) -> None:
    hub = Hub()
    heard = hub.subscribe_lossless()
    drive, elsewhere = tmp_path / "drive", tmp_path / "elsewhere"
    with record(hub, drive / "evening") as recorder:
        publish(hub, 0, 3)
        wait_for(lambda: recorder.estimates == 3, "three lines are written")
        drive.rename(elsewhere)
        wait_for(lambda: "recording_stopped" in {n.code for n in notices(heard)}, "it is said")
        assert not drive.exists()  # nothing is made in the place of a drive
        publish(hub, 3, 3)
        elsewhere.rename(drive)
        wait_for(lambda: recorder.estimates == 6, "the recording goes on")
    with SessionReader(drive / "evening") as recording:
        assert [each.seq for each in recording.estimates()] == list(range(6))


@pytest.mark.skipif(sys.platform == "win32", reason="pipes block in another way")
def test_a_drive_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full pipe in the place of the file: a write into it does not return."""
    monkeypatch.setattr(recorder_module, "HANG_S", 0.2)
    hub = Hub()
    heard = hub.subscribe_lossless()
    recorder = record(hub, tmp_path)
    assert recorder._part is not None
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)
    monkeypatch.setattr(type(recorder._part), "moved", False)
    os.dup2(writer, recorder._part.fileno())
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
