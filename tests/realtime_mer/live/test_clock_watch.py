"""Steps of the wall clock and sleep of the computer."""

from __future__ import annotations

import pytest
from support import ManualClock

from realtime_mer.clock import SystemClock
from realtime_mer.live.clock_watch import ClockWatch, Gap

NOTHING = Gap(0.0, ())


@pytest.mark.parametrize(
    ("step_s", "to"),
    [(3600.0, "2026-01-02T04:04:06.000Z"), (-3600.0, "2026-01-02T02:04:06.000Z")],
)
def test_a_clock_that_is_set_is_told_once(step_s: float, to: str) -> None:
    clock = ManualClock()
    watch = ClockWatch(clock)
    clock.advance(1.0)
    clock.set_wall(step_s)
    gap = watch.look()
    assert gap.slept_s == 0.0
    assert [notice.code for notice in gap.notices] == ["clock_changed"]
    assert f"from 2026-01-02T03:04:06.000Z to {to};" in gap.notices[0].message
    clock.advance(1.0)
    assert watch.look() == NOTHING


def test_a_clock_that_is_slewed_is_not_told() -> None:
    clock = ManualClock()
    watch = ClockWatch(clock)
    for _ in range(10):
        clock.advance(1.0)
        clock.set_wall(0.5)  # a thousand times what systems do
        assert watch.look() == NOTHING


def test_sleep_is_told_and_no_change_of_the_clock() -> None:
    clock = ManualClock()
    watch = ClockWatch(clock)
    clock.advance(1.0)
    clock.sleep(90.0)
    gap = watch.look()
    assert gap.slept_s == pytest.approx(90.0)
    assert [notice.code for notice in gap.notices] == ["computer_slept"]
    assert gap.notices[0].message == (
        "the computer slept for 90 s (until 2026-01-02T03:05:36.000Z)"
    )
    assert watch.look() == NOTHING


def test_a_clock_that_is_set_when_the_computer_wakes() -> None:
    clock = ManualClock()
    watch = ClockWatch(clock)
    clock.sleep(90.0)
    clock.set_wall(-7200.0)
    assert [n.code for n in watch.look().notices] == ["computer_slept", "clock_changed"]


def test_a_program_that_is_stopped_is_neither() -> None:
    clock = ManualClock()
    watch = ClockWatch(clock)
    clock.advance(3600.0)
    assert watch.look() == NOTHING


def test_a_program_that_is_stopped_between_two_readings_is_neither() -> None:
    class Stopped(ManualClock):
        stop_s = 0.0

        def boottime(self) -> float:
            self.advance(self.stop_s)
            self.stop_s = 0.0
            return super().boottime()

    clock = Stopped()
    watch = ClockWatch(clock)
    clock.stop_s = 60.0
    assert watch.look() == NOTHING


def test_the_clocks_of_the_machine_agree() -> None:
    watch = ClockWatch(SystemClock())
    assert watch.look() == NOTHING
