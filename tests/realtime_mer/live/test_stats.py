"""Counters and histograms."""

from __future__ import annotations

import threading

from realtime_mer.core.types import State
from realtime_mer.live.stats import BUCKETS_S, HELP, LOSSES, TIMING_HELP, Counter, Stats, Timing


def test_counting() -> None:
    stats = Stats()
    stats.add(Counter.OVERFLOWS)
    stats.add(Counter.DROPPED_SAMPLES, 480)
    stats.add(Counter.DROPPED_SAMPLES, 0)
    assert stats[Counter.OVERFLOWS] == 1
    assert stats[Counter.DROPPED_SAMPLES] == 480
    assert stats.counters()[Counter.ESTIMATES] == 0


def test_estimates_are_counted_by_state() -> None:
    server = Stats()
    session = Stats(parent=server)
    for state in (State.SPEECH, State.TRACKING, State.SPEECH):
        session.count_estimate(state)
    for stats in (session, server):
        assert stats[Counter.ESTIMATES] == 3
        assert stats.states()[State.SPEECH] == 2
        assert sum(stats.states().values()) == 3


def test_losses_are_the_counters_of_the_health_message() -> None:
    stats = Stats()
    stats.add(Counter.LATE_WINDOWS, 2)
    stats.add(Counter.ESTIMATES, 9)
    assert stats.losses() == {
        "overflows": 0,
        "dropped_samples": 0,
        "overwritten_frames": 0,
        "late_windows": 2,
        "bad_samples": 0,
        "skipped_updates": 0,
        "faulty_updates": 0,
    }


def test_losses_in_words() -> None:
    server = Stats()
    session, other = Stats(parent=server), Stats(parent=server)
    assert server.loss_text() == "nothing lost"
    session.add_lost(44_100, 44_100)
    other.add_lost(24_000, 48_000)
    other.add_lost(1, 48_000)
    server.add(Counter.LATE_WINDOWS, 2)
    assert session.loss_text() == "1.0 s of audio missing"
    assert server.loss_text() == "1.5 s of audio missing, late windows 2"
    assert server[Counter.DROPPED_SAMPLES] == 44_100 + 24_001
    short = Stats()
    short.add_lost(1, 48_000)
    assert short.loss_text() == "0.1 s of audio missing"


def test_a_session_also_counts_for_its_server() -> None:
    server = Stats()
    one, other = Stats(parent=server), Stats(parent=server)
    one.add(Counter.BAD_SAMPLES, 3)
    other.add(Counter.BAD_SAMPLES, 4)
    one.observe(Timing.QUEUE, 0.002)
    assert (one[Counter.BAD_SAMPLES], other[Counter.BAD_SAMPLES]) == (3, 4)
    assert server[Counter.BAD_SAMPLES] == 7
    assert server.histogram(Timing.QUEUE).count == 1
    assert other.histogram(Timing.QUEUE).count == 0


def test_bucket_bounds_belong_to_the_lower_bucket() -> None:
    stats = Stats()
    for seconds in (0.0, BUCKETS_S[0], BUCKETS_S[0] * 1.01, BUCKETS_S[-1] + 1.0):
        stats.observe(Timing.COMPUTE, seconds)
    values = stats.histogram(Timing.COMPUTE)
    assert values.counts[0] == 2
    assert values.counts[1] == 1
    assert values.counts[-1] == 1
    assert values.count == 4
    assert abs(values.total_s - (BUCKETS_S[0] * 2.01 + BUCKETS_S[-1] + 1.0)) < 1e-12


def test_counts_from_several_threads_are_exact() -> None:
    stats = Stats(parent=(parent := Stats()))

    def work() -> None:
        for _ in range(2000):
            stats.add(Counter.ESTIMATES)
            stats.observe(Timing.BUFFER, 0.01)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stats[Counter.ESTIMATES] == parent[Counter.ESTIMATES] == 8000
    assert parent.histogram(Timing.BUFFER).count == 8000


def test_every_counter_and_timing_has_a_help_text() -> None:
    assert set(HELP) == set(Counter)
    assert set(TIMING_HELP) == set(Timing)
    assert set(LOSSES) <= set(Counter)
