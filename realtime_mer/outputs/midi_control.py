"""Controls of a show from a MIDI device: pads, buttons and faders."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from typing import Any

import rtmidi
from mido import Message

from realtime_mer.closable import Closable
from realtime_mer.errors import UserError, printable_line
from realtime_mer.live.show import OVERRIDABLE, SWITCHES, ControlCommand, Show, switched
from realtime_mer.outputs.midi import check_numbers
from realtime_mer.outputs.midi_ports import CHECK_S, CLIENT, MidiPort, check_port_names

logger = logging.getLogger(__name__)

RELEASE = "release"
_ON = 64  # from this value on, a control change switches on
_CLOSE_TIMEOUT_S = 2.0
_POLL_S = 0.01
_VIRTUAL = f"{CLIENT} control"


@dataclass(frozen=True, kw_only=True)
class MidiControlSettings:
    """Controls of the show from a MIDI device or program.

    Attributes:
        port: name of a MIDI input port, or a part of it.
        virtual: name of a port to make, which programs connect to, instead of `port`; without
            either, `realtime-mer control` is made. Windows has no virtual ports.
        channel: 1 to 16; without it, all channels count.
        notes: notes of pads, 0 to 127, by what they do: mute, freeze and blackout are switched on
            by one press and off by the next; release gives all values back to the music.
        controls: numbers of control changes, 0 to 127, by what they set: mute, freeze and blackout
            are on from the value 64 on; valence, arousal, level and dimmer follow a fader
            instead of the music, until release.
        scenes: notes that start scenes, 0 to 127, by the name of the scene.

    Raises:
        UserError: a value is out of range, a name is unknown, or two share a number.
    """

    port: str = ""
    virtual: str = ""
    channel: int | None = None
    notes: dict[str, int] = field(default_factory=dict)
    controls: dict[str, int] = field(default_factory=dict)
    scenes: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_port_names(self.port, self.virtual)
        if self.channel is not None and not 1 <= self.channel <= 16:
            raise UserError(f"channel is {self.channel}; it must lie between 1 and 16")
        check_numbers("notes", self.notes, (*SWITCHES, RELEASE))
        check_numbers("controls", self.controls, (*SWITCHES, *OVERRIDABLE))
        check_numbers("scenes", self.scenes)
        scenes = {f"the scene {name}": note for name, note in self.scenes.items()}
        check_numbers("notes or scenes", {**self.notes, **scenes})


class MidiControl(Closable):
    """Listens to a MIDI port in a thread of its own and controls a show.

    A device that is not there, or is unplugged, is waited for. Messages without a meaning are
    ignored.

    Args:
        show: what is controlled.
        settings: see `MidiControlSettings`.
    """

    def __init__(self, show: Show, settings: MidiControlSettings) -> None:
        self._show = show
        self._settings = settings
        self._actions = {note: name for name, note in settings.notes.items()}
        self._scenes = {note: name for name, note in settings.scenes.items()}
        self._controls = {number: name for name, number in settings.controls.items()}
        self._closing = threading.Event()
        self._told = ""
        self._thread = threading.Thread(target=self._run, name="midi control", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join(_CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._listen()
            except (OSError, UserError, rtmidi.RtMidiError) as error:
                self._tell(f"MIDI control waits: {error}")
                self._closing.wait(CHECK_S)

    def _listen(self) -> None:
        """Follow the port until it is gone (OSError) or the end."""
        settings = self._settings
        virtual = settings.virtual or _VIRTUAL
        with MidiPort(rtmidi.MidiIn, settings.port, virtual) as port:
            self._told = ""
            logger.info("MIDI control listens to %s", printable_line(port.name))
            # rtmidi's callbacks would run in JACK's thread, which may call one after its end.
            while not self._closing.wait(_POLL_S):
                port.check()
                while (received := port.client.get_message()) is not None:
                    self._take(received[0])

    def _take(self, received: list[int]) -> None:
        """Do what a message says."""
        command = self._command(received)
        if command is not None:
            try:
                self._show.control(command)
            except UserError as error:
                self._tell(f"MIDI control: {error}")

    def _command(self, received: list[int]) -> ControlCommand | None:
        """Return what a message means; None for nothing."""
        try:
            message: Any = Message.from_bytes(received)
        except ValueError:
            return None
        channel = self._settings.channel
        if channel is not None and getattr(message, "channel", None) != channel - 1:
            return None
        if message.type == "note_on" and message.velocity > 0:
            return self._pressed(message.note)
        name = self._controls.get(message.control) if message.type == "control_change" else None
        if name in SWITCHES:
            return switched(name, message.value >= _ON)
        if name is not None:
            return ControlCommand(override={name: message.value / 127})
        return None

    def _pressed(self, note: int) -> ControlCommand | None:
        if note in self._scenes:
            return ControlCommand(scene=self._scenes[note])
        name = self._actions.get(note)
        if name == RELEASE:
            return ControlCommand(override=dict.fromkeys(OVERRIDABLE))
        if name is not None:
            return switched(name, not getattr(self._show.state(), name))
        return None

    def _tell(self, sentence: str) -> None:
        """Warn with a sentence, unless it is the last one again."""
        if sentence != self._told:
            logger.warning("%s", printable_line(sentence))
        self._told = sentence
