"""Real worker processes that die, fail and are ended."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import psutil
import pytest
from live_support import wait_for
from pool_support import Work, die_at_start, fail_to_start, make_work

from realtime_mer.errors import UserError
from realtime_mer.library.pool import WorkerDeath, WorkerPool, usable_cores


def test_every_task_has_its_result_and_one_thread_a_worker(tmp_path: Path) -> None:
    tasks = [str(number) for number in range(7)]
    before = os.environ.get("OMP_NUM_THREADS")
    with WorkerPool(partial(make_work, tmp_path / "log"), 2) as pool:
        results = dict(pool.work(tasks))
    assert set(results) == set(tasks)
    workers = set()
    for result in results.values():
        assert not isinstance(result, WorkerDeath)
        process, threads = result
        assert threads == "1"
        workers.add(process)
    assert os.getpid() not in workers
    assert len(workers) <= 2
    assert os.environ.get("OMP_NUM_THREADS") == before
    assert not any(map(psutil.pid_exists, workers))


def test_a_task_that_kills_its_worker_is_tried_twice_and_harms_no_other(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with WorkerPool(partial(make_work, log), 2) as pool:
        results = dict(pool.work(["a", "die", "b", "die once", "c"]))
    assert results["die"] == WorkerDeath("signal 9")
    assert all(not isinstance(results[task], WorkerDeath) for task in ("a", "b", "die once", "c"))
    tried = [line.rsplit(" ", 1)[0] for line in log.read_text().splitlines()]
    assert sorted(tried) == ["a", "b", "c", "die", "die", "die once", "die once"]


@pytest.mark.parametrize(
    ("start", "words"),
    [(fail_to_start, "the model is damaged"), (die_at_start, r"while it started \(exit code 3\)")],
)
def test_workers_that_cannot_start_end_the_work(start: Callable[[], Work], words: str) -> None:
    with WorkerPool(start, 2) as pool, pytest.raises(UserError, match=words):
        list(pool.work(["a", "b", "c"]))


@pytest.mark.parametrize("waiting", ["wait", "wait in a callback"])
def test_closing_interrupts_what_the_workers_do(
    waiting: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    with (
        WorkerPool(partial(make_work, log), 2) as pool,
        closing(pool.work([waiting, "a"])) as found,
    ):
        task, _ = next(found)
        assert task == "a"
        wait_for(lambda: "wait" in log.read_text(), "the start of the task")
    assert "interrupted" in log.read_text()
    assert capfd.readouterr().err == ""


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    program = (
        "from functools import partial; from pathlib import Path\n"
        "from pool_support import make_work; from realtime_mer.library.pool import WorkerPool\n"
        f"with WorkerPool(partial(make_work, Path({str(log)!r})), 1) as pool:\n"
        "    list(pool.work(['wait']))\n"
    )
    path = os.pathsep.join(filter(None, sys.path))
    parent = subprocess.Popen(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": path}
    )
    try:
        wait_for(lambda: log.exists() and "wait " in log.read_text(), "the start of the task")
        worker = psutil.Process(int(log.read_text().split()[1]))
    finally:
        parent.kill()
        parent.wait()
    worker.wait(60)
    assert "interrupted" not in log.read_text()


def test_usable_cores() -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
