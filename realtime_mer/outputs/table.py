"""Estimates as CSV or JSON Lines, one row each."""

from __future__ import annotations

import csv
import io
import json
from typing import Protocol, TextIO

from realtime_mer.core.types import VALUES, Estimate
from realtime_mer.errors import printable

LATENCY_COLUMNS = ("window_s", "buffer_ms", "compute_ms", "queue_ms")
# Empty in a session without fast values.
FAST_COLUMNS = (
    "fast_window_s",
    "fast_valence",
    "fast_arousal",
    "fast_valence_low",
    "fast_valence_high",
    "fast_arousal_low",
    "fast_arousal_high",
)
# Empty in a session with the range raw.
SCALED_COLUMNS = tuple(f"scaled_{name}" for name in VALUES)
COLUMNS = (
    "seq",
    "t",
    "utc",
    "valence",
    "arousal",
    "valence_low",
    "valence_high",
    "arousal_low",
    "arousal_high",
    "mood",
    "state",
    "level_db",
    *LATENCY_COLUMNS,
    *FAST_COLUMNS,
    *SCALED_COLUMNS,
)
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
FORMATS = ("csv", "jsonl")
FORMAT_OF_SUFFIX = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
# How the rows of JSON Lines begin; a CSV file begins with its header.
_FIRST_ROW = b'{"type": "estimate", "seq": '


class TableWriter(Protocol):
    """Writes estimates to a text stream."""

    def write(self, estimate: Estimate, *, file: str | None = None) -> None:
        """Write a complete row; `file` names its input in a table of several files."""
        ...


class CsvWriter:
    """Writes comma-separated values with a header line (RFC 4180, but with `\\n` newlines).

    Args:
        stream: open for writing, with `newline=""`.
        with_file: make `file` the first column.
    """

    def __init__(self, stream: TextIO, *, with_file: bool = False) -> None:
        columns = ("file", *COLUMNS) if with_file else COLUMNS
        self._writer = csv.DictWriter(stream, columns, lineterminator="\n")
        self._writer.writeheader()

    def write(self, estimate: Estimate, *, file: str | None = None) -> None:
        row = estimate.to_dict()
        del row["type"]
        del row["color"]  # follows from the values
        row.pop("novelty", None)  # only in JSON, as the fast values' place among music
        latency = row.pop("latency")
        assert isinstance(latency, dict)
        row.update(latency)
        fast = row.pop("fast", {})
        assert isinstance(fast, dict)
        fast.pop("scaled", None)  # only the main values have columns for it
        row.update({f"fast_{name}": value for name, value in fast.items()})
        scaled = row.pop("scaled", {})
        assert isinstance(scaled, dict)
        row.update({f"scaled_{name}": value for name, value in scaled.items()})
        if file is not None:
            row["file"] = printable(file)
        self._writer.writerow({name: disarmed(value) for name, value in row.items()})


def disarmed(value: object) -> object:
    """Keep spreadsheets from running a text as a formula, as the page's export does.

    Numbers stay numbers.
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_STARTS) else value


class JsonLinesWriter:
    """Writes one JSON object per line, as in the protocol; `file` comes second if given."""

    def __init__(self, stream: TextIO, *, with_file: bool = False) -> None:
        self._stream = stream

    def write(self, estimate: Estimate, *, file: str | None = None) -> None:
        row = estimate.to_dict()
        if file is not None:
            row = {"type": row.pop("type"), "file": printable(file), **row}
        self._stream.write(json.dumps(row, allow_nan=False) + "\n")


def table_writer(name: str, stream: TextIO, *, with_file: bool = False) -> TableWriter:
    """Return a writer of a format (`csv` or `jsonl`)."""
    return (CsvWriter if name == "csv" else JsonLinesWriter)(stream, with_file=with_file)


class RowFormat:
    """Formats estimates as single lines, in UTF-8.

    Args:
        name: `csv` or `jsonl`.

    Attributes:
        header: the first line of a file; empty for JSON Lines.
        beginning: how every file of this format begins.
    """

    def __init__(self, name: str) -> None:
        self._text = io.StringIO(newline="")
        self._writer = table_writer(name, self._text)
        self.header = self._take()
        self.beginning = self.header or _FIRST_ROW

    def line(self, estimate: Estimate) -> bytes:
        """Return the row of an estimate, with its newline."""
        self._writer.write(estimate)
        return self._take()

    def _take(self) -> bytes:
        data = self._text.getvalue().encode("utf-8", "replace")
        self._text.seek(0)
        self._text.truncate()
        return data
