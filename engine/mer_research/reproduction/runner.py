"""Runs tasks in parallel and stores each result as soon as it is done."""

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
    """Runs tasks on a table.

    Args:
        table: features and labels.
        path: file of the table, for the worker processes.
        store: store of the results.
        workers: number of processes; 1 runs the tasks in this process.

    Attributes:
        table: features and labels.
        seconds: core seconds of all requested tasks, including those with a stored result.
    """

    def __init__(self, table: StepTable, path: Path, store: Store, workers: int) -> None:
        self.table = table
        self.seconds = 0.0
        self._path = path
        self._store = store
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None
        self._other_processes = set(multiprocessing.active_children())
        self._processes: set[BaseProcess] = set()

    def run(self, title: str, tasks: Sequence[Task]) -> list[dict[str, Any]]:
        """Run the tasks that have no stored result.

        Args:
            title: for the progress bar.
            tasks: in any order; duplicates are run once.

        Returns:
            A result for each task.

        Raises:
            DataError: the songs are too short or too few for a task, or a worker process ended.
        """
        configurations = [configuration(task, self.table) for task in tasks]
        keys = [json.dumps(one, sort_keys=True) for one in configurations]
        by_key = dict(zip(keys, zip(tasks, configurations, strict=True), strict=True))
        results = {
            key: result for key, (_, one) in by_key.items() if (result := self._store.get(one))
        }
        missing = {key: pair for key, pair in by_key.items() if key not in results}
        with progress_bar(title, len(by_key)) as update:
            update(len(results), "")
            for key, result in self._run({key: task for key, (task, _) in missing.items()}):
                self._store.put(missing[key][1], result)
                results[key] = result
                update(len(results), _describe(missing[key][0], result))
        self.seconds += sum(results[key]["seconds"] for key in by_key)
        return [results[key] for key in keys]

    def close(self) -> None:
        """Terminate the worker processes; unfinished tasks are lost."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            for process in self._processes:
                process.terminate()

    def _run(self, tasks: dict[str, Task]) -> Iterator[tuple[str, dict[str, Any]]]:
        if self._workers == 1 or len(tasks) < 2:
            for key, task in tasks.items():
                yield key, perform(task, self.table)
            return
        if self._pool is None:
            # Libraries read it when they are loaded, so set it before the workers start.
            os.environ.setdefault("OMP_NUM_THREADS", "1")
            self._pool = ProcessPoolExecutor(
                self._workers, multiprocessing.get_context("spawn"), _start_worker, (self._path,)
            )
        # Longest windows first, so that no slow task is left at the end.
        order = sorted(tasks, key=lambda key: -tasks[key].lag)
        futures: dict[Future[dict[str, Any]], str] = {
            self._pool.submit(_perform, tasks[key]): key for key in order
        }
        self._processes = set(multiprocessing.active_children()) - self._other_processes
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool as error:
            raise DataError(
                "a worker process ended early (was it stopped, or is there too little memory?); "
                "finished results are stored: run the same command again, perhaps with --workers 1"
            ) from error


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Any]:
    """Show progress: a bar on a terminal, otherwise lines. Yields `update(done, what)`."""
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


def _describe(task: Task, result: dict[str, Any]) -> str:
    what = task.method if isinstance(task, FitTask) else "importance"
    text = f"{task.protocol} songs, {task.dimension}, {what}, lag order {task.lag}"
    return f"{text}, {result['seconds']:.0f} s"


def _start_worker(path: Path) -> None:
    """Set up a worker process."""
    global _table
    import torch

    # The parent process reports interrupts.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    torch.set_num_threads(1)
    _table = StepTable.load(path)


def _perform(task: Task) -> dict[str, Any]:
    assert _table is not None
    return perform(task, _table)
