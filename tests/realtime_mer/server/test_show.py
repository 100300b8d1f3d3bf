"""The controls and outputs of a show over the websocket, /healthz and /metrics."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from live_support import (
    TIMEOUT_S,
    RunningServer,
    receive_kind,
    receive_until,
    running_server,
)
from mer_engine import Engine
from support import ESTIMATE
from websockets.sync.client import ClientConnection

from realtime_mer.core.events import Event, EventKind, Marker
from realtime_mer.errors import UserError
from realtime_mer.live.hub import Hub
from realtime_mer.live.runner import LiveRunner
from realtime_mer.live.show import ControlCommand, ControlState, Health, OutputStatus, Show
from realtime_mer.server.server import (
    HEALTH_PERIOD_S,
    SHOW_PERIOD_S,
    MerServer,
    ServerConfig,
)
from realtime_mer.server.tokens import Role, Tokens

DESK = OutputStatus("desk", "artnet", Health.OK, 7, 0, "")
WALL = OutputStatus('wall "left"', "osc", Health.FAILING, 3, 2, "nobody listens")
TOKENS = {role: f"a token for {role}".replace(" ", "-") for role in Role}


@pytest.fixture
def show() -> Show:
    show = Show()
    show.statuses = lambda: [DESK, WALL]
    show.mark = lambda text, t=None: Hub().mark(text, datetime.now(UTC), t)
    return show


@pytest.fixture
def running(engine: Engine, runner: LiveRunner, show: Show) -> Iterator[RunningServer]:
    server = MerServer(engine, runner, config=ServerConfig(port=0), show=show)
    with running_server(engine, server=server) as running:
        yield running


def page(running: RunningServer, name: str) -> Any:
    return urllib.request.urlopen(f"http://127.0.0.1:{running.port}/{name}", timeout=TIMEOUT_S)


def send(client: ClientConnection, **fields: object) -> None:
    client.send(json.dumps({"type": "control", **fields}))


def shown(client: ClientConnection, expected: ControlState) -> dict[str, Any]:
    """Return the show as soon as it has a state for all outputs."""
    while True:
        show: dict[str, Any] = receive_kind(client, "health")["show"]
        if show["control"] == expected.to_dict():
            return show


def test_health_tells_of_outputs_and_their_controls(running: RunningServer) -> None:
    with running.connect() as client:
        show = receive_kind(client, "health")["show"]
    assert show["control"] == ControlState().to_dict()
    assert [each["name"] for each in show["outputs"]] == ["desk", 'wall "left"']
    assert show["outputs"][1]["answer"] == "nobody listens"
    assert show["outputs"][1]["control"] == ControlState().to_dict()


def test_a_server_without_outputs_shows_none(engine: Engine, runner: LiveRunner) -> None:
    with running_server(engine, runner) as running, running.connect() as client:
        assert "show" not in receive_kind(client, "health")


def test_commands_change_the_show_and_all_viewers_see_it(
    running: RunningServer, show: Show
) -> None:
    with running.connect() as client, running.connect() as other:
        send(client, mute=True, override={"valence": 0.25})
        expected = ControlState(mute=True, override={"valence": 0.25})
        for viewer in (client, other):
            shown(viewer, expected)
        send(client, output="desk", blackout=True)
        send(client, mute=False, override={"valence": None})
        state = shown(other, ControlState())
    assert state["outputs"][0]["control"]["blackout"] is True
    assert state["outputs"][1]["control"]["blackout"] is False
    assert show.state("desk") == ControlState(blackout=True)


def test_a_fader_does_not_flood_the_viewers(running: RunningServer, show: Show) -> None:
    with running.connect() as client:
        receive_kind(client, "health")
        started = time.monotonic()
        for step in range(1001):
            show.control(ControlCommand(override={"level": step / 1000}))
        messages, level = 0, 0.0
        while level != 1.0:
            health = receive_kind(client, "health")
            messages, level = messages + 1, health["show"]["control"]["override"].get("level", 0.0)
        elapsed_s = time.monotonic() - started
    # Beside those every two seconds; one may have been on its way before.
    assert messages <= elapsed_s / SHOW_PERIOD_S + elapsed_s / HEALTH_PERIOD_S + 3


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"mute": 1}, "mute is 1; it must be true or false"),
        ({"override": {"tempo": 0.5}}, "tempo cannot be overridden; these can: valence"),
        ({"override": {"valence": 1.5}}, "the override of valence is 1.5; it must lie between"),
        ({"override": {"valence": 10**400}}, "is 10000000000000000000; it must lie between"),
        ({"override": {"valence": "x"}}, "it must be an object of numbers from 0 to 1"),
        ({"override": [1]}, "it must be an object of numbers from 0 to 1"),
        ({"output": "lamp"}, "there is no output 'lamp'; there are: desk, wall"),
        ({"output": 3}, "output is 3; it must be a text"),
        ({"scene": "storm"}, "there is no scene 'storm'"),
        ({"marker": "  "}, "the marker has no text; give one"),
        ({"marker": "x" * 501}, "it must be a text of at most 500 characters"),
        ({"marker": "x", "marker_t": -1}, "marker_t is -1; it must be a stream time in seconds"),
        ({"marker": "x", "marker_t": "now"}, 'marker_t is "now"; it must be a stream time'),
    ],
)
def test_a_command_that_cannot_be_done_says_why(
    running: RunningServer, show: Show, fields: dict[str, object], sentence: str
) -> None:
    with running.connect() as client:
        send(client, **fields)
        error = receive_kind(client, "error")
    assert error["code"] == "bad_control"
    assert sentence in error["message"]
    assert show.state() == ControlState()


def test_a_scene_is_started(running: RunningServer, show: Show) -> None:
    started: list[str] = []
    show.start_scene = started.append
    with running.connect() as client:
        send(client, scene="storm", freeze=True)
        shown(client, ControlState(freeze=True))
    assert started == ["storm"]


@pytest.mark.parametrize("role", [Role.VIEW, Role.SEND])
def test_only_the_role_control_changes_the_show(
    engine: Engine, runner: LiveRunner, show: Show, role: Role
) -> None:
    config = ServerConfig(port=0, tokens=Tokens(TOKENS, "the test"))
    server = MerServer(engine, runner, config=config, show=show)
    with running_server(engine, server=server) as running:
        headers = {"Authorization": f"Bearer {TOKENS[role]}"}
        with running.connect(additional_headers=headers) as client:
            send(client, mute=True)
            error = receive_kind(client, "error")
            assert error["code"] == "forbidden"
            assert f"the role {role} may not change the show" in error["message"]
            assert show.state() == ControlState()
            client.send(json.dumps({"type": "auth", "token": TOKENS[Role.CONTROL]}))
            send(client, mute=True)
            shown(client, ControlState(mute=True))


def test_events_reach_viewers(running: RunningServer, runner: LiveRunner) -> None:
    event = Event(EventKind.RISE, 3.0, 4.0, "2026-01-02T03:04:05.000Z", 0.5)
    with running.connect() as client:
        receive_kind(client, "snapshot")
        runner.hub.publish(event)
        message = receive_kind(client, "event")
    assert Event.from_dict(message) == event


def test_a_marker_reaches_all_viewers(
    running: RunningServer, show: Show, runner: LiveRunner
) -> None:
    show.mark = lambda text, t=None: runner.hub.mark(text, datetime.now(UTC), t)
    runner.hub.publish(replace(ESTIMATE, t=42.0))
    with running.connect() as first, running.connect() as second:
        for client in (first, second):
            receive_kind(client, "health")
        send(first, marker="opens eyes", marker_t=40.5)
        markers = [Marker.from_dict(receive_kind(client, "marker")) for client in (first, second)]
    assert markers[0] == markers[1]
    assert (markers[0].t, markers[0].text) == (40.5, "opens eyes")


def test_a_late_viewer_gets_the_last_events_and_markers_once(
    running: RunningServer, runner: LiveRunner
) -> None:
    hub = runner.hub
    event = Event(EventKind.RISE, 3.0, 4.0, "2026-01-02T03:04:05.000Z", 0.5)
    hub.publish(replace(ESTIMATE, seq=0, t=4.0))
    hub.publish(event)
    hub.publish(replace(ESTIMATE, seq=1, t=5.0))
    marker = hub.mark("opens eyes", datetime.now(UTC))
    with running.connect() as client:
        messages = receive_until(client, "health")
        told = [each for each in messages if each["type"] in ("event", "marker")]
        assert told == [event.to_dict(), marker.to_dict()]
        kinds = [each["type"] for each in messages]
        assert kinds.index("snapshot") < kinds.index("event")
        session = messages[0]["session"]
    # After a lost connection, only those that it may have missed.
    with running.connect(f"?session={session}&since=1") as client:
        messages = receive_until(client, "health")
    told = [each for each in messages if each["type"] in ("event", "marker")]
    assert told == [marker.to_dict()]


def test_metrics_and_healthz_tell_of_outputs(running: RunningServer) -> None:
    with page(running, "metrics") as answer:
        text = answer.read().decode()
    assert 'realtime_mer_output_sent_total{output="desk",kind="artnet"} 7\n' in text
    assert 'realtime_mer_output_dropped_total{output="wall \\"left\\"",kind="osc"} 2\n' in text
    assert 'realtime_mer_output_failing{output="wall \\"left\\"",kind="osc"} 1\n' in text
    with page(running, "healthz") as answer:
        outputs = json.load(answer)["outputs"]
    assert outputs == [DESK.to_dict(), WALL.to_dict()]


def test_a_command_without_a_server_names_what_there_is() -> None:
    with pytest.raises(UserError, match="there is no scene 'x'; the configuration has none"):
        Show().start_scene("x")
