import csv
import io
import json
from dataclasses import replace

from support import ESTIMATE, FAST_ESTIMATE

from realtime_mer.outputs.table import COLUMNS, FAST_COLUMNS, table_writer


def test_csv_has_a_header_and_a_row_each() -> None:
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


def test_fast_values_have_the_last_columns_and_are_empty_where_there_are_none() -> None:
    stream = io.StringIO()
    writer = table_writer("csv", stream)
    writer.write(ESTIMATE)
    writer.write(FAST_ESTIMATE)
    without, with_them = csv.DictReader(io.StringIO(stream.getvalue()))
    assert COLUMNS[-len(FAST_COLUMNS) :] == FAST_COLUMNS
    assert {without[name] for name in FAST_COLUMNS} == {""}
    assert [float(with_them[name]) for name in FAST_COLUMNS] == [
        3.0, 0.333333, -0.25, 0.0, 0.6, -0.5, 0.125,
    ]  # fmt: skip
    assert with_them["valence"] == without["valence"]


def test_json_lines_are_what_goes_over_the_wire() -> None:
    for estimate in (ESTIMATE, FAST_ESTIMATE):
        stream = io.StringIO()
        table_writer("jsonl", stream).write(estimate)
        assert stream.getvalue().endswith("\n")
        assert json.loads(stream.getvalue()) == estimate.to_dict()


def test_a_table_of_several_files_names_them() -> None:
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
