"""Reads recordings: the folders of `--record`, and the tables of `analyze -o`."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from realtime_mer.closable import Closable
from realtime_mer.core.change_detector import ChangeDetector
from realtime_mer.core.events import Event
from realtime_mer.core.types import Estimate
from realtime_mer.errors import UserError
from realtime_mer.outputs.table import FORMAT_OF_SUFFIX, LATENCY_COLUMNS
from realtime_mer.recording.header import NewerSchemaError, RecordingHeader
from realtime_mer.recording.lines import RecordedItem, item_of
from realtime_mer.recording.parts import part_name, parts_of

_GROUPS = ("fast", "scaled")  # whose columns have their name as a prefix
_MAX_SEQ, _MAX_S = 2**53, 1e8  # beyond what is counted and waited for: three years


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a recording.

    Attributes:
        path: the file.
        header: its first line; None for a table.
    """

    path: Path
    header: RecordingHeader | None

    @property
    def audio(self) -> Path | None:
        """The audio that begins with this part, whether it is still there or not."""
        name = None if self.header is None else self.header.audio
        return None if name is None else self.path.with_name(name)


class SessionReader(Closable):
    """The items of a recording, one after the other: an iterator that reads as it goes.

    Parts are read as one session. Where a run begins, numbers and times start again in its part;
    here they go on after the last estimate before. A last line that was cut off, by a power failure
    or a killed program, is left out. The events of a table are found again in its estimates.

    Args:
        path: a folder of `--record`, one of its parts, or a table that ends in `.csv`, `.jsonl` or
            `.ndjson`.

    Raises:
        NewerSchemaError: a newer version of the program made it.
        UserError: it cannot be read or holds no estimate. While iterating: a line is not valid.

    Attributes:
        parts: the parts in order; those whose first line was cut off are left out.
        header: of the first part; None for a table.
        hop_s: seconds between estimates.
        first: the first estimate.
    """

    def __init__(self, path: Path) -> None:
        self._remarks: list[str] = []
        self.parts = self._parts(path)
        self.header = self.parts[0].header if self.parts else None
        self._items = self._joined()
        self._ahead: list[RecordedItem] = []
        wanted = 2 if self.header is None else 1
        found: list[Estimate] = []
        while len(found) < wanted and (item := next(self._items, None)) is not None:
            self._ahead.append(item)
            if isinstance(item, Estimate):
                found.append(item)
        if not found:
            because = f": {self.remark}" if self.remark else ""
            raise UserError(f"the recording {path} holds no estimate{because}")
        self.first = found[0]
        self.hop_s = 1.0
        if self.header is not None:
            self.hop_s = self.header.hop_s
        elif len(found) == 2:
            self.hop_s = min(1.0, max(0.1, round(found[1].t - found[0].t, 3)))

    @property
    def remark(self) -> str:
        """A sentence on the lines that were cut off in what was read so far; "" for none."""
        return "; ".join(self._remarks)

    def __iter__(self) -> Iterator[RecordedItem]:
        ahead, self._ahead = self._ahead, []
        items = chain(ahead, self._items)
        yield from items if self.header is not None else _with_events(items)

    def estimates(self) -> Iterator[Estimate]:
        """Return the estimates alone."""
        return (item for item in self if isinstance(item, Estimate))

    def close(self) -> None:
        with contextlib.suppress(ValueError):  # another thread is reading, and will end it
            self._items.close()

    def _parts(self, path: Path) -> list[Part]:
        """Return the parts; the schema of each is known before the first one is played.

        Raises:
            UserError: they cannot be read, or are no parts.
        """
        try:
            if not path.is_dir():
                return [self._table(path)]
            paths = parts_of(path)
            if not paths:
                raise UserError(
                    f"the folder {path} holds no recording: it has no {part_name(1)}; give a "
                    "folder that --record wrote"
                )
            parts = [Part(each, self._header(each)) for each in paths]
        except OSError as error:
            where = error.filename or path
            raise UserError(f"{where} cannot be read ({error.strerror})") from error
        return [part for part in parts if part.header is not None]

    def _table(self, path: Path) -> Part:
        """Return a file that was given alone: a table, or one part of a recording.

        Raises:
            OSError: it cannot be read.
            UserError: its name or its header is not valid.
        """
        form = FORMAT_OF_SUFFIX.get(path.suffix.lower())
        if form is None and path.exists():
            raise UserError(
                f"{path} is no recording, which is a folder of --record, or a table that ends in "
                f"{', '.join(FORMAT_OF_SUFFIX)}"
            )
        row = _parsed(_first_line(path))
        is_part = form == "jsonl" and row is not None and row.get("type") == "recording"
        return Part(path, self._header(path) if is_part else None)

    def _header(self, path: Path) -> RecordingHeader | None:
        """Return the header of a part; None if it was cut off.

        Raises:
            OSError: the file cannot be read.
            UserError: the first line is no header.
        """
        line = _first_line(path)
        row = _parsed(line)
        if row is None and not line.endswith("\n"):
            self._remarks.append(f"line 1 of {path} was cut off, so this part is left out")
            return None
        try:
            return RecordingHeader.from_dict(row or {})
        except NewerSchemaError as error:
            raise NewerSchemaError(f"{path}: {error}") from error
        except UserError as error:
            raise UserError(
                f"{path} line 1: {error}; take the file out of the folder to read the others"
            ) from error

    def _joined(self) -> Generator[RecordedItem, None, None]:
        """Return the items; numbers and times go on where a run begins."""
        started_utc = None  # of the run
        last: Estimate | None = None  # as recorded, of the run
        seq, t = 0, 0.0  # what to add
        for part in self.parts:
            if part.header is not None and part.header.started_utc != started_utc:
                if last is not None:
                    seq, t, last = seq + last.seq + 1, t + last.t, None
                started_utc = part.header.started_utc
            for where, item in self._items_of(part):
                if isinstance(item, Estimate):
                    # Tables of earlier versions hold several runs.
                    if last is not None and (item.seq <= last.seq or item.t < last.t):
                        seq, t = seq + last.seq + 1, t + last.t
                    last = item
                placed = moved(item, seq, t)
                if not 0.0 <= placed.t <= _MAX_S or (
                    isinstance(placed, Estimate) and not 0 <= placed.seq <= _MAX_SEQ
                ):
                    number = f"seq {placed.seq} at" if isinstance(placed, Estimate) else "a time of"
                    raise UserError(
                        f"{where}: {number} {placed.t:g} s is not possible; remove the line"
                    )
                yield placed

    def _items_of(self, part: Part) -> Iterator[tuple[str, RecordedItem]]:
        """Return where each item of a part is, and the item as it was recorded."""
        path = part.path
        is_csv = FORMAT_OF_SUFFIX[path.suffix.lower()] == "csv"
        try:
            with path.open(encoding="utf-8", errors="replace", newline="") as file:
                for number, line, row in _csv_rows(file) if is_csv else _json_rows(file):
                    # A line of JSON is whole with its last bracket, one of CSV with its newline.
                    if not line.endswith("\n") and (row is None or is_csv):
                        self._remarks.append(f"line {number} of {path} was cut off and is left out")
                        return
                    where = f"{path} line {number}"
                    if row is None:
                        raise UserError(
                            f"{where} is damaged: it is no line of a recording; remove the line"
                        )
                    try:
                        item = item_of(row)
                    except UserError as error:
                        raise UserError(f"{where}: {error}") from error
                    if item is not None:
                        yield where, item
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror})") from error


