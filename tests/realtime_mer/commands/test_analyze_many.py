"""`analyze` of many files on all cores: real processes, killed, interrupted and started again."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile
from library_support import varied_track
from live_support import TIMEOUT_S, wait_for
from support import ManualClock, music

import realtime_mer
from realtime_mer.cli import main
from realtime_mer.commands.analysis_progress import LINE_PERIOD_S, AnalysisProgress
from realtime_mer.library.analysis import FileTask
from realtime_mer.library.reading import read_library
from realtime_mer.library.tables import LibraryTable
from realtime_mer.library.track import Track

RATE_HZ = 16_000
LONG_S = 1200.0  # takes seconds to analyse
# Kills the process that opens a certain file, as a decoder's fault or a lack of memory does.
KILLER = """\
import os, signal, sys
def watch(event, arguments):
    if event == "open" and str(arguments[0]).endswith("deadly.wav"):
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(watch)
"""


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Three short songs in two folders."""
    folder = tmp_path / "album"
    for place, seconds in (("1.wav", 6.0), ("2.flac", 7.0), ("more/3.flac", 8.0)):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / place, music(seconds, RATE_HZ), RATE_HZ)
    return folder


def add_long(album: Path) -> None:
    """Add a file that comes last and takes long."""
    part = music(10.0, RATE_HZ)
    soundfile.write(album / "z.wav", np.tile(part[:, 0], round(LONG_S / 10.0)), RATE_HZ)


def start(*arguments: str | Path, path: Path | None = None) -> subprocess.Popen[str]:
    """Start the command as a shell does: in a group of its own, which gets Ctrl-C."""
    search = [str(path)] if path else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*search, *filter(None, sys.path)])}
    return subprocess.Popen(
        [sys.executable, "-m", "realtime_mer", "analyze", *map(str, arguments)],
        stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True,
    )  # fmt: skip


def rows_of(path: Path) -> dict[str, Track]:
    return {Path(track.path).name: track for track in read_library(path)}


def rows_in(table: Path) -> int:
    """Return the rows of a table of estimates, which begins with a header."""
    return len(table.read_text().splitlines()) - 1


def count(path: Path) -> int:
    """Return the rows that a library has at the moment."""
    if not path.exists():
        return 0
    database = sqlite3.connect(path, timeout=TIMEOUT_S)
    try:
        return int(database.execute("SELECT count(*) FROM tracks").fetchone()[0])
    except sqlite3.OperationalError:  # it is being made
        return 0
    finally:
        database.close()


