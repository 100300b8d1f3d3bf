"""Reads what `listen --record` and `analyze -o` wrote: CSV or JSON Lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from realtime_mer.closable import Closable
from realtime_mer.core.types import Estimate
from realtime_mer.errors import UserError
from realtime_mer.outputs.table import FORMAT_OF_SUFFIX, LATENCY_COLUMNS

_PARTS = ("fast", "scaled")  # whose columns have their name as a prefix
_MAX_SEQ, _MAX_S = 2**53, 1e8  # beyond what is counted and waited for: three years


class RecordingReader(Closable):
    """The estimates of a recording, one after the other: an iterator that reads as it goes.

    A continued recording, whose numbers and times start again, is read as one stream. A last row
    that was cut off is left out.

    Args:
        path: ends in `.csv`, `.jsonl` or `.ndjson`.

    Raises:
        UserError: the file cannot be read or holds no estimate. While iterating: a row is not
            valid.

    Attributes:
        hop_s: seconds between the first estimates.
        remark: a sentence on a row that was cut off, after the last estimate; "" for none.
    """

    def __init__(self, path: Path) -> None:
        form = FORMAT_OF_SUFFIX.get(path.suffix.lower())
        if form is None:
            raise UserError(f"the recording {path} must end in {', '.join(FORMAT_OF_SUFFIX)}")
        self.remark = ""
        self._path = path
        self._is_csv = form == "csv"
        try:
            self._file = path.open(encoding="utf-8", errors="replace", newline="")
            rows = _csv_rows(self._file) if self._is_csv else _json_rows(self._file)
            self._estimates = self._joined(rows)
            self._first = [each for _, each in zip(range(2), self._estimates, strict=False)]
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror})") from error
        except BaseException:
            self._file.close()
            raise
        if not self._first:
            self._file.close()
            raise UserError(f"the recording {path} holds no estimate{_because(self.remark)}")
        ts = [each.t for each in self._first]
        self.hop_s = min(1.0, max(0.1, round(ts[1] - ts[0], 3))) if len(ts) == 2 else 1.0

    def __iter__(self) -> Iterator[Estimate]:
        first, self._first = self._first, []
        yield from first
        yield from self._estimates

    def close(self) -> None:
        self._file.close()

    def _joined(self, rows: Iterable[tuple[int, str, dict[str, Any] | None]]) -> Iterator[Estimate]:
        """Return estimates whose number and time go on where a part of the recording begins."""
        last: Estimate | None = None  # as recorded
        seq, t = 0, 0.0  # what to add
        for number, line, row in rows:
            # A row of JSON Lines is whole with its last bracket, one of CSV with its newline.
            if not line.endswith("\n") and (row is None or self._is_csv):
                self.remark = f"line {number} of {self._path} was cut off and is left out"
                return
            if row is None:
                raise UserError(f"{self._path} line {number} is no row of a recording")
            if row.get("type", "estimate") != "estimate":
                continue
            try:
                estimate = Estimate.from_dict(row)
            except UserError as error:
                raise UserError(f"{self._path} line {number}: {error}") from error
            if last is not None and (estimate.seq <= last.seq or estimate.t < last.t):
                seq, t = seq + last.seq + 1, t + last.t
            last = estimate
            joined = replace(estimate, seq=estimate.seq + seq, t=round(estimate.t + t, 3))
            if not (0 <= joined.seq <= _MAX_SEQ and 0.0 <= joined.t <= _MAX_S):
                raise UserError(
                    f"{self._path} line {number}: seq {joined.seq} at {joined.t:g} s is not "
                    "possible; remove the row"
                )
            yield joined


def _json_rows(file: TextIO) -> Iterator[tuple[int, str, dict[str, Any] | None]]:
    """Return number, text and content of each line; None for one that is no object."""
    for number, line in enumerate(file, start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):  # 5000 brackets
            row = None
        yield number, line, row if isinstance(row, dict) else None


def _csv_rows(file: TextIO) -> Iterator[tuple[int, str, dict[str, Any] | None]]:
    """Return number, text and content of each line below the header, in the form of messages."""
    header: list[str] = []
    for number, line in enumerate(file, start=1):
        try:
            cells = next(csv.reader([line]), [])
        except csv.Error:  # a cell of 200 kB
            cells = []
        if number == 1:
            header = cells
            continue
        whole = len(cells) == len(header) > 0
        yield number, line, _nested(dict(zip(header, cells, strict=True))) if whole else None


def _nested(cells: dict[str, str]) -> dict[str, Any]:
    """Return a row of CSV in the form of messages; empty cells are left out."""
    row: dict[str, Any] = {"mood": None, "latency": {}}
    for column, cell in cells.items():
        prefix, _, name = column.partition("_")
        if not cell:
            continue
        if prefix in _PARTS:
            row.setdefault(prefix, {})[name] = cell
        elif column in LATENCY_COLUMNS:
            row["latency"][column] = cell
        else:
            row[column] = cell
    return row


def _because(remark: str) -> str:
    return f": {remark}" if remark else ""