def _with_events(items: Iterable[RecordedItem]) -> Iterator[RecordedItem]:
    """Return the items of a table, each estimate followed by the events that it shows."""
    changes = ChangeDetector()
    for item in items:
        if not isinstance(item, Event):  # only some tables have them
            yield item
        if isinstance(item, Estimate):
            yield from changes.add(item)


def moved(item: RecordedItem, seq: int, t: float) -> RecordedItem:
    """Return an item at another place of a session.

    Args:
        item: an item.
        seq: what to add to the number of an estimate.
        t: what to add to stream times, seconds.
    """
    if not seq and not t:
        return item
    at = round(item.t + t, 3)
    if isinstance(item, Estimate):
        return replace(item, seq=item.seq + seq, t=at)
    if isinstance(item, Event):
        return replace(item, t=at, detected_t=round(item.detected_t + t, 3))
    return replace(item, t=at)


def _first_line(path: Path) -> str:
    """Return the first line of a file.

    Raises:
        OSError: it cannot be read.
    """
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        return file.readline()


def _parsed(line: str) -> dict[str, Any] | None:
    """Return the object in a line; None for something else."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):  # 5000 brackets
        return None
    return row if isinstance(row, dict) else None


def _json_rows(file: TextIO) -> Iterator[tuple[int, str, dict[str, Any] | None]]:
    """Return number, text and content of each line; None for one that is no object."""
    for number, line in enumerate(file, start=1):
        yield number, line, _parsed(line)


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
        if prefix in _GROUPS:
            row.setdefault(prefix, {})[name] = cell
        elif column in LATENCY_COLUMNS:
            row["latency"][column] = cell
        else:
            row[column] = cell
    return row
