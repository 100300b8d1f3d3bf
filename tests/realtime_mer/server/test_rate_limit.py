"""The throttle: a burst, then a steady rate."""

from __future__ import annotations

import pytest
from support import ManualClock

from realtime_mer.server.rate_limit import RateLimit


def test_a_burst_and_then_a_steady_rate() -> None:
    clock = ManualClock()
    throttle = RateLimit(burst_s=0.5, clock=clock)
    assert [throttle.allows(0.1) for _ in range(6)] == [True] * 5 + [False]
    clock.advance(0.1)
    assert [throttle.allows(0.1) for _ in range(2)] == [True, False]
    clock.advance(100.0)
    assert [throttle.allows(0.1) for _ in range(6)] == [True] * 5 + [False]


def test_the_delay_is_what_exceeds_the_burst() -> None:
    clock = ManualClock()
    throttle = RateLimit(burst_s=1.0, clock=clock)
    assert throttle.delay_s(1.0) == 0.0
    assert throttle.delay_s(0.25) == pytest.approx(0.25)
    clock.advance(0.25)
    assert throttle.delay_s(0.0) == 0.0
    assert throttle.delay_s(2.0) == pytest.approx(2.0)
