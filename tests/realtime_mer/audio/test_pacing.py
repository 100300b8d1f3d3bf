import pytest
from support import ManualClock

from realtime_mer.audio.pacing import DRIFT_TOLERANCE, LIVE_LEAD_S, Pacer


def test_blocks_are_due_when_they_would_have_been_recorded() -> None:
    clock = ManualClock()
    pacer = Pacer(1000, clock)
    assert pacer.delay_s(500) == pytest.approx(0.5)
    clock.advance(0.5)
    assert pacer.delay_s(500) == pytest.approx(0.5)
    clock.advance(0.7)  # the reader was busy: a shorter delay follows
    assert pacer.delay_s(500) == pytest.approx(0.3)


def test_a_slightly_late_stream_catches_up_and_a_very_late_one_restarts() -> None:
    clock = ManualClock()
    pacer = Pacer(1000, clock)
    pacer.delay_s(100)
    clock.advance(1.0)
    assert pacer.delay_s(100) == 0.0
    assert pacer.late_s == pytest.approx(0.8)
    clock.advance(10.0)
    assert pacer.delay_s(100) == 0.0
    assert pacer.late_s == 0.0
    assert pacer.delay_s(100) == pytest.approx(0.1)


def test_a_live_producer_with_a_fast_clock_never_backs_up() -> None:
    """A sound card that is 0.05 % fast, for ten hours: it is never delayed for long."""
    clock = ManualClock()
    pacer = Pacer(1000, clock, exact=False)
    assert DRIFT_TOLERANCE > 1.0005
    for _ in range(36_000):
        delay = pacer.delay_s(1000)
        assert delay <= 1.0
        clock.advance(1.0 / 1.0005)
    assert pacer.delay_s(1000) < 1.0


def test_a_backlog_of_a_live_producer_passes_at_once() -> None:
    clock = ManualClock()
    pacer = Pacer(1000, clock, exact=False)
    assert [pacer.delay_s(100) for _ in range(8)] == [0.0] * 8
    for _ in range(1000):
        clock.advance(0.1)
        assert pacer.delay_s(100) == 0.0


def test_a_pipe_with_a_fast_writer_is_paced() -> None:
    clock = ManualClock()
    began = clock.now
    pacer = Pacer(1000, clock, exact=False)
    for _ in range(600):
        clock.advance(pacer.delay_s(100))
    assert clock.now - began == pytest.approx(60.0 / DRIFT_TOLERANCE - LIVE_LEAD_S, abs=0.001)


def test_a_live_producer_does_not_catch_up_after_a_pause() -> None:
    clock = ManualClock()
    pacer = Pacer(1000, clock, exact=False)
    pacer.delay_s(100)
    clock.advance(3600.0)
    without_delay = 0
    while pacer.delay_s(100) == 0.0:
        without_delay += 1
    assert without_delay <= 12
