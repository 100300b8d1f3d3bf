"""Files that replace others only when they are complete."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from mer_engine.draft import Draft, draft_of

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="this system has other permissions")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    path.write_text("old")
    return path


def test_the_draft_replaces_the_file_at_the_end(table: Path) -> None:
    with draft_of(table) as draft:
        draft.write_text("new")
        assert draft.parent == table.parent
        assert table.read_text() == "old"
    assert table.read_text() == "new"
    assert list(table.parent.iterdir()) == [table]


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    with draft_of(tmp_path / "new.csv") as draft:
        draft.write_text("new")
    (tmp_path / "usual").touch()
    assert (tmp_path / "new.csv").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file(table: Path, error: type[BaseException]) -> None:
    def write() -> None:
        with draft_of(table) as draft:
            draft.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert table.read_text() == "old"
    assert list(table.parent.iterdir()) == [table]


def test_a_full_disk_leaves_the_old_file(table: Path) -> None:
    """A limit on the size of files takes the place of a full disk."""
    pytest.importorskip("resource", reason="this system has no limit on the size of files")
    program = """
import resource
from pathlib import Path
from mer_engine.draft import draft_of
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    with draft_of(Path("table.csv")) as draft:
        draft.write_bytes(bytes(2000))
except OSError as error:
    print(error.strerror)
"""
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=table.parent, capture_output=True, text=True,
        env={"PYTHONPATH": ":".join(sys.path)}, check=True,
    )  # fmt: skip
    assert run.stdout == "File too large\n"
    assert table.read_text() == "old"
    assert list(table.parent.iterdir()) == [table]


def test_the_draft_of_a_killed_program_is_removed_by_the_next_run(table: Path) -> None:
    program = """
import os, signal
from pathlib import Path
from mer_engine.draft import Draft
Draft(Path("table.csv")).path.write_text("half")
os._exit(1)
"""
    subprocess.run(
        [sys.executable, "-c", program], cwd=table.parent, env={"PYTHONPATH": ":".join(sys.path)}
    )
    (left,) = set(table.parent.iterdir()) - {table}
    assert left.name.startswith(".table.csv.realtime-mer-")
    assert table.read_text() == "old"
    other = table.with_name(".other.csv.realtime-mer-1")
    running = table.with_name(f".table.csv.realtime-mer-{os.getppid()}")
    other.touch()
    running.touch()
    with draft_of(table) as draft:
        draft.write_text("new")
    assert set(table.parent.iterdir()) == {table, other, running}


@POSIX
def test_permissions_and_links_stay(table: Path, tmp_path: Path) -> None:
    table.chmod(0o640)
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "link.csv"
    link.symlink_to("../table.csv")
    with draft_of(link) as draft:
        draft.write_text("new")
    assert link.is_symlink()
    assert table.read_text() == "new"
    assert stat.S_IMODE(table.stat().st_mode) == 0o640


@POSIX
@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write all")
def test_a_write_protected_file_is_not_replaced(table: Path) -> None:
    table.chmod(0o444)
    with pytest.raises(PermissionError):
        Draft(table)
    assert table.read_text() == "old"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_a_fifo_is_written_directly(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    os.mkfifo(path)
    heard: list[str] = []
    reader = threading.Thread(target=lambda: heard.append(path.read_text()))
    reader.start()
    with draft_of(path) as draft:
        draft.write_text("new")
    reader.join()
    assert heard == ["new"]
    assert path.is_fifo()


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="this system has no /dev/stdout")
def test_the_file_of_standard_output_is_not_replaced(tmp_path: Path) -> None:
    program = """
from pathlib import Path
from mer_engine.draft import draft_of
with draft_of(Path("/dev/stdout")) as draft, draft.open("a") as file:
    file.write("new")
"""
    log = tmp_path / "log"
    log.write_text("old")
    with log.open("a") as file:
        subprocess.run(
            [sys.executable, "-c", program], stdout=file, check=True,
            env={"PYTHONPATH": ":".join(sys.path)},
        )  # fmt: skip
    assert log.read_text() == "oldnew"


def test_long_names(tmp_path: Path) -> None:
    path = tmp_path / ("ä" * 120 + ".csv")  # 244 bytes
    with draft_of(path) as draft:
        draft.write_text("new")
    assert path.read_text() == "new"
