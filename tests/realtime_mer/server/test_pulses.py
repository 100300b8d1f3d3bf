"""Pulses: who gets them, how many in a message, and that nobody waits for them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
from live_support import (
    RunningServer,
    receive,
    receive_kind,
    receive_until,
    running_server,
    wait_for,
)
from mer_engine import Engine
from support import ESTIMATE, music
from websockets.sync.client import ClientConnection

from realtime_mer.bench.raw_websocket import TEXT, RawWebSocket, masked_frame
from realtime_mer.core.pulse import Pulse
from realtime_mer.live.runner import LiveRunner
from realtime_mer.live.stats import Counter
from realtime_mer.server import broadcast
from realtime_mer.server.broadcast import (
    MAX_PULSE_INTERVAL_S,
    PULSE_INTERVAL_S,
    PULSE_SHARE,
    pulse_interval_s,
)

RATE = 16_000
ON, OFF = '{"type": "pulse", "on": true}', '{"type": "pulse", "on": false}'


def pulses(*times_s: float) -> list[Pulse]:
    return [Pulse(t, -20.0, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0), 0.5) for t in times_s]


def ask(client: ClientConnection, runner: LiveRunner) -> None:
    """Ask for pulses; return when the client may get them."""
    client.send(ON)
    # The answer to the ping comes after the request, and after what was sent before.
    client.send('{"type": "ping"}')
    receive_kind(client, "pong")
    wait_for(lambda: runner.hub.wants_pulses, "the request")


def receive_pulses(
    client: ClientConnection, runner: LiveRunner, t: float = 1.0
) -> list[dict[str, Any]]:
    """Publish pulses until the client, which may be busy with a snapshot, gets them."""
    while True:
        runner.hub.publish_pulses(pulses(t))
        message = receive(client)
        if message["type"] == "pulse":
            received: list[dict[str, Any]] = message["pulses"]
            return received


def kinds(messages: Sequence[dict[str, Any]]) -> set[str]:
    return {message["type"] for message in messages}


def test_only_those_that_ask_get_pulses(running: RunningServer, runner: LiveRunner) -> None:
    with running.connect() as plain, running.connect() as asking:
        assert not runner.hub.wants_pulses
        ask(asking, runner)
        pulse = receive_pulses(asking, runner)[0]
        assert pulse == pulses(1.0)[0].to_dict()
        asking.send(OFF)
        wait_for(lambda: not runner.hub.wants_pulses, "the end of the request")
        # Its snapshot has come: the estimate that follows is not in it.
        messages = receive_until(plain, "health")
        runner.hub.publish(replace(ESTIMATE, seq=3))
        assert "pulse" not in kinds(messages + receive_until(plain, "estimate"))
        assert receive_kind(asking, "estimate")["seq"] == 3
        stats = running.server.stats
        assert stats[Counter.PULSES_OUT] >= 1
        ask(asking, runner)
        receive_pulses(asking, runner, 2.0)
    wait_for(lambda: not runner.hub.wants_pulses, "the viewers to leave")


def test_a_message_has_all_pulses_that_have_come(
    running: RunningServer, runner: LiveRunner
) -> None:
    with running.connect() as client:
        ask(client, runner)
        receive_pulses(client, runner)
        sent = pulses(*(2.0 + 0.02 * k for k in range(7)))
        received: list[dict[str, Any]] = []

        def publish() -> None:
            # In the thread of the event loop, so that no message is sent in between.
            for pulse in sent:
                runner.hub.publish_pulses([pulse])

        running.call(publish)
        while not received or received[-1]["t"] < sent[-1].t - 0.001:
            received += receive_kind(client, "pulse")["pulses"]
        fresh = [pulse for pulse in received if pulse["t"] >= 2.0]
        assert [pulse["t"] for pulse in fresh] == [round(pulse.t, 2) for pulse in sent]


def test_viewers_beyond_one_chunk_get_pulses(
    running: RunningServer, runner: LiveRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcast, "CHUNK", 2)
    with ExitStack() as stack:
        clients = [stack.enter_context(running.connect()) for _ in range(5)]
        for client in clients:
            ask(client, runner)
        for client in clients:
            receive_pulses(client, runner)


@pytest.mark.parametrize("on", ["1", "null", '"true"', "[]"])
def test_a_wrong_request_is_one_error_and_changes_nothing(
    running: RunningServer, runner: LiveRunner, on: str
) -> None:
    with running.connect() as client:
        ask(client, runner)
        client.send(f'{{"type": "pulse", "on": {on}}}')
        error = receive_kind(client, "error")
        assert error["code"] == "bad_pulse"
        assert "must be true or false" in error["message"]
        receive_pulses(client, runner)


def test_a_viewer_that_reads_nothing_gets_no_backlog(
    running: RunningServer, runner: LiveRunner
) -> None:
    for seq in range(600):
        runner.hub.publish(replace(ESTIMATE, seq=seq))
    with ExitStack() as stack, running.connect() as client:
        stalled = RawWebSocket.open(running.port, receive_buffer=4096)
        stack.callback(stalled.close)
        stalled.send(masked_frame(TEXT, ON.encode()))
        wait_for(lambda: runner.hub.wants_pulses, "the request")
        ask(client, runner)
        stats = running.server.stats
        while stats[Counter.PULSES_DROPPED] < 3:
            receive_pulses(client, runner)
        (backlog,) = {viewer.backlog_bytes for viewer in running.server._viewers} - {0}
        before = stats[Counter.PULSES_DROPPED]
        while stats[Counter.PULSES_DROPPED] < before + 3:
            receive_pulses(client, runner)
        assert {viewer.backlog_bytes for viewer in running.server._viewers} == {0, backlog}


def test_the_pulses_of_another_session_follow_a_change(
    running: RunningServer, runner: LiveRunner
) -> None:
    with running.connect() as client:
        ask(client, runner)
        client.send(f'{{"type": "start", "sample_rate_hz": {RATE}}}')
        hello = receive_kind(client, "hello")
        while hello["input"]["kind"] != "browser":
            hello = receive_kind(client, "hello")
        session = hello["session"]
        stream = running.server.pool.get(session)
        assert stream is not None
        wait_for(lambda: not runner.hub.wants_pulses and stream.hub.wants_pulses, "the change")
        client.send(music(0.3, RATE).tobytes())
        client.send(music(1.0, RATE).tobytes())
        pulse = receive_kind(client, "pulse")["pulses"][0]
        assert 0.0 < pulse["t"] <= 1.3
        client.send('{"type": "stop"}')
        wait_for(lambda: runner.hub.wants_pulses, "the return")
        received = receive_pulses(client, runner, 77.0)
        while received[0]["t"] != 77.0:
            received = receive_pulses(client, runner, 77.0)


def test_estimates_go_before_pulses(running: RunningServer, runner: LiveRunner) -> None:
    with running.connect() as client:
        ask(client, runner)
        receive_pulses(client, runner)

        def publish() -> None:
            runner.hub.publish_pulses(pulses(5.0))
            runner.hub.publish(replace(ESTIMATE, seq=1))
            (broadcaster,) = running.server._broadcasters.values()
            # As if the distribution of the estimate took several turns of the loop.
            broadcaster._busy = True
            running.loop.call_later(0.1, broadcaster._continue)

        running.call(publish)
        messages = receive_until(client, "estimate")
        assert all(
            pulse["t"] < 5.0
            for message in messages
            if message["type"] == "pulse"
            for pulse in message["pulses"]
        )
        while receive_kind(client, "pulse")["pulses"][-1]["t"] < 5.0:
            pass


def test_many_viewers_get_fewer_messages() -> None:
    assert pulse_interval_s(0.0) == PULSE_INTERVAL_S
    assert pulse_interval_s(0.003) == pytest.approx(0.003 / PULSE_SHARE)
    assert pulse_interval_s(1.0) == MAX_PULSE_INTERVAL_S


def test_who_comes_while_the_input_is_away_is_told(engine: Engine, runner: LiveRunner) -> None:
    with running_server(engine, runner) as running, runner:
        stream = runner._stream
        with running.connect() as present:
            receive_kind(present, "health")
            running.call(lambda: stream.stay_lost("the desk is unplugged"))
            assert receive_kind(present, "warning")["code"] == "input_lost"
            with running.connect() as late:
                warning = receive_kind(late, "warning")
                assert warning["message"] == "the desk is unplugged"
                running.call(lambda: stream.regain_input("the desk is back"))
                assert receive_kind(late, "warning")["code"] == "input_back"
            assert stream.standing == []
            with running.connect() as later:
                # What holds comes before the first health.
                messages = receive_until(later, "health")
                assert all(message.get("code") != "input_lost" for message in messages)
