"""What docs/stage/midi.md prints is true and works."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from live_support import wait_for
from support import ESTIMATE
from support_midi import MidiDevice, midi_environment, wait_for_connection

pytest.importorskip("rtmidi", reason="python-rtmidi is not installed (extra midi)")
pytest.importorskip("mido", reason="mido is not installed (extra midi)")

import rtmidi

from realtime_mer.commands.show import running_show
from realtime_mer.configuration.configuration import load
from realtime_mer.core.types import State
from realtime_mer.live.hub import Hub
from realtime_mer.outputs.midi import CONTROLS, EVENT_NOTES, MOOD_NOTES, NOTE_S, VELOCITY

PAGE = (Path(__file__).parent.parent / "docs" / "stage" / "midi.md").read_text("utf-8")
BLOCKS = re.findall(r"^```toml\n(.*?)^```", PAGE, re.M | re.S)


def test_the_tables() -> None:
    numbers = {name: int(number) for name, number in re.findall(r"`(\w+)` \| (\d+) \|", PAGE)}
    assert numbers == {**CONTROLS, **MOOD_NOTES, **EVENT_NOTES}
    assert f"velocity {VELOCITY}" in PAGE
    assert f"{NOTE_S:g} s later" in PAGE


@pytest.mark.parametrize("block", BLOCKS)
def test_every_example_is_a_configuration(block: str, tmp_path: Path) -> None:
    file = tmp_path / "realtime-mer.toml"
    scene = '[[scene]]\nname = "storm"\n' if "scenes = " in block else ""
    file.write_text(scene + block)
    configuration = load(file)
    assert configuration.outputs or configuration.scenes or configuration.controls


def test_the_examples_play_together(tmp_path: Path) -> None:
    send, scene, control = (
        next(block for block in BLOCKS if text in block)
        for text in ('virtual = "mood"', "[[scene]]", "[control.midi]")
    )
    file = tmp_path / "realtime-mer.toml"
    file.write_text(send + scene + control)
    hub = Hub()
    with (
        midi_environment("UNIX_JACK"),
        MidiDevice(rtmidi.MidiOut, name="nanoKONTROL2 SLIDER") as pads,
        running_show(hub, load(file), hop_s=1.0) as show,
        MidiDevice(rtmidi.MidiIn, port="mood") as synth,
    ):
        wait_for_connection(
            lambda number: pads.send(0xB0, 0, number),
            lambda number: show.state().override.get("valence") == number / 127,
        )

        def released() -> bool:
            # Anew each time: what was sent while JACK connected may come after the first one.
            pads.send(0x90, 39, 1)
            return not show.state().override

        wait_for(released, "release")
        received: set[tuple[int, ...]] = set()

        def played(*wanted: tuple[int, ...]) -> bool:
            # Anew each time, since JACK may lose what is sent before it has connected.
            hub.publish(replace(ESTIMATE, valence=1.0, mood="calm", state=State.TRACKING))
            pads.send(0x90, 40, 1)
            while (message := synth.take()) is not None:
                received.add(message)
            return received >= set(wanted)

        storm = ((0x90, 72, 100), (0xB0, 102, 127), (0xC0, 3))
        wait_for(lambda: played(*storm), "the scene of the pad")
        pads.send(0xB0, 3, 0)
        wait_for(lambda: played((0xB0, CONTROLS["dimmer"], 0)), "the fader of the dimmer")
