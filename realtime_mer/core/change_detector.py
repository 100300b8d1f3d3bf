"""Change events from the estimates of one stream: causal, deterministic, without a clock."""

from __future__ import annotations

import math

from realtime_mer.core.config import MAX_HOP_S
from realtime_mer.core.events import Event, EventKind
from realtime_mer.core.silence import SILENCE_TICKS
from realtime_mer.core.ticks import TICKS_PER_SECOND
from realtime_mer.core.types import Estimate, State

# Times are seconds of the stream. The constants were chosen on one half of the songs of
# benchmarks/studies/events.py.

# The music has begun, or stopped, where the other state has lasted this long.
DWELL_S = 1.0
# The pipeline calls a pause silence after this long.
SILENCE_S = SILENCE_TICKS / TICKS_PER_SECOND
# And something speech or noise when it has heard it for about this long.
SOUND_LAG_S = 2.5
# Music of this level or less begins and ends with the strength 0, music of 0 dBFS with 1.
QUIET_DB = -60.0
# Levels above it are averaged with this time constant.
LEVEL_S = 10.0

# Arousal, the mean of the main and the fast value, has risen where it is this many half-widths of
# the fast interval above its lowest value of late, and fallen likewise.
MOVE_DISTANCE = 0.5
# The strength is 1 at this distance.
FULL_DISTANCE = 1.5
# The lowest and the highest value of late come nearer by a half-width in this time.
FORGET_S = 15.0
# Values are not settled before this much music.
WARM_UP_S = 4.0
# After an event both extremes follow arousal for this long, so that one rise is one event.
MOVE_HOLD_S = 6.0
# A rise is at most this old when it is found.
MOST_LAG_S = 4.0

# Another section begins where the novelty is this high.
SECTION_NOVELTY = 0.34
# The next one can begin once the novelty was below this, after this time.
REARM_NOVELTY = 0.25
SECTION_HOLD_S = 8.0
# The novelty is that high so long after the change: it compares the newest two seconds.
SECTION_LAG_S = 2.0

# The precision of an estimate's JSON form.
_VALUE_DECIMALS = 6
_NOVELTY_DECIMALS = 4
_MIN_HALF_WIDTH = 1e-3
# Times are multiples of 0.1 s, but not exactly.
_TOLERANCE_S = 1e-6


