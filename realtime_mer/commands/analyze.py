"""`realtime-mer analyze`: files through the live pipeline, as fast as possible."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from realtime_mer.commands.options import (
    add_pipeline_arguments,
    chosen_engine,
    pipeline_config,
)
from realtime_mer.commands.streams import StandardOutputError, reason_of
from realtime_mer.errors import UserError, printable
from realtime_mer.outputs.table import FORMATS, TableWriter, table_writer

if TYPE_CHECKING:
    from mer_engine import Engine
    from mer_engine.draft import Draft

    from realtime_mer.audio.source import Samples
    from realtime_mer.core.config import PipelineConfig
    from realtime_mer.core.requests import Computation
    from realtime_mer.core.types import Estimate
    from realtime_mer.outputs.table_file import TableFile

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
a folder, which gets one table per file. Progress is on standard error.
"""
EXAMPLES = """\
  realtime-mer analyze song.flac
  realtime-mer analyze song.flac --hop 0.5 --format jsonl | jq .valence
  realtime-mer analyze album/*.mp3 -o emotions/ --plot emotions/
  realtime-mer analyze ~/Music party.m3u8 -o emotions/
  realtime-mer analyze demo --plot demo.png -o demo.csv

exit code:
  0  all files were analysed
  1  the engine failed; the table ends before the first value that it affects
  2  an option or a file was wrong; the other files were analysed
  128 and the number of a signal that interrupted it; older tables stay
"""


# Long blocks cost less and do not change the estimates.
BLOCK_S = 1.0
# Files that are open at once; their windows are computed in one batch.
MAX_OPEN_FILES = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="an audio file, a folder, a playlist (m3u, m3u8, pls, xspf), a pattern such as "
        "'music/**/*.mp3', or 'demo'",
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
        "output)",
    )  # fmt: skip
    group.add_argument(
        "--plot", metavar="PATH.png",
        help="also plot valence and arousal over time; with several files, a folder",
    )  # fmt: skip
    group.add_argument("--quiet", action="store_true", help="show no progress bar")
    add_pipeline_arguments(parser)


@dataclass(frozen=True, slots=True)
class _Job:
    """A file, and the table and plot of its own if it has any; or why it cannot be analysed."""

    name: str
    error: UserError | None
    table: Path | None
    plot: Path | None


def run(args: argparse.Namespace) -> int:
    config = pipeline_config(args)
    jobs, shared = _jobs(args)
    if len(jobs) == 1 and jobs[0].error is not None:
        raise jobs[0].error
    engine, backend_line = chosen_engine(args)
    # Like the progress bar: only on a terminal.
    if sys.stderr.isatty() and not args.quiet:
        print(backend_line, file=sys.stderr)
    failures: list[Exception] = []
    with (
        _progress(len(jobs), args.quiet) as bar,
        closing(_analyze_in_order(jobs, engine, config, shared, bar)) as analyses,
    ):
        for job, estimates, error in analyses:
            if job.plot is not None and (estimates or error is None):
                from realtime_mer.outputs.plot import save_plot

                try:  # also of a file that broke off
                    save_plot(estimates, Path(job.name).name, job.plot)
                except UserError as failure:
                    error = error or failure
            if error is not None:
                failures.append(_failure(job.name, error))
    return _report(failures, jobs)


def _failure(name: str, error: Exception) -> Exception:
    """Return the error to report for a file; raise one that ends all."""
    from realtime_mer.audio.source import SourceLost

    if isinstance(error, StandardOutputError | BrokenPipeError):
        raise error
    if isinstance(error, OSError):
        return UserError(f"{name} cannot be read ({reason_of(error)})")
    if isinstance(error, SourceLost):  # names the file without its folder
        return UserError(str(error).replace(Path(name).name, name, 1))
    return error


def _report(failures: list[Exception], jobs: list[_Job]) -> int:
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


def _jobs(args: argparse.Namespace) -> tuple[list[_Job], _SharedTable]:
    """Return what is to be done, and the table of the files without one of their own."""
    from realtime_mer.commands.music_files import find_music
    from realtime_mer.commands.output_paths import output_paths, refuse_overwriting, row_format

    files = find_music(args.files)
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


def _analyze_in_order(
    jobs: list[_Job],
    engine: Engine,
    config: PipelineConfig,
    shared: _SharedTable,
    advance: Callable[[str, float | None], None],
) -> Generator[tuple[_Job, list[Estimate], Exception | None]]:
    """Analyse several files at once and write their rows in order.

    Yields:
        In order: a file, its estimates, and the error that ended it, or None.
    """
    from realtime_mer.core.batching import run_each

    results = [
        _FileResult(
            _ShareOfTable(shared, job.name)
            if job.table is None
            else _OwnTable(job.table, shared.row_format),
            keep=job.plot is not None,
        )
        for job in jobs
    ]
    first = 0  # the file whose rows are being written; later files wait

    computations = (
        _analyze_file(job, engine, config, result.add, advance)
        for job, result in zip(jobs, results, strict=True)
    )
    results[0].start_writing()
    try:
        for index, error in run_each(engine, computations, max_batch=MAX_OPEN_FILES):
            advance(jobs[index].name, None)
            results[index].ended = True
            results[index].fail(error)
            while first < len(results) and results[first].ended:
                result = results[first]
                result.finish()
                yield jobs[first], result.estimates, result.error
                result.estimates = []
                first += 1
                if first < len(results):
                    results[first].start_writing()
    finally:
        for result in results[first:]:  # interrupted
            result.finish() if result.ended else result.abandon()


