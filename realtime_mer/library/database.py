"""The SQLite database of a library."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from realtime_mer.closable import Closable
from realtime_mer.errors import UserError
from realtime_mer.library.columns import COLUMNS, SCHEMA, row_of, track_of
from realtime_mer.library.track import Track

# "mer1" as the application_id of SQLite: a file of another program is not taken for a library.
APPLICATION_ID = 0x6D657231
_TYPES = {str: "TEXT", int: "INTEGER", float: "REAL"}
_REQUIRED = ("path", "skipped", "size_bytes", "modified_ns", "settings", "analysed_utc")
# Another program may be writing at the moment.
_BUSY_TIMEOUT_S = 30.0


class LibraryDatabase(Closable):
    """The rows of a library in an SQLite file. Each change is on the disk when its call returns.

    Args:
        path: the file.
        create: make it if it does not exist; otherwise it must.
        exclusive: let no other program use it meanwhile.

    Raises:
        UserError: it is no library, has another schema, is in use, or cannot be opened.
    """

    def __init__(self, path: Path, *, create: bool, exclusive: bool = False) -> None:
        self._path = path
        mode = "rwc" if create else "rw"  # "ro" could not undo what a killed program began
        with self._explaining():
            self._database = sqlite3.connect(
                f"file:{quote(str(path))}?mode={mode}",
                uri=True,
                isolation_level=None,
                timeout=0.0 if exclusive else _BUSY_TIMEOUT_S,
            )
        try:
            with self._explaining():
                if exclusive:
                    self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
                self._prepare(create=create)
        except UserError:
            self.close()
            raise

    def _prepare(self, *, create: bool) -> None:
        if create:
            self._database.execute("BEGIN IMMEDIATE")
        objects = self._number("SELECT count(*) FROM sqlite_master")
        application = self._number("PRAGMA application_id")
        schema = self._number("PRAGMA user_version")
        if create and not (objects or application or schema):
            columns = ", ".join(
                f"{name} {_TYPES[kind]}{' NOT NULL' * (name in _REQUIRED)}"
                f"{' PRIMARY KEY' * (name == 'path')}"
                for name, kind in COLUMNS.items()
            )
            self._database.execute(f"CREATE TABLE tracks ({columns})")
            for name in ("mood", "valence", "arousal"):
                self._database.execute(f"CREATE INDEX tracks_{name} ON tracks ({name})")
            self._database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._database.execute(f"PRAGMA user_version = {SCHEMA}")
        elif application != APPLICATION_ID:
            what = "an SQLite database of another program" if objects else "empty"
            raise no_library(self._path, f"it is {what}")
        else:
            check_schema(self._path, schema)
        if create:
            self._database.execute("COMMIT")

    def __len__(self) -> int:
        with self._explaining():
            return self._number("SELECT count(*) FROM tracks")

    def holds(self, path: str, size_bytes: int, modified_ns: int, settings: str) -> bool:
        """Return whether a file was analysed as it is now, with these settings, and not skipped."""
        with self._explaining():
            found = self._database.execute(
                "SELECT 1 FROM tracks WHERE path = ? AND size_bytes = ? AND modified_ns = ? "
                "AND settings = ? AND skipped = ''",
                (path, size_bytes, modified_ns, settings),
            ).fetchone()
        return found is not None

    def add(self, tracks: Iterable[Track]) -> None:
        """Add rows, in place of older ones of the same files; all or none.

        Raises:
            UserError: the disk is full, or the file cannot be written.
        """
        names, marks = ", ".join(COLUMNS), ", ".join("?" * len(COLUMNS))
        # Columns that somebody has added keep what is in them.
        changes = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS)
        with self._explaining():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                self._database.executemany(
                    f"INSERT INTO tracks ({names}) VALUES ({marks}) "
                    f"ON CONFLICT (path) DO UPDATE SET {changes}",
                    map(row_of, tracks),
                )
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    def paths(self) -> Iterator[str]:
        """Yield the paths of all rows."""
        with self._explaining():
            for (path,) in self._database.execute("SELECT path FROM tracks"):
                yield path

    def track(self, path: str) -> Track | None:
        """Return the row of a file; None for none."""
        names = ", ".join(COLUMNS)
        with self._explaining():
            row = self._database.execute(
                f"SELECT {names} FROM tracks WHERE path = ?", (path,)
            ).fetchone()
        return None if row is None else track_of(row, str(self._path))

    def tracks(self) -> Iterator[Track]:
        """Yield all rows, sorted by path."""
        names = ", ".join(COLUMNS)
        with self._explaining():
            for row in self._database.execute(f"SELECT {names} FROM tracks ORDER BY path"):
                yield track_of(row, str(self._path))

    def close(self) -> None:
        self._database.close()

    def _number(self, query: str) -> int:
        return int(self._database.execute(query).fetchone()[0])

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code == sqlite3.SQLITE_NOTADB:
                raise no_library(self._path, "it is no SQLite database") from error
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise UserError(
                    f"the table {self._path} cannot be used: another program writes it; wait for "
                    "that to end, or name another file"
                ) from error
            raise UserError(
                f"the table {self._path} cannot be used ({error}); the rows in it stay as they are"
            ) from error


def no_library(path: Path, reason: str) -> UserError:
    """Return the error for a file that is something else."""
    return UserError(
        f"{path} is no library ({reason}); name a table that 'realtime-mer analyze --summary -o' "
        "wrote, or a new file"
    )


def check_schema(path: Path, schema: object) -> None:
    """Check the schema of a table.

    Raises:
        UserError: it is not the one of this program.
    """
    if schema != SCHEMA:
        raise UserError(
            f"{path} has the schema {schema} of a library, and this version of realtime-mer uses "
            f"the schema {SCHEMA}; use the version that wrote it, or analyse into a new file"
        )
