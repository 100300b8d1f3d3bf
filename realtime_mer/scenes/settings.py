"""The settings of a scene, as in the tables `[[scene]]` of the configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Literal

from realtime_mer.errors import UserError
from realtime_mer.live.show import SWITCHES, ControlCommand
from realtime_mer.scenes.conditions import Condition, parse_condition

Quantise = Literal["none", "beat", "bar", "link"]
ActionKey = Literal["do", "at_end"]
GIVE_BACK = "music"
"""In an override, instead of a number: give the value back to the music."""

_CONTROLS = (*SWITCHES, "override")
# The ranges of the numbers among the settings.
_RANGES = {
    "hysteresis": (0.0, 1.0),
    "dwell_s": (0.0, 3600.0),
    "cooldown_s": (0.0, 86_400.0),
    "priority": (-1000, 1000),
    "beats_per_bar": (1, 32),
    "wait_s": (0.0, 60.0),
}


@dataclass(frozen=True, slots=True)
class OutputAction:
    """What a scene lets an output do.

    Attributes:
        output: its name or kind.
        values: by the names that the kind of output documents.
    """

    output: str
    values: Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class SceneSettings:
    """When a scene starts and ends, and what it does then. One scene at a time is active.

    Attributes:
        name: of the scene, in messages and for a start by hand.
        when: the conditions, all of which must hold: valence, arousal, level, valence_width and
            arousal_width with a comparison (">0.5", "<0.2", "0.2..0.5"); mood, state and event with
            one word or several in brackets; strength of the event with a comparison; for_s, how
            many seconds all of it must hold. Without when and any_of it starts only by hand.
        any_of: further tables like when, of which at least one must hold.
        do: what happens at the start: tables with an output (its name or kind) and its values, or
            with mute, freeze, blackout (true or false) or override (values 0 to 1, or "music").
        at_end: what happens at the end, in the same form.
        values: "music" compares the place of the values among music, where the model knows it;
            "raw" compares the values of the model.
        hysteresis: how far a value may leave its range before the scene ends, 0 to 1.
        dwell_s: the shortest time that it stays, in seconds, 0 to 3600; a scene of higher priority
            breaks in nevertheless.
        cooldown_s: the time from its end to the next start, in seconds, 0 to 86400.
        priority: a scene with a higher one breaks in, -1000 to 1000.
        quantise: what its start waits for: "none", "beat" or "bar" of the music, or "link", the bar
            of Ableton Link.
        beats_per_bar: beats of a bar, 1 to 32.
        wait_s: the longest wait, in seconds, 0 to 60; where the bar is farther away it starts at
            the next beat, and where that is too far, or no tempo is known, at once.

    Raises:
        UserError: a value is out of range, or a table has a key or a value that is not valid.
    """

    name: str
    when: dict[str, object] = field(default_factory=dict)
    any_of: tuple[dict[str, object], ...] = ()
    do: tuple[dict[str, object], ...] = ()
    at_end: tuple[dict[str, object], ...] = ()
    values: Literal["music", "raw"] = "music"
    hysteresis: float = 0.05
    dwell_s: float = 5.0
    cooldown_s: float = 0.0
    priority: int = 0
    quantise: Quantise = "none"
    beats_per_bar: int = 4
    wait_s: float = 4.0

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise UserError("name is empty; give the scene a name")
        for each in fields(self):
            if each.name in _RANGES:
                value, (low, high) = getattr(self, each.name), _RANGES[each.name]
                if not low <= value <= high:
                    raise UserError(
                        f"{each.name} of the scene {self.name} is {value}; it must lie between "
                        f"{low:g} and {high:g}"
                    )
        self.conditions()
        self.actions("do")
        self.actions("at_end")

    def conditions(self) -> tuple[Condition | None, tuple[Condition, ...]]:
        """Return the condition of `when`, None for none, and those of `any_of`."""
        when = parse_condition(self.when, "when", self.name) if self.when else None
        return when, tuple(parse_condition(table, "any_of", self.name) for table in self.any_of)

    def actions(self, key: ActionKey) -> tuple[OutputAction | ControlCommand, ...]:
        """Return what happens at the start (`do`) or at the end (`at_end`)."""
        return tuple(self._action(key, table) for table in getattr(self, key))

    def _action(self, key: str, table: Mapping[str, object]) -> OutputAction | ControlCommand:
        output = table.get("output", "")
        if not isinstance(output, str) or ("output" in table and not output):
            raise self._failure(key, f"has the output {output!r}; write its name or kind")
        values = {name: value for name, value in table.items() if name != "output"}
        if any(name in _CONTROLS for name in values):
            return self._control(key, output, values)
        if not output:
            raise self._failure(
                key,
                f"has a table without output ({_listed(table)}); add the name or kind of an "
                f"output, or use one of: {', '.join(_CONTROLS)}",
            )
        if not values:
            raise self._failure(key, f"says nothing to the output {output}; add values for it")
        return OutputAction(output, values)

    def _control(self, key: str, output: str, values: Mapping[str, object]) -> ControlCommand:
        for name, value in values.items():
            if name not in _CONTROLS:
                raise self._failure(
                    key, f"has {name} beside a control; put it into a table of its own"
                )
            if name in SWITCHES and not isinstance(value, bool):
                raise self._failure(key, f"has {name} = {value!r}; write true or false")
        mute, freeze, blackout = (
            bool(values[name]) if name in values else None for name in SWITCHES
        )
        override = self._override(key, values.get("override", {}))
        try:
            return ControlCommand(
                output, mute=mute, freeze=freeze, blackout=blackout, override=override
            )
        except UserError as error:
            raise self._failure(key, f"has an override that is not valid: {error}") from error

    def _override(self, key: str, table: object) -> dict[str, float | None]:
        if not isinstance(table, Mapping):
            raise self._failure(key, f"has override = {table!r}; write a table of values")
        for name, value in table.items():
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if value != GIVE_BACK and not (is_number and 0.0 <= value <= 1.0):
                raise self._failure(
                    key,
                    f"has an override of {name} with {value!r}; write a number between 0 and 1, "
                    f'or "{GIVE_BACK}" to give it back to the music',
                )
        return {name: None if value == GIVE_BACK else float(value) for name, value in table.items()}

    def _failure(self, key: str, problem: str) -> UserError:
        return UserError(f"{key} of the scene {self.name} {problem}")


def clocks_needed(scenes: Sequence[SceneSettings]) -> set[str]:
    """Return which clocks scenes wait for: that of the music's beats, that of Ableton Link."""
    needed: set[str] = set()
    for scene in scenes:
        if scene.quantise != "none":
            needed.add("link" if scene.quantise == "link" else "beat")
    return needed


def _listed(table: Mapping[str, object]) -> str:
    return ", ".join(table) or "empty"
