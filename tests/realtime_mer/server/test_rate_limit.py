"""The rate limit: a burst, then a steady rate."""

from __future__ import annotations

import pytest
from support import ManualClock

from realtime_mer.server.rate_limit import RateLimit


def test_burst_then_steady_rate() -> None:
    clock = ManualClock()
    limit = RateLimit(burst_s=0.5, clock=clock)
    assert [limit.allows(0.1) for _ in range(6)] == [True] * 5 + [False]
    clock.advance(0.1)
    assert [limit.allows(0.1) for _ in range(2)] == [True, False]
    clock.advance(100.0)
    assert [limit.allows(0.1) for _ in range(6)] == [True] * 5 + [False]


def test_delay_is_the_cost_beyond_the_burst() -> None:
    clock = ManualClock()
    limit = RateLimit(burst_s=1.0, clock=clock)
    assert limit.delay_s(1.0) == 0.0
    assert limit.delay_s(0.25) == pytest.approx(0.25)
    clock.advance(0.25)
    assert limit.delay_s(0.0) == 0.0
    assert limit.delay_s(2.0) == pytest.approx(2.0)
