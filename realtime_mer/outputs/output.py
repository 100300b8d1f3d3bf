"""What every output of a show has: settings, shaped values, a receiver and its health."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from realtime_mer.core.events import Event, Marker, RhythmEvent
from realtime_mer.core.types import State
from realtime_mer.errors import UserError

MAX_RATE_HZ = 50.0
MAX_DELAY_S = 5.0
Span = tuple[float, float]
RangeName = Literal["music", "raw", "own", "hall"]
Smoothing = Literal["none", "exponential", "one-euro"]
Policy = Literal["hold", "decay", "blackout"]
WHOLE_AXIS: Span = (-1.0, 1.0)
# Least and greatest value of a number, both allowed.
_LIMITS = {
    "rate_hz": (0.1, MAX_RATE_HZ),
    "delay_s": (0.0, MAX_DELAY_S),
    "curve": (0.1, 10.0),
    "smoothing_s": (0.01, 60.0),
    "one_euro_cutoff_hz": (0.001, 25.0),
    "one_euro_beta": (0.0, 100.0),
    "slew_per_s": (0.001, 100.0),
    "decay_s": (0.1, 600.0),
}


@dataclass(frozen=True, kw_only=True)
class OutputSettings:
    """The settings that all outputs share; each kind of output adds its own.

    They shape the values in this order: range, curve, interpolation between estimates, smoothing,
    slew, policy of silence, speech or a stall; then what people set by hand.

    Attributes:
        name: of the output on the page and in messages; "" for its kind and address.
        rate_hz: values sent per second at most, 0.1 to 50. A new estimate is sent at once; up to
            the next one, values glide to it from the one before and never run ahead.
        delay_s: how long values and events are held back to match the loudspeakers, 0 to 5 seconds.
        range: what 0 and 1 of valence and arousal stand for. `music`: the ends of music at large,
            where a twentieth of music lies at each end (the whole axis in a session with the range
            raw). `raw`: -1 and 1 of the model. `own`: `valence_range` and `arousal_range`. `hall`:
            what `realtime-mer calibrate` has measured here; of the level as well.
        valence_range, arousal_range: raw values that become 0 and 1 with the range `own`, (least,
            greatest) in [-1, 1].
        hall: the file of `realtime-mer calibrate` for the range `hall`; "" for `hall.json` in the
            user's folder.
        curve: exponent of the distance of valence and arousal from their middle, 0.1 to 10: below
            1, small moods show more; above 1, less. The middle and the ends stay.
        smoothing: filter of valence, arousal and level. `exponential` has the time constant
            `smoothing_s`; `one-euro` follows slow changes calmly and fast ones quickly.
        smoothing_s: seconds until 63 % of a step is reached, 0.01 to 60.
        one_euro_cutoff_hz: cutoff frequency of the one-euro filter at rest in Hz, 0.001 to 25.
        one_euro_beta: by how many Hz its cutoff grows for a speed of 1 (the whole way of a value)
            per second, 0 to 100.
        slew_per_s: greatest change of valence, arousal and level per second, 0.001 to 100; 1 is the
            whole way. Without it there is no limit.
        level_range_db: levels that become 0 and 1, dB relative to full scale, at least -120; in
            between, the level is proportional to dB. The range `hall` has its own.
        on_silence: what happens while there is no sound. `hold`: valence, arousal, dimmer and color
            stay, the level is measured on. `decay`: within `decay_s`, valence and arousal go to the
            middle (0.5), and level, dimmer and color to 0. `blackout`: level, dimmer and color are
            0 at once, valence and arousal stay. Widths, mood, state and tempo are not changed. With
            the next music, all come back within the time of one estimate.
        on_speech: the same while someone talks, or other noise sounds, without music.
        on_stall: the same while no audio arrives and at the end of the session; with `hold` the
            level stays too. It also says what is sent when the program ends: nothing with `hold`,
            else the values to which it leads.
        decay_s: duration of `decay` in seconds, 0.1 to 600.

    Raises:
        UserError: a value is out of range.
    """

    name: str = ""
    rate_hz: float = 30.0
    delay_s: float = 0.0
    range: RangeName = "music"
    valence_range: Span = WHOLE_AXIS
    arousal_range: Span = WHOLE_AXIS
    hall: str = ""
    curve: float = 1.0
    smoothing: Smoothing = "none"
    smoothing_s: float = 1.0
    one_euro_cutoff_hz: float = 0.2
    one_euro_beta: float = 2.0
    slew_per_s: float | None = None
    level_range_db: Span = (-60.0, 0.0)
    on_silence: Policy = "hold"
    on_speech: Policy = "hold"
    on_stall: Policy = "hold"
    decay_s: float = 5.0

    def __post_init__(self) -> None:
        for name, (least, greatest) in _LIMITS.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= greatest:
                raise UserError(
                    f"{name} is {value:g}; it must lie between {least:g} and {greatest:g}"
                )
        _check_range("valence_range", self.valence_range, WHOLE_AXIS)
        _check_range("arousal_range", self.arousal_range, WHOLE_AXIS)
        _check_range("level_range_db", self.level_range_db, (-120.0, 20.0))
        _check_choice("range", self.range, RangeName)
        _check_choice("smoothing", self.smoothing, Smoothing)
        for name in ("on_silence", "on_speech", "on_stall"):
            _check_choice(name, getattr(self, name), Policy)
        for name in ("valence_range", "arousal_range"):
            if self.range != "own" and getattr(self, name) != WHOLE_AXIS:
                raise UserError(f'{name} is set, but range is "{self.range}"; set range = "own"')
        if self.range != "hall" and self.hall:
            raise UserError(f'hall is set, but range is "{self.range}"; set range = "hall"')


def _check_range(name: str, value: Span, limits: Span) -> None:
    least, greatest = value
    if not limits[0] <= least < greatest <= limits[1]:
        raise UserError(
            f"{name} is {least:g} to {greatest:g}; it must have two numbers between "
            f"{limits[0]:g} and {limits[1]:g}, the smaller one first"
        )


def _check_choice(name: str, value: str, choices: object) -> None:
    names = get_args(choices)
    if value not in names:
        raise UserError(f"{name} is {value!r}; it must be one of: {', '.join(names)}")


@dataclass(frozen=True, slots=True)
class Frame:
    """Shaped values at one moment, what an output sends.

    Attributes:
        t: stream time of the newest estimate in seconds.
        valence, arousal: 0 to 1; 0.5 is the middle.
        level: 0 to 1, proportional to dB within the range of the level.
        valence_width, arousal_width: widths of the intervals, 0 to 1; 1 is the whole axis.
        mood: the mood word; None before any music was heard.
        state: of the newest estimate.
        color: the mood colour of valence and arousal, sRGB, each 0 to 1; it fades to black with a
            decay and is black in a blackout.
        dimmer: brightness of lights, 0 to 1: 1 with music; 0 after a decay and in a blackout.
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


