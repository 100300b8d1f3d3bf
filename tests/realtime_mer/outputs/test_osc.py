"""OSC messages, as a real OSC server and python-osc's own reader understand them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from live_support import wait_for
from osc_support import FRAME, FRAME_MESSAGES, free_udp_port, osc_server, udp_receiver
from pythonosc.osc_bundle import OscBundle
from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
from pythonosc.osc_message_builder import build_msg
from pythonosc.osc_packet import OscPacket
from support import ESTIMATE, ManualClock

from realtime_mer.core.events import Event, EventKind, Marker, RhythmEvent, RhythmKind
from realtime_mer.errors import UserError
from realtime_mer.live.hub import Hub
from realtime_mer.live.show import Health, Show
from realtime_mer.outputs.osc import FLOATS, WORD_PERIOD_S, WORDS, OscOutput, OscSettings
from realtime_mer.outputs.output import Action
from realtime_mer.outputs.output_set import OutputSet

PAGE = Path(__file__).parents[3] / "docs" / "stage.md"
UTC = "2026-01-02T03:04:05.000Z"


def as_dict(packets: list[bytes]) -> dict[str, list[object]]:
    """Return the arguments of all messages by their addresses, read by python-osc."""
    return {
        timed.message.address: list(timed.message)
        for packet in packets
        for timed in OscPacket(packet).messages
    }


@pytest.mark.parametrize("bundle", [True, False])
def test_a_frame(bundle: bool) -> None:
    with osc_server() as server:
        output = OscOutput(OscSettings(to=f"127.0.0.1:{server.port}", bundle=bundle))
        output.open()
        output.send(FRAME)
        wait_for(lambda: len(server.received) >= len(FRAME_MESSAGES), "all messages")
        output.close()
        assert dict(server.received) == FRAME_MESSAGES
        assert len(server.received) == len(FRAME_MESSAGES)
        assert output.sent == (3 if bundle else len(FRAME_MESSAGES))
        assert output.answer == ""


def test_the_bytes_are_those_of_python_osc() -> None:
    with udp_receiver() as receiver:
        output = OscOutput(OscSettings(to=f"127.0.0.1:{receiver.getsockname()[1]}"))
        output.open()
        output.send(FRAME)
        packet = receiver.recv(2000)
        output.close()
    builder = OscBundleBuilder(IMMEDIATELY)
    for name in FLOATS:
        address = f"/mer/{name}"
        builder.add_content(build_msg(address, FRAME_MESSAGES[address]))
    assert packet == builder.build().dgram
    assert OscBundle(packet).timestamp == IMMEDIATELY


def test_values_follow_and_unknown_ones_are_told() -> None:
    frame = replace(FRAME, mood=None, bpm=None, valence=0.0, arousal=1.0)
    with udp_receiver() as receiver:
        output = OscOutput(OscSettings(to=f"127.0.0.1:{receiver.getsockname()[1]}"))
        output.open()
        output.send(FRAME)
        packets = [receiver.recv(2000) for _ in range(3)]
        output.send(frame)
        found = as_dict([receiver.recv(2000)])
        output.close()
    assert as_dict(packets) == FRAME_MESSAGES
    assert found["/mer/valence"] == [0.0]
    assert found["/mer/bipolar/valence"] == [-1.0]
    assert found["/mer/bipolar/arousal"] == [1.0]
    assert found["/mer/bpm"] == [0.0]
    assert len(found) == len(FLOATS)


def test_words_come_on_change_and_now_and_then() -> None:
    clock = ManualClock()
    with udp_receiver() as receiver:
        settings = OscSettings(to=f"127.0.0.1:{receiver.getsockname()[1]}")
        output = OscOutput(settings, clock=clock)
        output.open()

        def words(mood: str | None) -> dict[str, list[object]]:
            sent = output.sent
            output.send(replace(FRAME, mood=mood))
            packets = [receiver.recv(2000) for _ in range(output.sent - sent)]
            return as_dict(packets[1:])

        assert words(None) == {"/mer/state": ["tracking"]}
        assert words("calm") == {"/mer/mood": ["calm"]}
        assert words("calm") == {}
        assert words("joyful") == {"/mer/mood": ["joyful"]}
        clock.advance(WORD_PERIOD_S)
        assert words("joyful") == {"/mer/mood": ["joyful"], "/mer/state": ["tracking"]}
        output.open()  # the receiver may be new
        assert words("joyful") == {"/mer/mood": ["joyful"], "/mer/state": ["tracking"]}
        output.close()


def test_events_and_pulses() -> None:
    with osc_server() as server:
        output = OscOutput(OscSettings(to=f"127.0.0.1:{server.port}", prefix="/a/b"))
        output.open()
        output.send_event(Event(EventKind.RISE, 3.0, 4.0, UTC, 0.5))
        output.send_event(Event(EventKind.MOOD_ENTER, 3.0, 4.0, UTC, 1.0, "joyful"))
        output.send_event(RhythmEvent(RhythmKind.BEAT, 3.0, 0.25, 128.0))
        output.send_event(RhythmEvent(RhythmKind.ONSET, 3.0, 1.0))
        output.send_event(Marker(3.0, UTC, "patient opened eyes"))
        server.wait_for("/a/b/event/rise", 0.5)
        server.wait_for("/a/b/event/mood_enter", "joyful")
        server.wait_for("/a/b/beat", 0.25)
        server.wait_for("/a/b/onset", 1.0)
        server.wait_for("/a/b/marker", "patient opened eyes")
        output.close()


def test_addresses_of_ones_own() -> None:
    own = {"level": "/composition/layers/1/video/opacity", "mood": "/text", "color": "/rgb"}
    with osc_server() as server:
        output = OscOutput(OscSettings(to=f"127.0.0.1:{server.port}", addresses=own))
        output.open()
        output.send(FRAME)
        server.wait_for("/composition/layers/1/video/opacity", 0.5)
        server.wait_for("/rgb", 1.0, 0.5, 0.0)
        server.wait_for("/text", "calm")
        output.close()
        assert "/mer/level" not in dict(server.received)


def test_an_action_sends_its_message() -> None:
    with osc_server() as server:
        output = OscOutput(OscSettings(to=f"127.0.0.1:{server.port}"))
        output.open()
        output.act(Action("drop", {"address": "/composition/columns/4/connect", "args": [1]}))
        output.act(Action("drop", {"address": "/clear"}))
        output.act(Action("drop", {"address": "/cue", "args": ["a", 0.5, 2**40, True, -3]}))
        server.wait_for("/composition/columns/4/connect", 1)
        server.wait_for("/clear")
        server.wait_for("/cue", "a", 0.5, 2**40, True, -3)
        output.close()


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({}, "needs an address"),
        ({"address": 3}, "needs an address"),
        ({"address": "/a", "args": 1.0}, "a list args"),
        ({"address": "clear"}, "'clear'; it must begin with /"),
        ({"address": "/a b"}, "without spaces"),
        ({"address": "/a", "arguments": [1]}, "more than address and args"),
        ({"address": "/a", "args": [float("nan")]}, r"\[nan\]"),
        ({"address": "/a", "args": [1e300]}, "1e\\+300"),
        ({"address": "/a", "args": [2**63]}, "9223372036854775808"),
        ({"address": "/a", "args": [None]}, "None"),
        ({"address": "/a", "args": ["\ud800"]}, "/a cannot be built"),
    ],
)
def test_bad_actions(values: dict[str, object], complaint: str) -> None:
    output = OscOutput(OscSettings(to="127.0.0.1:9"))
    with pytest.raises(UserError, match=complaint):
        output.act(Action("drop", values))


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"to": "here"}, "^to is 'here'; it must be HOST:PORT"),
        ({"to": "here:70000"}, "^to is 'here:70000'"),
        ({"to": "h:1", "prefix": "mer"}, "^prefix is 'mer'; it must begin with /"),
        ({"to": "h:1", "prefix": "/mer/"}, "^prefix is '/mer/'"),
        ({"to": "h:1", "prefix": "/m*r"}, "^prefix is"),
        ({"to": "h:1", "prefix": "/mür"}, "^prefix is"),
        ({"to": "h:1", "prefix": "/mer\n"}, "^prefix is"),
        ({"to": "h:1", "addresses": {"loud": "/a"}}, "^addresses has the name 'loud'"),
        ({"to": "h:1", "addresses": {"level": "a"}}, "^addresses: level is 'a'"),
        ({"to": "h:1", "rate_hz": 100.0}, "^rate_hz is 100"),
    ],
)  # fmt: skip
def test_bad_settings(settings: dict[str, object], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        OscSettings(**settings)  # type: ignore[arg-type]


def test_an_output_of_a_show_tells_that_nobody_listens_and_goes_on() -> None:
    port = free_udp_port()
    hub, show = Hub(), Show()
    settings = OscSettings(to=f"127.0.0.1:{port}", rate_hz=50.0)
    with OutputSet(hub, [settings], hop_s=1.0, show=show):
        hub.publish(ESTIMATE)
        answer = f"nobody listens at 127.0.0.1:{port}"
        wait_for(lambda: show.statuses()[0].answer == answer, "the refusal")
        assert show.statuses()[0].health is Health.FAILING
        with osc_server(port) as server:
            server.wait_for("/mer/state", "settling")
            wait_for(lambda: show.statuses()[0].health is Health.OK, "the output to be well")
        assert show.statuses()[0].dropped == 0


def test_an_output_of_a_show_tells_an_unknown_host() -> None:
    hub, show = Hub(), Show()
    with OutputSet(hub, [OscSettings(to="no-such-host.invalid:7000")], hop_s=1.0, show=show):
        wait_for(lambda: show.statuses()[0].health is Health.FAILING, "the failure")
        assert "the host no-such-host.invalid is not known" in show.statuses()[0].answer


def test_the_page_has_every_address() -> None:
    page = PAGE.read_text(encoding="utf-8")
    names = [*FLOATS, *WORDS, *RhythmKind, *(f"event/{kind}" for kind in EventKind)]
    for name in names:
        assert f"| `/mer/{name}` |" in page, name
