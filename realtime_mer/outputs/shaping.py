"""Shapes estimates for one output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from realtime_mer.core.colour import mood_colour
from realtime_mer.core.events import Event, RhythmEvent
from realtime_mer.core.types import Estimate, State
from realtime_mer.live.show import ControlState
from realtime_mer.outputs.filters import Exponential, Filter, OneEuro, SlewLimit
from realtime_mer.outputs.hall import default_hall_path, load_hall
from realtime_mer.outputs.output import WHOLE_AXIS, Frame, OutputSettings, Policy

BLACK = (0.0, 0.0, 0.0)
MIDDLE = 0.5
Values = tuple[float, float, float, float, float]
"""Valence, arousal, level and the widths of the intervals, each 0 to 1."""


class Shaper:
    """Turns estimates into frames, as `OutputSettings` describes. Used by one thread.

    Args:
        settings: of the output.
        hop_s: seconds between estimates.
        control: returns what was set by hand for this output.

    Raises:
        UserError: the file of the hall is missing or damaged.
    """

    def __init__(
        self,
        settings: OutputSettings,
        *,
        hop_s: float,
        control: Callable[[], ControlState] = ControlState,
    ) -> None:
        self.settings = settings
        self.hop_s = hop_s
        self._control = control
        self._axes = _Axes(settings)
        # Frames that are not more frequent than estimates show each as it is.
        self._glide_s = hop_s if settings.rate_hz * hop_s > 1.0 + 1e-6 else 0.0
        self._policies: dict[State, Policy] = {
            State.SILENCE: settings.on_silence,
            State.SPEECH: settings.on_speech,
            State.NOISE: settings.on_speech,
            State.STALLED: settings.on_stall,
        }
        self._estimate: Estimate | None = None
        self._bpm: float | None = None
        self._policy: Policy | None = None  # None: there is music
        self._policy_at_s = 0.0  # up to when it was followed
        self._at_s = 0.0  # of the newest frame
        # The glide between estimates: from `start` at `begun_s` to `target`; now at `place`.
        self._start = self._target = self._place = (MIDDLE, MIDDLE, 0.0, 1.0, 1.0)
        self._begun_s = 0.0
        self._filters: tuple[tuple[Filter, ...], ...] = ()  # of valence, arousal and level
        # What the policies leave, 0 to 1: of level, dimmer and color; of the way from the middle.
        self._light = 1.0
        self._mood = 1.0
        self._color_of = (MIDDLE, MIDDLE)
        self._color = mood_colour(0.0, 0.0)
        self._shown: Frame | None = None

    @property
    def muted(self) -> bool:
        """Whether nothing is to be sent."""
        return self._control().mute

    def add(self, estimate: Estimate, now_s: float) -> None:
        """Take in the next estimate at a monotonic time in seconds."""
        target = self._axes.values_of(estimate)
        if estimate.state is State.STALLED and self._estimate is not None:
            target = (*target[:2], self._target[2], *target[3:])  # nothing measures the level
        if self._estimate is None:
            self._at_s = self._policy_at_s = now_s
            self._start = self._place = self._target = target
            self._make_filters()
        self._place_at(now_s)
        self._start, self._target, self._begun_s = self._place, target, now_s
        if self._shown is not None and self._control().freeze:
            self._policy_at_s = now_s
        else:
            self._follow_policy(now_s)
        self._estimate = estimate
        self._policy = self._policies.get(estimate.state)

    def add_event(self, event: Event | RhythmEvent) -> None:
        """Take in a change of the music, an onset or a beat."""
        if isinstance(event, RhythmEvent):
            self._bpm = event.bpm

    def end(self) -> None:
        """Take in the end of the session: it counts as a stall."""
        self._policy = self.settings.on_stall

    def take_over(self, other: Shaper, now_s: float) -> None:
        """Go on from where another shaper of the same output is."""
        self._bpm = other._bpm
        if other._estimate is None:
            return
        self._place = self._start = self._target = other._place
        self._estimate, self._at_s, self._begun_s = other._estimate, other._at_s, now_s
        self._light, self._mood, self._shown = other._light, other._mood, other._shown
        self._policy, self._policy_at_s = other._policy, other._policy_at_s
        self._make_filters()
        self.add(other._estimate, now_s)

    def frame(self, now_s: float) -> Frame | None:
        """Return the values at a monotonic time; None before the first estimate and when muted."""
        estimate = self._estimate
        control = self._control()
        if estimate is None or control.mute:
            return None
        if control.freeze and self._shown is not None:
            # The way to the newest estimate and that of the policy go on when values may move.
            self._start, self._begun_s, self._at_s = self._place, now_s, now_s
            self._policy_at_s = now_s
            frame = self._shown
        else:
            frame = self._shown = self._next(estimate, now_s)
        if control.override:
            frame = _overridden(frame, control.override)
        if control.blackout:
            frame = replace(frame, level=0.0, dimmer=0.0, color=BLACK)
        return frame

    def last(self) -> Frame | None:
        """Return what is sent at the end; None to leave the receiver as it is."""
        policy, frame, control = self.settings.on_stall, self._shown, self._control()
        if policy == "hold" or frame is None or control.mute or control.freeze:
            return None
        frame = replace(frame, level=0.0, dimmer=0.0, color=BLACK)
        return replace(frame, valence=MIDDLE, arousal=MIDDLE) if policy == "decay" else frame

    def _next(self, estimate: Estimate, now_s: float) -> Frame:
        elapsed_s = now_s - self._at_s
        self._at_s = now_s
        self._place_at(now_s)
        valence, arousal, level, valence_width, arousal_width = self._place
        if self._filters:
            valence, arousal, level = (
                _filtered(value, filters, elapsed_s)
                for value, filters in zip((valence, arousal, level), self._filters, strict=True)
            )
        self._follow_policy(now_s)
        if self._mood < 1.0:
            valence = MIDDLE + (valence - MIDDLE) * self._mood
            arousal = MIDDLE + (arousal - MIDDLE) * self._mood
        if self._color_of != (valence, arousal):
            self._color_of = (valence, arousal)
            self._color = mood_colour(2.0 * valence - 1.0, 2.0 * arousal - 1.0)
        light, color = self._light, self._color
        if light < 1.0:
            level *= light
            color = (color[0] * light, color[1] * light, color[2] * light)
        return Frame(
            estimate.t,
            valence,
            arousal,
            level,
            valence_width,
            arousal_width,
            estimate.mood,
            estimate.state,
            color,
            light,
            self._bpm,
        )

    def _place_at(self, now_s: float) -> None:
        """Move the glide to a moment."""
        if self._glide_s == 0.0 or now_s - self._begun_s >= self._glide_s:
            self._place = self._target
        elif self._start != self._target:
            share = (now_s - self._begun_s) / self._glide_s
            a, b, c, d, e = self._start
            f, g, h, i, j = self._target
            self._place = (
                a + (f - a) * share,
                b + (g - b) * share,
                c + (h - c) * share,
                d + (i - d) * share,
                e + (j - e) * share,
            )

    def _follow_policy(self, now_s: float) -> None:
        elapsed_s = now_s - self._policy_at_s
        self._policy_at_s = now_s
        if self._policy is None:
            if self._light < 1.0 or self._mood < 1.0:
                back = elapsed_s / self.hop_s
                self._light = min(1.0, self._light + back)
                self._mood = min(1.0, self._mood + back)
        elif self._policy == "decay":
            lost = elapsed_s / self.settings.decay_s
            self._light = max(0.0, self._light - lost)
            self._mood = max(0.0, self._mood - lost)
        elif self._policy == "blackout":
            self._light = 0.0

    def _make_filters(self) -> None:
        self._filters = tuple(_filters(self.settings, value) for value in self._place[:3])
        if not self._filters[0]:
            self._filters = ()


class _Axes:
    """What 0 and 1 of the values stand for, and the curve between."""

    def __init__(self, settings: OutputSettings) -> None:
        self._music = settings.range == "music"
        self._curve = settings.curve
        self._valence = self._arousal = WHOLE_AXIS
        self._level_db = settings.level_range_db
        if settings.range == "own":
            self._valence, self._arousal = settings.valence_range, settings.arousal_range
        elif settings.range == "hall":
            named = Path(settings.hall).expanduser() if settings.hall else default_hall_path()
            hall = load_hall(named)
            self._valence, self._arousal = hall.valence, hall.arousal
            self._level_db = hall.level_db

    def values_of(self, estimate: Estimate) -> Values:
        """Return the values of an estimate."""
        values = (estimate.scaled if self._music else None) or estimate
        valence_low, valence, valence_high = (
            self._bent(value, self._valence)
            for value in (values.valence_low, values.valence, values.valence_high)
        )
        arousal_low, arousal, arousal_high = (
            self._bent(value, self._arousal)
            for value in (values.arousal_low, values.arousal, values.arousal_high)
        )
        level = _share(estimate.level_db, self._level_db)
        return valence, arousal, level, valence_high - valence_low, arousal_high - arousal_low

    def _bent(self, value: float, span: tuple[float, float]) -> float:
        share = _share(value, span)
        if self._curve == 1.0:
            return share
        distance = 2.0 * share - 1.0
        bent: float = abs(distance) ** self._curve
        return (1.0 + (bent if distance >= 0.0 else -bent)) / 2.0


def _share(value: float, span: tuple[float, float]) -> float:
    """Return where a value lies in a range: 0 at its start or below, 1 at its end or above."""
    least, greatest = span
    return min(1.0, max(0.0, (value - least) / (greatest - least)))


def _filters(settings: OutputSettings, value: float) -> tuple[Filter, ...]:
    filters: list[Filter] = []
    if settings.smoothing == "exponential":
        filters.append(Exponential(value, time_constant_s=settings.smoothing_s))
    elif settings.smoothing == "one-euro":
        filters.append(
            OneEuro(value, cutoff_hz=settings.one_euro_cutoff_hz, beta=settings.one_euro_beta)
        )
    if settings.slew_per_s is not None:
        filters.append(SlewLimit(value, per_s=settings.slew_per_s))
    return tuple(filters)


def _filtered(value: float, filters: tuple[Filter, ...], elapsed_s: float) -> float:
    for each in filters:
        value = each.step(value, elapsed_s)
    return value


def _overridden(frame: Frame, override: Mapping[str, float]) -> Frame:
    """Return a frame with values set by hand. The color follows them.

    A dimmer set by hand also leaves the color at its full brightness.
    """
    frame = replace(frame, **override)  # type: ignore[arg-type]  # names of `OVERRIDABLE`
    color = mood_colour(2.0 * frame.valence - 1.0, 2.0 * frame.arousal - 1.0)
    light = 1.0 if "dimmer" in override else frame.dimmer
    return replace(frame, color=(color[0] * light, color[1] * light, color[2] * light))
