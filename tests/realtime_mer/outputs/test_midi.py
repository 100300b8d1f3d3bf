"""MIDI out: messages at the other end of real ports, read by mido's parser."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from live_support import wait_for
from stage_support import frame
from support_midi import MidiDevice, wait_for_connection

from realtime_mer.core.events import Event, EventKind, RhythmEvent, RhythmKind
from realtime_mer.errors import UserError
from realtime_mer.outputs.output import Action

pytest.importorskip("rtmidi", reason="python-rtmidi is not installed (extra midi)")
mido = pytest.importorskip("mido", reason="mido is not installed (extra midi)")

import rtmidi  # noqa: E402

from realtime_mer.outputs.midi import MidiOutput, MidiSettings  # noqa: E402

CHANNEL = 4
NOTHING: dict[str, Any] = {"controls": {}, "mood_notes": {}, "event_notes": {}}


class Synth(MidiDevice):
    """The other end of an output."""

    def messages(self, count: int) -> list[str]:
        """Wait for messages and return them in mido's words, without the time."""
        data = [byte for message in self.receive_all(count) for byte in message]
        parsed = mido.parse_all(data)
        assert len(parsed) == count
        return [str(message).removesuffix(" time=0") for message in parsed]


def connect(output: MidiOutput, synth: Synth) -> None:
    """Wait until messages pass, and forget them."""
    wait_for_connection(
        lambda number: output.act(Action("connect", {"program": number})),
        lambda number: synth.take() == (0xC0 | CHANNEL, number),
    )
    output.sent = 0


@contextlib.contextmanager
def playing(**settings: Any) -> Iterator[tuple[MidiOutput, Synth]]:
    """Open an output with a virtual port, and connect to it."""
    output = MidiOutput(MidiSettings(virtual="mood", channel=CHANNEL + 1, **settings))
    output.open()
    try:
        with Synth(rtmidi.MidiIn, port="mood") as synth:
            connect(output, synth)
            yield output, synth
    finally:
        output.close()


def event(kind: EventKind, strength: float = 1.0) -> Event:
    return Event(kind=kind, t=1.0, detected_t=1.5, utc="2026-05-01T20:15:00Z", strength=strength)


@pytest.mark.usefixtures("midi_system")
def test_values_and_the_mood_by_default() -> None:
    with playing() as (output, synth):
        output.send(frame(valence=0.0, arousal=1.0, mood="calm"))
        assert synth.messages(7) == [
            "control_change channel=4 control=20 value=0",
            "control_change channel=4 control=21 value=127",
            "control_change channel=4 control=22 value=64",
            "control_change channel=4 control=23 value=32",
            "control_change channel=4 control=24 value=32",
            "control_change channel=4 control=25 value=127",
            "note_on channel=4 note=56 velocity=100",
        ]
        assert output.sent == 7


@pytest.mark.usefixtures("midi_system")
def test_the_colour() -> None:
    controls = {"red": 26, "green": 27, "blue": 28}
    with playing(**{**NOTHING, "controls": controls}) as (output, synth):
        output.send(frame(color=(1.0, 0.5, 0.0)))
        assert synth.messages(3) == [
            "control_change channel=4 control=26 value=127",
            "control_change channel=4 control=27 value=64",
            "control_change channel=4 control=28 value=0",
        ]


@pytest.mark.usefixtures("midi_system")
def test_only_what_changed_is_sent() -> None:
    with playing(**{**NOTHING, "controls": {"valence": 1, "level": 7}}) as (out, synth):
        for level in (0.5, 0.5, 0.501, 0.6):
            out.send(frame(level=level))
        assert synth.messages(3) == [
            "control_change channel=4 control=1 value=64",
            "control_change channel=4 control=7 value=64",
            "control_change channel=4 control=7 value=76",
        ]
        assert out.sent == 3


@pytest.mark.usefixtures("midi_system")
def test_fourteen_bits() -> None:
    with playing(bits=14, **{**NOTHING, "controls": {"dimmer": 1}}) as (output, synth):
        for value in (300, 301, 256 + 128 + 45, 256 + 128 + 45, 16383):
            output.send(frame(dimmer=value / 16383))
        assert [message.split(" ", 2)[2] for message in synth.messages(7)] == [
            "control=1 value=2",
            "control=33 value=44",
            "control=33 value=45",
            "control=1 value=3",
            "control=33 value=45",
            "control=1 value=127",
            "control=33 value=127",
        ]


@pytest.mark.usefixtures("midi_system")
def test_a_note_sounds_while_a_mood_lasts() -> None:
    with playing(**{**NOTHING, "mood_notes": {"calm": 40, "tense": 41}}) as (output, synth):
        for mood in (None, "calm", "calm", "tense", "joyful", "calm"):
            output.send(frame(mood=mood))
        assert [message.split(" ")[:3:2] for message in synth.messages(5)] == [
            ["note_on", "note=40"],
            ["note_off", "note=40"],
            ["note_on", "note=41"],
            ["note_off", "note=41"],
            ["note_on", "note=40"],
        ]


