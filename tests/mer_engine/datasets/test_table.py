"""CSV tables in the variants that spreadsheets write."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from mer_engine.datasets.problems import DataError
from mer_engine.datasets.table import read_table


@pytest.mark.parametrize(
    ("content", "decimal_comma"),
    [
        (b"file,Value \na.wav,0.5\n\nb.wav,-0.25\n", False),
        (b"\xef\xbb\xbffile;value\r\na.wav;0,5\r\nb.wav;-0,25\r\n", True),
        ("file\tvalue\na.wav\t0,5\nb.wav\t-0.25\n".encode("utf-16"), True),
    ],
)
def test_delimiters_and_encodings(tmp_path: Path, content: bytes, decimal_comma: bool) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    table = read_table(tmp_path / "t.csv", "values", ["file", "value"])
    assert table.columns == ("file", "value")
    assert table.decimal_comma is decimal_comma
    assert [row.cells["file"] for row in table.rows] == ["a.wav", "b.wav"]
    assert [table.number(row.cells["value"]) for row in table.rows] == [0.5, -0.25]
    assert table.rows[0].line == 2


def test_names_with_accents_from_an_old_spreadsheet(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("artist,title\nBjörk,Jóga\n".encode("cp1252"))
    (row,) = read_table(tmp_path / "t.csv", "songs").rows
    assert row.cells == {"artist": "Björk", "title": "Jóga"}


def test_short_and_long_rows(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('a,b\n1\n1,0,5\n"x, y",2\n')
    rows = read_table(tmp_path / "t.csv", "values").rows
    assert [row.cells for row in rows] == [
        {"a": "1", "b": ""},
        {"a": "1", "b": "0"},
        {"a": "x, y", "b": "2"},
    ]
    assert [row.surplus for row in rows] == [0, 1, 0]


def test_cells_with_line_breaks(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('a,b\n1,"two\nlines, and\na third"\n\n2,x\n')
    rows = read_table(tmp_path / "t.csv", "values").rows
    assert [row.cells["b"] for row in rows] == ["two\nlines, and\na third", "x"]
    assert [row.line for row in rows] == [2, 6]


def test_numbers(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n")
    table = read_table(tmp_path / "t.csv", "values")
    for empty in ("", " ", "NaN", "n/a"):
        assert math.isnan(table.number(empty))
    for bad in ("loud", "0,5", "inf"):
        with pytest.raises(ValueError, match=bad):
            table.number(bad)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "t.csv is missing; it contains the labels"),
        (b"", "t.csv is empty; it should contain the labels"),
        (b"\n \n", "t.csv is empty"),
        (b"file,arousal\n", r"no column valence; .* \(its columns: file, arousal\)"),
        (b"\xff\xfea", "t.csv cannot be read"),
    ],
)
def test_unusable_tables_are_rejected(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_table(tmp_path / "t.csv", "the labels", ["file", "valence"])
