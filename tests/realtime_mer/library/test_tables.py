"""Libraries in every format, written, read, continued and refused."""

from __future__ import annotations

import csv
import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from library_support import skipped, varied_track

from realtime_mer.errors import UserError
from realtime_mer.library.columns import COLUMNS, SCHEMA
from realtime_mer.library.reading import read_library
from realtime_mer.library.tables import UNFINISHED, LibraryTable
from realtime_mer.library.track import Track

SUFFIXES = ["sqlite", "db", "csv", "jsonl", "parquet"]
TRACKS = [  # sorted by path
    varied_track('/music/a "ä",\nb.flac', 1),
    skipped("/music/bad.mp3", 'it is text; "that\'s" it'),
    varied_track("s3://bucket/song.flac", 2),
]


def library(folder: Path, suffix: str, tracks: list[Track]) -> Path:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    path = folder / f"library.{suffix}"
    with LibraryTable(path) as table:
        for each in tracks:
            table.add(each)
        table.finish()
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_was_written_is_read(suffix: str, tmp_path: Path) -> None:
    path = library(tmp_path, suffix, TRACKS)
    assert read_library(path) == TRACKS
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_rows_are_added_and_replaced(suffix: str, tmp_path: Path) -> None:
    path = library(tmp_path, suffix, TRACKS)
    changed, new = varied_track("/music/bad.mp3", 5), varied_track("/music/new.mp3", 6)
    with LibraryTable(path) as table:
        for each in TRACKS:
            same = each.path, each.size_bytes, each.modified_ns, each.settings
            assert table.holds(*same) == (not each.skipped)  # what was skipped is tried again
        assert not table.holds(TRACKS[0].path, 7, TRACKS[0].modified_ns, TRACKS[0].settings)
        assert not table.holds(TRACKS[0].path, TRACKS[0].size_bytes, 7, TRACKS[0].settings)
        assert not table.holds(TRACKS[0].path, TRACKS[0].size_bytes, TRACKS[0].modified_ns, "other")
        table.add(changed)
        table.add(new)
        assert len(table) == 4
        assert set(table.paths()) == {each.path for each in (*TRACKS, new)}
        table.finish()
    assert {each.path: each for each in read_library(path)} == {
        each.path: each for each in (*TRACKS, changed, new)
    }


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_rows_survive_the_death_of_the_program(suffix: str, tmp_path: Path) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"library.{suffix}"
    program = (
        "import os, pathlib; from library_support import varied_track\n"
        "from realtime_mer.library.tables import LibraryTable\n"
        f"table = LibraryTable(pathlib.Path({str(path)!r}))\n"
        "table.add(varied_track('/a.flac')); os.kill(os.getpid(), 9)\n"
    )
    search = os.pathsep.join(filter(None, sys.path))
    subprocess.run([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": search})
    with LibraryTable(path) as table:
        assert list(table.paths()) == ["/a.flac"]
        table.add(varied_track("/b.flac"))
        table.finish()
    assert read_library(path) == [varied_track("/a.flac"), varied_track("/b.flac")]
    assert not path.with_name(f"{path.name}{UNFINISHED}").exists()


def test_a_table_that_is_not_finished_goes_on(tmp_path: Path) -> None:
    path = library(tmp_path, "csv", TRACKS[:1])
    with LibraryTable(path) as table:
        table.add(TRACKS[1])
    assert read_library(path) == TRACKS[:1]
    with LibraryTable(path) as table:
        table.finish()
    assert read_library(path) == TRACKS[:2]


def test_only_one_program_writes_a_table(tmp_path: Path) -> None:
    path = tmp_path / "library.csv"
    with LibraryTable(path) as table:
        table.add(TRACKS[0])
        with pytest.raises(UserError, match="another program writes it"):
            LibraryTable(path)
        table.finish()
    assert read_library(path) == TRACKS[:1]


def test_the_schema_of_sqlite_is_the_documented_one(tmp_path: Path) -> None:
    """Other programs query it: names and types change only with the number of the schema."""
    path = library(tmp_path, "sqlite", TRACKS)
    database = sqlite3.connect(path)
    try:
        assert database.execute("PRAGMA user_version").fetchone() == (SCHEMA,) == (1,)
        columns = database.execute("PRAGMA table_info(tracks)").fetchall()
        assert [name for _, name, *_ in columns] == list(COLUMNS)
        indexes = {name for _, name, *_ in database.execute("PRAGMA index_list(tracks)")}
        assert {"tracks_mood", "tracks_valence", "tracks_arousal"} <= indexes
        calm = "SELECT path FROM tracks WHERE valence BETWEEN 0.1 AND 0.2"
        plan = str(database.execute(f"EXPLAIN QUERY PLAN {calm}").fetchall())
        assert "USING INDEX tracks_valence" in plan
    finally:
        database.close()


def newer(path: Path) -> None:
    """Give a table the next schema."""
    if path.suffix in (".sqlite", ".db"):
        database = sqlite3.connect(path)
        database.execute(f"PRAGMA user_version = {SCHEMA + 1}")
        database.close()
    elif path.suffix == ".parquet":
        from pyarrow import parquet

        table = parquet.read_table(path)
        parquet.write_table(table.replace_schema_metadata({"schema": str(SCHEMA + 1)}), path)
    elif path.suffix == ".csv":
        lines = path.read_text().splitlines(keepends=True)
        lines[1] = f"{SCHEMA + 1}{lines[1].removeprefix(str(SCHEMA))}"
        path.write_text("".join(lines))
    else:
        path.write_text(path.read_text().replace(f'"schema": {SCHEMA}', f'"schema": {SCHEMA + 1}'))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_another_schema_is_refused_with_both_versions(suffix: str, tmp_path: Path) -> None:
    path = library(tmp_path, suffix, TRACKS)
    newer(path)
    content = path.read_bytes()
    words = f"has the schema {SCHEMA + 1} .* uses the schema {SCHEMA}"
    with pytest.raises(UserError, match=words):
        read_library(path)
    with pytest.raises(UserError, match=words):
        LibraryTable(path)
    assert path.read_bytes() == content
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("content", [b"something else\n", b"\xff\xfe\x00\x00" * 200])
def test_something_else_is_refused_and_left(suffix: str, content: bytes, tmp_path: Path) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"library.{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError, match="is no library"):
        read_library(path)
    with pytest.raises(UserError, match="is no library"):
        LibraryTable(path)
    assert path.read_bytes() == content
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE songs (name)")
    database.close()
    for use in (read_library, LibraryTable):
        with pytest.raises(UserError, match="an SQLite database of another program"):
            use(path)


def test_an_empty_file_is_no_library_but_can_become_one(tmp_path: Path) -> None:
    path = tmp_path / "library.db"
    path.touch()
    with pytest.raises(UserError, match="it is empty"):
        read_library(path)
    with LibraryTable(path) as table:
        table.add(TRACKS[0])
        table.finish()
    assert read_library(path) == TRACKS[:1]


def test_places_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"end it in \.sqlite, \.db, \.parquet, \.csv or \.jsonl"):
        LibraryTable(tmp_path / "library.txt")
    (tmp_path / "x.csv").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a folder"):
        LibraryTable(tmp_path / "x.csv")
    with pytest.raises(UserError, match="does not exist"):
        read_library(tmp_path / "none.csv")
    with pytest.raises(UserError, match="cannot be created"):
        LibraryTable(tmp_path / "file" / "library.csv")


def test_damaged_rows_are_told_with_their_line(tmp_path: Path) -> None:
    path = library(tmp_path, "csv", [varied_track("/a.flac"), varied_track("/b.flac")])
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], lines[2].replace(",1000,", ",much,")]))
    with pytest.raises(UserError, match="line 3: the column size_bytes holds 'much'"):
        read_library(path)
    path.write_text("\n".join([*lines[:2], lines[2][:30]]))
    with pytest.raises(UserError, match="line 3: the column size_bytes is empty"):
        read_library(path)


