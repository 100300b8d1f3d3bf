"""How a report writes values."""

from __future__ import annotations

import math

MINUS = "\u2212"


def signed(value: float) -> str:
    """Return a value with its sign and two decimals; zero has none."""
    text = f"{abs(value):.2f}"
    if float(text) == 0.0:
        return text
    return f"{'+' if value > 0.0 else MINUS}{text}"


def percent(share: float) -> str:
    """Return a share as a percentage; only what is nothing is 0 %."""
    if 0.0 < share < 0.005:
        return "< 1 %"
    return f"{math.floor(100.0 * share + 0.5)} %"
