"""All outputs of a session."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
from live_support import wait_for
from support import ESTIMATE, ManualClock

from realtime_mer.errors import UserError
from realtime_mer.live.hub import Hub
from realtime_mer.live.show import ControlCommand, Health, Show
from realtime_mer.outputs import output_set
from realtime_mer.outputs.jsonl import JsonlSettings
from realtime_mer.outputs.osc import OscSettings
from realtime_mer.outputs.output import Action, Frame, Output, OutputSettings
from realtime_mer.outputs.output_set import OutputSet
from realtime_mer.outputs.registry import make_output


@dataclass(frozen=True, kw_only=True)
class LampSettings(OutputSettings):
    """A lamp at an address."""

    address: str = "one"


class Lamp(Output):
    """Keeps what it is sent."""

    kind = "lamp"
    made: ClassVar[list[Lamp]] = []
    hang: ClassVar[threading.Event | None] = None

    def __init__(self, settings: LampSettings) -> None:
        super().__init__(settings.name or f"lamp {settings.address}")
        if settings.address == "none":
            raise UserError("there is no such lamp")
        self.frames: list[Frame] = []
        self.actions: list[Action] = []
        self.closed = False
        Lamp.made.append(self)

    def send(self, frame: Frame) -> None:
        if Lamp.hang is not None:
            Lamp.hang.wait()
        self.frames.append(frame)

    def act(self, action: Action) -> None:
        self.actions.append(action)

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def lamps(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Lamp]]:
    """Let the registry make lamps."""

    def make(settings: OutputSettings) -> Output:
        return Lamp(settings) if isinstance(settings, LampSettings) else make_output(settings)

    monkeypatch.setattr("realtime_mer.outputs.output_set.make_output", make)
    Lamp.made, Lamp.hang = [], None
    yield Lamp.made
    if Lamp.hang is not None:
        Lamp.hang.set()


@contextmanager
def running(*settings: OutputSettings) -> Iterator[tuple[Hub, Show, OutputSet]]:
    hub, show = Hub(), Show()
    with OutputSet(hub, settings, hop_s=1.0, show=show) as outputs:
        yield hub, show, outputs


def names(outputs: OutputSet) -> list[str]:
    return [status.name for status in outputs.statuses()]


def test_names_are_unique() -> None:
    lamp = LampSettings()
    with running(lamp, lamp, replace(lamp, name="lamp one 2"), lamp) as (_, _, outputs):
        assert names(outputs) == ["lamp one", "lamp one 2", "lamp one 2 2", "lamp one 3"]


def test_values_reach_real_receivers() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as two,
    ):
        settings = []
        for receiver in (one, two):
            receiver.bind(("127.0.0.1", 0))
            receiver.settimeout(60)
            settings.append(OscSettings(to=f"127.0.0.1:{receiver.getsockname()[1]}"))
        with running(*settings) as (hub, show, outputs):
            hub.publish(ESTIMATE)
            for receiver in (one, two):
                assert receiver.recv(4096).startswith(b"#bundle")
            wait_for(
                lambda: all(status.sent > 5 for status in outputs.statuses()), "frames are sent"
            )
            assert show.statuses == outputs.statuses


def test_controls_reach_their_output(lamps: list[Lamp]) -> None:
    with running(LampSettings(name="left"), LampSettings(name="right")) as (hub, show, _):
        show.control(ControlCommand("left", override={"dimmer": 0.25}))
        show.control(ControlCommand("right", blackout=True))
        hub.publish(ESTIMATE)
        wait_for(lambda: all(lamp.frames for lamp in lamps), "frames")
    assert lamps[0].frames[0].dimmer == 0.25
    assert lamps[1].frames[0].dimmer == 0.0


def test_an_action_goes_to_a_name_or_to_all_of_a_kind(lamps: list[Lamp]) -> None:
    one, all_of_them = Action("one", {}), Action("all", {})
    with running(LampSettings(name="a"), LampSettings(name="b"), JsonlSettings()) as (
        _,
        _,
        outputs,
    ):
        outputs.act("b", one)
        outputs.act("lamp", all_of_them)
        wait_for(lambda: all(all_of_them in lamp.actions for lamp in lamps), "both got it")
        with pytest.raises(UserError, match="no output c; there are: a, b, "):
            outputs.act("c", one)
    assert [lamp.actions for lamp in lamps] == [[all_of_them], [one, all_of_them]]


def test_a_bad_output_starts_nothing(lamps: list[Lamp]) -> None:
    hub = Hub()
    with pytest.raises(UserError, match="no such lamp"):
        OutputSet(hub, [LampSettings(), LampSettings(address="none")], hop_s=1.0, show=Show())
    assert hub.subscribers == 0


def test_replaced_settings_leave_other_outputs_alone(lamps: list[Lamp]) -> None:
    kept, changed = LampSettings(address="kept"), LampSettings(address="changed")
    removed, added = LampSettings(address="removed"), LampSettings(address="added")
    with running(removed, kept, changed) as (hub, _, outputs):
        hub.publish(ESTIMATE)
        wait_for(lambda: all(lamp.frames for lamp in lamps), "frames")
        before = list(lamps)
        bright = replace(changed, range="own", arousal_range=(-1.0, -0.5))
        outputs.replace([kept, added, bright])
        assert names(outputs) == ["lamp kept", "lamp added", "lamp changed"]
        assert [lamp.closed for lamp in before] == [True, False, False]
        assert len(lamps) == 4
        assert hub.subscribers == 3
        wait_for(lambda: before[2].frames[-1].arousal == 1.0, "the new range")
        with pytest.raises(UserError, match="no such lamp"):
            outputs.replace([LampSettings(address="none")])
        assert names(outputs) == ["lamp kept", "lamp added", "lamp changed"]
        outputs.replace([])
        assert hub.subscribers == 0
    assert all(lamp.closed for lamp in lamps)


def test_all_that_hang_are_left_behind_together(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, lamps: list[Lamp]
) -> None:
    monkeypatch.setattr(output_set, "CLOSE_TIMEOUT_S", 2.0)
    Lamp.hang = threading.Event()
    with running(*[LampSettings(name=str(k)) for k in range(6)]) as (hub, _, outputs):
        hub.publish(ESTIMATE)
        wait_for(
            lambda: all(status.health is Health.OK for status in outputs.statuses()), "all are open"
        )
        start = time.monotonic()
        with caplog.at_level(logging.WARNING):
            outputs.close()
        # Not one after the other, which would take twelve seconds.
        assert 1.9 < time.monotonic() - start < 10.0
    assert caplog.text.count("hangs and was left behind") == 6


def test_a_blackout_does_not_wait_for_the_next_frame() -> None:
    hub, show, clock = Hub(), Show(), ManualClock()
    with OutputSet(hub, [LampSettings(rate_hz=0.1)], hop_s=1.0, show=show, clock=clock):
        hub.publish(ESTIMATE)
        lamp = Lamp.made[-1]
        wait_for(lambda: len(lamp.frames) == 1, "the frame of the estimate")
        clock.advance(1.0)  # the next one is due after ten seconds
        show.control(ControlCommand(blackout=True))
        wait_for(lambda: len(lamp.frames) == 2, "the blackout")
    assert [frame.dimmer for frame in lamp.frames[:2]] == [1.0, 0.0]
