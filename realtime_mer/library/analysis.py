"""Many files on all cores: their rows, and where wanted the table and the plot of each."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from realtime_mer.core.types import Estimate
from realtime_mer.errors import UserError
from realtime_mer.library.pool import ATTEMPTS, WorkerDeath, WorkerPool
from realtime_mer.library.table_draft import TableDraft
from realtime_mer.library.track import Track
from realtime_mer.library.track_analysis import (
    AnalysisSettings,
    Outcome,
    TrackAnalyzer,
    skipped_track,
)


@dataclass(frozen=True, slots=True)
class FileTask:
    """A file to analyse.

    Attributes:
        name: its path, or "demo".
        size_bytes: of the file, for the time that is left.
        table, plot: of its estimates; None for none.
        row_format: of the table, `csv` or `jsonl`.
    """

    name: str
    size_bytes: int = 0
    table: Path | None = None
    plot: Path | None = None
    row_format: str = "csv"


def analyze_files(
    tasks: Iterable[FileTask], settings: AnalysisSettings, jobs: int
) -> Generator[tuple[FileTask, Outcome]]:
    """Analyse files in processes of their own and yield the outcomes as they are ready.

    Close the iterator to end early: tables that are not complete are left out then.

    Args:
        tasks: taken one by one, as workers become free.
        settings: with a backend that runs here.
        jobs: number of processes.

    Raises:
        UserError: a worker cannot start.
    """
    pool: WorkerPool[FileTask, Outcome] = WorkerPool(partial(_FileWorker, settings), jobs)
    with pool, closing(pool.work(tasks)) as results:
        for task, result in results:
            if isinstance(result, WorkerDeath):
                reason = (
                    f"'{task.name}' ended the process that analysed it {ATTEMPTS} times "
                    f"({result.reason}); a lack of memory does that, or a fault of a decoder: "
                    "use fewer --jobs, or convert the file to flac"
                )
                yield task, Outcome(skipped_track(task.name, settings.key, reason), exit_code=1)
            else:
                yield task, result


class _FileWorker:
    """Analyses files in one process."""

    def __init__(self, settings: AnalysisSettings) -> None:
        self._analyzer = TrackAnalyzer(settings)

    def __call__(self, task: FileTask) -> Outcome:
        estimates: list[Estimate] = []
        table = None if task.table is None else TableDraft(task.table, task.row_format)

        def add(new: list[Estimate]) -> None:
            if table is not None:
                for estimate in new:
                    table.write(estimate)
            if task.plot is not None:
                estimates.extend(new)

        try:
            outcome = self._analyzer.outcome(task.name, add)
        except BaseException:  # the end of this process
            if table is not None:
                table.abandon()
            raise
        try:  # also of a file that broke off
            if table is not None:
                table.close()
            if task.plot is not None and estimates:
                from realtime_mer.outputs.plot import save_plot

                save_plot(estimates, Path(task.name).name, task.plot)
        except UserError as error:
            if not outcome.track.skipped:
                track: Track = replace(outcome.track, summary=None, skipped=str(error))
                outcome = Outcome(track, error.exit_code)
        return outcome
