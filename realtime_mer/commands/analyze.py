"""`realtime-mer analyze`: files through the live pipeline, as fast as possible."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from realtime_mer.commands.analyze_tags import add_tag_arguments, check_tag_options
from realtime_mer.commands.options import (
    add_pipeline_arguments,
    chosen_engine,
    pipeline_config,
)
from realtime_mer.commands.streams import StandardOutputError
from realtime_mer.errors import UserError, printable
from realtime_mer.library.table_draft import TableDraft
from realtime_mer.outputs.table import FORMATS, TableWriter, table_writer

if TYPE_CHECKING:
    from mer_engine import Engine

    from realtime_mer.commands.music_files import MusicFile
    from realtime_mer.core.config import PipelineConfig
    from realtime_mer.core.types import Estimate

HELP = "run files through the same pipeline, as fast as possible"
DESCRIPTION = """\
Runs audio files through the live pipeline, as fast as possible, and writes one
row per estimate. The values equal those of 'serve --input FILE' and
'listen --input FILE'.

Reads wav, flac, ogg, opus and mp3, and every format of ffmpeg if ffmpeg is
installed. 'demo' instead of a file is the built-in piece. A folder stands for
the music in it and in its folders, a playlist for the files that it names. A
file that is given twice is analysed once.

Rows go to standard output, or with -o into a file. With several files, -o names
a folder, which gets one table per file. With --summary, -o names a library: one
table with a row per file, of the format that its suffix says (.sqlite, .db,
.parquet, .csv, .jsonl; see docs/library.md).

Into a folder or a library, files are analysed on all cores, and a run that was
interrupted or killed goes on where it was when it is started again: files that
have not changed are not analysed again. Progress is on standard error.
"""
EXAMPLES = """\
  realtime-mer analyze song.flac
  realtime-mer analyze song.flac --hop 0.5 --format jsonl | jq .valence
  realtime-mer analyze album/*.mp3 -o emotions/ --plot emotions/
  realtime-mer analyze ~/Music party.m3u8 -o emotions/
  realtime-mer analyze ~/Music --summary -o library.sqlite
  realtime-mer analyze demo --plot demo.png -o demo.csv

exit code:
  0  all files were analysed
  1  the engine failed; the table ends before the first value that it affects
  2  an option or a file was wrong; the other files were analysed
  128 and the number of a signal that interrupted it; older tables stay
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="an audio file, a folder, a playlist (m3u, m3u8, pls, xspf), a pattern such as "
        "'music/**/*.mp3', 'demo', or what fsspec reads, such as s3://bucket/music",
    )
    group = parser.add_argument_group("output")
    group.add_argument(
        "--format", choices=FORMATS, default=None,
        help="csv, or jsonl: one JSON object per line, as in docs/protocol.md "
        "(default: by the suffix of PATH, else csv)",
    )  # fmt: skip
    group.add_argument(
        "-o", "--output", metavar="PATH",
        help="write the rows to this file (.csv, .jsonl or .ndjson); with several files, or if "
        "PATH ends in a slash, to this folder, which is created if necessary (default: standard "
        "output); with --summary, the library",
    )  # fmt: skip
    group.add_argument(
        "--summary", action="store_true",
        help="write one row per file into the library that -o names: means, spread, course, "
        "moods, largest change, or why the file was skipped; rows of earlier runs stay",
    )  # fmt: skip
    group.add_argument(
        "--plot", metavar="PATH.png",
        help="also plot valence and arousal over time; with several files, a folder",
    )  # fmt: skip
    group.add_argument(
        "--jobs", type=int, metavar="N",
        help="with --summary or a folder for -o: processes, which use one core each (default: "
        "the cores that this program may use)",
    )  # fmt: skip
    group.add_argument(
        "--cluster", metavar="ADDRESS",
        help="with --summary: analyse on the machines of a Ray cluster; 'auto' for the one that "
        "this machine belongs to, or ray://HOST:10001. Each machine must see the files",
    )  # fmt: skip
    group.add_argument("--quiet", action="store_true", help="show no progress")
    add_tag_arguments(parser)
    add_pipeline_arguments(parser)