def json_text(value: object) -> str:
    """Return what a scene sends, as JSON.

    Raises:
        UserError: JSON cannot hold it, such as a date or nan.
    """
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(
            f"this cannot be sent as JSON ({error}); use texts, numbers, true, false, lists and "
            "tables"
        ) from error


class Output(ABC):
    """One receiver of shaped values and events.

    `OutputWorker` calls all methods but the constructor and `check_action`, one at a time. A method
    may raise any exception: the values count as dropped, the output is closed, and it is opened
    again with growing pauses. Where `waits` is true it has a thread of its own and may block, but
    not for longer than a few seconds.

    Args:
        name: of the output.

    Attributes:
        kind: name of the table in the configuration.
        rhythm: whether it uses onsets, beats or the tempo, which cost time to find.
        waits: whether a method may wait, for a name server or a receiver; the outputs that never
            do share a thread.
        sent: messages sent so far; each output counts its own.
        answer: what the receiver answered last; "" where the protocol has no answer.
        failing: whether `answer` tells of a trouble that needs no new connection.
    """

    kind: ClassVar[str]
    rhythm: bool = True
    waits: bool = True

    def __init__(self, name: str) -> None:
        self.name = name
        self.sent = 0
        self.answer = ""
        self.failing = False

    def open(self) -> None:  # noqa: B027 - many outputs have no connection
        """Connect to the receiver."""

    @abstractmethod
    def send(self, frame: Frame) -> None:
        """Send shaped values."""

    def send_event(self, event: Event | RhythmEvent | Marker) -> None:  # noqa: B027 - not all know events
        """Send a change of the music, an onset, a beat or a marker."""

    def check_action(self, action: Action) -> None:
        """Check what a scene rule asks for, before the show. Called from any thread.

        Raises:
            UserError: this output cannot do it.
        """
        raise UserError(f"the output {self.name} has no actions for scenes")

    def act(self, action: Action) -> None:
        """Do what a scene rule asks for.

        Raises:
            UserError: as for `check_action`.
        """
        self.check_action(action)

    def close(self) -> None:  # noqa: B027 - many outputs hold nothing
        """Disconnect; safe to call twice, and without `open`."""
