"""Files on the machines of a Ray cluster: one actor a core holds the model."""

from __future__ import annotations

import contextlib
import logging
import pickle
import queue
import socket
import tempfile
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from realtime_mer import __version__
from realtime_mer.errors import UserError
from realtime_mer.library.analysis import FileTask
from realtime_mer.library.track_analysis import (
    AnalysisSettings,
    Outcome,
    TrackAnalyzer,
    skipped_track,
)
from realtime_mer.outputs.registry import needing

# A dataset of Ray keeps what it knows of each file until its end.
FILES_AT_ONCE = 10_000
# A file whose process died so often is skipped: it may be the file.
ATTEMPTS = 3
KNOCK_S = 5.0
TAKE_S = 1.0
_Result = tuple[FileTask, Outcome]


def analyze_on_cluster(
    tasks: Iterable[FileTask],
    settings: AnalysisSettings,
    *,
    address: str,
    announce: Callable[[str], None],
) -> Generator[tuple[FileTask, Outcome]]:
    """Analyse files on a Ray cluster; yield the outcomes as they are ready, in any order.

    Each file is a task of its own, on an actor that holds the model and needs one core. A file
    whose actor or machine is lost is analysed again, three times at most, then skipped.

    Args:
        tasks: files that every machine of the cluster sees under the same name, without a table or
            plot.
        settings: of the analysis; the model file is sent to the machines.
        address: "auto" for the cluster that this machine belongs to, or ray://HOST:PORT.
        announce: takes a sentence on the cluster.

    Raises:
        UserError: Ray is not installed, there is no cluster, or its machines cannot analyse.
    """
    job = _Job(settings)
    with needing("--cluster", "cluster"):
        import ray
    with _connected(address):
        cores = int(ray.cluster_resources().get("CPU", 0))
        machines = sum(node["Alive"] for node in ray.nodes())
        announce(f"Ray cluster: {cores} cores on {machines} machine{'s' * (machines != 1)}")
        # Ray Data works on the cluster alone, not through ray://.
        coordinator = ray.remote(num_cpus=0)(_Coordinator).remote(job, max(1, cores))
        remaining = iter(tasks)
        try:
            while chunk := list(islice(remaining, FILES_AT_ONCE)):
                ray.get(coordinator.begin.remote(chunk))
                while (results := ray.get(coordinator.take.remote())) is not None:
                    yield from pickle.loads(results)
        except ray.exceptions.RayError as error:
            raise UserError(
                f"the cluster has failed ({_reason(error)}); what was analysed is kept, and the "
                "same command goes on"
            ) from error


class _Coordinator:
    """Gives the files to the actors of the cluster, and collects their results."""

    def __init__(self, job: _Job, cores: int) -> None:
        import ray
        import ray.data

        ray.data.DataContext.get_current().enable_progress_bars = False
        self._job = job
        self._cores = cores
        self._attempts = ray.remote(num_cpus=0)(_Attempts).remote()
        self._results: queue.SimpleQueue[_Result | BaseException | None] = queue.SimpleQueue()

    def begin(self, tasks: list[FileTask]) -> None:
        """Begin to analyse files; all of the last call have ended."""
        threading.Thread(target=self._run, args=(tasks,), daemon=True).start()

    def take(self) -> bytes | None:
        """Wait, and return what has come, pickled; None after the last one."""
        results: list[_Result] = []
        with contextlib.suppress(queue.Empty):
            while (result := self._results.get(timeout=0.0 if results else TAKE_S)) is not None:
                if isinstance(result, BaseException):
                    if not results:
                        raise result
                    self._results.put(result)  # after what is done
                    return pickle.dumps(results)
                results.append(result)
            if not results:
                return None
            self._results.put(None)  # the end is for the next call
        return pickle.dumps(results)

    def _run(self, tasks: list[FileTask]) -> None:
        import ray.data

        rows = [{"task": pickle.dumps(task)} for task in tasks]
        results = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            _Actor,
            fn_constructor_args=(self._job, self._attempts),
            # One file at an actor, so that its death costs no other.
            compute=ray.data.ActorPoolStrategy(
                size=min(self._cores, len(rows)), max_tasks_in_flight_per_actor=1
            ),
            num_cpus=1,
        )
        try:
            for row in results.iter_rows():
                self._results.put(pickle.loads(row["result"]))
        except BaseException as error:
            self._results.put(error)
        else:
            self._results.put(None)


