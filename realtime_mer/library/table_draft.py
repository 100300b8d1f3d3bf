"""The table of the estimates of one file, which appears when it is complete."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mer_engine.draft import Draft

from realtime_mer.core.types import Estimate
from realtime_mer.errors import UserError
from realtime_mer.outputs.table_file import TableFile


class TableDraft:
    """The table of one file, begun with the first row. When complete, it replaces an older one.

    Every method raises UserError where the table cannot be written; an older one stays then.

    Args:
        path: the table.
        row_format: `csv` or `jsonl`.
    """

    def __init__(self, path: Path, row_format: str) -> None:
        self._path = path
        self._format = row_format
        self._file: TableFile | None = None
        self._draft: Draft | None = None

    def write(self, estimate: Estimate) -> None:
        """Add a row."""
        with self._explaining():
            if self._draft is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._draft = Draft(self._path)
                self._file = TableFile(self._draft.path, self._format)
            if self._file is not None:
                self._file.write(estimate)

    def close(self) -> None:
        """Complete the table; one without rows is not made."""
        with self._explaining():
            if self._file is not None and self._draft is not None:
                self._file.close()
                self._draft.commit()

    def abandon(self) -> None:
        """Leave an older table as it was."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                file.close()
        if self._draft is not None:
            self._draft.discard()

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.abandon()
            raise UserError(f"{self._path} cannot be written ({error.strerror})") from error
