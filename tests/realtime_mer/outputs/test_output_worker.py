"""The thread of an output, with receivers that fail, hang or are slow."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from live_support import TIMEOUT_S, wait_for
from support import ESTIMATE

from realtime_mer.core.events import Event, EventKind, Marker, RhythmEvent, RhythmKind
from realtime_mer.errors import UserError
from realtime_mer.live.hub import End, Hub
from realtime_mer.live.show import ControlState, Health
from realtime_mer.outputs import output_worker
from realtime_mer.outputs.output import Action, Frame, Output, OutputSettings
from realtime_mer.outputs.output_worker import OutputWorker
from realtime_mer.outputs.shaping import Shaper

MARKER = Marker(2.0, "2026-01-02T03:04:05.000Z", "patient opened eyes")
EVENT = Event(EventKind.RISE, 1.0, 2.0, "2026-01-02T03:04:05.000Z", 0.5)
BEAT = RhythmEvent(RhythmKind.BEAT, 1.0, 1.0, 120.0)


class Receiver(Output):
    """Keeps what it is sent; each step is a function that the test may replace."""

    kind = "test"

    def __init__(self, name: str = "receiver") -> None:
        super().__init__(name)
        self.frames: list[Frame] = []
        self.events: list[Event | RhythmEvent | Marker] = []
        self.actions: list[Action] = []
        self.opened = 0
        self.closed = 0
        self.on_open: Callable[[], object] = int
        self.on_send: Callable[[], object] = int

    def open(self) -> None:
        self.opened += 1
        self.on_open()

    def send(self, frame: Frame) -> None:
        self.on_send()
        self.frames.append(frame)
        self.sent += 1

    def send_event(self, event: Event | RhythmEvent | Marker) -> None:
        self.events.append(event)

    def act(self, action: Action) -> None:
        if not action.values:
            raise UserError("the scene is empty")
        self.actions.append(action)

    def close(self) -> None:
        self.closed += 1


class Controls:
    """What is set by hand."""

    def __init__(self) -> None:
        self.state = ControlState()

    def __call__(self) -> ControlState:
        return self.state


@contextmanager
def running(
    output: Output, controls: Controls | None = None, *, hop_s: float = 1.0, **settings: Any
) -> Iterator[tuple[Hub, OutputWorker]]:
    hub = Hub(hop_s=hop_s)
    shaper = Shaper(OutputSettings(**settings), hop_s=hop_s, control=controls or Controls())
    with OutputWorker(hub, output, shaper) as thread:
        yield hub, thread


def test_frames_events_and_pulses_arrive() -> None:
    receiver = Receiver()
    with running(receiver) as (hub, thread):
        assert hub.wants_rhythm
        for item in (EVENT, BEAT, MARKER, ESTIMATE):
            hub.publish(item)
        wait_for(lambda: len(receiver.frames) > 5, "frames between estimates")
        assert thread.status.health is Health.OK
    assert receiver.events == [EVENT, BEAT, MARKER]
    assert receiver.frames[0].bpm == 120.0
    assert receiver.closed == 1
    assert hub.subscribers == 0


def test_an_output_without_use_for_beats_asks_for_none() -> None:
    class Lamp(Receiver):
        rhythm = False

    lamp = Lamp()
    with running(lamp) as (hub, _):
        assert not hub.wants_rhythm
        hub.publish(BEAT)
        hub.publish(EVENT)
        wait_for(lambda: bool(lamp.events), "the event")
    assert lamp.events == [EVENT]


def test_what_was_published_is_sent_before_the_end() -> None:
    receiver = Receiver()
    with running(receiver, delay_s=5.0, on_stall="decay") as (hub, _):
        wait_for(lambda: receiver.opened == 1, "the output opens")
        hub.publish(ESTIMATE)
        hub.publish(EVENT)
    assert receiver.events == [EVENT]
    assert [frame.dimmer for frame in receiver.frames] == [1.0, 0.0]


def test_the_end_of_the_session_is_shaped_as_a_stall() -> None:
    receiver = Receiver()
    with running(receiver, on_stall="blackout") as (hub, _):
        hub.publish(ESTIMATE)
        wait_for(lambda: bool(receiver.frames), "a frame")
        hub.publish(End("over"))
        wait_for(lambda: receiver.frames[-1].dimmer == 0.0, "the stage is dark")


def test_delay_holds_everything_back() -> None:
    receiver = Receiver()
    with running(receiver, delay_s=0.3) as (hub, _):
        wait_for(lambda: receiver.opened == 1, "the output opens")
        start = time.monotonic()
        hub.publish(EVENT)
        hub.publish(ESTIMATE)
        wait_for(lambda: bool(receiver.events and receiver.frames), "both arrive")
        assert time.monotonic() - start >= 0.3


def test_nothing_is_sent_while_muted() -> None:
    receiver, controls = Receiver(), Controls()
    controls.state = ControlState(mute=True)
    with running(receiver, controls, on_stall="blackout") as (hub, thread):
        hub.publish(ESTIMATE)
        hub.publish(EVENT)
        thread.act(Action("scene", {"a": 1}))
        wait_for(lambda: thread.status.health is Health.MUTED, "muted")
        wait_for(lambda: not hub_waits(thread), "all was taken")
        controls.state = ControlState()
        wait_for(lambda: bool(receiver.frames), "frames after the mute")
        assert receiver.events == []
        assert receiver.actions == []
        assert thread.status.dropped == 0
        controls.state = ControlState(mute=True)
    assert receiver.frames[-1].dimmer == 1.0  # the receiver keeps what it has


def hub_waits(thread: OutputWorker) -> bool:
    return thread._subscription.waiting or bool(thread._actions)


def test_a_failing_receiver_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "realtime_mer.outputs")
    monkeypatch.setattr("realtime_mer.live.retry.FIRST_RETRY_S", 0.05)
    receiver = Receiver()
    failures = iter([OSError(113, "No route to host"), UserError("asleep")])
    told = threading.Event()

    def fail() -> None:
        for failure in failures:
            if isinstance(failure, UserError):
                told.wait(TIMEOUT_S)  # a busy machine might look only when all is well again
            raise failure

    receiver.on_send = fail
    with running(receiver) as (hub, thread):
        hub.publish(ESTIMATE)
        wait_for(lambda: thread.status.health is Health.FAILING, "the failure is told")
        assert thread.status.answer == "No route to host"
        told.set()
        wait_for(lambda: bool(receiver.frames), "it is back")
        wait_for(lambda: thread.status.health is Health.OK, "and well")
        assert thread.status.answer == ""
        assert receiver.opened == 3
        assert thread.status.dropped >= 2
    assert [record.message for record in caplog.records] == [
        "the output receiver fails: No route to host",
        "the output receiver works again",
    ]


def test_a_failing_open_drops_each_frame_once() -> None:
    receiver = Receiver()

    def refuse() -> None:
        raise ConnectionRefusedError(111, "Connection refused")

    receiver.on_open = refuse
    with running(receiver, rate_hz=0.1) as (hub, thread):
        wait_for(lambda: thread.status.health is Health.FAILING, "the failure is told")
        assert thread.status.dropped == 0
        for seq in range(3):
            hub.publish(replace(ESTIMATE, seq=seq))
            hub.publish(EVENT)
        wait_for(lambda: thread.status.dropped >= 4, "frames and events are counted")
        assert thread.status.dropped == 4  # a frame and three events
        assert thread.status.answer == "Connection refused"


def test_a_bug_of_an_output_is_logged_and_survived(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realtime_mer.live.retry.FIRST_RETRY_S", 0.05)
    receiver = Receiver()
    bugs = iter([ZeroDivisionError("by zero"), ZeroDivisionError("by zero")])

    def fail() -> None:
        for bug in bugs:
            raise bug

    receiver.on_send = fail
    with running(receiver) as (hub, _):
        hub.publish(ESTIMATE)
        wait_for(lambda: bool(receiver.frames), "it is back")
    assert caplog.text.count("the output receiver failed") == 1  # not with each attempt


def test_actions_of_scenes(caplog: pytest.LogCaptureFixture) -> None:
    receiver = Receiver()
    with running(receiver) as (_, thread):
        thread.act(Action("bad", {}))
        thread.act(Action("good", {"a": 1}))
        wait_for(lambda: bool(receiver.actions), "the action is done")
        assert receiver.opened == 1  # a bad scene is no fault of the receiver
        assert thread.status.health is Health.OK
        assert thread.status.dropped == 1
    assert "the scene is empty" in caplog.text


def test_a_receiver_that_hangs_is_told_and_left_behind(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_worker, "HANG_S", 0.1)
    receiver, other = Receiver("hanging"), Receiver("other")
    release = threading.Event()
    receiver.on_send = release.wait
    try:
        with running(other) as (other_hub, _), running(receiver) as (hub, thread):
            hub.publish(ESTIMATE)
            wait_for(lambda: thread.status.health is Health.FAILING, "it is told")
            assert "has not taken anything" in thread.status.answer
            for seq in range(output_worker.QUEUE_ITEMS + 5):
                hub.publish(replace(ESTIMATE, seq=seq))  # never waits
            assert thread.status.dropped >= 5
            other_hub.publish(ESTIMATE)
            wait_for(lambda: bool(other.frames), "others go on")
            start = time.monotonic()
            with caplog.at_level(logging.WARNING):
                thread.close(0.05)
            assert time.monotonic() - start < 30.0
            assert "the output hanging hangs" in caplog.text
    finally:
        release.set()


def test_a_slow_receiver_gets_the_newest_values() -> None:
    receiver = Receiver()
    done = threading.Event()
    receiver.on_send = done.wait
    with running(receiver) as (hub, _):
        for seq in range(40):
            hub.publish(replace(ESTIMATE, seq=seq, t=float(seq)))
        done.set()
        wait_for(lambda: bool(receiver.frames) and receiver.frames[-1].t == 39.0, "the newest")
    # At most the frame of the first estimate comes before.
    assert [frame.t for frame in receiver.frames[1:]] == [39.0] * (len(receiver.frames) - 1)


class TcpOutput(Receiver):
    """Sends lines by TCP."""

    def __init__(self, port: int) -> None:
        super().__init__("tcp")
        self._port = port
        self._socket: socket.socket | None = None

    def open(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self._port), 10)

    def send(self, frame: Frame) -> None:
        assert self._socket is not None
        self._socket.sendall(f"{frame.t}\n".encode())

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()


def test_a_real_connection_breaks_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime_mer.live.retry.FIRST_RETRY_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        with running(TcpOutput(server.getsockname()[1])) as (hub, thread):
            hub.publish(ESTIMATE)
            for _ in range(2):
                connection, _ = server.accept()
                with connection:
                    connection.settimeout(60)
                    assert connection.recv(100).startswith(b"4.0\n")
                    wait_for(lambda: thread.status.health is Health.OK, "connected")


def test_other_settings_while_it_runs() -> None:
    receiver = Receiver()
    with running(receiver, range="raw") as (hub, thread):
        hub.publish(replace(ESTIMATE, valence=0.4))
        wait_for(lambda: bool(receiver.frames), "a frame")
        settings = OutputSettings(range="own", valence_range=(-1.0, 0.4), delay_s=0.1)
        thread.reshape(Shaper(settings, hop_s=1.0))
        wait_for(lambda: receiver.frames[-1].valence == 1.0, "the new range")
        assert receiver.opened == 1
