"""Taps of a person over the websocket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from live_support import RunningServer, receive_kind, running_server
from mer_engine import Engine
from support import ESTIMATE, ManualClock
from websockets.sync.client import ClientConnection

from realtime_mer.clock import SystemClock, iso_utc
from realtime_mer.core.types import State
from realtime_mer.live.person import Person
from realtime_mer.live.runner import LiveRunner
from realtime_mer.server.server import MerServer, ServerConfig
from realtime_mer.server.tokens import Role, Tokens
from realtime_mer.server.viewer import TAP_BURST, tap_limit


class StoppedDate(SystemClock):
    """A clock whose date stands still, so that estimates do not age while a test runs."""

    def __init__(self) -> None:
        self._utc = super().utc()

    def utc(self) -> datetime:
        return self._utc


CLOCK = StoppedDate()
TOKENS = {role: f"a-token-for-{role}-role" for role in Role}


@pytest.fixture
def person(engine: Engine, tmp_path: Path) -> Person:
    return Person(tmp_path / "anna.json", engine.info)


@pytest.fixture
def running(engine: Engine, runner: LiveRunner, person: Person) -> Iterator[RunningServer]:
    server = MerServer(engine, runner, config=ServerConfig(port=0), person=person, clock=CLOCK)
    with running_server(engine, server=server) as running:
        yield running


def hear(runner: LiveRunner, state: State) -> None:
    """Publish an estimate of two seconds ago."""
    utc = iso_utc(CLOCK.utc() - timedelta(seconds=2))
    latest = runner.hub.latest
    seq = 0 if latest is None else latest.seq + 1
    runner.hub.publish(replace(ESTIMATE, seq=seq, utc=utc, state=state))


def send(client: ClientConnection, **fields: object) -> None:
    client.send(json.dumps({"type": "tap", **fields}))


def personal(client: ClientConnection, taps: int) -> dict[str, Any]:
    """Return what is told of the person as soon as there are so many taps."""
    while True:
        told: dict[str, Any] = receive_kind(client, "health")["personal"]
        if told["taps"] == taps:
            return told


def test_taps_are_told_to_every_viewer(
    running: RunningServer, runner: LiveRunner, person: Person
) -> None:
    hear(runner, State.TRACKING)
    with running.connect() as wall, running.connect() as phone:
        assert personal(wall, 0) == person.map.to_dict()
        send(phone, valence=0.5, arousal=-0.25)
        assert personal(wall, 1) == person.map.to_dict()
        assert personal(phone, 1)["map"]["valence"]["shift"] > 0
        send(phone, action="undo")
        personal(wall, 0)
        hear(runner, State.TRACKING)
        send(phone, action="add", valence=1, arousal=1)
        personal(wall, 1)
        send(phone, action="reset")
        personal(wall, 0)


def test_what_cannot_be_a_tap_is_refused(
    running: RunningServer, runner: LiveRunner, person: Person
) -> None:
    hear(runner, State.SILENCE)
    with running.connect() as phone:
        for fields in (
            {"valence": 0.5, "arousal": 0.5},
            {"valence": 1.5, "arousal": 0.5},
            {"valence": True, "arousal": 0.5},
            {"valence": 0.5},
            {"action": "undo"},
            {"action": "forget"},
        ):
            send(phone, **fields)
            assert receive_kind(phone, "error")["code"] == "bad_tap", fields
    assert person.map.taps == 0


def test_a_flood_of_taps_is_refused(engine: Engine, runner: LiveRunner, person: Person) -> None:
    """Of all clients together: each writes a file."""
    server = MerServer(engine, runner, config=ServerConfig(port=0), person=person, clock=CLOCK)
    clock = ManualClock()
    server.taps = tap_limit(clock)
    hear(runner, State.TRACKING)
    with (
        running_server(engine, server=server) as running,
        running.connect() as first,
        running.connect() as second,
    ):
        for _ in range(TAP_BURST + 1):
            send(first, valence=0.5, arousal=0.5)
        error = receive_kind(first, "error")
        assert error["code"] == "rate_limited"
        assert "more than 1 tap a second" in error["message"]
        send(second, action="reset")
        assert receive_kind(second, "error")["code"] == "rate_limited"
        assert person.map.taps == TAP_BURST
        clock.advance(1.0)
        send(second, action="undo")
        personal(second, TAP_BURST - 1)


def test_without_a_person(engine: Engine, runner: LiveRunner) -> None:
    with running_server(engine, runner) as running, running.connect() as phone:
        assert "personal" not in receive_kind(phone, "health")
        send(phone, valence=0.5, arousal=0.5)
        assert "--person" in receive_kind(phone, "error")["message"]


def test_watching_is_not_enough(engine: Engine, runner: LiveRunner, person: Person) -> None:
    tokens = Tokens(TOKENS, "the test")
    config = ServerConfig(port=0, tokens=tokens)
    server = MerServer(engine, runner, config=config, person=person, clock=CLOCK)
    hear(runner, State.TRACKING)
    with running_server(engine, server=server) as running:
        for role in Role:
            headers = {"Authorization": f"Bearer {TOKENS[role]}"}
            with running.connect(additional_headers=headers) as phone:
                hear(runner, State.TRACKING)
                send(phone, valence=0.5, arousal=0.5)
                if role is Role.VIEW:
                    assert receive_kind(phone, "error")["code"] == "forbidden"
                else:
                    personal(phone, 1 if role is Role.SEND else 2)
