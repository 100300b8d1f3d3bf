"""MIDI: values as control changes, moods and events as notes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeGuard

import rtmidi
from mido import Message

from realtime_mer.core.events import Event, EventKind, Marker, RhythmEvent, RhythmKind
from realtime_mer.core.mood import WORDS
from realtime_mer.errors import UserError
from realtime_mer.outputs.midi_ports import CLIENT, MidiPort, check_port_names
from realtime_mer.outputs.output import Action, Frame, Output, OutputSettings

COLORS = ("red", "green", "blue")
_BY_DEFAULT = ("valence", "arousal", "level", "valence_width", "arousal_width", "dimmer")
VALUES = (*_BY_DEFAULT, *COLORS)
# 20 to 31 have no meaning of their own, and the low halves of 14 bits (52 to 63) have none either.
# Without colours, a value that is set by hand moves alone, as MIDI learn wants it.
CONTROLS: Mapping[str, int] = {name: 20 + i for i, name in enumerate(_BY_DEFAULT)}
MOOD_NOTES: Mapping[str, int] = {word: 48 + i for i, word in enumerate(WORDS)}
_WITH_MOOD = (EventKind.MOOD_ENTER, EventKind.MOOD_LEAVE)  # these are the notes of the moods
EVENTS = tuple(str(kind) for kind in (*EventKind, *RhythmKind) if kind not in _WITH_MOOD)
# Without onsets and beats, which never stop while there is music.
EVENT_NOTES: Mapping[str, int] = {
    name: 60 + i for i, name in enumerate(name for name in EVENTS if name not in tuple(RhythmKind))
}
VELOCITY = 100
NOTE_S = 0.1
_ALL_NOTES_OFF = 123
_LOW_HALF = 32


@dataclass(frozen=True, kw_only=True)
class MidiSettings(OutputSettings):
    """MIDI to a device or a program.

    Attributes:
        port: name of a MIDI output port, or a part of it.
        virtual: name of a port to make, which programs connect to, instead of `port`; without
            either, `realtime-mer` is made. Windows has no virtual ports.
        channel: 1 to 16.
        bits: 7, or 14 for smooth fades: a second control change, of the number plus 32, holds the
            low half.
        controls: numbers of the control changes, 0 to 127 (0 to 31 with 14 bits), by value:
            valence, arousal, level, valence_width, arousal_width, dimmer, red, green, blue.
            What is left out is not sent; by default all but the colours are.
        mood_notes: notes that sound while a mood lasts, 0 to 127, by mood word.
        event_notes: short notes, 0 to 127, by event: rise, drop, section, silence, music, onset,
            beat; by default all but the last two. The velocity is the strength.

    Raises:
        UserError: a value is out of range, a name is unknown, or two share a number.
    """

    port: str = ""
    virtual: str = ""
    channel: int = 1
    bits: Literal[7, 14] = 7
    controls: dict[str, int] = field(default_factory=lambda: dict(CONTROLS))
    mood_notes: dict[str, int] = field(default_factory=lambda: dict(MOOD_NOTES))
    event_notes: dict[str, int] = field(default_factory=lambda: dict(EVENT_NOTES))

    def __post_init__(self) -> None:
        super().__post_init__()
        check_port_names(self.port, self.virtual)
        if not 1 <= self.channel <= 16:
            raise UserError(f"channel is {self.channel}; it must lie between 1 and 16")
        if self.bits not in (7, 14):
            raise UserError(f"bits is {self.bits}; it must be 7 or 14")
        highest = 127 if self.bits == 7 else _LOW_HALF - 1
        check_numbers("controls", self.controls, VALUES, highest)
        check_numbers("mood_notes", self.mood_notes, WORDS)
        check_numbers("event_notes", self.event_notes, EVENTS)
        check_numbers("event_notes or mood_notes", {**self.mood_notes, **self.event_notes})


class MidiOutput(Output):
    """Sends control changes that differ from the last ones, and notes.

    At the end, the notes that sound are ended and `all notes off` is sent; control changes stay.

    Args:
        settings: see `MidiSettings`.
    """

    kind = "midi"

    def __init__(self, settings: MidiSettings) -> None:
        where = settings.port or settings.virtual or CLIENT
        super().__init__(settings.name or f"midi {where}")
        self._settings = settings
        self.rhythm = not settings.event_notes.keys().isdisjoint(RhythmKind)
        self._virtual = settings.virtual or CLIENT
        self._channel = settings.channel - 1
        self._port: MidiPort | None = None
        self._sent_controls: dict[int, int] = {}
        self._mood_note: int | None = None
        self._ends: dict[int, float] = {}  # of short notes, monotonic time in seconds

    def open(self) -> None:
        self._port = MidiPort(rtmidi.MidiOut, self._settings.port, self._virtual)
        self._sent_controls, self._mood_note, self._ends = {}, None, {}

    def send(self, frame: Frame) -> None:
        assert self._port is not None
        self._port.check()
        self._end_notes(time.monotonic())
        values = frame_values(frame)
        for name, control in self._settings.controls.items():
            self._send_value(control, values[name])
        note = self._settings.mood_notes.get(frame.mood or "")
        if note != self._mood_note:
            if self._mood_note is not None:
                self._send("note_off", note=self._mood_note)
            if note is not None:
                self._send("note_on", note=note, velocity=VELOCITY)
            self._mood_note = note

    def send_event(self, event: Event | RhythmEvent | Marker) -> None:
        if isinstance(event, Marker):  # a text
            return
        note = self._settings.event_notes.get(event.kind)
        if note is not None:
            self._play(note, max(1, round(event.strength * 127)))

    def check_action(self, action: Action) -> None:
        _message(action)

    def act(self, action: Action) -> None:
        """Do what a scene rule asks for, see `_message`."""
        kind, numbers = _message(action)
        if kind == "note":
            self._play(**numbers)
        else:
            self._send(kind, **numbers)

    def close(self) -> None:
        port, self._port = self._port, None
        if port is None:
            return
        with port:
            for note in (*self._ends, *([] if self._mood_note is None else [self._mood_note])):
                self._write(port, Message("note_off", channel=self._channel, note=note))
            off = Message("control_change", channel=self._channel, control=_ALL_NOTES_OFF)
            self._write(port, off)

    def _play(self, note: int, velocity: int) -> None:
        """Start a short note; it ends with the first frame after `NOTE_S`."""
        if note in self._ends:
            self._send("note_off", note=note)
        self._send("note_on", note=note, velocity=velocity)
        self._ends[note] = time.monotonic() + NOTE_S

    def _end_notes(self, now_s: float) -> None:
        for note in [note for note, end in self._ends.items() if end <= now_s]:
            del self._ends[note]
            self._send("note_off", note=note)

    def _send_value(self, control: int, value: float) -> None:
        value = min(1.0, max(0.0, value))
        if self._settings.bits == 7:
            self._send_control(control, round(value * 127))
            return
        high, low = divmod(round(value * 16383), 128)
        if self._sent_controls.get(control) != high:
            # Some receivers set the low half to 0 when the high one comes, some keep it.
            self._sent_controls.pop(control + _LOW_HALF, None)
        self._send_control(control, high)
        self._send_control(control + _LOW_HALF, low)

    def _send_control(self, control: int, value: int) -> None:
        if self._sent_controls.get(control) != value:
            self._send("control_change", control=control, value=value)
            self._sent_controls[control] = value

    def _send(self, kind: str, **values: int) -> None:
        assert self._port is not None
        self._write(self._port, Message(kind, channel=self._channel, **values))

    def _write(self, port: MidiPort, message: Any) -> None:
        port.client.send_message(message.bytes())
        self.sent += 1


def _message(action: Action) -> tuple[str, dict[str, int]]:
    """Return the kind and the numbers of a scene's message.

    Values: {"note": 60, "velocity": 100} for a short note (velocity 100 where there is none),
    {"control": 1, "value": 64} for a control change, {"program": 3} for a program change.
    Numbers as in MIDI, 0 to 127.

    Raises:
        UserError: the values are none of these.
    """
    values: dict[str, int] = {}
    for name, value in action.values.items():
        if not is_data_byte(value):
            raise UserError(f"{name} is {value}; MIDI takes whole numbers from 0 to 127")
        values[name] = value
    if "note" in values and values.keys() <= {"note", "velocity"}:
        return "note", {"velocity": VELOCITY, **values}
    if values.keys() == {"control", "value"}:
        return "control_change", values
    if values.keys() == {"program"}:
        return "program_change", values
    raise UserError(
        f"this sets {', '.join(values) or 'nothing'}; MIDI takes "
        "note with velocity, control with value, or program"
    )


def frame_values(frame: Frame) -> dict[str, float]:
    """Return the values of a frame by name (`VALUES`), each 0 to 1."""
    red, green, blue = frame.color
    return {
        "valence": frame.valence,
        "arousal": frame.arousal,
        "level": frame.level,
        "valence_width": frame.valence_width,
        "arousal_width": frame.arousal_width,
        "dimmer": frame.dimmer,
        "red": red,
        "green": green,
        "blue": blue,
    }


def check_numbers(
    what: str, numbers: Mapping[str, int], names: tuple[str, ...] | None = None, highest: int = 127
) -> None:
    """Raise UserError unless numbers are distinct, from 0 to `highest`, and have known names."""
    named: dict[int, str] = {}
    for name, number in numbers.items():
        if names is not None and name not in names:
            raise UserError(f"{what} has {name}; it takes {', '.join(names)}")
        if not 0 <= number <= highest:
            raise UserError(f"{what} has {number} for {name}; it must lie between 0 and {highest}")
        if number in named:
            raise UserError(f"{what} has {number} for both {named[number]} and {name}")
        named[number] = name


def is_data_byte(value: object) -> TypeGuard[int]:
    """Return whether a value is a number that MIDI can send, 0 to 127."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 127