@dataclass(frozen=True, slots=True)
class _Job:
    """A file, and the table and plot of its own if it has any; or why it cannot be analysed."""

    name: str
    error: UserError | None
    table: Path | None
    plot: Path | None


def run(args: argparse.Namespace) -> int:
    from realtime_mer.commands.music_files import find_music

    config = pipeline_config(args)
    _check_options(args)
    files = find_music(args.files)
    if len(files) == 1 and files[0].error is not None:
        raise files[0].error
    if args.summary:
        from realtime_mer.commands.analyze_many import analyze_into_library

        return analyze_into_library(args, files)
    jobs, shared = _jobs(args, files)
    if args.output is not None and len(jobs) > 1:
        return _analyze_into_folder(args, jobs, shared.row_format)
    if args.jobs is not None:
        raise UserError(
            f"--jobs is {args.jobs}, but one process writes these rows; leave it out, or write "
            "the tables of several files into a folder with -o"
        )
    engine, backend_line = chosen_engine(args)
    # Like the progress bar: only on a terminal.
    if sys.stderr.isatty() and not args.quiet:
        print(backend_line, file=sys.stderr)
    failures: list[Exception] = []
    with _progress(len(jobs), args.quiet) as advance:
        for job in jobs:
            error = _analyze(job, engine, config, shared, advance)
            advance(job.name, None)
            if error is not None:
                failures.append(_failure(job.name, error))
    return _report(failures, jobs)


def _check_options(args: argparse.Namespace) -> None:
    """Refuse options that contradict each other."""
    check_tag_options(args)
    if args.jobs is not None and args.jobs < 1:
        raise UserError(f"--jobs is {args.jobs}; it must be at least 1")
    if args.cluster is not None and (args.jobs is not None or not args.summary):
        raise UserError(
            "--cluster takes all cores of the cluster and fills a library: leave out --jobs, and "
            "add --summary"
        )
    if not args.summary:
        return
    if args.output is None:
        raise UserError("--summary needs the library to write; add -o, for example library.sqlite")
    for option in ("format", "plot"):
        if getattr(args, option) is not None:
            raise UserError(
                f"--{option} is for the estimates of a file, and --summary writes one row per "
                "file; leave one of them out"
            )


def _analyze_into_folder(args: argparse.Namespace, jobs: list[_Job], row_format: str) -> int:
    """Make a table of each file on all cores; return the exit code."""
    from realtime_mer.commands.analyze_many import analyze_into_folder
    from realtime_mer.library.analysis import FileTask

    tasks = [
        FileTask(job.name, table=job.table, plot=job.plot, row_format=row_format)
        for job in jobs
        if job.error is None
    ]
    errors = analyze_into_folder(args, tasks)
    failures = (job.error or errors.get(job.name) for job in jobs)
    return _report([failure for failure in failures if failure is not None], jobs)


def _failure(name: str, error: Exception) -> Exception:
    """Return the error to report for a file."""
    from realtime_mer.audio.source import SourceLost
    from realtime_mer.library.track_analysis import reason_for_skipping

    if isinstance(error, OSError | SourceLost):
        return UserError(reason_for_skipping(name, error))
    return error


def _report(failures: Sequence[Exception], jobs: list[_Job]) -> int:
    """Return the exit code 0, or raise an error that names every failure."""
    if not failures:
        return 0
    listed = "".join(f"\n  {failure}" for failure in failures)
    summary = UserError(f"{len(failures)} of {len(jobs)} files could not be analysed:{listed}")
    for failure in failures:
        if not isinstance(failure, UserError):  # a fault of this program
            raise failure from summary
        summary.exit_code = min(summary.exit_code, failure.exit_code)  # 1: a fault, here too
    raise failures[0] if len(jobs) == 1 else summary