def edited(path: Path, column: str, text: str) -> None:
    """Put a text into a column of every row of a CSV."""
    with path.open(encoding="utf-8", newline="") as file:
        names, *rows = csv.reader(file)
    for row in rows:
        row[names.index(column)] = text
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows((names, *rows))


@pytest.mark.parametrize(
    ("column", "text", "words"),
    [
        ("valence", "0,25", "the column valence holds '0,25', which is no number"),
        ("valence", "nan", "the column valence holds 'nan', which is no number"),
        ("arousal", "51702", "arousal is 51702; it is from -1 to 1"),
        ("size_bytes", "9" * 30, "the column size_bytes holds '999.*', which is no number"),
        ("modified_ns", "inf", "the column modified_ns holds 'inf', which is no number"),
        ("path", "", "the column path is empty"),
        ("duration_s", "", "duration_s and skipped are empty"),
    ],
)
def test_cells_that_cannot_be_are_a_sentence(
    column: str, text: str, words: str, tmp_path: Path
) -> None:
    path = library(tmp_path, "csv", [varied_track("/a.flac"), varied_track("/b.flac")])
    edited(path, column, text)
    content = path.read_bytes()
    for use in (read_library, LibraryTable):
        with pytest.raises(UserError, match=f"library.csv, line 2: {words}"):
            use(path)
    assert path.read_bytes() == content


