"""`realtime-mer analyze`: files through the live pipeline, as fast as it can."""

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
from realtime_mer.errors import BadSamplesError, UserError
from realtime_mer.outputs.table import FORMATS, TableWriter, table_writer

if TYPE_CHECKING:
    from mer_engine import Engine

    from realtime_mer.audio.source import Source
    from realtime_mer.core.config import PipelineConfig
    from realtime_mer.core.requests import Computation
    from realtime_mer.core.types import Estimate

HELP = "run files through the same pipeline, as fast as it can"
DESCRIPTION = """\
Runs audio files through the pipeline that also listens live, as fast as this machine
can, and writes one row per estimate. A file gives the same values as when it is
played live with 'serve --input FILE' or 'listen --input FILE'.

Reads wav, flac, ogg, opus and mp3; what else ffmpeg can read where it is installed.
'demo' instead of a file is the built-in piece.

Rows go to standard output, or with -o into a file; with several files -o names a
folder, which gets one table for each. The progress bar is on standard error.
"""
EXAMPLES = """\
  realtime-mer analyze song.flac
  realtime-mer analyze song.flac --hop 0.5 --format jsonl | jq .valence
  realtime-mer analyze album/*.mp3 -o emotions/ --plot emotions/
  realtime-mer analyze demo --plot demo.png -o demo.csv
exit code:
  0  every file was analysed
  2  something was wrong with an option or a file; the other files were analysed
"""


# Long blocks cost less; they change nothing in the estimates.
BLOCK_S = 1.0
# So many files are open at once, and their windows are computed together.
TOGETHER = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="an audio file, or 'demo'")
    group = parser.add_argument_group("output")
    group.add_argument(
        "--format", choices=FORMATS, default=None,
        help="csv, or jsonl: the JSON of the wire, one object a line "
        "(default: by the ending of PATH, else csv)",
    )  # fmt: skip
    group.add_argument(
        "-o", "--output", metavar="PATH",
        help="where the rows go: a file, or a folder (made if need be) where there are several "
        "files or PATH ends in a slash (default: standard output)",
    )  # fmt: skip
    group.add_argument(
        "--plot", metavar="PATH.png",
        help="also draw both values over time; a folder where there are several files",
    )  # fmt: skip
    group.add_argument("--quiet", action="store_true", help="no progress bar")
    add_pipeline_arguments(parser)


def run(args: argparse.Namespace) -> int:
    config = pipeline_config(args)
    names: list[str] = args.files
    row_format = args.format or _format_of(args.output)
    tables = _targets(names, args.output, f".{row_format}")
    plots = _targets(names, args.plot, ".png")
    for target in (*tables.values(), *plots.values()):
        _refuse_overwriting_input(target, names)
    for plot in plots.values():
        if plot.suffix.lower() != ".png":
            raise UserError(
                f"the plot {plot} must end in .png: that is the format it is written in"
            )
    engine, choice = chosen_engine(args)
    # As the bar: for who watches, not for a pipe.
    if sys.stderr.isatty() and not args.quiet:
        print(choice, file=sys.stderr)
    failures: list[str] = []
    with _Rows(tables, row_format, with_file=len(names) > 1) as rows, _progress(args.quiet) as bar:
        for name, estimates, error in _in_order(names, engine, config, rows, bar):
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


def _in_order(
    names: list[str],
    engine: Engine,
    config: PipelineConfig,
    rows: _Rows,
    advance: Callable[[str, float], None],
) -> Iterator[tuple[str, list[Estimate], Exception | None]]:
    """Analyses several files at once and writes their rows in order.

    Yields:
        In order, the name of each file, its estimates, and what went wrong.
    """
    from realtime_mer.core.batching import run_each

    sheets = [_Sheet(rows.of(name)) for name in names]
    first = 0  # the file whose rows are being written; those after it wait

    analysing = (
        _analysing(name, engine, config, sheet.take, advance)
        for name, sheet in zip(names, sheets, strict=True)
    )
    sheets[0].begin()
    for index, result in run_each(engine, analysing, max_batch=TOGETHER):
        sheets[index].end(result)
        while first < len(sheets) and sheets[first].ended:
            sheet = sheets[first]
            yield names[first], sheet.estimates, sheet.error
            sheet.estimates = []
            first += 1
            if first < len(sheets):
                sheets[first].begin()


