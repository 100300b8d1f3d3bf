"""Lab Streaming Layer against real receivers."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("realtime_mer.outputs.lsl", exc_type=ImportError)

import numpy as np
import pylsl
from live_support import TIMEOUT_S, wait_for
from lsl_support import skip_without_lsl
from net_support import EVENT, FRAME

from realtime_mer.core.events import EventKind, Marker, RhythmEvent, RhythmKind
from realtime_mer.errors import UserError
from realtime_mer.outputs.lsl import CHANNELS, LslOutput, LslSettings
from realtime_mer.outputs.output import Action


@pytest.fixture
def output(request: pytest.FixtureRequest) -> Iterator[LslOutput]:
    """An open output with a name of its own, so that tests do not see each other's streams."""
    skip_without_lsl()
    output = LslOutput(LslSettings(name=f"{request.node.name} {id(request)}"))
    output.open()
    yield output
    output.close()


def inlet(output: LslOutput, kind: str) -> Any:
    """Return a receiver of the stream of a type."""
    found = pylsl.resolve_bypred(f"name='{output.name}' and type='{kind}'", timeout=TIMEOUT_S)
    assert len(found) == 1
    inlet = pylsl.StreamInlet(found[0])
    inlet.open_stream(timeout=TIMEOUT_S)
    return inlet


def test_a_sample_has_all_channels_and_the_time_of_sending(output: LslOutput) -> None:
    mood = inlet(output, "Mood")
    before = pylsl.local_clock()
    output.send(FRAME)
    output.send(replace(FRAME, bpm=120.0, t=13.0))
    after = pylsl.local_clock()
    (sample, stamp), (other, other_stamp) = (mood.pull_sample(timeout=TIMEOUT_S) for _ in range(2))
    values = dict(zip(CHANNELS, sample, strict=True))
    assert math.isnan(values.pop("bpm"))
    assert values == {
        "valence": 0.5,
        "arousal": -0.5,
        "valence_width": np.float32(0.4),
        "arousal_width": 0.25,
        "level": 0.5,
        "state": 2.0,
        "stream_time": 12.5,
    }
    assert other[list(CHANNELS).index("bpm")] == 120.0
    assert before <= stamp <= other_stamp <= after
    wait_for(lambda: _answer(output) == "is received", "the receiver is seen")
    assert output.sent >= 3
    del mood
    wait_for(lambda: _answer(output) == "nobody receives", "the receiver is gone")


def _answer(output: LslOutput) -> str:
    output.send(FRAME)
    return output.answer


def test_the_streams_describe_themselves(output: LslOutput) -> None:
    info = inlet(output, "Mood").info(timeout=TIMEOUT_S)
    assert info.nominal_srate() == pylsl.IRREGULAR_RATE
    assert info.channel_format() == pylsl.cf_float32
    assert info.channel_count() == len(CHANNELS)
    assert info.source_id().endswith(f"/{output.name}/Mood")
    assert info.desc().child_value("manufacturer") == "realtime-mer"
    channel = info.desc().child("channels").child("channel")
    described = {}
    while not channel.empty():
        described[channel.child_value("label")] = channel.child_value("unit")
        channel = channel.next_sibling("channel")
    assert described == CHANNELS
    assert CHANNELS["state"].split(", ")[2] == "2 tracking"


def test_a_marker_has_the_time_of_the_change(output: LslOutput) -> None:
    markers = inlet(output, "Markers")
    before = pylsl.local_clock()
    output.send_event(RhythmEvent(RhythmKind.BEAT, 1.0, 0.5, 120.0))
    output.send_event(EVENT)  # detected after two seconds
    output.send_event(replace(EVENT, kind=EventKind.RISE, mood=None, detected_t=EVENT.t))
    output.send_event(Marker(1.0, EVENT.utc, "patient opened eyes"))
    after = pylsl.local_clock()
    (marker,), stamp = markers.pull_sample(timeout=TIMEOUT_S)
    assert marker == "mood_enter/calm"
    assert before - 2.0 <= stamp <= after - 2.0
    (marker,), stamp = markers.pull_sample(timeout=TIMEOUT_S)
    assert marker == "rise"
    assert before <= stamp <= after
    (marker,), stamp = markers.pull_sample(timeout=TIMEOUT_S)
    assert marker == "marker/patient opened eyes"
    assert before <= stamp <= after


def test_a_receiver_finds_a_program_again(output: LslOutput) -> None:
    """The stream is the same after the program was started again."""
    mood = inlet(output, "Mood")
    output.close()
    output.close()
    output.open()

    def arrives() -> bool:
        output.send(FRAME)
        return bool(mood.pull_chunk()[0])

    wait_for(arrives, "samples of the new stream")


def test_scenes_have_no_actions(output: LslOutput) -> None:
    with pytest.raises(UserError, match="has no actions for scenes"):
        output.act(Action("loud", {}))


def test_a_missing_library_is_an_import_error() -> None:
    """So that the sentence for a missing package is told, whatever is missing."""
    program = """
import sys, types
class Missing:
    def find_spec(self, name, path, target=None):
        if name == "pylsl":
            raise RuntimeError("LSL binary library file was not found")
sys.meta_path.insert(0, Missing())
try:
    import realtime_mer.outputs.lsl
except ImportError as error:
    print(error.name, "/", error)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert run.stdout == b"pylsl with liblsl / LSL binary library file was not found\n"
