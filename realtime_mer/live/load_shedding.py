"""Load shedding: under overload, streams get lower rates before anything is dropped.

The measure is the standing wait: the shortest time that any stream waited for a worker within an
interval. A burst, such as many streams that become due at once, is processed within the interval
and leaves no standing wait. Permanent overload does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Protocol

from realtime_mer.core.ticks import TICKS_PER_SECOND, TICKS_PER_STEP

# Maximum acceptable standing wait: this share of the hop, at least this many seconds.
TARGET_SHARE, MIN_TARGET_S = 0.1, 0.02
MIN_INTERVAL_S = 0.5
# Minimum share of all streams whose rate changes at a time.
MIN_SHARE = 1 / 8
# Rates rise after this many calm intervals, and then after every `CALM_STEP` further ones. If an
# overload follows too soon, the number doubles for the next time.
CALM_INTERVALS, MAX_CALM_INTERVALS, CALM_STEP = 10, 160, 2
# In a calm interval no wait is standing, and the workers are busy for at most this share of it.
CALM_BUSY_SHARE = 0.75
# Longer periods save nothing more, because all audio is encoded in any case.
LONGEST_PERIOD_S = 4.5


def rates(hop_s: float) -> tuple[int, ...]:
    """Return the possible rates of a stream in hops per estimate, from the full rate down.

    Each rate is half of the one before, so that all streams are close to each other. If the hop is
    not a multiple of the model's step of 0.5 s, windows interleave; the second rate is then the
    first at which they do not, because rates in between save nothing.
    """
    aligned = round(hop_s * TICKS_PER_SECOND) % TICKS_PER_STEP == 0
    second = 2 if aligned else TICKS_PER_STEP
    lower = [second * 2**n for n in range(3)]
    return (1, *(hops for hops in lower if hops * hop_s <= LONGEST_PERIOD_S + 1e-9))


class Sheddable(Protocol):
    """A stream whose rate can be lowered.

    Attributes:
        level: index in `rates`; 0 is the full rate.
        last_change: number of the last change of its level, counted over all streams; 0 if none.
    """

    level: int
    last_change: int


class LoadShedding:
    """Observes how long streams wait and changes their levels. Not thread-safe.

    Args:
        hop_s: hop of the streams, in seconds.
        now: time at the start (`Clock.monotonic`).
    """

    def __init__(self, hop_s: float, now: float) -> None:
        self.levels = len(rates(hop_s))
        self.target_s = max(TARGET_SHARE * hop_s, MIN_TARGET_S)
        self.interval_s = max(hop_s, MIN_INTERVAL_S)
        self._hop_s = hop_s
        self._changes = 0
        self._calm_intervals = 0
        self._calm_needed = CALM_INTERVALS
        self._intervals = 0
        self._raised_at = -math.inf
        self._began = now
        self._least_wait_s = math.inf
        self._busy_s = 0.0

    def observe(self, wait_s: float, busy_s: float) -> None:
        """Record one turn of a worker.

        Args:
            wait_s: shortest time that a stream of this turn waited for the worker.
            busy_s: duration of the turn.
        """
        self._least_wait_s = min(self._least_wait_s, wait_s)
        self._busy_s += busy_s

    def adjust(
        self,
        streams: Iterable[Sheddable],
        workers: int,
        now: float,
        relieve: Callable[[float], bool] | None = None,
    ) -> None:
        """Change the levels of some streams, at most once per interval.

        Args:
            streams: all streams.
            workers: number of worker threads.
            now: `Clock.monotonic`.
            relieve: called under overload with the wait as a share of the hop; if it returns True,
                others had to give way, and the streams keep their levels.
        """
        elapsed_s = now - self._began
        if elapsed_s < self.interval_s:
            return
        wait_s, busy_share = self._least_wait_s, self._busy_s / (elapsed_s * max(workers, 1))
        self._start_interval(now)
        self._intervals += 1
        if math.isinf(wait_s):
            return  # no turn in this interval
        if wait_s > self.target_s:
            self._calm_intervals = 0
            share = wait_s / self._hop_s
            if relieve is None or not relieve(share):
                self._slow_down(list(streams), share)
        elif busy_share > CALM_BUSY_SHARE or wait_s > self.target_s / 2:
            self._calm_intervals = 0
        else:
            self._calm_intervals += 1
            if self._calm_intervals >= self._calm_needed:
                self._calm_intervals -= CALM_STEP
                self._speed_up(list(streams))

    def give_way(self, streams: Iterable[Sheddable], share: float) -> bool:
        """Lower the levels of some streams for the sake of others that matter more.

        Args:
            streams: all streams.
            share: the share of the streams whose level changes, 0 to 1.

        Returns:
            Whether there was anything to lower.
        """
        lowerable = [stream for stream in streams if stream.level + 1 < self.levels]
        if lowerable:
            self._calm_intervals = 0
            self._slow_down(lowerable, share)
        return bool(lowerable)

    def lower(self, stream: Sheddable) -> bool:
        """Lower one stream's rate by a level; return False if it is already the lowest."""
        if stream.level + 1 >= self.levels:
            return False
        self._change(stream, 1)
        return True

    def _start_interval(self, now: float) -> None:
        self._began = now
        self._least_wait_s = math.inf
        self._busy_s = 0.0

    def _slow_down(self, streams: list[Sheddable], share: float) -> None:
        """Lower a share of the streams; first those whose level changed the longest time ago."""
        if self._intervals - self._raised_at <= CALM_INTERVALS:
            self._calm_needed = min(2 * self._calm_needed, MAX_CALM_INTERVALS)
            self._raised_at = -math.inf
        least = min((stream.level for stream in streams), default=0)
        candidates = sorted((s for s in streams if s.level == least), key=lambda s: s.last_change)
        for stream in candidates[: math.ceil(min(max(share, MIN_SHARE), 1.0) * len(streams))]:
            self.lower(stream)

    def _speed_up(self, streams: list[Sheddable]) -> None:
        most = max((stream.level for stream in streams), default=0)
        if most == 0:
            # All streams are at the full rate: the next overload starts from the defaults.
            self._calm_needed = CALM_INTERVALS
            self._calm_intervals = 0
            return
        candidates = sorted((s for s in streams if s.level == most), key=lambda s: s.last_change)
        for stream in candidates[: math.ceil(MIN_SHARE * len(streams))]:
            self._change(stream, -1)
        self._raised_at = self._intervals

    def _change(self, stream: Sheddable, by: int) -> None:
        self._changes += 1
        stream.level += by
        stream.last_change = self._changes
