"""The list of all sessions, and following one of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from live_support import RunningServer, receive, receive_kind, running_server
from mer_engine import Engine
from support import ESTIMATE, ManualClock
from websockets.sync.client import ClientConnection

from realtime_mer.audio.format import AudioFormat
from realtime_mer.audio.source import Input, InputKind
from realtime_mer.core.types import State
from realtime_mer.live.hub import End, Hub
from realtime_mer.live.runner import LiveRunner
from realtime_mer.live.session_pool import SessionPool
from realtime_mer.live.stats import Stats
from realtime_mer.server.channel import Channel
from realtime_mer.server.session_list import MAX_LISTED, SessionList
from realtime_mer.server.tokens import Role, Tokens

RATE = 16_000
# Two estimates at least, also of a machine that is too busy for one each second.
SILENCE_S = 8
TOKENS = {role: f"a-token-for-{role}-role" for role in Role}


def send(client: ClientConnection, kind: str, **fields: object) -> None:
    client.send(json.dumps({"type": kind, **fields}))


def start(client: ClientConnection, name: str, **fields: object) -> str:
    """Start a stream and return its session."""
    send(client, "start", sample_rate_hz=RATE, name=name, **fields)
    hello = receive_kind(client, "hello")
    while hello["input"]["kind"] != "browser":
        hello = receive_kind(client, "hello")
    return str(hello["session"])


def listed(client: ClientConnection, holds: Callable[[list[Any]], bool]) -> list[dict[str, Any]]:
    """Return the entries of the first list for which something holds."""
    while True:
        entries: list[dict[str, Any]] = receive_kind(client, "sessions")["sessions"]
        if holds(entries):
            return entries


def test_the_list_has_the_servers_own_stream_and_those_of_clients(
    running: RunningServer, runner: LiveRunner
) -> None:
    runner.hub.publish(ESTIMATE)
    with running.connect() as wall, running.connect() as left, running.connect() as right:
        own = receive_kind(wall, "hello")
        sessions = [start(left, "left"), start(right, "right\x1b[31m\u202edesk")]
        left.send(np.zeros(RATE * SILENCE_S, np.float32).tobytes())
        send(wall, "sessions", on=True)
        first = receive_kind(wall, "sessions")
        assert first["total"] == 3
        assert [each["session"] for each in first["sessions"]] == [own["session"], *sessions[::-1]]
        assert [each["own"] for each in first["sessions"]] == [True, False, False]
        assert first["sessions"][0]["estimate"] == ESTIMATE.to_dict()
        assert first["sessions"][0]["input"] == own["input"]
        # Names of others change neither the terminal nor the order of letters.
        assert not {"\x1b", "\u202e"} & set(first["sessions"][1]["input"]["name"])
        entries = listed(wall, lambda entries: entries[-1]["estimate"] is not None)
        assert entries[-1]["estimate"]["state"] == "silence"
        assert entries[-1]["input"]["sample_rate_hz"] == RATE
        assert entries[-1]["uptime_s"] >= 0.0
        send(left, "stop")
        entries = listed(wall, lambda entries: len(entries) == 2)
        assert sessions[0] not in [each["session"] for each in entries]
        runner.hub.publish(End("the file is over"))
        entries = listed(wall, lambda entries: entries[0]["ended"] is not None)
        assert entries[0]["ended"] == "the file is over"


def test_no_list_comes_before_it_is_asked_for_and_after_it_is_declined(
    running: RunningServer,
) -> None:
    with running.connect() as wall:
        send(wall, "sessions", on=True)
        receive_kind(wall, "sessions")
        send(wall, "sessions", on=False)
        send(wall, "ping", id="after")
        receive_kind(wall, "pong")
        # Health comes every two seconds, and a list would come every second.
        for _ in range(2):
            kinds = []
            while "health" not in kinds:
                kinds.append(receive(wall)["type"])
            assert "sessions" not in kinds


def test_following_a_stream_and_returning(running: RunningServer, runner: LiveRunner) -> None:
    runner.hub.publish(ESTIMATE)
    with running.connect() as wall, running.connect() as client:
        own = receive_kind(wall, "hello")["session"]
        session = start(client, "stage left")
        client.send(np.zeros(RATE * SILENCE_S, np.float32).tobytes())
        while receive_kind(client, "estimate")["seq"] < 1:
            pass
        send(wall, "watch", session=session)
        hello = receive_kind(wall, "hello")
        assert (hello["session"], hello["input"]["name"]) == (session, "stage left")
        assert [each["seq"] for each in receive_kind(wall, "snapshot")["estimates"]][:2] == [0, 1]
        client.send(np.zeros(RATE * SILENCE_S, np.float32).tobytes())
        assert receive_kind(wall, "estimate")["seq"] >= 2
        send(wall, "watch", session=None)
        assert receive_kind(wall, "hello")["session"] == own
        assert receive_kind(wall, "snapshot")["estimates"] == [ESTIMATE.to_dict()]
        runner.hub.publish(replace(ESTIMATE, seq=ESTIMATE.seq + 1))
        assert receive_kind(wall, "estimate")["seq"] == ESTIMATE.seq + 1


def test_a_followed_stream_that_ends_leads_back_to_the_servers_own(running: RunningServer) -> None:
    with running.connect() as wall:
        own = receive_kind(wall, "hello")["session"]
        with running.connect() as client:
            session = start(client, "short")
            send(wall, "watch", session=session)
            assert receive_kind(wall, "hello")["session"] == session
        end = receive_kind(wall, "end")
        assert (end["session"], end["reason"]) == (session, "its client is gone")
        assert receive_kind(wall, "hello")["session"] == own
        send(wall, "watch", session=session)
        error = receive_kind(wall, "error")
        assert error["code"] == "unknown_session"
        assert session in error["message"]


def test_a_private_stream_is_neither_listed_nor_followed(running: RunningServer) -> None:
    with running.connect() as wall, running.connect() as client:
        own = receive_kind(wall, "hello")["session"]
        session = start(client, "diary", private=True)
        send(wall, "sessions", on=True)
        message = receive_kind(wall, "sessions")
        assert (message["total"], len(message["sessions"])) == (1, 1)
        send(wall, "watch", session=session)
        assert receive_kind(wall, "error")["code"] == "unknown_session"
        with running.connect(f"?session={session}") as stranger:
            assert receive_kind(stranger, "hello")["session"] == own
        client.send(np.zeros(RATE * SILENCE_S, np.float32).tobytes())
        assert receive_kind(client, "estimate")["state"] == State.SILENCE


def test_who_sends_follows_nobody_else(running: RunningServer) -> None:
    with running.connect() as client, running.connect() as other:
        session = start(other, "other")
        start(client, "mine")
        send(client, "watch", session=session)
        assert receive_kind(client, "error")["code"] == "already_streaming"
        send(client, "stop")
        receive_kind(client, "end")
        send(client, "watch", session=session)
        while receive_kind(client, "hello")["session"] != session:
            pass


@pytest.mark.parametrize("role", [Role.VIEW, Role.SEND])
def test_only_control_sees_the_streams_of_others(
    engine: Engine, runner: LiveRunner, role: Role
) -> None:
    tokens = Tokens(TOKENS, "a test")
    with (
        running_server(engine, runner, tokens=tokens) as running,
        running.connect(additional_headers={"Authorization": f"Bearer {TOKENS[role]}"}) as client,
    ):
        for kind, fields in (
            ("sessions", {"on": True}),
            ("watch", {"session": "x"}),
            ("watch", {"session": None}),
        ):
            send(client, kind, **fields)
            error = receive_kind(client, "error")
            assert error["code"] == "forbidden"
            assert f"the role {role} may not" in error["message"]
        # Declining what never came is no fault.
        send(client, "sessions", on=False)
        # The token for control opens it.
        send(client, "auth", token=TOKENS[Role.CONTROL])
        send(client, "sessions", on=True)
        assert receive_kind(client, "sessions")["total"] == 1


@pytest.mark.parametrize(
    ("kind", "fields", "words"),
    [
        ("sessions", {}, "on is missing; it must be true or false"),
        ("sessions", {"on": 1}, "on is 1; it must be true or false"),
        ("watch", {}, "session is missing; it must be"),
        ("watch", {"session": 5}, "session is 5; it must be"),
        ("watch", {"session": "x" * 81}, "xxx..."),
    ],
)
def test_wrong_fields_are_told(
    running: RunningServer, kind: str, fields: dict[str, object], words: str
) -> None:
    with running.connect() as wall:
        send(wall, kind, **fields)
        error = receive_kind(wall, "error")
        assert error["code"] == "bad_watch"
        assert words in error["message"]


class Wall:
    """A viewer of the list."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def offer_passing(self, message: Any) -> bool:
        self.messages.append(json.loads(message.text))
        return True


def test_a_long_list_has_the_newest_streams_and_is_made_once_a_while(engine: Engine) -> None:
    clock = ManualClock()
    info = Input(InputKind.DEMO, "demo", RATE, 1, paced=True, live=False)
    own = Channel("own", Hub(), Stats(), info, None)
    count = MAX_LISTED + 6
    with SessionPool(engine, max_sessions=count, clock=clock) as pool:
        for number in range(count):
            pool.open(AudioFormat(RATE, 1), f"stream {number}", private=number == 0)
        sessions = SessionList(own, pool, stats=Stats(), clock=clock)
        clock.advance(10.0)
        message = json.loads(sessions.newest().text)
        assert message["total"] == count  # the server's own, and all but the private one
        names = [each["input"]["name"] for each in message["sessions"]]
        newest = range(count - 1, count - 1 - MAX_LISTED, -1)
        assert names == ["demo", *(f"stream {number}" for number in newest)]
        assert {each["uptime_s"] for each in message["sessions"]} == {10.0}
        made = sessions.newest()
        clock.advance(0.1)
        assert sessions.newest() is made
        clock.advance(1.0)
        assert sessions.newest() is not made
