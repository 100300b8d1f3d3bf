"""The thread that several outputs share."""

from __future__ import annotations

import logging
import math
import threading

import pytest
from live_support import wait_for

from realtime_mer.outputs.output_thread import OutputThread


class Worker:
    """Has work until it is told to end."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.due_s = math.inf
        self.has_news = True
        self.turns: list[str] = []
        self.ends = False
        self._fault = fault

    def turn(self, now_s: float) -> bool:
        self.turns.append(threading.current_thread().name)
        self.has_news = False
        if self._fault is not None:
            raise self._fault
        return self.ends


def alive(name: str) -> bool:
    return any(thread.name == name for thread in threading.enumerate())


def test_workers_take_turns_in_one_thread_that_ends_with_the_last() -> None:
    thread = OutputThread("shared")
    first, second = Worker(), Worker()
    thread.add(first)
    thread.add(second)
    wait_for(lambda: bool(first.turns and second.turns), "the first turns")
    for worker in (first, second):
        assert alive("shared")
        worker.ends = worker.has_news = True
        thread.wake()
        wait_for(lambda worker=worker: len(worker.turns) == 2, "the last turn")  # type: ignore[misc]
    wait_for(lambda: not alive("shared"), "the end of the thread")
    assert {*first.turns, *second.turns} == {"shared"}
    third = Worker()
    third.ends = True
    thread.add(third)
    wait_for(lambda: bool(third.turns), "a turn in a new thread")


def test_a_fault_ends_one_worker_alone(caplog: pytest.LogCaptureFixture) -> None:
    thread = OutputThread("shared")
    bad, good = Worker(ValueError("a bug")), Worker()
    with caplog.at_level(logging.ERROR):
        thread.add(bad)
        thread.add(good)
        wait_for(lambda: bool(bad.turns and good.turns), "the first turns")
        good.ends = good.has_news = bad.has_news = True
        thread.wake()
        wait_for(lambda: len(good.turns) == 2, "the last turn")
    assert len(bad.turns) == 1
    assert "a bug" in caplog.text
