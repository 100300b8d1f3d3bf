"""What people change of a running show by hand, and how its outputs do.

The page, OSC, MIDI and the terminal give commands; every output follows the state that they make.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

from realtime_mer.errors import UserError, printable_line

SWITCHES = ("mute", "freeze", "blackout")
"""What is on or off."""
_LISTED = 3
_MAX_NAME = 30
OVERRIDABLE = ("valence", "arousal", "level", "dimmer")
"""Values that an override sets, each 0 to 1."""


class Health(StrEnum):
    """How an output does."""

    STARTING = "starting"
    OK = "ok"
    FAILING = "failing"  # it is tried again
    MUTED = "muted"


@dataclass(frozen=True, slots=True)
class OutputStatus:
    """How an output does, for the page, `/metrics` and the terminal.

    Attributes:
        name, kind: of the output.
        health: how it does.
        sent: messages that were sent.
        dropped: values and events that were not sent, because the receiver failed or was slow.
        answer: what the receiver answers or why it fails; "" where the protocol has no answer.
    """

    name: str
    kind: str
    health: Health
    sent: int
    dropped: int
    answer: str

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "name": self.name,
            "kind": self.kind,
            "health": str(self.health),
            "sent": self.sent,
            "dropped": self.dropped,
            "answer": self.answer,
        }


@dataclass(frozen=True, slots=True)
class SceneStatus:
    """Whether a scene is active, and why.

    Attributes:
        name: of the scene.
        active: whether it is active.
        reason: why it is or is not, in a sentence.
    """

    name: str
    active: bool
    reason: str

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        return {"name": self.name, "active": self.active, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class ControlState:
    """What was set by hand.

    Attributes:
        mute: nothing is sent; the receiver keeps what it has.
        freeze: the values stay as they are.
        blackout: brightness and level are 0.
        override: values instead of those of the music, by name (`OVERRIDABLE`), 0 to 1.
    """

    mute: bool = False
    freeze: bool = False
    blackout: bool = False
    override: Mapping[str, float] = field(default_factory=dict)

    def merged(self, other: ControlState) -> ControlState:
        """Return what holds if both hold; values of `other` win."""
        return ControlState(
            self.mute or other.mute,
            self.freeze or other.freeze,
            self.blackout or other.blackout,
            {**self.override, **other.override},
        )

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "mute": self.mute,
            "freeze": self.freeze,
            "blackout": self.blackout,
            "override": dict(self.override),
        }


@dataclass(frozen=True, slots=True)
class ControlCommand:
    """A change by hand; None leaves a part as it is.

    Attributes:
        output: name of the output; "" for all.
        mute, freeze, blackout: on or off.
        override: values to set, None for those to give back to the music.
        scene: name of a scene to start now.
        marker: text of a marker to make.
        marker_t: stream time of its moment in seconds; None for now.

    Raises:
        UserError: an override has an unknown name or lies outside 0 to 1.
    """

    output: str = ""
    mute: bool | None = None
    freeze: bool | None = None
    blackout: bool | None = None
    override: Mapping[str, float | None] = field(default_factory=dict)
    scene: str | None = None
    marker: str | None = None
    marker_t: float | None = None

    def __post_init__(self) -> None:
        for name, value in self.override.items():
            if name not in OVERRIDABLE:
                raise UserError(f"{name} cannot be overridden; these can: {', '.join(OVERRIDABLE)}")
            if value is not None and not 0.0 <= value <= 1.0:
                shown = str(value)[:20]  # JSON may have 4000 digits
                raise UserError(f"the override of {name} is {shown}; it must lie between 0 and 1")


def switched(name: str, on: bool, output: str = "") -> ControlCommand:
    """Return the command that switches one of `SWITCHES`; "" for all outputs."""
    return ControlCommand(output, override={}, scene=None, marker=None, **{name: on})


class MakeMarker(Protocol):
    """Makes a marker of a text, at a stream time in seconds or, without one, now."""

    def __call__(self, text: str, t: float | None = None) -> object:
        """Raises UserError: the text is empty."""
        ...


class Show:
    """The controls and the outputs of one session. Callable from any thread.

    Attributes:
        statuses: returns how each output does.
        scenes: returns for each scene whether it is active.
        start_scene: starts a scene by its name; raises UserError for an unknown one.
        mark: makes a marker.
    """

    def __init__(self) -> None:
        self.statuses: Callable[[], list[OutputStatus]] = list
        self.scenes: Callable[[], list[SceneStatus]] = list
        self.start_scene: Callable[[str], None] = _no_scene
        self.mark: MakeMarker = _no_marker
        self._lock = threading.Lock()
        self._states: dict[str, ControlState] = {"": ControlState()}
        self._listeners: tuple[Callable[[], None], ...] = ()

    def control(self, command: ControlCommand) -> None:
        """Do what a command says.

        Raises:
            UserError: there is no such output or scene.
        """
        names = [status.name for status in self.statuses()]
        if command.output and command.output not in names:
            raise UserError(
                f"there is no output {command.output!r}; there are: {', '.join(names) or 'none'}"
            )
        if command.scene is not None:
            self.start_scene(command.scene)
        if command.marker is not None:
            self.mark(command.marker, command.marker_t)
        with self._lock:
            state = self._states.get(command.output, ControlState())
            override = {**state.override, **command.override}
            self._states[command.output] = replace(
                state,
                mute=state.mute if command.mute is None else command.mute,
                freeze=state.freeze if command.freeze is None else command.freeze,
                blackout=state.blackout if command.blackout is None else command.blackout,
                override={name: value for name, value in override.items() if value is not None},
            )
            listeners = self._listeners
        for listener in listeners:
            listener()

    def state(self, output: str = "") -> ControlState:
        """Return what holds for an output; "" for what was set for all."""
        with self._lock:
            everywhere, own = self._states[""], self._states.get(output)
        return everywhere if own is None or not output else everywhere.merged(own)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call a function, in the thread of the command, after each change; it must not wait."""
        with self._lock:
            self._listeners = (*self._listeners, listener)

    def to_dict(self) -> dict[str, object]:
        """Return the controls, the outputs and the scenes in JSON form."""
        return {
            "control": self.state().to_dict(),
            "outputs": [
                {**status.to_dict(), "control": self.state(status.name).to_dict()}
                for status in self.statuses()
            ],
            "scenes": [scene.to_dict() for scene in self.scenes()],
        }


def outputs_text(statuses: Sequence[OutputStatus]) -> str:
    """Return in one line how the outputs do, and the first that are not ok; "" without outputs."""
    if not statuses:
        return ""
    troubled = [each for each in statuses if each.health is not Health.OK]
    troubled.sort(key=lambda each: each.health is not Health.FAILING)
    parts = [f"{len(statuses) - len(troubled)} of {len(statuses)} outputs ok"]
    for each in troubled[:_LISTED]:
        reason = f" ({each.answer})" if each.health is Health.FAILING and each.answer else ""
        name = each.name if len(each.name) <= _MAX_NAME else f"{each.name[: _MAX_NAME - 1]}…"
        parts.append(f"{name} {each.health}{reason}")
    if len(troubled) > _LISTED:
        parts.append(f"{len(troubled) - _LISTED} more not ok")
    sent, dropped = (sum(getattr(each, key) for each in statuses) for key in ("sent", "dropped"))
    parts.append(f"{sent} sent, {dropped} dropped")
    return printable_line("; ".join(parts))


def _no_scene(name: str) -> None:
    raise UserError(f"there is no scene {name!r}; the configuration has none")


def _no_marker(text: str, t: float | None = None) -> None:
    raise UserError("there is no session to mark; start one with an input of the server")
