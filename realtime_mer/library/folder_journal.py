"""Which tables in a folder are complete, and of what."""

from __future__ import annotations

import json
import os
from pathlib import Path

from realtime_mer.closable import Closable
from realtime_mer.errors import UserError, printable
from realtime_mer.library.analysis import FileTask
from realtime_mer.library.track import Track
from realtime_mer.outputs.line_file import LineFile

JOURNAL = ".realtime-mer.jsonl"
"""Name of the journal in the folder of tables; one JSON object a line."""


class FolderJournal(Closable):
    """Remembers the files whose tables are complete, also if the program is killed.

    Args:
        folder: of the tables.
        settings: see `Track.settings`.

    Raises:
        UserError: the journal cannot be read or written.
    """

    def __init__(self, folder: Path, settings: str) -> None:
        self._folder = folder
        self._path = folder / JOURNAL
        self._settings = settings
        try:
            self._done = self._read()
            self._file = LineFile(self._path.open("ab", buffering=0))
        except OSError as error:
            raise self._unusable(error) from error

    def holds(self, task: FileTask, path: str, size_bytes: int, modified_ns: int) -> bool:
        """Return whether the table and the plot of a file are there and still hold.

        Args:
            task: the file and its outputs.
            path, size_bytes, modified_ns: see `Track`.
        """
        assert task.table is not None
        outputs = [output for output in (task.table, task.plot) if output is not None]
        entry = self._entry(task, path, size_bytes, modified_ns)
        return self._done.get(entry["table"]) == entry and all(map(Path.exists, outputs))

    def add(self, task: FileTask, track: Track) -> None:
        """Note that the outputs of a file are complete.

        Raises:
            UserError: the disk is full.
        """
        entry = self._entry(task, track.path, track.size_bytes, track.modified_ns)
        try:
            self._file.write(json.dumps(entry).encode() + b"\n")
        except OSError as error:
            raise self._unusable(error) from error

    def close(self) -> None:
        self._file.close()

    def _entry(
        self, task: FileTask, path: str, size_bytes: int, modified_ns: int
    ) -> dict[str, object]:
        return {
            "table": printable(os.path.relpath(str(task.table), self._folder)),
            "plot": None if task.plot is None else printable(str(task.plot.absolute())),
            "path": path,
            "size_bytes": size_bytes,
            "modified_ns": modified_ns,
            "settings": self._settings,
        }

    def _read(self) -> dict[object, dict[str, object]]:
        """Return the last entry of each table; lines that a kill cut short are left out."""
        done: dict[object, dict[str, object]] = {}
        if not self._path.exists():
            return done
        with self._path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    entry = json.loads(line)
                    done[entry["table"]] = entry
                except (ValueError, KeyError, TypeError):
                    continue
        return done

    def _unusable(self, error: OSError) -> UserError:
        return UserError(
            f"{self._path}, which says what is complete, cannot be used ({error.strerror or error})"
        )
