"""The conditions of a scene: parsed from the configuration, checked against one moment."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from realtime_mer.core.events import Event, EventKind
from realtime_mer.core.mood import WORDS
from realtime_mer.core.types import Estimate, State
from realtime_mer.errors import UserError, nearest

MUSIC = "music"
"""Both states in which the values are those of music that plays now."""
MAX_FOR_S = 3600.0
QUIETEST_DB = -60.0
"""The level 0, in dB relative to full scale; the level 1 is full scale."""

# What can be compared, with the ends of its range.
RANGES = {
    "valence": (-1.0, 1.0),
    "arousal": (-1.0, 1.0),
    "level": (0.0, 1.0),
    "valence_width": (0.0, 1.0),
    "arousal_width": (0.0, 1.0),
}
_STRENGTH = (0.0, 1.0)
KEYS = (*RANGES, "mood", "state", "event", "strength", "for_s")
_NUMBER = r"([-+]?(?:\d+\.?\d*|\.\d+))"
_ONE_SIDED = re.compile(rf"\s*(>=|<=|>|<)\s*{_NUMBER}\s*")
_BETWEEN = re.compile(rf"\s*{_NUMBER}\s*\.\.\s*{_NUMBER}\s*")
_WORDS = {">": "above", ">=": "at least", "<": "below", "<=": "at most"}
# Times of estimates are multiples of 0.1 s, but not exactly.
_TOLERANCE_S = 1e-6

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Moment:
    """What is known at one moment.

    Attributes:
        t: seconds that have passed (`SteadyTime`).
        values: by the names of `RANGES`.
        mood: the mood word; None before any music was heard.
        state: what the values are based on.
        event: what happens now; None for nothing.
    """

    t: float
    values: Mapping[str, float]
    mood: str | None
    state: State
    event: Event | None = None

    @classmethod
    def of(cls, t: float, estimate: Estimate, event: Event | None, *, raw: bool) -> Moment:
        """Return the moment of an estimate.

        Args:
            t: seconds that have passed.
            estimate: the newest one.
            event: what happens now, if anything does.
            raw: whether values are those of the model, even where the estimate has their place
                among music.
        """
        source = estimate if raw or estimate.scaled is None else estimate.scaled
        values = {
            "valence": source.valence,
            "arousal": source.arousal,
            "level": min(1.0, max(0.0, 1.0 - estimate.level_db / QUIETEST_DB)),
            "valence_width": (source.valence_high - source.valence_low) / 2,
            "arousal_width": (source.arousal_high - source.arousal_low) / 2,
        }
        return cls(t, values, estimate.mood, estimate.state, event)


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether something holds, and why.

    Attributes:
        holds: whether it does.
        key: of the reason: it stays the same while only the numbers of the text change.
        text: the reason in words.
    """

    holds: bool
    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """A range of a value, such as `>0.5`, `<=-0.2` or `0.1..0.6`.

    Attributes:
        low, high: the ends; infinite where there is none.
        sign: `>`, `>=`, `<`, `<=`, or `..` for a range with both ends.
    """

    low: float
    high: float
    sign: str

    def holds(self, value: float) -> bool:
        """Return whether a value lies in the range."""
        if self.sign in (">", "<"):
            return self.low < value < self.high
        return self.low <= value <= self.high

    def widened(self, margin: float) -> Comparison:
        """Return the range with each end moved outwards."""
        return replace(self, low=self.low - margin, high=self.high + margin)

    def __str__(self) -> str:
        if self.sign == "..":
            return f"between {_short(self.low)} and {_short(self.high)}"
        return f"{_WORDS[self.sign]} {_short(self.low if '>' in self.sign else self.high)}"


@dataclass(frozen=True, slots=True)
class Condition:
    """One table of conditions, all of which must hold.

    Attributes:
        values: the range of each value, by the names of `RANGES`.
        moods, states, events: one of each must be there; empty for any.
        strength: of the event; None for any.
        for_s: how long all of it must hold, in seconds.
    """

    values: Mapping[str, Comparison]
    moods: tuple[str, ...] = ()
    states: tuple[State, ...] = ()
    events: tuple[EventKind, ...] = ()
    strength: Comparison | None = None
    for_s: float = 0.0

    def check(self, moment: Moment, *, margin: float = 0.0) -> Finding:
        """Return whether all holds at one moment, whatever was before.

        Args:
            moment: what is known.
            margin: how far values may lie outside their ranges.
        """
        texts = []
        for finding in self._findings(moment, margin):
            if not finding.holds:
                return finding
            texts.append(finding.text)
        return Finding(True, "holds", ", ".join(texts))

    def _findings(self, moment: Moment, margin: float) -> Iterable[Finding]:
        event = moment.event if moment.event and moment.event.kind in self.events else None
        if event is not None:
            yield Finding(True, "event", f"{event.kind} now")
            if self.strength is not None:
                yield _compared("strength", event.strength, self.strength)
        elif self.events:
            yield Finding(False, "event", f"no {' or '.join(self.events)} now")
        if self.states:
            yield _one_of("state", moment.state, self.states)
        if self.moods:
            # What ends is no longer the mood of the estimate.
            mood = moment.mood if event is None or event.mood is None else event.mood
            yield _one_of("mood", mood or "unknown", self.moods)
        for name, comparison in self.values.items():
            if moment.mood is None and name != "level":
                yield Finding(False, "no music", "no music was heard yet")
            yield _compared(name, moment.values[name], comparison.widened(margin))