class _FileResult:
    """The estimates of one file.

    They are buffered until the rows of the files before it are written, if all share a table.

    Args:
        table: takes the rows.
        keep: keep all estimates to the end; otherwise memory does not grow with the file.
    """

    def __init__(self, table: _ShareOfTable | _OwnTable, *, keep: bool) -> None:
        self._table = table
        self._keep = keep
        self._writing = isinstance(table, _OwnTable)
        self.estimates: list[Estimate] = []
        self.error: Exception | None = None
        self.ended = False

    def start_writing(self) -> None:
        """Write the buffered estimates now, and later ones as they arrive."""
        if self._writing:
            return
        self._writing = True
        try:
            self._write_all(self.estimates)
        except UserError as error:
            self._writing = False
            self.fail(error)
        if not self._keep:
            self.estimates = []

    def add(self, estimates: list[Estimate]) -> None:
        """Add the next estimates."""
        if self._keep or not self._writing:
            self.estimates += estimates
        if self._writing:
            self._write_all(estimates)

    def fail(self, error: Exception | None) -> None:
        """Keep what went wrong, if anything. The first error is the one to report."""
        self.error = self.error or error

    def finish(self) -> None:
        """Complete the table."""
        try:
            self._table.close()
        except UserError as error:
            self.fail(error)

    def abandon(self) -> None:
        """Leave an older table as it was: this one is incomplete."""
        self._table.abandon()

    def _write_all(self, estimates: list[Estimate]) -> None:
        for estimate in estimates:
            self._table.write(estimate)


def _analyze_file(
    job: _Job,
    engine: Engine,
    config: PipelineConfig,
    add: Callable[[list[Estimate]], None],
    advance: Callable[[str, float | None], None],
) -> Computation[None]:
    """Analyse one file; pass its estimates to `add` as they are computed."""
    from realtime_mer.audio.open_input import open_file_or_demo
    from realtime_mer.audio.source import SourceLost, blocks_of
    from realtime_mer.core.pipeline import Pipeline
    from realtime_mer.core.recording import analyze_requests

    if job.error is not None:
        raise job.error
    name = job.name
    with open_file_or_demo(name, block_s=BLOCK_S) as source:
        info = source.info
        pipeline = Pipeline(
            engine, sample_rate_hz=info.sample_rate_hz, channels=info.channels, config=config
        )

        def blocks() -> Iterator[Samples]:
            advance(name, 0.0)
            frames = 0
            for samples in blocks_of(source):
                yield samples
                frames += len(samples)
                if info.duration_s:
                    advance(name, min(frames / info.sample_rate_hz / info.duration_s, 1.0))

        try:
            yield from analyze_requests(name, blocks(), pipeline, add)
        except SourceLost:
            # Keep the estimates of the audio before the damage.
            add((yield from pipeline.finish_requests()))
            raise


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
        if self._writer is None:
            self._writer = table_writer(self.row_format, sys.stdout, with_file=self._with_file)
        self._writer.write(estimate, file=name if self._with_file else None)


class _ShareOfTable:
    """The rows of one file in the table on standard output."""

    def __init__(self, table: _SharedTable, name: str) -> None:
        self._table = table
        self._name = name

    def write(self, estimate: Estimate) -> None:
        self._table.write(estimate, self._name)

    def close(self) -> None:
        """Do nothing: the rows of the next file follow."""

    def abandon(self) -> None:
        """Do nothing: the rows that were written stay."""


class _OwnTable:
    """The table of one file, begun with the first row. When complete, it replaces an older one."""

    def __init__(self, path: Path, row_format: str) -> None:
        self._path = path
        self._format = row_format
        self._file: TableFile | None = None
        self._draft: Draft | None = None

    def write(self, estimate: Estimate) -> None:
        from mer_engine.draft import Draft

        from realtime_mer.outputs.table_file import TableFile

        with self._explaining():
            if self._draft is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._draft = Draft(self._path)
                self._file = TableFile(self._draft.path, self._format)
            if self._file is not None:
                self._file.write(estimate)

    def close(self) -> None:
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


@contextmanager
def _progress(count: int, quiet: bool) -> Iterator[Callable[[str, float | None], None]]:
    """Show progress bars on standard error if it is a terminal; yield the update function.

    There is one for each file that is being analysed, and one for all where there are several.
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
