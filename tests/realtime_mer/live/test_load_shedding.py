"""Lower rates before losses: when, whose, and back again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pytest

from realtime_mer.live.load_shedding import CALM_INTERVALS, MAX_CALM_INTERVALS, LoadShedding, rates


@dataclass
class Stream:
    level: int = 0
    turn: int = 0


class Watch:
    """A shedding and the time that a test gives it, an interval at a time."""

    def __init__(self, hop_s: float = 1.0, streams: int = 16) -> None:
        self.now = 50.0
        self.shedding = LoadShedding(hop_s, self.now)
        self.streams = [Stream() for _ in range(streams)]

    def interval(self, waits_s: Iterable[float], busy_share: float = 0.5) -> None:
        self.now += self.shedding.interval_s
        waits = list(waits_s)
        for wait_s in waits:
            busy_s = busy_share * self.shedding.interval_s / len(waits)
            self.shedding.observe(wait_s, busy_s)
        self.shedding.adjust(self.streams, 1, self.now)

    def calm(self, intervals: int) -> None:
        for _ in range(intervals):
            self.interval([0.0])

    @property
    def levels(self) -> list[int]:
        return [stream.level for stream in self.streams]


@pytest.mark.parametrize(
    ("hop_s", "expected"),
    [
        (1.0, (1, 2, 4)),
        (0.5, (1, 2, 4, 8)),
        (0.1, (1, 5, 10, 20)),
        (0.3, (1, 5, 10)),
        (0.8, (1, 5)),
        (0.9, (1, 5)),
    ],
)
def test_rates(hop_s: float, expected: tuple[int, ...]) -> None:
    assert rates(hop_s) == expected


def test_a_burst_that_is_worked_off_changes_nothing() -> None:
    watch = Watch()
    for _ in range(20):
        watch.interval([0.0, 0.3, 0.6, 0.9])
    assert set(watch.levels) == {0}


def test_a_standing_wait_slows_as_large_a_share_as_it_is_of_the_hop() -> None:
    watch = Watch()
    watch.interval([0.25, 0.4])
    assert watch.levels == [1] * 4 + [0] * 12
    watch.interval([0.11])
    assert watch.levels == [1] * 6 + [0] * 10


def test_nobody_comes_half_as_often_as_another_for_long() -> None:
    watch = Watch()
    for _ in range(50):
        watch.interval([0.3])
        assert max(watch.levels) - min(watch.levels) <= 1
    assert watch.levels == [2] * 16


def test_those_slowed_longest_ago_are_first() -> None:
    watch = Watch(streams=8)
    watch.interval([0.5])
    watch.calm(CALM_INTERVALS)
    assert watch.levels == [0, 1, 1, 1, 0, 0, 0, 0]
    watch.interval([0.5])
    # The first one has been slow, so the four that have not are before it.
    assert watch.levels == [0, 1, 1, 1, 1, 1, 1, 1]


def test_rates_come_back_slowly_when_it_has_been_calm() -> None:
    watch = Watch()
    watch.interval([1.0])
    assert watch.levels == [1] * 16
    watch.calm(CALM_INTERVALS - 1)
    assert watch.levels == [1] * 16
    watch.calm(1)
    assert sum(watch.levels) == 14
    watch.calm(1)
    assert sum(watch.levels) == 14
    watch.calm(1)
    assert sum(watch.levels) == 12
    watch.calm(12)
    assert watch.levels == [0] * 16


@pytest.mark.parametrize(("wait_s", "busy_share"), [(0.06, 0.1), (0.0, 0.9)])
def test_neither_waits_nor_busy_workers_are_calm(wait_s: float, busy_share: float) -> None:
    watch = Watch()
    watch.interval([1.0])
    for _ in range(3 * CALM_INTERVALS):
        watch.interval([wait_s], busy_share)
    assert watch.levels == [1] * 16


def test_too_early_means_more_patience_the_next_time() -> None:
    watch = Watch()
    watch.interval([1.0])
    needed = []
    for _ in range(6):
        before, count = sum(watch.levels), 0
        while sum(watch.levels) == before:
            watch.calm(1)
            count += 1
        needed.append(count)
        watch.interval([0.2])
    assert needed == [CALM_INTERVALS * 2**n for n in range(5)] + [MAX_CALM_INTERVALS]


def test_nothing_is_known_of_an_interval_without_a_turn() -> None:
    watch = Watch()
    watch.interval([1.0])
    for _ in range(100):
        watch.now += 1.0
        watch.shedding.adjust(watch.streams, 1, watch.now)
    assert watch.levels == [1] * 16


def test_one_stream_can_be_lowered_down_to_the_lowest() -> None:
    watch = Watch(streams=2)
    lowered = [watch.shedding.lower(watch.streams[0]) for _ in range(3)]
    assert lowered == [True, True, False]
    assert watch.levels == [2, 0]


def test_a_short_hop_does_not_take_a_computation_for_a_wait() -> None:
    watch = Watch(hop_s=0.1)
    watch.interval([0.019])
    assert set(watch.levels) == {0}
    watch.interval([0.021])
    assert set(watch.levels) == {0, 1}