class Watch:
    """A condition and how long it has held."""

    def __init__(self, condition: Condition) -> None:
        self._condition = condition
        self._since: float | None = None

    def update(self, moment: Moment, *, margin: float | None) -> Finding:
        """Take in the next moment; return whether the condition holds for long enough.

        Args:
            moment: later than the one before, or the same.
            margin: of the values, for a scene that is active, which needs no duration; None for
                one that is not.
        """
        finding = self._condition.check(moment, margin=margin or 0.0)
        if not finding.holds:
            self._since = None
            return finding
        if self._since is None:
            self._since = moment.t
        held_s, for_s = moment.t - self._since, self._condition.for_s
        if margin is None and held_s < for_s - _TOLERANCE_S:
            text = f"{finding.text}, but only for {_short(held_s)} of {_short(for_s)} s"
            return Finding(False, "too short", text)
        return finding


def parse_condition(table: Mapping[str, object], where: str, scene: str) -> Condition:
    """Return the condition that a table of the configuration describes.

    Args:
        table: its keys and values.
        where: key of the table in the scene, for messages.
        scene: name of the scene, for messages.

    Raises:
        UserError: a key or a value is not valid.
    """

    def fail(key: str, problem: str) -> UserError:
        return UserError(f"{where} of the scene {scene}: {key} {problem}")

    if not table:
        raise UserError(f"{where} of the scene {scene} is empty; write a condition")
    for key in table:
        if key not in KEYS:
            raise UserError(
                f"{where} of the scene {scene} has no key {key!r}; {nearest(key, KEYS)}"
            )
    comparisons = {
        key: _comparison(table[key], _STRENGTH if key == "strength" else RANGES[key], key, fail)
        for key in (*RANGES, "strength")
        if key in table
    }
    strength = comparisons.pop("strength", None)
    states = {str(state): (state,) for state in State} | {MUSIC: (State.SETTLING, State.TRACKING)}
    condition = Condition(
        values=comparisons,
        moods=_names(table, "mood", {word: word for word in WORDS}, fail),
        states=tuple(s for group in _names(table, "state", states, fail) for s in group),
        events=_names(table, "event", {str(kind): kind for kind in EventKind}, fail),
        strength=strength,
        for_s=_duration(table.get("for_s", 0.0), fail),
    )
    if strength is not None and not condition.events:
        raise fail("strength", "is that of an event; add the key event, such as event = 'drop'")
    if condition.events and condition.for_s:
        raise fail("for_s", "cannot be used with event, which lasts no time; remove one of them")
    if set(table) == {"for_s"}:
        raise fail("for_s", "is alone; add what must hold for so long")
    return condition


Fail = Callable[[str, str], UserError]


def _comparison(value: object, ends: tuple[float, float], key: str, fail: Fail) -> Comparison:
    low, high = ends
    text = value if isinstance(value, str) else ""
    if match := _ONE_SIDED.fullmatch(text):
        sign, number = match[1], float(match[2])
        found = Comparison(
            number if ">" in sign else -math.inf, number if "<" in sign else math.inf, sign
        )
        numbers = [number]
    elif match := _BETWEEN.fullmatch(text):
        numbers = [float(match[1]), float(match[2])]
        found = Comparison(min(numbers), max(numbers), "..")
    else:
        problem = f"is {value!r}; write a comparison as text, such as '>0.5', '<0.2' or '0.2..0.5'"
        raise fail(key, problem)
    for number in numbers:
        if not low <= number <= high:
            raise fail(
                key, f"is {text!r}; {key} lies between {low:g} and {high:g}, so compare with that"
            )
    return found


def _names(
    table: Mapping[str, object], key: str, choices: Mapping[str, T], fail: Fail
) -> tuple[T, ...]:
    value = table.get(key, [])
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or (key in table and not names):
        raise fail(key, f"is {value!r}; write one word, or several in brackets")
    for name in names:
        if not isinstance(name, str) or name not in choices:
            raise fail(key, f"is {name!r}; {nearest(str(name), choices)}")
    return tuple(choices[name] for name in names)


def _duration(value: object, fail: Fail) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise fail("for_s", f"is {value!r}; write a number of seconds")
    if not 0.0 <= value <= MAX_FOR_S:
        raise fail("for_s", f"is {value}; it must lie between 0 and {MAX_FOR_S:g}")
    return float(value)


def _compared(name: str, value: float, comparison: Comparison) -> Finding:
    holds = comparison.holds(value)
    shown = ""
    for decimals in (2, 3, 4):  # enough to tell the value from the ends of the range
        shown = f"{value:.{decimals}f}"
        if float(shown) == value or float(shown) not in (comparison.low, comparison.high):
            break
    return Finding(holds, name, f"{name} {shown} is {'' if holds else 'not '}{comparison}")


def _one_of(name: str, found: str, wanted: Sequence[str]) -> Finding:
    holds = found in wanted
    return Finding(
        holds, name, f"{name} is {found}" + ("" if holds else f", not {' or '.join(wanted)}")
    )


def _short(number: float) -> str:
    return f"{round(number, 3) + 0.0:g}"
