"""How a report writes values."""

from __future__ import annotations

import pytest

from realtime_mer.report.text import percent, signed


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
