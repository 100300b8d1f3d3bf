"""What a pool of streams does when it cannot keep up: lower rates before anything is dropped.

The measure is the standing wait: the shortest time that any stream waited for a worker within an
interval. A burst, such as many streams that fall due at one moment, is worked off before the
interval ends and leaves no standing wait; more work than the machine can do never is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Protocol

from realtime_mer.core.lag_window import TICKS_PER_STEP

# A standing wait over this share of the hop, and over so many seconds, is too much.
TARGET_SHARE, MIN_TARGET_S = 0.1, 0.02
MIN_INTERVAL_S = 0.5
# Of the streams at the highest rate at least this share is slowed down at a time, or sped up again.
MIN_SHARE = 1 / 8
# Rates go up again after so many calm intervals, and every second one from then on. Where that was
# too early, twice as many must be calm the next time.
CALM_INTERVALS, MAX_CALM_INTERVALS, PACE = 10, 160, 2
# Calm means, besides no standing wait, workers that were idle for the rest of the time.
CALM_BUSY_SHARE = 0.75
# Beyond this nothing more is saved: the music must be heard in any case.
LONGEST_PERIOD_S = 4.5


def rates(hop_s: float) -> tuple[int, ...]:
    """The rates of a stream: an estimate every so many hops, from full to lowest.

    They double, so that no stream comes half as often as another for long. Hops that are no
    multiple of the model's step of half a second go to one that is first: their windows interleave,
    and between those there would be nothing to save.
    """
    first = 2 if round(hop_s * 10) % TICKS_PER_STEP == 0 else TICKS_PER_STEP
    steps = [first * 2**n for n in range(3)]
    return (1, *(every for every in steps if every * hop_s <= LONGEST_PERIOD_S + 1e-9))


class Sheddable(Protocol):
    """A stream whose rate can be lowered.

    Attributes:
        level: place in `rates`; 0 is the full rate.
        turn: when its level changed last, counted over all streams; 0 for never.
    """

    level: int
    turn: int


class LoadShedding:
    """Watches how long streams wait, and says whose rate changes. Not thread-safe.

    Args:
        hop_s: of the streams, in seconds.
        now: the time at the start, as `Clock.monotonic` tells it.
    """

    def __init__(self, hop_s: float, now: float) -> None:
        self.levels = len(rates(hop_s))
        self.target_s = max(TARGET_SHARE * hop_s, MIN_TARGET_S)
        self.interval_s = max(hop_s, MIN_INTERVAL_S)
        self._hop_s = hop_s
        self._turns = 0
        self._calm_intervals = 0
        self._calm_needed = CALM_INTERVALS
        self._intervals = 0
        self._raised_at = -math.inf
        self._began = now
        self._least_wait_s = math.inf
        self._busy_s = 0.0

    def observe(self, wait_s: float, busy_s: float) -> None:
        """Takes what one worker's turn showed.

        Args:
            wait_s: the shortest time that a stream of this turn had waited for the worker.
            busy_s: how long the turn took.
        """
        self._least_wait_s = min(self._least_wait_s, wait_s)
        self._busy_s += busy_s

    def adjust(self, streams: Iterable[Sheddable], workers: int, now: float) -> None:
        """Changes the levels of some streams where an interval is over and it is time to.

        Args:
            streams: all of them.
            workers: how many threads work on them.
            now: `Clock.monotonic`.
        """
        elapsed_s = now - self._began
        if elapsed_s < self.interval_s:
            return
        wait_s, busy_share = self._least_wait_s, self._busy_s / (elapsed_s * max(workers, 1))
        self._begin(now)
        self._intervals += 1
        if math.isinf(wait_s):
            return  # nobody was served, so nothing is known
        if wait_s > self.target_s:
            self._calm_intervals = 0
            self._slow_down(list(streams), wait_s / self._hop_s)
        elif busy_share > CALM_BUSY_SHARE or wait_s > self.target_s / 2:
            self._calm_intervals = 0
        else:
            self._calm_intervals += 1
            if self._calm_intervals >= self._calm_needed:
                self._calm_intervals -= PACE
                self._speed_up(list(streams))

    def lower(self, stream: Sheddable) -> bool:
        """Lowers one stream's rate by a level; False where it is the lowest already."""
        if stream.level + 1 >= self.levels:
            return False
        self._change(stream, 1)
        return True

    def _begin(self, now: float) -> None:
        self._began = now
        self._least_wait_s = math.inf
        self._busy_s = 0.0

    def _slow_down(self, streams: list[Sheddable], share: float) -> None:
        """The longer the wait, the more streams; those that were slowed longest ago first."""
        if self._intervals - self._raised_at <= CALM_INTERVALS:
            self._calm_needed = min(2 * self._calm_needed, MAX_CALM_INTERVALS)
            self._raised_at = -math.inf
        least = min((stream.level for stream in streams), default=0)
        candidates = sorted((s for s in streams if s.level == least), key=lambda s: s.turn)
        for stream in candidates[: math.ceil(min(max(share, MIN_SHARE), 1.0) * len(streams))]:
            self.lower(stream)

    def _speed_up(self, streams: list[Sheddable]) -> None:
        most = max((stream.level for stream in streams), default=0)
        if most == 0:
            # All is as it was; what was learnt of this load is of no more use.
            self._calm_needed = CALM_INTERVALS
            self._calm_intervals = 0
            return
        candidates = sorted((s for s in streams if s.level == most), key=lambda s: s.turn)
        for stream in candidates[: math.ceil(MIN_SHARE * len(streams))]:
            self._change(stream, -1)
        self._raised_at = self._intervals

    def _change(self, stream: Sheddable, by: int) -> None:
        self._turns += 1
        stream.level += by
        stream.turn = self._turns