@pytest.mark.usefixtures("midi_system")
def test_at_the_end_all_notes_end() -> None:
    def ends() -> bool:
        with playing(**{**NOTHING, "mood_notes": {"calm": 40}}) as (output, synth):
            output.send(frame(mood="calm"))
            output.act(Action("storm", {"note": 60}))
            assert len(synth.messages(2)) == 2
            output.close()
            output.close()
            left = [synth.take() for _ in range(4)]
        return left == [(0x84, 60, 64), (0x84, 40, 64), (0xB4, 123, 0), None]

    # JACK does not say when the last messages have gone, so on a busy machine they may not go.
    wait_for(ends, "the ends of the notes")


@pytest.mark.usefixtures("midi_system")
def test_events_are_short_notes_as_strong_as_the_event() -> None:
    notes = {"rise": 36, "beat": 38}
    with playing(**{**NOTHING, "event_notes": notes}) as (output, synth):
        output.send_event(event(EventKind.DROP))
        output.send_event(event(EventKind.RISE, 0.5))
        output.send_event(event(EventKind.RISE, 0.0))
        output.send_event(RhythmEvent(RhythmKind.BEAT, t=1.0, strength=1.0, bpm=120.0))
        assert synth.messages(4) == [
            "note_on channel=4 note=36 velocity=64",
            "note_off channel=4 note=36 velocity=64",
            "note_on channel=4 note=36 velocity=1",
            "note_on channel=4 note=38 velocity=127",
        ]
        sent = output.sent

        def ended() -> bool:
            output.send(frame())
            return output.sent == sent + 2

        wait_for(ended, "the ends of the notes")
        assert synth.messages(2) == [
            "note_off channel=4 note=36 velocity=64",
            "note_off channel=4 note=38 velocity=64",
        ]


def test_beats_are_looked_for_only_where_they_have_notes() -> None:
    assert not MidiOutput(MidiSettings()).rhythm
    assert MidiOutput(MidiSettings(event_notes={"beat": 1})).rhythm
    assert MidiOutput(MidiSettings(event_notes={"rise": 2, "onset": 1})).rhythm


@pytest.mark.usefixtures("midi_system")
def test_actions_of_scenes() -> None:
    with playing(**NOTHING) as (output, synth):
        for values in (
            {"note": 60},
            {"note": 61, "velocity": 1},
            {"control": 1, "value": 64},
            {"program": 3},
        ):
            output.act(Action("storm", dict(values)))
        assert synth.messages(4) == [
            "note_on channel=4 note=60 velocity=100",
            "note_on channel=4 note=61 velocity=1",
            "control_change channel=4 control=1 value=64",
            "program_change channel=4 program=3",
        ]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({}, "^this sets nothing; MIDI takes"),
        ({"velocity": 3}, "^this sets velocity; MIDI takes note"),
        ({"control": 3}, "^this sets control; MIDI takes"),
        ({"note": 128}, "^note is 128; MIDI takes whole numbers"),
        ({"note": "C3"}, "^note is C3"),
        ({"control": 1, "value": 0.5}, "^value is 0.5"),
        ({"program": True}, "^program is True"),
    ],
)
def test_wrong_actions_are_refused(values: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        MidiOutput(MidiSettings()).act(Action("storm", values))


@pytest.mark.usefixtures("midi_system")
def test_a_device_that_was_unplugged_gets_everything_again() -> None:
    settings = {**NOTHING, "controls": {"valence": 1}, "mood_notes": {"sad": 2}}
    output = MidiOutput(MidiSettings(port="synthesizer", channel=CHANNEL + 1, **settings))
    with pytest.raises(UserError, match=r"^port is synthesizer, which is no MIDI port here"):
        output.open()
    for _ in range(2):
        with Synth(rtmidi.MidiIn, name="Synthesizer 2") as synth:
            output.open()
            connect(output, synth)
            output.send(frame(mood="sad"))
            assert synth.messages(2) == [
                "control_change channel=4 control=1 value=64",
                "note_on channel=4 note=2 velocity=100",
            ]

        def gone() -> bool:
            try:
                output.send(frame(mood="sad"))
            except OSError as error:
                return "Synthesizer 2" in str(error) and "is gone" in str(error)
            return False

        wait_for(gone, "the port is missed")
        output.close()
    output.close()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"port": "a", "virtual": "b"}, "^port is a and virtual is b; give only one of them$"),
        ({"channel": 0}, "^channel is 0; it must lie between 1 and 16$"),
        ({"bits": 8}, "^bits is 8; it must be 7 or 14$"),
        ({"controls": {"valence": 128}}, "^controls has 128 for valence; .* between 0 and 127$"),
        ({"controls": {"tempo": 1}}, "^controls has tempo; it takes valence, arousal"),
        ({"controls": {"red": 1, "blue": 1}}, "^controls has 1 for both red and blue$"),
        ({"controls": {"red": 32}, "bits": 14}, "^controls has 32 for red; .* between 0 and 31$"),
        ({"mood_notes": {"happy": 1}}, "^mood_notes has happy; it takes neutral, pleased"),
        ({"event_notes": {"mood_enter": 1}}, "^event_notes has mood_enter; it takes rise"),
        ({"event_notes": {"rise": 48}}, "^event_notes or mood_notes has 48 for both neutral and"),
        ({"rate_hz": 60.0}, "^rate_hz is 60; it must"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        MidiSettings(**settings)
