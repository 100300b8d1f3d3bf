"""`realtime-mer analyze` with many files on all cores: into a library, or a table a file."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from realtime_mer.audio.local_path import exists, is_file_address, local_path
from realtime_mer.commands.analysis_progress import AnalysisProgress, files_text, first_reasons
from realtime_mer.commands.analyze_tags import tag_files
from realtime_mer.commands.music_files import MusicFile
from realtime_mer.commands.options import chosen_engine, pipeline_config
from realtime_mer.commands.streams import announce
from realtime_mer.errors import UserError, printable_line
from realtime_mer.library.analysis import FileTask, analyze_files
from realtime_mer.library.folder_journal import FolderJournal
from realtime_mer.library.pool import usable_cores
from realtime_mer.library.tables import LibraryTable
from realtime_mer.library.track_analysis import (
    AnalysisSettings,
    Outcome,
    library_path,
    version_of,
)


def analyze_into_library(args: argparse.Namespace, files: Sequence[MusicFile]) -> int:
    """Make or complete a library; return the exit code.

    Raises:
        UserError: the table cannot be used, or files were skipped.
    """
    path = local_path(args.output)
    found = {library_path(file.name): file for file in files if file.error is None}
    with LibraryTable(path) as table:
        settings = _settings(args)
        key = settings.key
        tasks = []
        for place, file in found.items():
            size_bytes, modified_ns = file.version or _version(file.name)
            if not (args.remove_tags or table.holds(place, size_bytes, modified_ns, key)):
                tasks.append(FileTask(file.name, size_bytes))
        try:
            skipped, done = _analyze(
                args, tasks, settings, lambda task, outcome: table.add(outcome.track)
            )
            tagged = not (args.write_tags or args.remove_tags) or not tag_files(args, table, found)
        except KeyboardInterrupt:
            count = len(table)
            table.finish()
            if count:
                announce(
                    f"stopped: {path} has {files_text(count)} so far; run the same command "
                    "again to go on"
                )
            raise
        gone = [place for place in table.paths() if place not in found and _is_gone(place)]
        table.finish()
    if not args.quiet:
        if not args.remove_tags:
            announce(f"{path}: {done}")
            _tell_unchanged(len(found) - len(tasks))
        if gone:
            announce(
                f"{files_text(len(gone))} of {path} cannot be found any more; the rows stay. The "
                f"first is {printable_line(gone[0])}"
            )
    code = _report(path, len(files), [*(file.error for file in files if file.error), *skipped])
    return code if tagged else 2


def analyze_into_folder(
    args: argparse.Namespace, tasks: Sequence[FileTask]
) -> dict[str, UserError]:
    """Make the tables and plots of files, but those that are complete; return errors by name.

    Raises:
        UserError: the journal of the folder cannot be used.
    """
    settings = _settings(args)
    waiting = []
    failures: dict[str, UserError] = {}
    with FolderJournal(local_path(args.output), settings.key) as journal:
        for task in tasks:
            size_bytes, modified_ns = _version(task.name)
            if not journal.holds(task, library_path(task.name), size_bytes, modified_ns):
                waiting.append(replace(task, size_bytes=size_bytes))

        def keep(task: FileTask, outcome: Outcome) -> None:
            if outcome.track.skipped:
                failures[task.name] = _error(outcome)
            else:
                journal.add(task, outcome.track)

        try:
            _analyze(args, waiting, settings, keep)
        except KeyboardInterrupt:
            announce(f"stopped: run the same command again to go on in {args.output}")
            raise
    if not args.quiet:
        _tell_unchanged(len(tasks) - len(waiting))
    return failures


def _settings(args: argparse.Namespace) -> AnalysisSettings:
    """Return the settings of the options, after a check that the engine runs here."""
    settings = AnalysisSettings(model=args.model, config=pipeline_config(args))
    engine, _ = chosen_engine(args)
    return settings.resolved(engine)


def _analyze(
    args: argparse.Namespace,
    tasks: Sequence[FileTask],
    settings: AnalysisSettings,
    keep: Callable[[FileTask, Outcome], None],
) -> tuple[list[UserError], str]:
    """Analyse files and keep each outcome; return the errors, and what was done in words."""
    errors = []
    with (
        AnalysisProgress(tasks, quiet=args.quiet) as progress,
        closing(_outcomes(args, tasks, settings)) as outcomes,
    ):
        for task, outcome in outcomes:
            keep(task, outcome)
            if outcome.track.skipped:
                errors.append(_error(outcome))
            progress.finish(task, outcome.track)
    return errors, progress.summary()


def _outcomes(
    args: argparse.Namespace, tasks: Sequence[FileTask], settings: AnalysisSettings
) -> Generator[tuple[FileTask, Outcome]]:
    """Analyse files, on this machine or on a cluster."""
    if args.cluster is None or not tasks:
        jobs = min(args.jobs or usable_cores(), max(1, len(tasks)))
        return analyze_files(tasks, settings, jobs)
    from realtime_mer.library.cluster import analyze_on_cluster

    say = _ignore if args.quiet else announce
    return analyze_on_cluster(tasks, settings, address=args.cluster, announce=say)


def _ignore(sentence: str) -> None:
    """Say nothing."""


def _version(name: str) -> tuple[int, int]:
    """Return size and time of change; of a file that is not there, what no row has."""
    try:
        return version_of(name)
    except (OSError, UserError):  # its analysis says why
        return 0, -1


def _is_gone(place: str) -> bool:
    """Return whether a row is of a local file that does not exist."""
    try:
        return (is_file_address(place) or "://" not in place) and not exists(local_path(place))
    except UserError:  # the address of another computer
        return False


def _error(outcome: Outcome) -> UserError:
    error = UserError(outcome.track.skipped)
    error.exit_code = outcome.exit_code
    return error


def _report(path: Path, count: int, errors: Sequence[UserError]) -> int:
    """Return the exit code 0, or raise an error with the first reasons."""
    if not errors:
        return 0
    listed = first_reasons(errors, rest=f"; the column skipped of {path} has all")
    error = UserError(f"{len(errors)} of {count} files could not be analysed:{listed}")
    error.exit_code = min(each.exit_code for each in errors)
    raise error


def _tell_unchanged(count: int) -> None:
    if count:
        announce(f"not analysed again, because unchanged: {files_text(count)}")
