"""The beets plugin `mer`: mood fields for the tracks of a beets library."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, ClassVar

from beets.dbcore import types
from beets.importer import ImportSession, ImportTask
from beets.library import Item, Library
from beets.plugins import BeetsPlugin
from beets.ui import Subcommand
from beets.ui import UserError as BeetsUserError  # type: ignore[attr-defined]
from mer_engine import ModelError, load_engine

from realtime_mer.errors import UserError
from realtime_mer.library.analysis import FileTask, analyze_files
from realtime_mer.library.pool import usable_cores
from realtime_mer.library.tags import TagError, change_tags, tag_texts
from realtime_mer.library.track import Track
from realtime_mer.library.track_analysis import AnalysisSettings, TrackAnalyzer


class MerPlugin(BeetsPlugin):
    """Adds `mer_valence`, `mer_arousal` and `mer_mood` to tracks.

    `mer_mood` is empty for a track without music, so that it is not analysed again.
    """

    item_types: ClassVar[dict[str, types.Type]] = {
        "mer_valence": types.Float(3),
        "mer_arousal": types.Float(3),
        "mer_mood": types.STRING,
    }

    def __init__(self) -> None:
        super().__init__()
        self.config.add({"auto": False, "force": False, "write": False})
        self._analyzer: TrackAnalyzer | None = None
        if self.config["auto"].get(bool):
            self.import_stages = [self._imported]
            if self.config["write"].get(bool):
                self.register_listener("import_task_files", self._write_imported)

    def commands(self) -> list[Subcommand]:
        command = Subcommand("mer", help="analyse the mood of tracks")
        command.parser.add_option(
            "-f", "--force", action="store_true", help="also tracks that have been analysed"
        )
        command.parser.add_option(
            "-w", "--write", action="store_true", help="also write the tags of the files"
        )
        command.func = self._run
        return [command]

    def _run(self, library: Library, options: Any, arguments: list[str]) -> None:
        writes = bool(options.write) or self.config["write"].get(bool)
        force = bool(options.force) or self.config["force"].get(bool)
        found = list(library.items(arguments))
        items = {_path(item): item for item in found if force or not _is_analysed(item)}
        jobs = min(usable_cores(), max(1, len(items)))
        with _telling():
            tasks = [FileTask(path) for path in items]
            with closing(analyze_files(tasks, _settings(), jobs)) as outcomes:
                for task, outcome in outcomes:
                    self._keep(items[task.name], outcome.track)
        if writes:
            for item in found:
                self._write(item)

    def _imported(self, session: ImportSession, task: ImportTask) -> None:
        """Analyse the tracks of an album while the next one is chosen."""
        for item in task.imported_items():
            if _is_analysed(item) and not self.config["force"].get(bool):
                continue
            with _telling():
                if self._analyzer is None:
                    self._analyzer = TrackAnalyzer(_settings())
                self._keep(item, self._analyzer.analyze(_path(item)))

    def _write_imported(self, session: ImportSession, task: ImportTask) -> None:
        """Write the tags of files that are in their place now."""
        for item in task.imported_items():
            self._write(item)

    def _keep(self, item: Item, track: Track) -> None:
        """Set the fields of a track, if it could be analysed."""
        summary = track.summary
        if summary is None:
            self._log.warning("{}", track.skipped)
            return
        item["mer_mood"] = summary.mood
        for name, value in (("mer_valence", summary.valence), ("mer_arousal", summary.arousal)):
            if value is not None:
                item[name] = value
            elif name in item:
                del item[name]
        item.store()
        self._log.info("{}: {}", track.path, summary.mood or "no music")

    def _write(self, item: Item) -> None:
        """Write the fields of a track into its file, if it has been analysed."""
        if not _is_analysed(item):
            return
        texts = tag_texts(item.get("mer_valence"), item.get("mer_arousal"), item["mer_mood"])
        try:
            changes = change_tags(item.filepath, texts)
        except TagError as error:
            self._log.warning("{}", error)
            return
        if changes:
            item.mtime = item.current_mtime()
            item.store()


def _is_analysed(item: Item) -> bool:
    return "mer_mood" in item


def _path(item: Item) -> str:
    return os.fsdecode(item.path)


def _settings() -> AnalysisSettings:
    settings = AnalysisSettings()
    return settings.resolved(load_engine(None, backend=settings.backend))


@contextmanager
def _telling() -> Iterator[None]:
    """Let beets print errors that a user can correct."""
    try:
        yield
    except (UserError, ModelError) as error:
        raise BeetsUserError(str(error)) from error
