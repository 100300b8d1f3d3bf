"""Tables in files, also where the disk is full."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support import ESTIMATE

from realtime_mer.outputs.table_file import TableFile


@pytest.mark.parametrize(("row_format", "header"), [("csv", 1), ("jsonl", 0)])
def test_rows(row_format: str, header: int, tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_text("older")
    with TableFile(path, row_format) as table:
        for seq in range(2000):
            table.write(replace(ESTIMATE, seq=seq))
        assert 0 < table.rows < 2000  # long tables are not kept in memory
        table.flush()
        assert table.rows == 2000
        assert len(path.read_text().splitlines()) == 2000 + header
        table.write(ESTIMATE)
    table.close()
    assert len(path.read_bytes().decode().splitlines()) == table.rows + header == 2001 + header


@pytest.mark.parametrize("row_format", ["csv", "jsonl"])
def test_a_full_disk_leaves_whole_rows(row_format: str, tmp_path: Path) -> None:
    """A limit on the size of files takes the place of a full disk."""
    pytest.importorskip("resource", reason="this system has no limit on the size of files")
    program = f"""
import resource
from pathlib import Path
from support import ESTIMATE
from realtime_mer.outputs.table_file import TableFile
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
table = TableFile(Path("table"), {row_format!r})
try:
    for _ in range(1000):
        table.write(ESTIMATE)
    table.flush()
except OSError as error:
    print(table.rows, error.strerror)
table.close()
"""
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    count, _, reason = run.stdout.strip().partition(" ")
    assert reason == "File too large"
    text = (tmp_path / "table").read_text()
    assert len(text) > 19_000
    assert text.endswith("\n")
    rows = text.splitlines()[row_format == "csv" :]
    assert len(rows) == int(count)
    if row_format == "jsonl":
        assert all(json.loads(row)["seq"] == ESTIMATE.seq for row in rows)
    else:
        assert {row.count(",") for row in text.splitlines()} == {rows[0].count(",")}
