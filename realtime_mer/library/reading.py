"""Read the tables of a library."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from realtime_mer.errors import UserError
from realtime_mer.library.columns import COLUMNS, track_of
from realtime_mer.library.database import LibraryDatabase, check_schema, no_library
from realtime_mer.library.track import Track
from realtime_mer.outputs.registry import needing

SCHEMA_KEY = "schema"
"""The first column of CSV, a field of JSON Lines, and, as bytes, the metadata of Parquet."""

_PARQUET_BATCH = 1000


def read_library(path: Path | str) -> list[Track]:
    """Return the rows of a table that `analyze --summary` wrote, in any of its formats.

    Raises:
        UserError: it is missing, something else, has another schema, is damaged, or is a Parquet
            file and pyarrow is not installed.
    """
    return list(iterate_library(Path(path)))


def iterate_library(path: Path) -> Iterator[Track]:
    """Yield the rows one by one; see `read_library`."""
    read = _READERS[library_format(path)]
    if not path.is_file():
        missing = "is a folder" if path.is_dir() else "does not exist"
        raise UserError(f"the library {path} {missing}; 'realtime-mer analyze' makes one")
    try:
        yield from read(path)
    except OSError as error:
        raise UserError(f"the library {path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise no_library(path, "it is no text") from error


def library_format(path: Path) -> str:
    """Return the format of a table by the suffix of its name: sqlite, parquet, csv or jsonl.

    Raises:
        UserError: it has no such suffix.
    """
    found = FORMAT_OF_SUFFIX.get(path.suffix.lower())
    if found is None:
        raise UserError(
            f"{path} is no name of a library; end it in .sqlite, .db, .parquet, .csv or .jsonl"
        )
    return found


FORMAT_OF_SUFFIX = {
    ".sqlite": "sqlite",
    ".sqlite3": "sqlite",
    ".db": "sqlite",
    ".parquet": "parquet",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}


def _read_sqlite(path: Path) -> Iterator[Track]:
    with LibraryDatabase(path, create=False) as database:
        yield from database.tracks()


def _read_csv(path: Path) -> Iterator[Track]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        try:
            _check_columns(path, rows.fieldnames or ())
            for row in rows:
                if any(row.values()):  # spreadsheets save rows of empty cells
                    yield _track(path, rows.line_num, row)
        except csv.Error as error:
            raise no_library(path, f"line {rows.line_num}: {error}") from error


def _read_jsonl(path: Path) -> Iterator[Track]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise no_library(path, f"line {number} is no JSON") from error
            if not isinstance(row, dict):
                raise no_library(path, f"line {number} is no JSON object")
            _check_columns(path, row)
            yield _track(path, number, row)


def _read_parquet(path: Path) -> Iterator[Track]:
    with needing(f"the library {path}", "library"):
        import pyarrow
        from pyarrow import parquet
    try:
        with parquet.ParquetFile(path) as file:
            metadata = file.schema_arrow.metadata or {}
            if SCHEMA_KEY.encode() not in metadata:
                raise no_library(path, "it has no schema of one")
            check_schema(path, _number(metadata[SCHEMA_KEY.encode()].decode()))
            missing = [name for name in COLUMNS if name not in file.schema_arrow.names]
            if missing:
                raise no_library(path, f"it has no {missing[0]}")
            for batch in file.iter_batches(_PARQUET_BATCH, columns=list(COLUMNS)):
                columns = [column.to_pylist() for column in batch.columns]
                for row in zip(*columns, strict=True):
                    yield track_of(row, str(path))
    except pyarrow.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise no_library(path, f"it is no whole Parquet file: {reason}") from error


_READERS: dict[str, Callable[[Path], Iterator[Track]]] = {
    "sqlite": _read_sqlite,
    "csv": _read_csv,
    "jsonl": _read_jsonl,
    "parquet": _read_parquet,
}


def _track(path: Path, number: int, row: Mapping[str, Any]) -> Track:
    """Return the track of a line of a text."""
    check_schema(path, _number(row[SCHEMA_KEY]))
    missing = [name for name in COLUMNS if name not in row]
    if missing:
        raise no_library(path, f"it has no {missing[0]}")
    return track_of([row[name] for name in COLUMNS], f"{path}, line {number}")


def _check_columns(path: Path, names: Collection[str]) -> None:
    if SCHEMA_KEY not in names:
        commas = "; a spreadsheet must save it with commas" * (path.suffix.lower() == ".csv")
        raise no_library(path, f"it has no {SCHEMA_KEY}{commas}")


def _number(text: Any) -> object:
    return int(text) if str(text).isdecimal() else text
