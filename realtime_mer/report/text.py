"""How a report writes times and values."""

from __future__ import annotations

import math

MINUS = "\u2212"


def clock(t_s: float) -> str:
    """Return a stream time such as `4:05` or `1:04:05`; the second that it falls in."""
    minutes, seconds = divmod(int(t_s + 1e-6), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def length(seconds: float) -> str:
    """Return a length such as `45 s`, `2 min 5 s`, `12 min` or `1 h 2 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s" if whole or not seconds else f"{seconds:.1f} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 10 and rest:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(whole / 60), 60)
    if not hours:
        return f"{minutes} min"
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


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
