"""What every output of a show has: settings, shaped values, a receiver and its health."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from realtime_mer.core.events import Event, Pulse
from realtime_mer.core.types import State
from realtime_mer.errors import UserError

MAX_RATE_HZ = 50.0
MAX_DELAY_S = 5.0
Policy = Literal["hold", "decay", "blackout"]


@dataclass(frozen=True, kw_only=True)
class OutputSettings:
    """The settings that all outputs share; each kind of output adds its own.

    Attributes:
        name: of the output on the page and in messages; "" for its kind and address.
        rate_hz: values sent per second, up to 50; between estimates they are interpolated.

    Raises:
        UserError: a value is out of range.
    """

    name: str = ""
    rate_hz: float = 30.0

    def __post_init__(self) -> None:
        if not 0.1 <= self.rate_hz <= MAX_RATE_HZ:
            raise UserError(f"rate_hz is {self.rate_hz:g}; it must lie between 0.1 and 50")


@dataclass(frozen=True, slots=True)
class Frame:
    """Shaped values at one moment, what an output sends.

    Attributes:
        t: stream time of the newest estimate in seconds.
        valence, arousal: 0 to 1; 0.5 is the middle.
        level: 0 to 1.
        valence_width, arousal_width: widths of the intervals, 0 to 1; 1 is the whole axis.
        mood: the mood word; None before any music was heard.
        state: of the newest estimate.
        color: the mood colour, sRGB, each 0 to 1.
        dimmer: brightness of lights, 0 to 1; 0 in a blackout.
        bpm: tempo in beats per minute; None while it is not known.
    """

    t: float
    valence: float
    arousal: float
    level: float
    valence_width: float
    arousal_width: float
    mood: str | None
    state: State
    color: tuple[float, float, float]
    dimmer: float
    bpm: float | None = None


@dataclass(frozen=True, slots=True)
class Action:
    """What a scene rule does with an output.

    Attributes:
        scene: name of the rule.
        values: what to send, by the names that the kind of output documents.
    """

    scene: str
    values: dict[str, object]


class Output(ABC):
    """One receiver of shaped values and events.

    A thread of its own (`OutputThread`) calls all methods but the constructor, one at a time. A
    method may raise any exception: the values count as dropped, the output is closed, and it is
    opened again with growing pauses. It may block, but not for longer than a few seconds.

    Args:
        name: of the output.

    Attributes:
        kind: name of the table in the configuration.
        sent: messages sent so far; each output counts its own.
        answer: what the receiver answered last; "" where the protocol has no answer.
    """

    kind: ClassVar[str]

    def __init__(self, name: str) -> None:
        self.name = name
        self.sent = 0
        self.answer = ""

    def open(self) -> None:  # noqa: B027 - many outputs have no connection
        """Connect to the receiver."""

    @abstractmethod
    def send(self, frame: Frame) -> None:
        """Send shaped values."""

    def send_event(self, event: Event | Pulse) -> None:  # noqa: B027 - not all know events
        """Send a change of the music, an onset or a beat."""

    def act(self, action: Action) -> None:
        """Do what a scene rule asks for.

        Raises:
            UserError: this kind of output has no actions.
        """
        raise UserError(f"the output {self.name} has no actions for scenes")

    def close(self) -> None:  # noqa: B027 - many outputs hold nothing
        """Disconnect; safe to call twice, and without `open`."""
