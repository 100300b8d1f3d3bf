"""How a report writes times and values."""

from __future__ import annotations

import pytest

from realtime_mer.report.text import clock, length, percent, signed


@pytest.mark.parametrize(
    ("t_s", "text"), [(0.0, "0:00"), (59.9, "0:59"), (245.0, "4:05"), (3845.5, "1:04:05")]
)
def test_clock(t_s: float, text: str) -> None:
    assert clock(t_s) == text


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
def test_length(seconds: float, text: str) -> None:
    assert length(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.324, "+0.32"), (-0.1, "\u22120.10"), (0.0, "0.00"), (-0.004, "0.00")]
)
def test_signed(value: float, text: str) -> None:
    assert signed(value) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "0 %"), (0.001, "< 1 %"), (0.125, "13 %"), (1.0, "100 %")]
)
def test_percent(share: float, text: str) -> None:
    assert percent(share) == text