class _Attempts:
    """Counts for the whole cluster how often a file was begun."""

    def __init__(self) -> None:
        self._begun: Counter[str] = Counter()

    def begin(self, path: str) -> int:
        """Return which attempt this is, from 1."""
        self._begun[path] += 1
        return self._begun[path]

    def end(self, path: str) -> None:
        """Forget a file that was analysed."""
        del self._begun[path]


class _Job:
    """What an actor needs; it is sent to other machines.

    Attributes:
        settings: of the analysis, without the model file.
        model: content of the model file; None for the shipped one.
        key: of the settings.
        version: of this program.
    """

    def __init__(self, settings: AnalysisSettings) -> None:
        try:
            self.model = None if settings.model is None else settings.model.read_bytes()
            self.key = settings.key
        except OSError as error:
            raise UserError(f"{settings.model} cannot be read ({error.strerror})") from error
        self.settings = replace(settings, model=None)
        self.version = __version__


class _Actor:
    """Holds a model on a machine of the cluster, and analyses one file after the other."""

    def __init__(self, job: _Job, attempts: Any) -> None:
        if job.version != __version__:
            raise RuntimeError(
                f"a machine of the cluster has realtime-mer {__version__}, the one that asks has "
                f"{job.version}; install the same everywhere"
            )
        settings = job.settings
        if job.model is not None:
            self._folder = tempfile.TemporaryDirectory(prefix="realtime-mer-")
            settings = replace(settings, model=Path(self._folder.name, "model.onnx"))
            assert settings.model is not None
            settings.model.write_bytes(job.model)
        self._key = job.key
        self._attempts = attempts
        self._analyzer = TrackAnalyzer(settings)

    def __call__(self, row: dict[str, bytes]) -> dict[str, bytes]:
        import ray

        task: FileTask = pickle.loads(row["task"])
        # Ray repeats what a lost process was doing without an end.
        if ray.get(self._attempts.begin.remote(task.name)) <= ATTEMPTS:
            outcome = self._analyzer.outcome(task.name)
        else:
            reason = f"'{task.name}' was left out: what analysed it was lost {ATTEMPTS} times"
            outcome = Outcome(skipped_track(task.name, self._key, reason), exit_code=1)
        self._attempts.end.remote(task.name)
        return {"result": pickle.dumps((task, outcome))}


@contextmanager
def _connected(address: str) -> Iterator[None]:
    """Be connected to a cluster; the messages of Ray are kept to errors.

    Raises:
        UserError: there is none.
    """
    import ray

    mine = not ray.is_initialized()
    if mine:
        try:
            _knock(address)
            with warnings.catch_warnings(action="ignore"):
                ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
        except Exception as error:  # each way to connect has its own
            raise UserError(
                f"there is no Ray cluster at {address} ({_reason(error)}); start one with "
                "`ray start --head`, and name it: --cluster auto on a machine of the cluster, "
                "--cluster ray://HOST:10001 elsewhere"
            ) from error
    try:
        yield
    finally:
        if mine:
            ray.shutdown()


def _knock(address: str) -> None:
    """Raise an error where nothing answers: Ray would try for minutes."""
    from ray._private.services import canonicalize_bootstrap_address

    place = address.removeprefix("ray://")
    if place == address:
        found = canonicalize_bootstrap_address(address)
        if found is None:
            raise ConnectionError("none was started here")
        place = found
    host, _, port = place.rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_S):
        pass


def _reason(error: Exception) -> str:
    """Return the last line of what Ray says, which is the cause."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