@pytest.mark.parametrize("suffix", ["sqlite", "csv", "jsonl", "parquet"])
def test_rows_equal_the_summaries_of_the_files_alone(
    suffix: str, album: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    (album / "bad.mp3").write_text("no music")
    library = tmp_path / "new" / f"library.{suffix}"
    options = ["--summary", "-o", str(library), "--hop", "0.5"]
    assert main(["analyze", str(album), *options]) == 2
    err = capsys.readouterr().err
    assert f"{library}: 3 files analysed (21 s of audio)" in err
    assert "1 of 4 files could not be analysed:\n" in err
    assert "bad.mp3' cannot be read as music: it is text" in err
    rows = rows_of(library)
    assert set(rows) == {"1.wav", "2.flac", "3.flac", "bad.mp3"}
    assert rows["bad.mp3"].summary is None
    assert "it is text" in rows["bad.mp3"].skipped
    for place in ("1.wav", "2.flac", "more/3.flac"):
        found, path = rows[Path(place).name], album / place
        alone = realtime_mer.analyze(path, hop_s=0.5).summary()
        assert found.path == str(path)
        assert found.size_bytes == path.stat().st_size
        assert found.modified_ns == path.stat().st_mtime_ns
        assert found.summary is not None
        assert found.summary.duration_s == alone["duration_s"]
        for name in ("valence", "arousal"):
            assert getattr(found.summary, name) == pytest.approx(alone[name]["mean"], abs=1e-5)
            assert getattr(found.summary, f"{name}_sd") == pytest.approx(
                alone[name]["sd"], abs=1e-5
            )
        assert {m: s for m, s in found.summary.mood_shares.items() if s} == alone["moods"]


def test_a_library_is_continued_after_a_kill(album: Path, tmp_path: Path) -> None:
    add_long(album)
    library = tmp_path / "library.sqlite"
    arguments = (album, "--summary", "-o", library, "--jobs", "1")
    killed = start(*arguments)
    workers: list[psutil.Process] = []
    try:
        wait_for(lambda: count(library) == 3, "three rows")
        workers = psutil.Process(killed.pid).children(recursive=True)
    finally:
        killed.kill()
        killed.communicate()
    before = rows_of(library)
    assert set(before) == {"1.wav", "2.flac", "3.flac"}
    assert psutil.wait_procs(workers, timeout=TIMEOUT_S)[1] == []
    soundfile.write(album / "z.wav", music(2.0, RATE_HZ), RATE_HZ)
    again = start(*arguments)
    err = again.communicate(timeout=TIMEOUT_S)[1]
    assert again.returncode == 0
    assert f"{library}: 1 file analysed" in err
    assert "not analysed again, because unchanged: 3 files" in err
    after = rows_of(library)
    assert {name: after[name] for name in before} == before  # with the times of their analysis
    assert set(after) == {*before, "z.wav"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("suffix", ["sqlite", "csv"])
def test_an_interrupted_library_is_whole_and_can_be_continued(
    number: signal.Signals, suffix: str, album: Path, tmp_path: Path
) -> None:
    add_long(album)
    library = tmp_path / f"library.{suffix}"
    stopped = start(album, "--summary", "-o", library, "--jobs", "1")
    rows = library if suffix == "sqlite" else tmp_path / "library.csv.unfinished"
    try:
        # A database beside a table is locked while it is filled, so it is seen by its growth.
        wait_for(rows.exists, "the table")
        if suffix == "sqlite":
            wait_for(lambda: count(library) == 3, "three rows")
        os.killpg(stopped.pid, number)
        err = stopped.communicate(timeout=TIMEOUT_S)[1]
    finally:
        stopped.kill()
    assert stopped.returncode == 128 + number
    assert "Traceback" not in err
    if suffix == "sqlite":
        assert f"stopped: {library} has 3 files so far; run the same command again" in err
        assert set(rows_of(library)) == {"1.wav", "2.flac", "3.flac"}
    soundfile.write(album / "z.wav", music(2.0, RATE_HZ), RATE_HZ)
    assert main(["analyze", str(album), "--summary", "-o", str(library)]) == 0
    assert set(rows_of(library)) == {"1.wav", "2.flac", "3.flac", "z.wav"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["album", library.name]


def test_only_what_has_changed_is_analysed_again(
    album: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library = tmp_path / "library.jsonl"
    command = ["analyze", str(album), "--summary", "-o", str(library)]
    (album / "bad.mp3").write_text("no music")
    assert main(command) == 2
    first = rows_of(library)
    soundfile.write(album / "1.wav", music(3.0, RATE_HZ), RATE_HZ)
    (album / "2.flac").unlink()
    (album / "bad.mp3").unlink()
    soundfile.write(album / "bad.mp3", music(2.0, RATE_HZ), RATE_HZ)
    capsys.readouterr()
    assert main(command) == 0
    second = rows_of(library)
    err = capsys.readouterr().err
    assert f"{library}: 2 files analysed" in err
    assert f"1 file of {library} cannot be found any more" in err
    assert str(album / "2.flac") in err
    assert second["3.flac"] == first["3.flac"]
    assert second["2.flac"] == first["2.flac"]  # its drive may come back
    assert second["1.wav"].summary is not None
    assert second["1.wav"].summary.duration_s == 3.0
    assert second["bad.mp3"].skipped == ""
    assert main([*command, "--lag-order", "10"]) == 0  # other settings
    third = rows_of(library)
    assert third["3.flac"].settings != second["3.flac"].settings
    assert main([*command, "--lag-order", "10", "--range", "music"]) == 0  # the default range
    assert rows_of(library) == third


def test_a_file_that_kills_its_worker_is_skipped(album: Path, tmp_path: Path) -> None:
    soundfile.write(album / "deadly.wav", music(2.0, RATE_HZ), RATE_HZ)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(KILLER)
    library = tmp_path / "library.sqlite"
    command = start(album, "--summary", "-o", library, path=tmp_path / "site")
    err = command.communicate(timeout=TIMEOUT_S)[1]
    assert command.returncode == 1
    assert "1 of 4 files could not be analysed" in err
    assert "Traceback" not in err
    rows = rows_of(library)
    assert "ended the process that analysed it 2 times (signal 9)" in rows["deadly.wav"].skipped
    assert all(rows[name].summary is not None for name in ("1.wav", "2.flac", "3.flac"))


def test_complete_tables_in_a_folder_are_left(
    album: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    command = ["analyze", str(album), "-o", str(folder)]
    assert main([*command, "--plot", str(folder)]) == 0
    tables = {path.name: path.stat() for path in folder.rglob("*.*") if path.suffix == ".csv"}
    assert set(tables) == {"1.csv", "2.csv", "3.csv"}
    (folder / "2.png").unlink()
    (folder / "more" / "3.csv").unlink()
    soundfile.write(album / "1.wav", music(3.0, RATE_HZ), RATE_HZ)
    soundfile.write(album / "4.wav", music(2.0, RATE_HZ), RATE_HZ)
    capsys.readouterr()
    assert main([*command, "--plot", str(folder)]) == 0
    assert "unchanged" not in capsys.readouterr().err
    assert rows_in(folder / "1.csv") == 3
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.*") if path.is_file()}
    assert len(before) == 1 + 2 * 4
    assert main([*command, "--plot", str(folder)]) == 0
    assert "not analysed again, because unchanged: 4 files" in capsys.readouterr().err
    assert before == {p: p.stat().st_mtime_ns for p in folder.rglob("*.*") if p.is_file()}
    # The name of a table may now be that of another file.
    (album / "1.wav").rename(album / "1.flac")
    (album / "4.wav").rename(album / "1.wav")
    assert main(command) == 0
    assert (rows_in(folder / "1.csv"), rows_in(folder / "1.wav.csv")) == (3, 2)


def test_a_folder_is_continued_after_a_kill(album: Path, tmp_path: Path) -> None:
    add_long(album)
    folder = tmp_path / "out"
    journal = folder / ".realtime-mer.jsonl"
    killed = start(album, "-o", folder, "--jobs", "1")
    try:
        wait_for(lambda: journal.exists() and journal.read_text().count("\n") == 3, "three tables")
    finally:
        killed.kill()
        killed.communicate()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.csv")}
    assert len(before) == 3
    soundfile.write(album / "z.wav", music(2.0, RATE_HZ), RATE_HZ)
    again = start(album, "-o", folder)
    err = again.communicate(timeout=TIMEOUT_S)[1]
    assert again.returncode == 0
    assert "not analysed again, because unchanged: 3 files" in err
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*.csv")}
    assert {path: after[path] for path in before} == before
    assert set(after) == {*before, folder / "z.csv"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--summary"], "add -o, for example library.sqlite"),
        (["--summary", "-o", "library.txt"], "end it in .sqlite, .db, .parquet, .csv or .jsonl"),
        (["--summary", "-o", "x.csv", "--format", "csv"], "leave one of them out"),
        (["--summary", "-o", "x.csv", "--plot", "plots/"], "leave one of them out"),
        (["--jobs", "0", "-o", "out/"], "--jobs is 0; it must be at least 1"),
        (["--jobs", "2"], "one process writes these rows"),
    ],
)
def test_bad_options_give_one_line(
    options: list[str],
    words: str,
    album: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(album.parent)
    assert main(["analyze", str(album), *options]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
    assert [path.name for path in album.parent.iterdir()] == ["album"]


def test_a_folder_without_music(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    library = tmp_path / "library.sqlite"
    assert main(["analyze", str(tmp_path / "empty"), "--summary", "-o", str(library)]) == 2
    assert "contains no music" in capsys.readouterr().err
    assert not library.exists()


def test_a_name_that_is_no_unicode_becomes_an_address(
    album: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = os.fsdecode(b"caf\xe9.wav")
    try:
        (album / "1.wav").rename(album / name)
    except OSError:
        pytest.skip("this file system takes only Unicode")
    library = tmp_path / "library.parquet"
    pytest.importorskip("pyarrow")
    command = ["analyze", str(album), "--summary", "-o", str(library)]
    assert main(command) == 0
    place = f"{album.as_uri()}/caf%E9.wav"
    assert place in {track.path for track in read_library(library)}
    capsys.readouterr()
    assert main(command) == 0
    err = capsys.readouterr().err
    assert "unchanged: 3 files" in err
    assert "cannot be found" not in err
    assert main(["analyze", place]) == 0


def test_rows_of_other_computers_and_storages_stay(tmp_path: Path) -> None:
    library = tmp_path / "library.csv"
    places = ["file://other.invalid/there.mp3", "s3://bucket/song.mp3"]
    with LibraryTable(library) as table:
        for place in places:
            table.add(varied_track(place))
        table.finish()
    song = tmp_path / "song.wav"
    soundfile.write(song, music(2.0, RATE_HZ), RATE_HZ)
    assert main(["analyze", str(song), "--summary", "-o", str(library)]) == 0
    assert {track.path for track in read_library(library)} == {*places, str(song)}


def test_progress_says_rate_and_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from dataclasses import replace

    clock = ManualClock()
    tasks = [FileTask("a.flac", 1000), FileTask("b.flac", 3000), FileTask("c.mp3", 1000)]
    done = varied_track("a")
    assert done.summary is not None
    minute = replace(done, summary=replace(done.summary, duration_s=60.0))
    with AnalysisProgress(tasks, quiet=False, clock=clock) as progress:
        assert progress.text() == "0 of 3 files"
        clock.advance(LINE_PERIOD_S - 1.0)
        progress.finish(tasks[0], minute)
        # a minute took 9 s; b.flac has three minutes, and c.mp3 one by the size of a.flac
        assert progress.text() == "1 of 3 files, 6.67 files/min, about 36 s left"
        assert capsys.readouterr().err == ""
        clock.advance(1.0)
        progress.finish(tasks[2], replace(done, summary=None, skipped="it is text"))
        assert capsys.readouterr().err == "2 of 3 files, 12 files/min, about 30 s left\n"
        clock.advance(LINE_PERIOD_S - 1.0)
        progress.finish(tasks[1], minute)
        assert capsys.readouterr().err == ""
    assert progress.summary() == (
        "2 files analysed (2 min of audio) in 19 s, 9.47 files/min; 1 skipped"
    )
