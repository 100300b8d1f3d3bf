"""Estimates as CSV and JSON Lines."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
from support import ESTIMATE, FAST_ESTIMATE, SCALED_ESTIMATE

from realtime_mer.core.types import State
from realtime_mer.outputs.table import COLUMNS, FAST_COLUMNS, SCALED_COLUMNS, table_writer


def test_csv_has_a_header_and_one_row_per_estimate() -> None:
    stream = io.StringIO()
    writer = table_writer("csv", stream)
    writer.write(ESTIMATE)
    writer.write(replace(ESTIMATE, seq=4, mood="calm"))
    rows = list(csv.DictReader(io.StringIO(stream.getvalue())))
    assert tuple(rows[0]) == COLUMNS
    assert [row["seq"] for row in rows] == ["3", "4"]
    assert float(rows[0]["valence_low"]) == ESTIMATE.valence_low
    assert float(rows[0]["window_s"]) == 10.0
    assert rows[0]["state"] == "settling"


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("=1+1.wav", "'=1+1.wav"),
        ("+49.wav", "'+49.wav"),
        ("-1.wav", "'-1.wav"),
        ("@SUM(A1).wav", "'@SUM(A1).wav"),
        ("\tcmd.wav", "'\tcmd.wav"),
        ('=HYPERLINK("a,b")', '\'=HYPERLINK("a,b")'),
        ("a=1.wav", "a=1.wav"),
        ("'quoted'.wav", "'quoted'.wav"),
    ],
)
def test_a_name_is_no_formula_and_a_number_no_text(name: str, cell: str) -> None:
    stream = io.StringIO()
    estimate = replace(ESTIMATE, valence=-0.123, mood="-calm")
    table_writer("csv", stream, with_file=True).write(estimate, file=name)
    (row,) = csv.DictReader(io.StringIO(stream.getvalue()))
    assert row["file"] == cell
    assert row["mood"] == "'-calm"
    assert row["valence"] == "-0.123"
    stream = io.StringIO()
    table_writer("jsonl", stream, with_file=True).write(estimate, file=name)
    assert json.loads(stream.getvalue())["file"] == name


def test_before_any_music_the_mood_is_empty() -> None:
    estimate = replace(ESTIMATE, mood=None, state=State.NOISE)
    stream = io.StringIO()
    table_writer("csv", stream).write(estimate)
    (row,) = csv.DictReader(io.StringIO(stream.getvalue()))
    assert (row["mood"], row["state"]) == ("", "noise")
    stream = io.StringIO()
    table_writer("jsonl", stream).write(estimate)
    assert json.loads(stream.getvalue())["mood"] is None


def test_fast_values_have_columns_that_may_be_empty() -> None:
    stream = io.StringIO()
    writer = table_writer("csv", stream)
    writer.write(ESTIMATE)
    writer.write(FAST_ESTIMATE)
    without, with_fast = csv.DictReader(io.StringIO(stream.getvalue()))
    assert {without[name] for name in FAST_COLUMNS} == {""}
    assert [float(with_fast[name]) for name in FAST_COLUMNS] == [
        3.0, 0.333333, -0.25, 0.0, 0.6, -0.5, 0.125,
    ]  # fmt: skip
    assert with_fast["valence"] == without["valence"]


def test_scaled_values_are_the_last_columns_or_empty() -> None:
    stream = io.StringIO()
    writer = table_writer("csv", stream)
    writer.write(FAST_ESTIMATE)
    writer.write(SCALED_ESTIMATE)
    without, with_scaled = csv.DictReader(io.StringIO(stream.getvalue()))
    assert COLUMNS[-len(SCALED_COLUMNS) :] == SCALED_COLUMNS
    assert {without[name] for name in SCALED_COLUMNS} == {""}
    assert [float(with_scaled[name]) for name in SCALED_COLUMNS] == [
        0.25, -1.0, -0.2, 0.6, -1.0, -0.6,
    ]  # fmt: skip
    assert with_scaled["fast_valence"] == without["fast_valence"]


def test_json_lines_equal_the_wire_format() -> None:
    for estimate in (ESTIMATE, FAST_ESTIMATE, SCALED_ESTIMATE):
        stream = io.StringIO()
        table_writer("jsonl", stream).write(estimate)
        assert stream.getvalue().endswith("\n")
        assert json.loads(stream.getvalue()) == estimate.to_dict()


def test_table_of_several_files_names_them() -> None:
    for name in ("csv", "jsonl"):
        stream = io.StringIO()
        table_writer(name, stream, with_file=True).write(ESTIMATE, file="a, b.wav")
        if name == "csv":
            (row,) = csv.DictReader(io.StringIO(stream.getvalue()))
            assert next(iter(row)) == "file"
        else:
            row = json.loads(stream.getvalue())
            assert list(row)[:2] == ["type", "file"]
        assert row["file"] == "a, b.wav"
