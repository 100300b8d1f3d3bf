"""When the next beat comes: for what a show does on the beat or at the next bar."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from realtime_mer.clock import Clock, SystemClock
from realtime_mer.closable import Closable
from realtime_mer.core.events import RhythmEvent, RhythmKind
from realtime_mer.live.hub import Hub

QUEUE_ITEMS = 64
# Without a beat for this long, the tempo counts as unknown.
MAX_AGE_S = 2.0
# How far the clocks of the sound and of the computer drift apart, seconds per second; a beat that
# is later than this by more than `JUMP_S` comes from an input that has paused.
MAX_DRIFT = 0.002
JUMP_S = 0.25


class TempoClock(Protocol):
    """Knows the tempo and when the next beat comes. Callable from any thread."""

    def seconds_to_beat(self, now_s: float, beats: int = 1) -> float | None:
        """Return the time until the next beat whose number is a multiple of `beats`.

        Args:
            now_s: a time of `Clock.monotonic` in seconds, about the present.
            beats: such as 4 for the next bar of four beats; at least 1.

        Returns:
            Seconds, 0 or more; None while no tempo is known.
        """
        ...


def beats_until(position: float, beats: int) -> float:
    """Return the beats from a position, in beats, to the next multiple of `beats`."""
    # A beat that is now, but for rounding, is the next one.
    return max(0.0, math.ceil(position / beats - 1e-9) * beats - position)


@dataclass(frozen=True, slots=True)
class _Beat:
    """The newest beat.

    Attributes:
        number: beats before it.
        t: stream time in seconds.
        heard_at: monotonic time of its sound, as near as is known.
        period_s: seconds to the next beat.
        offset_s: monotonic time less stream time.
    """

    number: int
    t: float
    heard_at: float
    period_s: float
    offset_s: float


class BeatClock(Closable):
    """The beats of the music that is heard. While it is open, beats are looked for.

    Beats are counted from the first one since the tempo is known. Where a bar begins is not known,
    so `beats=4` is every fourth beat, not the first of a bar.

    Args:
        hub: publishes the beats.
        clock: the time source.
    """

    def __init__(self, hub: Hub, *, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._hub = hub
        # Replaced as a whole, so that other threads read what belongs together.
        self._newest: _Beat | None = None
        self._subscription = hub.subscribe_bounded(QUEUE_ITEMS, self._take, rhythm=True)

    def seconds_to_beat(self, now_s: float, beats: int = 1) -> float | None:
        newest = self._newest
        if newest is None or now_s - newest.heard_at > MAX_AGE_S:
            return None
        number = newest.number + (now_s - newest.heard_at) / newest.period_s
        return beats_until(number, beats) * newest.period_s

    def close(self) -> None:
        """Stop looking for beats."""
        self._hub.unsubscribe(self._subscription)

    def _take(self) -> None:
        """Note when beats arrive, in the publisher's thread."""
        now = self._clock.monotonic()
        for item in self._subscription.take():
            if isinstance(item, RhythmEvent) and item.bpm is None:
                self._newest = None
            elif isinstance(item, RhythmEvent) and item.kind is RhythmKind.BEAT:
                self._newest = self._beat(item, now)

    def _beat(self, event: RhythmEvent, now: float) -> _Beat:
        assert event.bpm is not None
        period_s = 60.0 / event.bpm
        before = self._newest
        if before is None:
            return _Beat(0, event.t, now, period_s, now - event.t)
        number = before.number + max(1, round((event.t - before.t) / period_s))
        # A beat arrives late by what is left of its block, and never early: the least late counts.
        expected_s = before.offset_s + MAX_DRIFT * (event.t - before.t)
        offset_s = now - event.t
        if offset_s < expected_s + JUMP_S:
            offset_s = min(offset_s, expected_s)
        return _Beat(number, event.t, event.t + offset_s, period_s, offset_s)