class _Sheet:
    """The estimates of one file: kept back until the rows before them are written."""

    def __init__(self, write: Callable[[Estimate], None]) -> None:
        self._write = write
        self._begun = False
        self.estimates: list[Estimate] = []
        self.error: Exception | None = None
        self.ended = False

    def begin(self) -> None:
        """It is this file's turn: writes what there is, and what comes from now on."""
        self._begun = True
        try:
            self._write_all(self.estimates)
        except UserError as error:
            self._begun, self.error = False, error

    def take(self, estimates: list[Estimate]) -> None:
        """The next estimates."""
        self.estimates += estimates
        if self._begun:
            self._write_all(estimates)

    def end(self, result: Exception | None) -> None:
        """The file is over; `result` is what went wrong."""
        # That its rows could not be written is told first.
        self.error = self.error or result
        self.ended = True

    def _write_all(self, estimates: list[Estimate]) -> None:
        for estimate in estimates:
            self._write(estimate)


def _analysing(
    name: str,
    engine: Engine,
    config: PipelineConfig,
    take: Callable[[list[Estimate]], None],
    advance: Callable[[str, float], None],
) -> Computation[None]:
    """One file from beginning to end; hands its estimates to `take` as they come."""
    from realtime_mer.audio.source import EndOfStream, SourceLost
    from realtime_mer.core.pipeline import Pipeline

    with _open(name) as source:
        info = source.info
        pipeline = Pipeline(
            engine, sample_rate_hz=info.sample_rate_hz, channels=info.channels, config=config
        )
        advance(name, 0.0)
        made = heard = 0
        while True:
            try:
                block = source.read(timeout_s=60.0)
            except EndOfStream:
                break
            except SourceLost:
                # What was heard up to the damage is kept.
                take((yield from pipeline.finish_requests()))
                raise
            if block is None:
                raise UserError(f"{name}: no audio came for a minute")
            try:
                estimates = yield from pipeline.feed_requests(block.samples)
            except BadSamplesError as error:
                raise UserError(
                    f"{name}: sample {heard + error.position} is not a finite number "
                    f"({error.value}); repair the file, for example by converting it with ffmpeg"
                ) from error
            take(estimates)
            made += len(estimates)
            heard += len(block.samples)
            if info.duration_s:
                advance(name, min(heard / info.sample_rate_hz / info.duration_s, 1.0))
        estimates = yield from pipeline.finish_requests()
        take(estimates)
        made += len(estimates)
    if not made:
        raise UserError(
            f"{name} lasts {heard / info.sample_rate_hz:.2f} s; at least half a second is needed"
        )


def _open(name: str) -> Source:
    from realtime_mer.audio.demo import DemoSource
    from realtime_mer.audio.file import open_file

    if name == "demo" and not Path(name).exists():
        return DemoSource(block_s=BLOCK_S)
    return open_file(Path(name), block_s=BLOCK_S)


class _Rows:
    """Where the rows of each file go: one table for all on standard output, or one table each."""

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

    def of(self, name: str) -> Callable[[Estimate], None]:
        """What takes the estimates of a file; its table is made with the first of them."""
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
        # The table before is complete.
        self._open.close()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stream = self._open.enter_context(path.open("w", encoding="utf-8", newline=""))
        except OSError as error:
            raise UserError(f"{path} cannot be written ({error.strerror})") from error
        return table_writer(self._format, stream)


def _format_of(output: str | None) -> str:
    return "jsonl" if output and Path(output).suffix in (".jsonl", ".ndjson") else "csv"


def _targets(names: list[str], path: str | None, suffix: str) -> dict[str, Path]:
    """The output file of each input; empty where no output was named."""
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
        raise UserError(f"the folder {output} cannot be made ({error.strerror})") from error
    targets: dict[str, Path] = {}
    for name in names:
        target = output / f"{Path(name).stem}{suffix}"
        # Two files of one name, or song.mp3 beside song.flac: keep the ending, then count.
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
            raise UserError(f"{target} is an input; writing there would destroy it")


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str, float], None]]:
    """A bar on standard error where somebody watches it; yields what sets its place."""
    if quiet or not sys.stderr.isatty():
        yield lambda name, share: None
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

        def advance(name: str, share: float) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(Path(name).name, total=1.0)
            progress.update(tasks[name], completed=share)

        yield advance
