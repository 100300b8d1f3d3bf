"""Times as people read them."""

from __future__ import annotations

import pytest

from realtime_mer.clock import clock_text, duration_text, exact_clock_text


@pytest.mark.parametrize(
    ("t_s", "text"), [(0.0, "0:00"), (59.9, "0:59"), (245.0, "4:05"), (3845.5, "1:04:05")]
)
def test_a_time(t_s: float, text: str) -> None:
    assert clock_text(t_s) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (0.3, "0.3 s"),
        (45.2, "45 s"),
        (59.7, "1 min"),
        (125.0, "2 min 5 s"),
        (725.0, "12 min"),
        (3599.0, "1 h"),
        (3725.0, "1 h 2 min"),
    ],
)
def test_a_duration(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("t_s", "text"), [(0.3, "0:00.3"), (59.96, "0:59.9"), (245.0, "4:05.0"), (3845.5, "1:04:05.5")]
)
def test_a_time_with_tenths(t_s: float, text: str) -> None:
    assert exact_clock_text(t_s) == text
