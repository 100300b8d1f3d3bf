"""Filters of shaped values, for frames that come at any pace."""

from __future__ import annotations

import math
from typing import Protocol

_SPEED_CUTOFF_HZ = 1.0


class Filter(Protocol):
    """Smooths one value."""

    def step(self, value: float, elapsed_s: float) -> float:
        """Take in the next value, `elapsed_s` after the one before; return the smoothed one."""
        ...


class Exponential:
    """A low-pass filter of first order.

    Args:
        value: where it begins.
        time_constant_s: seconds until 63 % of a step is reached.
    """

    def __init__(self, value: float, *, time_constant_s: float) -> None:
        self._value = value
        self._time_constant_s = time_constant_s

    def step(self, value: float, elapsed_s: float) -> float:
        self._value += (value - self._value) * -math.expm1(-elapsed_s / self._time_constant_s)
        return self._value


class OneEuro:
    """A low-pass filter whose cutoff grows with the speed (Casiez, Roussel and Vogel, 2012).

    Args:
        value: where it begins.
        cutoff_hz: cutoff frequency at rest.
        beta: growth of the cutoff in Hz for a speed of 1 per second.
    """

    def __init__(self, value: float, *, cutoff_hz: float, beta: float) -> None:
        self._value = self._newest = value
        self._speed = 0.0
        self._cutoff_hz = cutoff_hz
        self._beta = beta

    def step(self, value: float, elapsed_s: float) -> float:
        if elapsed_s <= 0.0:
            return self._value
        speed = (value - self._newest) / elapsed_s
        self._newest = value
        self._speed += (speed - self._speed) * _share(_SPEED_CUTOFF_HZ, elapsed_s)
        cutoff_hz = self._cutoff_hz + self._beta * abs(self._speed)
        self._value += (value - self._value) * _share(cutoff_hz, elapsed_s)
        return self._value


class SlewLimit:
    """Limits how fast a value changes.

    Args:
        value: where it begins.
        per_s: greatest change per second.
    """

    def __init__(self, value: float, *, per_s: float) -> None:
        self._value = value
        self._per_s = per_s

    def step(self, value: float, elapsed_s: float) -> float:
        most = self._per_s * elapsed_s
        self._value += min(most, max(-most, value - self._value))
        return self._value


def _share(cutoff_hz: float, elapsed_s: float) -> float:
    turn = 2.0 * math.pi * cutoff_hz * elapsed_s
    return turn / (turn + 1.0)
