"""A show that is controlled by OSC, and what strange packets do to it: nothing."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator

import pytest
from live_support import wait_for
from osc_support import free_udp_port, osc_server, udp_receiver
from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
from pythonosc.osc_message_builder import build_msg
from pythonosc.udp_client import SimpleUDPClient
from support import ESTIMATE

from realtime_mer.errors import UserError
from realtime_mer.live.hub import Hub
from realtime_mer.live.show import ControlState, Health, OutputStatus, Show
from realtime_mer.outputs.osc import OscSettings
from realtime_mer.outputs.osc_control import MAX_TOLD, OscControl, OscControlSettings
from realtime_mer.outputs.output_set import OutputSet


class Controlled:
    """A show with two outputs and one scene, controlled by OSC."""

    def __init__(self, prefix: str = "/mer/control") -> None:
        self.show = Show()
        self.scenes: list[str] = []
        self.show.start_scene = self._start_scene
        self.show.statuses = lambda: [
            OutputStatus(name, "osc", Health.OK, 0, 0, "") for name in ("left", "stage right")
        ]
        self.port = free_udp_port()
        self.control = OscControl(self.show, OscControlSettings(port=self.port, prefix=prefix))
        self.client = SimpleUDPClient("127.0.0.1", self.port)

    def _start_scene(self, name: str) -> None:
        if name == "broken":
            raise RuntimeError("a fault of the program")
        if name != "finale":
            raise UserError(f"there is no scene {name!r}; there are: finale")
        self.scenes.append(name)

    def send(self, address: str, *arguments: object) -> None:
        self.client.send_message(address, list(arguments))

    def send_bytes(self, data: bytes) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(data, ("127.0.0.1", self.port))

    def wait(self, wanted: ControlState, output: str = "") -> None:
        wait_for(lambda: self.show.state(output) == wanted, f"{wanted}: {self.show.state(output)}")

    def close(self) -> None:
        self.control.close()
        self.client.close()


@pytest.fixture
def controlled() -> Iterator[Controlled]:
    made = Controlled()
    yield made
    made.close()


@pytest.mark.parametrize("name", ["mute", "freeze", "blackout"])
def test_switches(controlled: Controlled, name: str) -> None:
    switched_on = ControlState(name == "mute", name == "freeze", name == "blackout")
    for on in ((), (1,), (1.0,), (0.25,), (True,)):
        for off in ((0,), (0.0,), (False,), (-1,)):
            controlled.send(f"/mer/control/{name}", *on)
            controlled.wait(switched_on)
            controlled.send(f"/mer/control/{name}", *off)
            controlled.wait(ControlState())


@pytest.mark.parametrize("name", ["valence", "arousal", "level", "dimmer"])
def test_overrides(controlled: Controlled, name: str) -> None:
    for back in ((), (-1,), (-1.0,), (None,)):
        controlled.send(f"/mer/control/override/{name}", 0.5)
        controlled.wait(ControlState(override={name: 0.5}))
        controlled.send(f"/mer/control/override/{name}", 0)
        controlled.wait(ControlState(override={name: 0.0}))
        controlled.send(f"/mer/control/override/{name}", *back)
        controlled.wait(ControlState())


def test_one_output(controlled: Controlled) -> None:
    controlled.send("/mer/control/output/left/mute", 1)
    controlled.send("/mer/control/output/stage right/override/level", 0.25)
    controlled.wait(ControlState(mute=True), "left")
    controlled.wait(ControlState(override={"level": 0.25}), "stage right")
    assert controlled.show.state() == ControlState()


def test_scenes(controlled: Controlled) -> None:
    controlled.send("/mer/control/scene", "finale")
    wait_for(lambda: controlled.scenes == ["finale"], "the scene")


def test_markers(controlled: Controlled) -> None:
    made: list[str] = []
    controlled.show.mark = made.append
    controlled.send("/mer/control/marker", "patient opened eyes")
    wait_for(lambda: made == ["patient opened eyes"], "the marker")


def test_bundles_act_at_once_and_in_order(controlled: Controlled) -> None:
    inner = OscBundleBuilder(IMMEDIATELY)
    inner.add_content(build_msg("/mer/control/mute", 0))
    inner.add_content(build_msg("/mer/control/nonsense", 0))  # stops none of the others
    inner.add_content(build_msg("/mer/control/freeze", 1))
    outer = OscBundleBuilder(2_000_000_000)  # due in years
    outer.add_content(build_msg("/mer/control/mute", 1))
    outer.add_content(inner.build())
    outer.add_content(build_msg("/mer/control/blackout", 1))
    controlled.send_bytes(outer.build().dgram)
    controlled.wait(ControlState(freeze=True, blackout=True))


def test_a_prefix() -> None:
    made = Controlled("/desk")
    made.send("/mer/control/mute", 1)
    made.send("/desk/freeze", 1)
    made.wait(ControlState(freeze=True))
    made.close()


def bundle(*elements: bytes) -> bytes:
    return b"#bundle\0" + bytes(8) + b"".join(elements)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"/",
        b"\xff" * 100,
        b"/mer/control/mute",
        b"/mer/control/mute\0\0\0i",
        b"/mer/control/mute\0\0\0,i\0\0\0",  # the number is cut off
        b"/mer/control/m\xff\xfe\0\0\0\0,\0\0\0",
        b"/mer/control/mute\0\0\0," + 40_000 * b"x" + bytes(4),
        b"/mer/control/mute\0\0\0," + 40_000 * b"[" + bytes(4),
        b"/mer/control/mute\0\0\0,b\0\0\xff\xff\xff\xff",
        b"#bundle\0",
        b"#bundle\0" + bytes(8),
        bundle(b"\xff\xff\xff\xfc"),  # python-osc's own reader never ends here
        bundle(bytes(4)),
        bundle(b"\0\0\0\x10/mer"),
        bundle(b"\x7f\xff\xff\xff/mer/control/mute\0\0\0,\0\0\0"),
        b"/mer/control/" + 20 * b"{" + 200 * b"*" + 20 * b"\0",
        b"/mer/control/output/" + 30_000 * b"/" + bytes(4),
    ],
    ids=range(19),
)  # fmt: skip
def test_no_packet_stops_it(
    controlled: Controlled, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        controlled.send_bytes(data)
    controlled.send("/mer/control/freeze", 1)
    controlled.wait(ControlState(freeze=True))
    assert len(caplog.records) <= 1
    assert all(len(record.getMessage()) < 400 for record in caplog.records)


def test_nested_bundles_end(controlled: Controlled) -> None:
    data = b""
    for _ in range(3000):
        data = bundle(len(data).to_bytes(4, "big") + data) if data else bundle()
        if len(data) > 60_000:
            break
    controlled.send_bytes(data)
    controlled.send("/mer/control/freeze", 1)
    controlled.wait(ControlState(freeze=True))


@pytest.mark.parametrize(
    ("address", "arguments", "complaint"),
    [
        (
            "/mer/control/mute",
            ("on",),
            "/mer/control/mute has the argument 'on'; it takes a number",
        ),
        ("/mer/control/mute", (float("nan"),), "has the argument nan"),
        ("/mer/control/mute", (1, 1), "has 2 arguments"),
        ("/mer/control/override/level", (float("inf"),), "has the argument inf"),
        ("/mer/control/override/level", (1.5,), "the override of level is 1.5"),
        ("/mer/control/override/level", (-0.5,), "the override of level is -0.5"),
        ("/mer/control/override/bpm", (0.5,), "bpm cannot be overridden"),
        ("/mer/control/output/centre/mute", (1,), "there is no output 'centre'; there are: left"),
        ("/mer/control/scene", ("intro",), "there is no scene 'intro'; there are: finale"),
        ("/mer/control/scene", (3,), "takes a text"),
        ("/mer/control/marker", (), "/mer/control/marker takes a text"),
        ("/mer/control/marker", ("x",), "there is no session to mark"),
        ("/mer/control/output/left/scene", ("finale",), "only as /mer/control/scene"),
        ("/mer/control/scene", ("broken",), "the OSC message /mer/control/scene failed"),
        ("/mer/control/stop", (), "the address /mer/control/stop is unknown"),
        ("/mer/controls/mute", (1,), "the address /mer/controls/mute is unknown"),
        ("/other", (1,), "the address /other is unknown"),
        ("/mer/control/st\x1b[2Jop", (), "the address /mer/control/st\ufffd[2Jop is unknown"),
    ],
)
def test_complaints_come_once(
    controlled: Controlled,
    address: str,
    arguments: tuple[object, ...],
    complaint: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for _ in range(3 if arguments != ("broken",) else 1):
        controlled.send(address, *arguments)
    controlled.send("/mer/control/freeze", 1)
    controlled.wait(ControlState(freeze=True))
    (record,) = caplog.records
    assert complaint in record.getMessage()


def test_complaints_are_limited(controlled: Controlled, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(2 * MAX_TOLD):
        controlled.send(f"/number/{number}")
    controlled.send("/mer/control/freeze", 1)
    controlled.wait(ControlState(freeze=True))
    assert len(caplog.records) == MAX_TOLD


def test_a_port_in_use() -> None:
    with udp_receiver() as other:
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=f"cannot listen at port {port} of 127.0.0.1 .*another"):
            OscControl(Show(), OscControlSettings(port=port))


@pytest.mark.parametrize("host", ["203.0.113.7", "no-such-host.invalid"])
def test_no_address_of_this_machine(host: str) -> None:
    with pytest.raises(UserError, match=f"control by OSC cannot listen at .*{host}"):
        OscControl(Show(), OscControlSettings(port=free_udp_port(), host=host))


def test_whoever_reaches_the_port_controls_the_show(caplog: pytest.LogCaptureFixture) -> None:
    port = free_udp_port()
    with OscControl(Show(), OscControlSettings(port=port)):
        assert not caplog.records
    with OscControl(Show(), OscControlSettings(port=port, host="0.0.0.0")):
        (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"listens at 0.0.0.0: whoever reaches port {port} controls" in record.getMessage()


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"port": 0}, "^port is 0; it must lie between 1 and 65535"),
        ({"port": 70_000}, "^port is 70000"),
        ({"port": 9, "host": ""}, "^host is empty"),
        ({"port": 9, "prefix": "mer"}, "^prefix is 'mer'"),
    ],
)
def test_bad_settings(settings: dict[str, object], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        OscControlSettings(**settings)  # type: ignore[arg-type]


def test_mute_by_osc_stops_what_osc_sends() -> None:
    hub, show = Hub(), Show()
    port = free_udp_port()
    with (
        osc_server() as server,
        OutputSet(
            hub,
            [OscSettings(to=f"127.0.0.1:{server.port}", name="stage", rate_hz=50.0)],
            hop_s=1.0,
            show=show,
        ),
        OscControl(show, OscControlSettings(port=port)),
    ):
        hub.publish(ESTIMATE)
        server.wait_for("/mer/state", "settling")
        client = SimpleUDPClient("127.0.0.1", port)
        client.send_message("/mer/control/output/stage/mute", 1)
        wait_for(lambda: show.statuses()[0].health is Health.MUTED, "the mute")
        client.close()
