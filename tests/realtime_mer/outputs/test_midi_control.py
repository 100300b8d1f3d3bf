"""MIDI in: pads and faders at the other end of real ports control a show."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from live_support import wait_for
from support_midi import MidiDevice, wait_for_connection

from realtime_mer.errors import UserError
from realtime_mer.live.show import ControlState, Show

pytest.importorskip("rtmidi", reason="python-rtmidi is not installed (extra midi)")
pytest.importorskip("mido", reason="mido is not installed (extra midi)")

import rtmidi

from realtime_mer.outputs import midi_control
from realtime_mer.outputs.midi_control import MidiControl, MidiControlSettings

CHANNEL = 9
NOTE_ON, NOTE_OFF, CONTROL = 0x90 | CHANNEL, 0x80 | CHANNEL, 0xB0 | CHANNEL
SETTINGS: dict[str, Any] = {
    "notes": {"mute": 36, "freeze": 37, "blackout": 38, "release": 39},
    "controls": {"blackout": 50, "valence": 0, "dimmer": 1},
    "scenes": {"storm": 40, "unknown": 41},
}


class Scenes:
    """The scenes that were started."""

    def __init__(self) -> None:
        self.started: list[str] = []

    def start(self, name: str) -> None:
        if name != "storm":
            raise UserError(f"there is no scene {name!r}")
        self.started.append(name)


@contextlib.contextmanager
def controlled(**settings: Any) -> Iterator[tuple[Show, Scenes, MidiDevice]]:
    """Run the control with a virtual port, and connect to it."""
    show, scenes = Show(), Scenes()
    show.start_scene = scenes.start
    with (
        MidiControl(show, MidiControlSettings(virtual="pads", **{**SETTINGS, **settings})),
        MidiDevice(rtmidi.MidiOut, port="pads") as pads,
    ):
        connect(pads, show)
        yield show, scenes, pads


def connect(pads: MidiDevice, show: Show) -> None:
    """Wait until messages pass, and take back what they do."""
    wait_for_connection(
        lambda number: pads.send(CONTROL, 1, number),
        lambda number: show.state().override.get("dimmer") == number / 127,
    )

    def released() -> bool:
        pads.send(NOTE_ON, 39, 100)  # anew each time: JACK may lose the first one
        return show.state() == ControlState()

    wait_for(released, "nothing is set")


def wait_for_state(show: Show, **state: Any) -> None:
    wait_for(lambda: show.state() == ControlState(**state), f"{state}, not {show.state()}")


@pytest.mark.usefixtures("midi_system")
def test_pads_switch_on_and_off() -> None:
    with controlled() as (show, _, pads):
        for note, name in ((36, "mute"), (37, "freeze"), (38, "blackout")):
            pads.send(NOTE_ON, note, 100)
            wait_for_state(show, **{name: True})
            pads.send(NOTE_OFF, note, 0)
            pads.send(NOTE_ON, note, 0)  # is a note off too
            pads.send(NOTE_ON, note, 1)
            wait_for_state(show)


@pytest.mark.usefixtures("midi_system")
def test_faders_and_buttons() -> None:
    with controlled() as (show, _, pads):
        pads.send(CONTROL, 50, 127)
        wait_for_state(show, blackout=True)
        pads.send(CONTROL, 50, 63)
        wait_for_state(show)
        pads.send(CONTROL, 0, 127)
        pads.send(CONTROL, 1, 0)
        wait_for_state(show, override={"valence": 1.0, "dimmer": 0.0})
        pads.send(NOTE_ON, 39, 100)
        wait_for_state(show)


@pytest.mark.usefixtures("midi_system")
def test_scenes(caplog: pytest.LogCaptureFixture) -> None:
    with controlled() as (_, scenes, pads):
        pads.send(NOTE_ON, 41, 100)
        pads.send(NOTE_ON, 41, 100)
        pads.send(NOTE_ON, 40, 100)
        wait_for(lambda: scenes.started == ["storm"], "the scene")
    warnings = [record.message for record in caplog.records if record.levelno > logging.INFO]
    assert warnings == ["MIDI control: there is no scene 'unknown'"]


@pytest.mark.usefixtures("midi_system")
def test_other_messages_and_channels_are_ignored() -> None:
    with controlled(channel=10) as (show, _, pads):
        pads.send(0x90, 36, 100)  # another channel
        pads.send(NOTE_ON, 1, 100)  # without a meaning
        pads.send(CONTROL, 99, 100)
        pads.send(0xE9, 1, 2)  # pitch bend
        pads.send(0xF0, 1, 2, 3, 0xF7)  # system exclusive
        pads.send(0xFA)  # start
        pads.send(NOTE_ON, 37, 100)
        wait_for_state(show, freeze=True)


@pytest.mark.usefixtures("midi_system")
def test_a_device_is_waited_for_and_found_again(caplog: pytest.LogCaptureFixture) -> None:
    show = Show()

    def told(text: str) -> bool:
        return any(text in record.getMessage() for record in caplog.records)

    settings = MidiControlSettings(port="launchpad", **SETTINGS)
    with caplog.at_level(logging.INFO), MidiControl(show, settings):
        wait_for(lambda: told("port is launchpad, which is no MIDI port here"), "the warning")
        for _ in range(2):
            caplog.clear()
            with MidiDevice(rtmidi.MidiOut, name="Launchpad Mini") as pads:
                wait_for(lambda: told("MIDI control listens to"), "the device is found")
                connect(pads, show)
            wait_for(lambda: told("is gone; it is waited for"), "the device is missed")


def test_a_device_that_goes_while_it_is_opened_is_waited_for(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[str] = []

    def vanished(make: object, port: str, virtual: str) -> None:
        attempts.append(port)
        raise rtmidi.InvalidPortError("no such port")  # it was listed a moment ago

    monkeypatch.setattr(midi_control, "MidiPort", vanished)
    monkeypatch.setattr(midi_control, "CHECK_S", 0.01)
    with MidiControl(Show(), MidiControlSettings(port="pads", **SETTINGS)):
        wait_for(lambda: len(attempts) > 1, "the next attempt")
    assert [each.message for each in caplog.records] == ["MIDI control waits: no such port"]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"port": "a", "virtual": "b"}, "^port is a and virtual is b"),
        ({"channel": 17}, "^channel is 17; it must lie between 1 and 16$"),
        ({"notes": {"pause": 1}}, "^notes has pause; it takes mute, freeze, blackout, release$"),
        ({"controls": {"mood": 1}}, "^controls has mood; it takes mute, .*, dimmer$"),
        ({"scenes": {"storm": 128}}, "^scenes has 128 for storm"),
        (
            {"notes": {"mute": 1}, "scenes": {"mute": 1}},
            "^notes or scenes has 1 for both mute and the scene mute$",
        ),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        MidiControlSettings(**settings)
