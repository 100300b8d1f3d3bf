"""Estimates as CSV or JSON Lines, a row each."""

from __future__ import annotations

import csv
import json
from typing import Protocol, TextIO

from realtime_mer.core.types import Estimate

LATENCY_COLUMNS = ("window_s", "buffer_ms", "compute_ms", "queue_ms")
# Empty where a session has no fast values.
FAST_COLUMNS = (
    "fast_window_s",
    "fast_valence",
    "fast_arousal",
    "fast_valence_low",
    "fast_valence_high",
    "fast_arousal_low",
    "fast_arousal_high",
)
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
)
FORMATS = ("csv", "jsonl")


class TableWriter(Protocol):
    """Writes estimates to a text stream, each row complete once `write` returns."""

    def write(self, estimate: Estimate, *, file: str | None = None) -> None:
        """Writes a row; `file` names the file that it is about where a table covers several."""
        ...


class CsvWriter:
    """Comma-separated values with a header line (RFC 4180, but with plain newlines).

    Args:
        stream: open for writing, with `newline=""`.
        with_file: begin each row with a column `file`.
    """

    def __init__(self, stream: TextIO, *, with_file: bool = False) -> None:
        columns = ("file", *COLUMNS) if with_file else COLUMNS
        self._writer = csv.DictWriter(stream, columns, lineterminator="\n")
        self._writer.writeheader()

    def write(self, estimate: Estimate, *, file: str | None = None) -> None:
        row = estimate.to_dict()
        del row["type"]
        latency = row.pop("latency")
        assert isinstance(latency, dict)
        row.update(latency)
        fast = row.pop("fast", {})
        assert isinstance(fast, dict)
        row.update({f"fast_{name}": value for name, value in fast.items()})
        if file is not None:
            row["file"] = file
        self._writer.writerow(row)


class JsonLinesWriter:
    """One JSON object a line, as on the wire; `file` comes second where a table covers several."""

    def __init__(self, stream: TextIO, *, with_file: bool = False) -> None:
        self._stream = stream

    def write(self, estimate: Estimate, *, file: str | None = None) -> None:
        row = estimate.to_dict()
        if file is not None:
            row = {"type": row.pop("type"), "file": file, **row}
        self._stream.write(json.dumps(row) + "\n")


def table_writer(name: str, stream: TextIO, *, with_file: bool = False) -> TableWriter:
    """The writer of a format (`csv` or `jsonl`)."""
    return (CsvWriter if name == "csv" else JsonLinesWriter)(stream, with_file=with_file)
