"""`realtime-mer analyze`: files through the live pipeline, as fast as possible."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from realtime_mer.commands.options import (
    add_pipeline_arguments,
    chosen_engine,
    pipeline_config,
)
from realtime_mer.errors import UserError
from realtime_mer.outputs.table import FORMATS, TableWriter, table_writer

if TYPE_CHECKING:
    from mer_engine import Engine

    from realtime_mer.audio.source import Samples
    from realtime_mer.core.config import PipelineConfig
    from realtime_mer.core.requests import Computation
    from realtime_mer.core.types import Estimate

HELP = "run files through the same pipeline, as fast as possible"
DESCRIPTION = """\
Runs audio files through the live pipeline, as fast as possible, and writes one
row per estimate. The values equal those of 'serve --input FILE' and
'listen --input FILE'.

Reads wav, flac, ogg, opus and mp3, and every format of ffmpeg if ffmpeg is
installed. 'demo' instead of a file is the built-in piece.

Rows go to standard output, or with -o into a file. With several files, -o names
a folder, which gets one table per file. Progress is on standard error.
"""
EXAMPLES = """\
  realtime-mer analyze song.flac
  realtime-mer analyze song.flac --hop 0.5 --format jsonl | jq .valence
  realtime-mer analyze album/*.mp3 -o emotions/ --plot emotions/
  realtime-mer analyze demo --plot demo.png -o demo.csv

exit code:
  0  all files were analysed
  2  an option or a file was wrong; the other files were analysed
"""


# Long blocks cost less and do not change the estimates.
BLOCK_S = 1.0
# Files that are open at once; their windows are computed in one batch.
MAX_OPEN_FILES = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="an audio file, or 'demo'")
    group = parser.add_argument_group("output")
    group.add_argument(
        "--format", choices=FORMATS, default=None,
        help="csv, or jsonl: one JSON object per line, as in docs/protocol.md "
        "(default: by the suffix of PATH, else csv)",
    )  # fmt: skip
    group.add_argument(
        "-o", "--output", metavar="PATH",
        help="write the rows to this file; with several files, or if PATH ends in a slash, to this "
        "folder, which is created if necessary (default: standard output)",
    )  # fmt: skip
    group.add_argument(
        "--plot", metavar="PATH.png",
        help="also plot valence and arousal over time; with several files, a folder",
    )  # fmt: skip
    group.add_argument("--quiet", action="store_true", help="show no progress bar")
    add_pipeline_arguments(parser)


def run(args: argparse.Namespace) -> int:
    config = pipeline_config(args)
    names: list[str] = args.files
    row_format = args.format or _format_of(args.output)
    tables = _output_paths(names, args.output, f".{row_format}")
    plots = _output_paths(names, args.plot, ".png")
    for target in (*tables.values(), *plots.values()):
        _refuse_overwriting_input(target, names)
    for plot in plots.values():
        if plot.suffix.lower() != ".png":
            raise UserError(f"the plot {plot} must end in .png, the only format of plots")
    engine, backend_line = chosen_engine(args)
    # Like the progress bar: only on a terminal.
    if sys.stderr.isatty() and not args.quiet:
        print(backend_line, file=sys.stderr)
    failures: list[str] = []
    with _Rows(tables, row_format, with_file=len(names) > 1) as rows, _progress(args.quiet) as bar:
        for name, estimates, error in _analyze_in_order(names, engine, config, rows, bar):
            try:
                if error is not None:
                    raise error
                if name in plots:
                    from realtime_mer.outputs.plot import save_plot

                    save_plot(estimates, Path(name).name, plots[name])
            except UserError as failure:
                if len(names) == 1:
                    raise
                failures.append(str(failure))
    if failures:
        listed = "".join(f"\n  {failure}" for failure in failures)
        raise UserError(f"{len(failures)} of {len(names)} files could not be analysed:{listed}")
    return 0


def _analyze_in_order(
    names: list[str],
    engine: Engine,
    config: PipelineConfig,
    rows: _Rows,
    advance: Callable[[str, float], None],
) -> Iterator[tuple[str, list[Estimate], Exception | None]]:
    """Analyse several files at once and write their rows in order.

    Yields:
        In order: the name of a file, its estimates, and the error that ended it, or None.
    """
    from realtime_mer.core.batching import run_each

    results = [_FileResult(rows.writer_for(name)) for name in names]
    first = 0  # the file whose rows are being written; later files wait

    computations = (
        _analyze_file(name, engine, config, result.add, advance)
        for name, result in zip(names, results, strict=True)
    )
    results[0].start_writing()
    for index, error in run_each(engine, computations, max_batch=MAX_OPEN_FILES):
        results[index].end(error)
        while first < len(results) and results[first].ended:
            result = results[first]
            yield names[first], result.estimates, result.error
            result.estimates = []
            first += 1
            if first < len(results):
                results[first].start_writing()


class _FileResult:
    """The estimates of one file, buffered until the rows of the files before it are written."""

    def __init__(self, write: Callable[[Estimate], None]) -> None:
        self._write = write
        self._writing = False
        self.estimates: list[Estimate] = []
        self.error: Exception | None = None
        self.ended = False

    def start_writing(self) -> None:
        """Write the buffered estimates now, and later ones as they arrive."""
        self._writing = True
        try:
            self._write_all(self.estimates)
        except UserError as error:
            self._writing, self.error = False, error

    def add(self, estimates: list[Estimate]) -> None:
        """Add the next estimates."""
        self.estimates += estimates
        if self._writing:
            self._write_all(estimates)

    def end(self, error: Exception | None) -> None:
        """Mark the file as finished; `error` is what went wrong, if anything."""
        # An error of writing came first and is the one to report.
        self.error = self.error or error
        self.ended = True

    def _write_all(self, estimates: list[Estimate]) -> None:
        for estimate in estimates:
            self._write(estimate)


def _analyze_file(
    name: str,
    engine: Engine,
    config: PipelineConfig,
    add: Callable[[list[Estimate]], None],
    advance: Callable[[str, float], None],
) -> Computation[None]:
    """Analyse one file; pass its estimates to `add` as they are computed."""
    from realtime_mer.audio.open_input import open_file_or_demo
    from realtime_mer.audio.source import SourceLost, blocks_of
    from realtime_mer.core.pipeline import Pipeline
    from realtime_mer.core.recording import analyze_requests

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


class _Rows:
    """Writes the rows: one shared table on standard output, or one table per file."""

    def __init__(self, tables: dict[str, Path], row_format: str, *, with_file: bool) -> None:
        self._tables = tables
        self._format = row_format
        self._with_file = with_file
        self._shared: TableWriter | None = None
        self._open = ExitStack()

    def __enter__(self) -> _Rows:
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def writer_for(self, name: str) -> Callable[[Estimate], None]:
        """Return the function that writes a file's estimates; the first one opens the table."""
        writer: TableWriter | None = None

        def write(estimate: Estimate) -> None:
            nonlocal writer
            if name in self._tables:
                if writer is None:
                    writer = self._table(self._tables[name])
                writer.write(estimate)
                return
            if self._shared is None:
                self._shared = table_writer(self._format, sys.stdout, with_file=self._with_file)
            self._shared.write(estimate, file=name if self._with_file else None)

        return write

    def _table(self, path: Path) -> TableWriter:
        # The table of the file before is complete.
        self._open.close()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stream = self._open.enter_context(path.open("w", encoding="utf-8", newline=""))
        except OSError as error:
            raise UserError(f"{path} cannot be written ({error.strerror})") from error
        return table_writer(self._format, stream)


def _format_of(output: str | None) -> str:
    return "jsonl" if output and Path(output).suffix in (".jsonl", ".ndjson") else "csv"


def _output_paths(names: list[str], path: str | None, suffix: str) -> dict[str, Path]:
    """Return the output file of each input; empty if no output was given."""
    if path is None:
        return {}
    output = Path(path)
    if len(names) == 1 and not output.is_dir() and not path.endswith(("/", os.sep)):
        return {names[0]: output}
    if output.is_file():
        raise UserError(
            f"{output} is a file, but {len(names)} files were given; name a folder instead"
        )
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the folder {output} cannot be created ({error.strerror})") from error
    targets: dict[str, Path] = {}
    for name in names:
        target = output / f"{Path(name).stem}{suffix}"
        # Equal names, or song.mp3 next to song.flac: keep the suffix, then number them.
        if target in targets.values():
            target = output / f"{Path(name).name}{suffix}"
        number = 2
        while target in targets.values():
            target = output / f"{Path(name).name}-{number}{suffix}"
            number += 1
        targets[name] = target
    return targets


def _refuse_overwriting_input(target: Path, names: list[str]) -> None:
    for name in names:
        if target.exists() and Path(name).exists() and target.samefile(name):
            raise UserError(f"{target} is an input file; writing there would destroy it")


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str, float], None]]:
    """Show a progress bar on standard error if it is a terminal; yield its update function."""
    if quiet or not sys.stderr.isatty():
        yield lambda name, fraction: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        tasks: dict[str, TaskID] = {}

        def advance(name: str, fraction: float) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(Path(name).name, total=1.0)
            progress.update(tasks[name], completed=fraction)

        yield advance
