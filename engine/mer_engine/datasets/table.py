"""CSV tables, in the variants that people and spreadsheets write."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mer_engine.datasets.problems import DataError

_DELIMITERS = (",", ";", "\t")


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table.

    Attributes:
        line: number of its first line in the file, from 1. A quoted cell may contain line breaks.
        cells: text by column name (lower case, stripped); missing cells are empty.
        surplus: number of cells beyond the last column.
    """

    line: int
    cells: dict[str, str]
    surplus: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        path: its file.
        columns: names in lower case.
        rows: in the file's order, without empty ones.
        decimal_comma: whether numbers may use a decimal comma (the comma is not the delimiter).
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    decimal_comma: bool

    def number(self, text: str) -> float:
        """Parse a number; NaN if the cell is empty or contains "nan", "na" or "n/a".

        Raises:
            ValueError: it is not a finite number.
        """
        clean = text.strip()
        if not clean or clean.lower() in ("nan", "na", "n/a"):
            return float("nan")
        value = float(clean.replace(",", ".") if self.decimal_comma else clean)
        if value in (float("inf"), float("-inf")):
            raise ValueError(f"{text!r} is infinite")
        return value

    def song_number(self, row: Row, column: str) -> str:
        """Return the song number in a cell, without leading zeros and decimals.

        Raises:
            DataError: the cell contains something else.
        """
        text = row.cells[column]
        try:
            return str(int(self.number(text)))
        except ValueError as error:
            raise DataError(
                f"{self.path}, line {row.line}: {text!r} is not a song number"
            ) from error

    def file_name(self, row: Row, column: str = "file") -> str:
        """Return the file name in a cell, with slashes and without a leading "./".

        Raises:
            DataError: the cell is empty.
        """
        name = row.cells[column].strip().replace("\\", "/").removeprefix("./")
        if not name:
            raise DataError(f"{self.path}, line {row.line} has no file name")
        return name


def read_table(path: Path, purpose: str, required: Iterable[str] = ()) -> Table:
    """Read a table whose first line names its columns.

    The delimiter is a comma, semicolon or tab. The encoding is UTF-8, UTF-16 with a byte order mark
    or Windows-1252.

    Args:
        path: the file.
        purpose: its content, for error messages.
        required: columns that it must contain.

    Raises:
        DataError: the file is missing, empty or cannot be read, or lacks a column.
    """
    try:
        text = _decode(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path} is missing; it contains {purpose}") from None
    except (OSError, UnicodeError) as error:
        raise DataError(f"{path} cannot be read ({error}); it should contain {purpose}") from error
    if not text.strip():
        raise DataError(f"{path} is empty; it should contain {purpose}")
    header = text.lstrip().splitlines()[0]
    delimiter = max(_DELIMITERS, key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    columns: list[str] = []
    rows = []
    next_line = 1
    try:
        for cells in reader:
            line, next_line = next_line, reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if not columns:
                columns = [cell.strip().lower() for cell in cells]
                continue
            padded = [*cells, *[""] * (len(columns) - len(cells))]
            named = {c: t for c, t in zip(columns, padded, strict=False) if c}
            rows.append(Row(line, named, max(0, len(cells) - len(columns))))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from error
    missing = [column for column in required if column not in columns]
    if missing:
        raise DataError(
            f"{path} has no column {missing[0]}; it should contain {purpose} "
            f"(its columns: {', '.join(c for c in columns if c)})"
        )
    return Table(path, tuple(columns), tuple(rows), delimiter != ",")


def _decode(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")
