"""Load shedding: when rates fall, which streams are affected, and when rates rise again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pytest

from realtime_mer.live.load_shedding import CALM_INTERVALS, MAX_CALM_INTERVALS, LoadShedding, rates


@dataclass
class Stream:
    level: int = 0
    last_change: int = 0


class Pool:
    """Simulated streams under load shedding, one interval at a time."""

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


def test_a_burst_within_an_interval_changes_nothing() -> None:
    pool = Pool()
    for _ in range(20):
        pool.interval([0.0, 0.3, 0.6, 0.9])
    assert set(pool.levels) == {0}


def test_the_share_of_slowed_streams_is_the_share_of_the_wait_in_the_hop() -> None:
    pool = Pool()
    pool.interval([0.25, 0.4])
    assert pool.levels == [1] * 4 + [0] * 12
    pool.interval([0.11])
    assert pool.levels == [1] * 6 + [0] * 10


def test_levels_differ_by_at_most_one() -> None:
    pool = Pool()
    for _ in range(50):
        pool.interval([0.3])
        assert max(pool.levels) - min(pool.levels) <= 1
    assert pool.levels == [2] * 16


def test_streams_that_changed_longest_ago_are_slowed_first() -> None:
    pool = Pool(streams=8)
    pool.interval([0.5])
    pool.calm(CALM_INTERVALS)
    assert pool.levels == [0, 1, 1, 1, 0, 0, 0, 0]
    pool.interval([0.5])
    # The first stream was slow before, so the four that were not come first.
    assert pool.levels == [0, 1, 1, 1, 1, 1, 1, 1]


def test_rates_rise_slowly_after_calm_intervals() -> None:
    pool = Pool()
    pool.interval([1.0])
    assert pool.levels == [1] * 16
    pool.calm(CALM_INTERVALS - 1)
    assert pool.levels == [1] * 16
    pool.calm(1)
    assert sum(pool.levels) == 14
    pool.calm(1)
    assert sum(pool.levels) == 14
    pool.calm(1)
    assert sum(pool.levels) == 12
    pool.calm(12)
    assert pool.levels == [0] * 16


@pytest.mark.parametrize(("wait_s", "busy_share"), [(0.06, 0.1), (0.0, 0.9)])
def test_intervals_with_waits_or_busy_workers_are_not_calm(
    wait_s: float, busy_share: float
) -> None:
    pool = Pool()
    pool.interval([1.0])
    for _ in range(3 * CALM_INTERVALS):
        pool.interval([wait_s], busy_share)
    assert pool.levels == [1] * 16


def test_streams_give_way_until_all_have_the_lowest_rate() -> None:
    pool = Pool(streams=4)
    gave = [pool.shedding.give_way(pool.streams, 1.0) for _ in range(4)]
    assert gave == [True] * 2 + [False] * 2
    assert pool.levels == [2] * 4


def test_streams_keep_their_rates_where_others_give_way() -> None:
    pool = Pool(streams=2)
    shares: list[float] = []

    def relieve(share: float) -> bool:
        shares.append(share)
        return len(shares) < 3

    for _ in range(3):
        assert pool.levels == [0, 0]
        pool.now += pool.shedding.interval_s
        pool.shedding.observe(0.5, 0.1)
        pool.shedding.adjust(pool.streams, 1, pool.now, relieve)
    assert shares == [0.5] * 3
    assert pool.levels == [1, 0]


def test_after_an_early_rise_more_calm_intervals_are_needed() -> None:
    pool = Pool()
    pool.interval([1.0])
    needed = []
    for _ in range(6):
        before, count = sum(pool.levels), 0
        while sum(pool.levels) == before:
            pool.calm(1)
            count += 1
        needed.append(count)
        pool.interval([0.2])
    assert needed == [CALM_INTERVALS * 2**n for n in range(5)] + [MAX_CALM_INTERVALS]


def test_intervals_without_a_turn_change_nothing() -> None:
    pool = Pool()
    pool.interval([1.0])
    for _ in range(100):
        pool.now += 1.0
        pool.shedding.adjust(pool.streams, 1, pool.now)
    assert pool.levels == [1] * 16


def test_one_stream_can_be_lowered_to_the_lowest_rate() -> None:
    pool = Pool(streams=2)
    lowered = [pool.shedding.lower(pool.streams[0]) for _ in range(3)]
    assert lowered == [True, True, False]
    assert pool.levels == [2, 0]


def test_with_a_short_hop_the_target_is_20_ms() -> None:
    pool = Pool(hop_s=0.1)
    pool.interval([0.019])
    assert set(pool.levels) == {0}
    pool.interval([0.021])
    assert set(pool.levels) == {0, 1}
