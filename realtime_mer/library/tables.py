"""The table of a library that an analysis fills, file by file, in any format."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from mer_engine.draft import draft_of

from realtime_mer.closable import Closable
from realtime_mer.errors import UserError
from realtime_mer.library.columns import COLUMNS, SCHEMA, row_of
from realtime_mer.library.database import LibraryDatabase
from realtime_mer.library.reading import SCHEMA_KEY, iterate_library, library_format
from realtime_mer.library.track import Track
from realtime_mer.outputs.registry import needing

UNFINISHED = ".unfinished"
"""Suffix of the database beside a table of another format, while an analysis fills it."""
# Rows that are written at once.
_BATCH = 1000


class LibraryTable(Closable):
    """A table of a library. What was added is on the disk, even if the program is killed.

    An SQLite table gets each row at once. The other formats cannot be changed in the middle: their
    rows are in a database beside the table until `finish` writes the table anew. One that was left
    there by a killed program is continued.

    Args:
        path: the table, new or with rows; its suffix says the format.

    Raises:
        UserError: the path is not suitable, it holds something else or another schema, it cannot be
            written, another program is writing it, or a package is missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        form = library_format(path)
        _check_place(path)
        if form == "parquet":
            with needing(f"the table {path}", "library"):
                import pyarrow.parquet  # noqa: F401
        self._write = _WRITERS.get(form)
        self._changed = False
        if self._write is None:
            self._place = path
            self._database = LibraryDatabase(path, create=True)
            return
        self._place = path.with_name(f"{path.name}{UNFINISHED}")
        is_new = not self._place.exists()
        self._database = LibraryDatabase(self._place, create=True, exclusive=True)
        if is_new and path.exists():
            try:
                self._database.add(iterate_library(path))
            except BaseException:
                self._database.close()
                self._place.unlink(missing_ok=True)
                raise
        else:
            self._changed = not is_new

    def __len__(self) -> int:
        return len(self._database)

    def holds(self, path: str, size_bytes: int, modified_ns: int, settings: str) -> bool:
        """Return whether a file was analysed as it is now, with these settings, and not skipped."""
        return self._database.holds(path, size_bytes, modified_ns, settings)

    def add(self, track: Track) -> None:
        """Add a row, in place of an older one of the same file.

        Raises:
            UserError: the disk is full, or the file cannot be written; older rows stay.
        """
        self._database.add([track])
        self._changed = True

    def track(self, path: str) -> Track | None:
        """Return the row of a file; None for none."""
        return self._database.track(path)

    def paths(self) -> Iterator[str]:
        """Yield the paths of all rows."""
        return self._database.paths()

    def finish(self) -> None:
        """Complete the table and close it.

        Raises:
            UserError: it cannot be written; its rows stay beside it for the next time.
        """
        if self._write is None:
            self.close()
            return
        try:
            if self._changed and len(self):
                with draft_of(self._path) as draft:
                    self._write(draft, self._database.tracks())
        except OSError as error:
            raise UserError(
                f"{self._path} cannot be written ({error.strerror or error}); its rows are kept in "
                f"{self._place}: make room and run the same command again"
            ) from error
        finally:
            self.close()
        self._place.unlink(missing_ok=True)

    def close(self) -> None:
        """Release the table without completing it; the next analysis goes on."""
        self._database.close()


def _check_place(path: Path) -> None:
    if path.is_dir():
        raise UserError(f"{path} is a folder; name a file in it, for example {path}/library.sqlite")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the folder {path.parent} cannot be created ({error.strerror})") from error
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise UserError(f"the folder {path.parent} cannot be written; check its permissions")


def _write_csv(path: Path, tracks: Iterator[Track]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow((SCHEMA_KEY, *COLUMNS))
        writer.writerows((SCHEMA, *row_of(track)) for track in tracks)


def _write_jsonl(path: Path, tracks: Iterator[Track]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for track in tracks:
            row = {SCHEMA_KEY: SCHEMA, **dict(zip(COLUMNS, row_of(track), strict=True))}
            file.write(json.dumps(row, allow_nan=False, ensure_ascii=False) + "\n")


def _write_parquet(path: Path, tracks: Iterator[Track]) -> None:
    import pyarrow
    from pyarrow import parquet

    types = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
    schema = pyarrow.schema(
        [(name, types[kind]) for name, kind in COLUMNS.items()],
        metadata={SCHEMA_KEY: str(SCHEMA)},
    )
    with parquet.ParquetWriter(path, schema) as writer:
        while batch := [row_of(track) for track in islice(tracks, _BATCH)]:
            columns = [
                pyarrow.array(column, field.type)
                for column, field in zip(zip(*batch, strict=True), schema, strict=True)
            ]
            writer.write_batch(pyarrow.record_batch(columns, schema=schema))


_WRITERS: dict[str, Callable[[Path, Iterator[Track]], None]] = {
    "csv": _write_csv,
    "jsonl": _write_jsonl,
    "parquet": _write_parquet,
}
