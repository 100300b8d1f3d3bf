"""Worker processes, one a core, that are replaced when they die."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import Any, Generic, TypeVar

from realtime_mer.closable import Closable
from realtime_mer.errors import UserError
from realtime_mer.interruption import repeated_interruptions

Task = TypeVar("Task")
Result = TypeVar("Result")

ATTEMPTS = 2
"""How often a task is given to a worker before the task counts as what killed them."""

_END_TIMEOUT_S = 5.0
# Libraries would start as many threads in each worker as there are cores.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_READY, _FAILED, _DONE = "ready", "failed", "done"
# Not "fork": it copies the locks of threads that the copy does not have.
_spawn = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class WorkerDeath:
    """The result of a task whose workers died.

    Attributes:
        reason: how the last one ended, for example `signal 9`.
    """

    reason: str


class WorkerPool(Closable, Generic[Task, Result]):
    """Works on tasks in processes of their own, each with one thread for computations.

    `close` ends the workers; what they work on raises KeyboardInterrupt, if there is time. They
    also end when this process dies. Ctrl-C reaches only this process.

    Args:
        make_work: called once in each worker for the function that takes the tasks. It, the tasks
            and the results are pickled.
        jobs: number of processes, at least 1.
    """

    def __init__(self, make_work: Callable[[], Callable[[Task], Result]], jobs: int) -> None:
        self._make_work = make_work
        self._jobs = jobs
        self._workers: list[_Worker] = []

    def work(self, tasks: Iterable[Task]) -> Generator[tuple[Task, Result | WorkerDeath]]:
        """Yield each task with its result, in the order in which they are ready.

        Args:
            tasks: taken one by one, as workers become free.

        Raises:
            UserError: `make_work` failed, or a worker died while it started.
        """
        waiting = iter(tasks)
        while True:
            while len(self._workers) < self._jobs:
                try:
                    task = next(waiting)
                except StopIteration:
                    break
                self._workers.append(_Worker(self._make_work, task))
            if not self._workers:
                return
            ready = wait([worker.connection for worker in self._workers])
            for worker in [worker for worker in self._workers if worker.connection in ready]:
                try:
                    kind, value = worker.connection.recv()
                except (EOFError, OSError):
                    self._workers.remove(worker)
                    reason = worker.end()
                    if not worker.is_ready:
                        raise UserError(
                            f"a worker process ended while it started ({reason}); check the "
                            "memory of this machine, or use fewer --jobs"
                        ) from None
                    if worker.attempt < ATTEMPTS:
                        again = _Worker(self._make_work, worker.task, worker.attempt + 1)
                        self._workers.append(again)
                    else:
                        yield worker.task, WorkerDeath(reason)
                    continue
                if kind == _FAILED:
                    raise UserError(value)
                if kind == _READY:
                    worker.is_ready = True
                    continue
                finished = worker.task
                try:
                    worker.give(next(waiting))
                except StopIteration:
                    self._workers.remove(worker)
                    worker.end()
                yield finished, value

    def close(self) -> None:
        """End all workers."""
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.end()


class _Worker:
    """A process and the task that it works on."""

    def __init__(
        self, make_work: Callable[[], Callable[[Any], Any]], task: Any, attempt: int = 1
    ) -> None:
        self.connection, other = _spawn.Pipe()
        self.process = _spawn.Process(target=_work, args=(make_work, other), daemon=True)
        with _inherited_settings():
            self.process.start()
        other.close()
        self.is_ready = False
        self.give(task)
        self.attempt = attempt

    def give(self, task: Any) -> None:
        self.task, self.attempt = task, 1
        with contextlib.suppress(OSError):  # it is dead, as its connection will tell
            self.connection.send(task)

    def end(self) -> str:
        """Wait for the end of the process, which has nothing to do; return how it ended."""
        self.connection.close()
        self.process.join(_END_TIMEOUT_S)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        code = self.process.exitcode or 0
        self.process.close()
        return f"signal {-code}" if code < 0 else f"exit code {code}"


@contextlib.contextmanager
def _inherited_settings() -> Iterator[None]:
    """Let a process that starts meanwhile have one thread for computations and take no Ctrl-C."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    mask = None
    if sys.platform != "win32":
        resource_tracker.ensure_running()  # when it starts, it lets Ctrl-C through again
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGHUP))
    try:
        yield
    finally:
        if sys.platform != "win32" and mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _work(make_work: Callable[[], Callable[[Any], Any]], connection: Connection) -> None:
    """What a worker does."""
    arrived: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        if not arrived:  # it may come twice: from a service manager too
            arrived.append(number)
            raise KeyboardInterrupt(number)

    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, OSError, KeyboardInterrupt):
        signal.signal(signal.SIGTERM, interrupt)
        try:
            with repeated_interruptions(arrived.clear):
                _serve(make_work, connection)
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # nothing is left to be interrupted


def _serve(make_work: Callable[[], Callable[[Any], Any]], connection: Connection) -> None:
    """Work on what comes until the connection ends."""
    try:
        work = make_work()
    except Exception as error:
        connection.send((_FAILED, str(error)))
        return
    connection.send((_READY, None))
    while True:
        connection.send((_DONE, work(connection.recv())))


def _end_with_parent() -> None:
    """End this process at once when the one that started it dies."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
