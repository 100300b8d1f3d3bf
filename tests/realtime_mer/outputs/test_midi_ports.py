"""MIDI ports are found by name, or the reason is told."""

from __future__ import annotations

import pytest

from realtime_mer.errors import UserError

pytest.importorskip("rtmidi", reason="python-rtmidi is not installed (extra midi)")

import rtmidi

from realtime_mer.outputs.midi_ports import MidiPort, find_port

PORTS = (
    "Midi Through:Midi Through Port-0 14:0",
    "nanoKONTROL2:nanoKONTROL2 MIDI 1 24:0",
    "Synth:Synth MIDI 1 28:0",
    "Synth:Synth MIDI 10 28:1",
)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("nanoKONTROL2:nanoKONTROL2 MIDI 1 24:0", 1),
        ("nanokontrol", 1),
        ("Synth MIDI 1", 2),
        ("synth:synth midi 10", 3),
        ("MIDI 10", 3),
        ("through", 0),
    ],
)
def test_a_port_is_found_by_its_name_or_a_part(wanted: str, found: int) -> None:
    assert find_port(wanted, PORTS) == PORTS[found]


def test_an_unknown_or_ambiguous_name_lists_the_ports() -> None:
    with pytest.raises(UserError, match=r"^port is synth, which matches 2 MIDI ports: Synth:.*, S"):
        find_port("synth", PORTS)
    with pytest.raises(UserError, match=r"^port is Launchpad, which is no MIDI port.*Through Port"):
        find_port("Launchpad", PORTS)
    with pytest.raises(UserError, match=r"^port is Launchpad, .* there are: none$"):
        find_port("Launchpad", ())


@pytest.mark.skipif(
    rtmidi.API_UNIX_JACK not in rtmidi.get_compiled_api(), reason="rtmidi is without JACK here"
)
def test_a_missing_midi_system_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTMIDI_API", "UNIX_JACK")
    monkeypatch.setenv("JACK_DEFAULT_SERVER", "mer-test-nowhere")
    monkeypatch.setenv("JACK_NO_START_SERVER", "1")
    with pytest.raises(
        UserError, match=r"^MIDI does not work here \(tried: Jack\); on Linux, load"
    ):
        MidiPort(rtmidi.MidiOut, "", "mood")
