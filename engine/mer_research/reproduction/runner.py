"""Does units of work, several at a time, and keeps each as soon as it is done."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from mer_engine.datasets.problems import DataError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mer_research.paper.step_table import StepTable
from mer_research.paper.store import Store
from mer_research.paper.task import FitTask, Task, configuration, perform

_table: StepTable | None = None  # of a worker process


class Runner:
    """Does tasks on a table.

    Args:
        table: the half seconds.
        path: where the table lies, for the worker processes.
        store: where results are kept.
        workers: processes; 1 works in this one.

    Attributes:
        table: the half seconds.
        seconds: that all units of work took so far, each on one core, also those found done.
    """

    def __init__(self, table: StepTable, path: Path, store: Store, workers: int) -> None:
        self.table = table
        self.seconds = 0.0
        self._path = path
        self._store = store
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None
        self._others = set(multiprocessing.active_children())
        self._processes: set[BaseProcess] = set()

    def run(self, title: str, tasks: Sequence[Task]) -> list[dict[str, Any]]:
        """Do tasks that are not done yet.

        Args:
            title: for the progress bar.
            tasks: in any order; one that is given twice is done once.

        Returns:
            A result for each task.

        Raises:
            DataError: the songs do not serve a task.
            DataError: a worker process ended.
        """
        settings = [configuration(task, self.table) for task in tasks]
        keys = [json.dumps(one, sort_keys=True) for one in settings]
        by_key = dict(zip(keys, zip(tasks, settings, strict=True), strict=True))
        results = {
            key: result for key, (_, one) in by_key.items() if (result := self._store.get(one))
        }
        waiting = {key: pair for key, pair in by_key.items() if key not in results}
        with progress_bar(title, len(by_key)) as tell:
            tell(len(results), "")
            for key, result in self._do({key: task for key, (task, _) in waiting.items()}):
                self._store.put(waiting[key][1], result)
                results[key] = result
                tell(len(results), _name(waiting[key][0], result))
        self.seconds += sum(results[key]["seconds"] for key in by_key)
        return [results[key] for key in keys]

    def close(self) -> None:
        """End the worker processes; what they have not finished is lost."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            for process in self._processes:
                process.terminate()

    def _do(self, tasks: dict[str, Task]) -> Iterator[tuple[str, dict[str, Any]]]:
        if self._workers == 1 or len(tasks) < 2:
            for key, task in tasks.items():
                yield key, perform(task, self.table)
            return
        if self._pool is None:
            # Read when a library is first loaded, which in a worker is before anything else.
            os.environ.setdefault("OMP_NUM_THREADS", "1")
            self._pool = ProcessPoolExecutor(
                self._workers, multiprocessing.get_context("spawn"), _begin, (self._path,)
            )
        # The longest windows first, so that none is left over at the end.
        order = sorted(tasks, key=lambda key: -tasks[key].lag)
        futures: dict[Future[dict[str, Any]], str] = {
            self._pool.submit(_perform, tasks[key]): key for key in order
        }
        self._processes = set(multiprocessing.active_children()) - self._others
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool as error:
            raise DataError(
                "a worker process ended before it was done (was it stopped, or is the memory too "
                "small?); what was done is kept: run the same command again, perhaps with "
                "--workers 1"
            ) from error


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Any]:
    """A bar on a terminal, else a line for each unit; yields `tell(done, what)`."""
    if not sys.stderr.isatty():

        def lines(done: int, what: str) -> None:
            if what:
                print(f"{title}: {done} of {total}: {what}", file=sys.stderr, flush=True)

        yield lines
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TimeRemainingColumn(), TextColumn("{task.fields[what]}"),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as bar:
        row = bar.add_task(title, total=total, what="")
        yield lambda done, what: bar.update(row, completed=done, what=what)


def _name(task: Task, result: dict[str, Any]) -> str:
    what = task.method if isinstance(task, FitTask) else "importance"
    text = f"{task.protocol} songs, {task.dimension}, {what}, lag order {task.lag}"
    return f"{text}, {result['seconds']:.0f} s"


def _begin(path: Path) -> None:
    """Of a worker process."""
    global _table
    import torch

    # An interrupt is the parent's to tell of.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    torch.set_num_threads(1)
    _table = StepTable.load(path)


def _perform(task: Task) -> dict[str, Any]:
    assert _table is not None
    return perform(task, _table)
