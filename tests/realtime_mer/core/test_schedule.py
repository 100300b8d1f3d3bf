import pytest

from realtime_mer.core.schedule import Schedule


@pytest.mark.parametrize(
    ("hop_ticks", "hops", "estimates", "events"),
    [
        (10, 1, [10, 20, 30], [10, 20, 30]),
        (5, 2, [10, 20, 30], [5, 10, 15, 20, 25, 30]),
        # Windows interleave: a step ends at every tick.
        (3, 1, [3, 6, 9], [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        # Every fifth hop they do not.
        (3, 5, [15, 30], [3, 6, 9, 12, 15, 18, 21, 24, 27, 30]),
    ],
)
def test_estimates_and_events(
    hop_ticks: int, hops: int, estimates: list[int], events: list[int]
) -> None:
    schedule = Schedule(hop_ticks)
    schedule.set_rate(hops)
    end = estimates[-1]
    assert [tick for tick in range(1, end + 1) if schedule.is_estimate(tick)] == estimates
    assert sorted({schedule.next_estimate(tick) for tick in range(end)}) == estimates
    assert sorted({schedule.next_event(tick) for tick in range(end)}) == events
    assert schedule.last_estimate(end) == schedule.last_estimate(end + 1) == end
    assert schedule.is_hop(hop_ticks)
    assert not schedule.is_hop(hop_ticks + 1)


@pytest.mark.parametrize(
    ("hop_ticks", "hops", "interleaved"),
    [(1, 1, True), (1, 5, False), (3, 1, True), (3, 5, False), (5, 1, False), (10, 4, False)],
)
def test_interleaved_windows(hop_ticks: int, hops: int, interleaved: bool) -> None:
    schedule = Schedule(hop_ticks)
    schedule.set_rate(hops)
    assert schedule.interleaved is interleaved
    assert schedule.spacing_ticks == (1 if interleaved else 5)
