import csv
import io
import json
from dataclasses import replace

from support import ESTIMATE

from realtime_mer.outputs.table import COLUMNS, table_writer


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


def test_json_lines_are_what_goes_over_the_wire() -> None:
    stream = io.StringIO()
    table_writer("jsonl", stream).write(ESTIMATE)
    assert stream.getvalue().endswith("\n")
    assert json.loads(stream.getvalue()) == ESTIMATE.to_dict()


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