def test_a_table_that_a_spreadsheet_saved_is_read(tmp_path: Path) -> None:
    """It shortens long numbers, and saves rows of empty cells."""
    path = library(tmp_path, "csv", TRACKS[:1])
    edited(path, "modified_ns", "1.70000E+18")
    edited(path, "size_bytes", f"{TRACKS[0].size_bytes}.0")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"," * len(COLUMNS) + b"\r\n")
    assert read_library(path) == [replace(TRACKS[0], modified_ns=1_700_000_000_000_000_000)]
    path.write_text(path.read_text(encoding="utf-8").replace(",", ";"), encoding="utf-8")
    with pytest.raises(UserError, match="a spreadsheet must save it with commas"):
        read_library(path)


@pytest.mark.parametrize(
    "row", ['{"schema": 1, "path": ["x"]', '{"schema": 1, "path": "\\ud800"', "[" * 100_000]
)
def test_json_that_is_no_row_is_a_sentence(row: str, tmp_path: Path) -> None:
    path = library(tmp_path, "jsonl", TRACKS[:1])
    rest = path.read_text(encoding="utf-8").partition(',\\nb.flac"')[2]
    path.write_text(row + rest, encoding="utf-8")
    for use in (read_library, LibraryTable):
        with pytest.raises(UserError, match=r"line 1.*(no text|no JSON)"):
            use(path)


def test_a_database_keeps_columns_that_somebody_added(tmp_path: Path) -> None:
    path = library(tmp_path, "sqlite", TRACKS)
    database = sqlite3.connect(path, isolation_level=None)
    try:
        database.execute("ALTER TABLE tracks ADD COLUMN stars INTEGER")
        database.execute("UPDATE tracks SET stars = 5")
        with LibraryTable(path) as table:
            table.add(replace(TRACKS[0], size_bytes=7))
        found = database.execute("SELECT stars FROM tracks WHERE size_bytes = 7").fetchall()
        assert found == [(5,)]
        database.execute("UPDATE tracks SET valence = 'much'")
    finally:
        database.close()
    with pytest.raises(UserError, match=r"library.sqlite: the column valence holds 'much'"):
        read_library(path)


def test_a_full_disk_keeps_the_older_table_and_the_new_rows(tmp_path: Path) -> None:
    path = library(tmp_path, "csv", TRACKS[:1])
    program = (
        "import pathlib, resource, signal; from library_support import varied_track\n"
        "from realtime_mer.errors import UserError\n"
        "from realtime_mer.library.tables import LibraryTable\n"
        f"table = LibraryTable(pathlib.Path({str(path)!r}))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))\n"
        "try:\n"
        "    for number in range(10_000):\n"
        "        table.add(varied_track(f'/{number:06}.flac'))\n"
        "except UserError as error:\n"
        "    print(number, error)\n"
    )
    search = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], env={**os.environ, "PYTHONPATH": search},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    number, _, message = done.stdout.partition(" ")
    assert "cannot be used" in message
    assert int(number) > 10
    assert read_library(path) == TRACKS[:1]
    with LibraryTable(path) as table:
        assert len(table) == 1 + int(number)
        table.finish()
    assert len(read_library(path)) == 1 + int(number)