def _jobs(args: argparse.Namespace, files: list[MusicFile]) -> tuple[list[_Job], _SharedTable]:
    """Return what is to be done, and the table of the files without one of their own."""
    from realtime_mer.commands.output_paths import output_paths, refuse_overwriting, row_format

    several = len(files) > 1 or files[0].listed
    form = row_format(args.output, args.format, several=several)
    plots = output_paths(files, args.plot, ".png", several=several)
    for plot in plots:
        if plot is not None and plot.suffix.lower() != ".png":
            raise UserError(f"the plot {plot} must end in .png, the only format of plots")
    tables = output_paths(files, args.output, f".{form}", several=several)
    refuse_overwriting(filter(None, (*tables, *plots)), [file.name for file in files])
    jobs = [
        _Job(file.name, file.error, table, plot)
        for file, table, plot in zip(files, tables, plots, strict=True)
    ]
    return jobs, _SharedTable(form, with_file=several)


def _analyze(
    job: _Job,
    engine: Engine,
    config: PipelineConfig,
    shared: _SharedTable,
    advance: Callable[[str, float | None], None],
) -> Exception | None:
    """Write the rows and the plot of one file, also of one that broke off; return its first error.

    Raises:
        StandardOutputError, BrokenPipeError: standard output takes no more rows.
    """
    from realtime_mer.core.requests import run
    from realtime_mer.library.file_analysis import file_requests

    if job.error is not None:
        return job.error
    table = None if job.table is None else TableDraft(job.table, shared.row_format)
    kept: list[Estimate] = []  # for the plot

    def add(estimates: list[Estimate]) -> None:
        for estimate in estimates:
            if table is None:
                shared.write(estimate, job.name)
            else:
                table.write(estimate)
        if job.plot is not None:
            kept.extend(estimates)

    def show(read_s: float, duration_s: float | None) -> None:
        if duration_s:
            advance(job.name, min(read_s / duration_s, 1.0))
        elif not read_s:
            advance(job.name, 0.0)

    failure: Exception | None = None
    try:
        run(engine, file_requests(job.name, engine, config, add, show))
    except (StandardOutputError, BrokenPipeError):
        raise
    except Exception as error:
        failure = error
    except BaseException:
        if table is not None:
            table.abandon()
        raise
    try:
        if table is not None:
            table.close()
        if job.plot is not None and (kept or failure is None):
            from realtime_mer.outputs.plot import save_plot

            save_plot(kept, Path(job.name).name, job.plot)
    except UserError as error:
        failure = failure or error
    return failure


class _SharedTable:
    """The table on standard output. It begins with the first row.

    Args:
        row_format: `csv` or `jsonl`.
        with_file: name the file in each row.
    """

    def __init__(self, row_format: str, *, with_file: bool) -> None:
        self.row_format = row_format
        self._with_file = with_file
        self._writer: TableWriter | None = None

    def write(self, estimate: Estimate, name: str) -> None:
        """Write a row of the file with this name."""
        if self._writer is None:
            self._writer = table_writer(self.row_format, sys.stdout, with_file=self._with_file)
        self._writer.write(estimate, file=name if self._with_file else None)


@contextmanager
def _progress(count: int, quiet: bool) -> Iterator[Callable[[str, float | None], None]]:
    """Show progress bars on standard error if it is a terminal; yield the update function.

    There is one for the file that is being analysed, and one for all where there are several.
    The function takes the name of a file and the analysed fraction of it, None at its end.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda name, fraction: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),  # names have brackets
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        everything = progress.add_task(f"{count} files", total=count, visible=count > 1)
        tasks: dict[str, TaskID] = {}

        def advance(name: str, fraction: float | None) -> None:
            if fraction is None:
                progress.advance(everything)
                if name in tasks:
                    progress.remove_task(tasks.pop(name))
                return
            if name not in tasks:
                tasks[name] = progress.add_task(printable(Path(name).name), total=1.0)
            progress.update(tasks[name], completed=fraction)

        yield advance