class ChangeDetector:
    """Finds the changes of the music in the estimates of one stream.

    It reads what the JSON form of an estimate holds, in the same precision, so a recording of the
    estimates gives the same events. Estimates that repeat the last values move nothing but the
    state: there is no music in silence, speech and noise. In `State.STALLED` nothing is known, so
    nothing changes.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start a new stream."""
        self._plays = False
        self._begun = False
        self._last_s = 0.0
        # The last estimate of the present state, and the first one of the other state after it.
        self._steady_s = 0.0
        self._other_s: float | None = None
        self._changed_s = 0.0  # when the present state began
        self._level_db = QUIET_DB
        self._mood: str | None = None
        self._mood_strength = 0.0
        self._settles = False
        self._start_values(0.0)

    def add(self, estimate: Estimate) -> list[Event]:
        """Take in the next estimate and return the events that it completes, often none.

        A change has the time at which it began, as well as that can be told; the mood changes with
        its word. The music that stops ends its mood.
        """
        if estimate.state is State.STALLED:
            return []
        t = round(estimate.t, 3)
        if not self._begun:
            self._begun = True
            # A recording may begin in the middle of a stream.
            self._steady_s = max(0.0, t - MAX_HOP_S)
            self._start_values(t)
        events = self._music(estimate, t)
        if not estimate.state.repeats:
            settles = estimate.state is State.SETTLING
            if settles and not self._settles:
                self._start_values(t)
            self._settles = settles
            if self._plays:
                events += self._moods(estimate, t)
            events += self._moves(estimate, t)
            events += self._sections(estimate, t)
        self._last_s = t
        return events

    def _start_values(self, t: float) -> None:
        """Forget the values of the piece before."""
        self._start_s = t
        self._moved_s = t
        self._lowest = self._highest = 0.0
        self._lowest_s = self._highest_s = t
        self._move_hold_s = t + WARM_UP_S
        self._section_hold_s = t + WARM_UP_S
        self._armed = True

    def _music(self, estimate: Estimate, t: float) -> list[Event]:
        """Find where music begins and stops."""
        level_db = round(estimate.level_db, 2)
        if estimate.state.repeats is not self._plays:
            self._other_s = None
            self._steady_s = t
            if self._plays and level_db > QUIET_DB:
                rate = 1.0 - math.exp((self._last_s - t) / LEVEL_S)
                self._level_db += rate * (level_db - self._level_db)
            return []
        if self._other_s is None:
            self._other_s = t
        if t - self._other_s < DWELL_S - _TOLERANCE_S:
            return []
        began_s = self._steady_s
        if not self._plays:
            self._level_db = level_db
        elif estimate.state is State.SILENCE:
            began_s = self._other_s - SILENCE_S
        else:
            began_s -= SOUND_LAG_S
        self._changed_s = began_s = max(self._changed_s, began_s)
        strength = _clip(1.0 - self._level_db / QUIET_DB)
        kind = EventKind.SILENCE if self._plays else EventKind.MUSIC
        self._plays = not self._plays
        self._other_s = None
        self._steady_s = t
        events = [Event(kind, began_s, t, estimate.utc, strength)]
        if self._plays:
            # After speech or noise the same piece goes on, but they are still in its windows.
            self._move_hold_s = max(self._move_hold_s, t + WARM_UP_S)
            self._section_hold_s = max(self._section_hold_s, t + SECTION_HOLD_S)
        else:
            events += self._leave(estimate, t)
        return events

    def _moods(self, estimate: Estimate, t: float) -> list[Event]:
        """Find where the mood word changes."""
        mood = estimate.mood
        if mood == self._mood:
            return []
        events = self._leave(estimate, t)
        self._mood = mood
        if mood is not None:
            values = estimate.scaled or estimate
            valence = round(values.valence, _VALUE_DECIMALS)
            arousal = round(values.arousal, _VALUE_DECIMALS)
            self._mood_strength = _clip(math.hypot(valence, arousal))
            events.append(
                Event(EventKind.MOOD_ENTER, t, t, estimate.utc, self._mood_strength, mood)
            )
        return events

    def _leave(self, estimate: Estimate, t: float) -> list[Event]:
        mood, self._mood = self._mood, None
        if mood is None:
            return []
        return [Event(EventKind.MOOD_LEAVE, t, t, estimate.utc, self._mood_strength, mood)]

    def _moves(self, estimate: Estimate, t: float) -> list[Event]:
        """Find where arousal moves away from its lowest or highest value of late."""
        fast = estimate.fast or estimate
        low, high = (
            round(fast.arousal_low, _VALUE_DECIMALS),
            round(fast.arousal_high, _VALUE_DECIMALS),
        )
        half = max((high - low) / 2, _MIN_HALF_WIDTH)
        value = (
            round(estimate.arousal, _VALUE_DECIMALS) + round(fast.arousal, _VALUE_DECIMALS)
        ) / 2
        forgotten = half * (t - self._moved_s) / FORGET_S
        self._moved_s = t
        self._lowest += forgotten
        self._highest -= forgotten
        holds = t < self._move_hold_s - _TOLERANCE_S
        if holds or value <= self._lowest:
            self._lowest, self._lowest_s = value, t
        if holds or value >= self._highest:
            self._highest, self._highest_s = value, t
        rise, drop = (value - self._lowest) / half, (self._highest - value) / half
        if max(rise, drop) < MOVE_DISTANCE:
            return []
        kind, began_s = EventKind.RISE, self._lowest_s
        if drop > rise:
            kind, began_s = EventKind.DROP, self._highest_s
        self._lowest = self._highest = value
        self._lowest_s = self._highest_s = t
        self._move_hold_s = t + MOVE_HOLD_S
        strength = _clip(max(rise, drop) / FULL_DISTANCE)
        return [Event(kind, max(began_s, t - MOST_LAG_S), t, estimate.utc, strength)]

    def _sections(self, estimate: Estimate, t: float) -> list[Event]:
        """Find where the sound differs from what was before."""
        if estimate.novelty is None:
            return []
        novelty = round(estimate.novelty, _NOVELTY_DECIMALS)
        if novelty < REARM_NOVELTY:
            self._armed = True
        if not self._armed or novelty < SECTION_NOVELTY or t < self._section_hold_s - _TOLERANCE_S:
            return []
        self._armed = False
        self._section_hold_s = t + SECTION_HOLD_S
        began_s = max(self._start_s, t - SECTION_LAG_S)
        return [Event(EventKind.SECTION, began_s, t, estimate.utc, _clip(2 * novelty))]


def _clip(value: float) -> float:
    return min(max(value, 0.0), 1.0)
