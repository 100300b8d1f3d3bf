"""Broadcasting one session to many viewers."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
from live_support import RunningServer, receive, receive_kind, wait_for
from support import ESTIMATE

from realtime_mer.core.events import Event, EventKind, Marker
from realtime_mer.live.hub import Notice
from realtime_mer.live.runner import LiveRunner
from realtime_mer.live.stats import Counter, Timing
from realtime_mer.server import broadcast, protocol
from realtime_mer.server.channel import EncodedMessage
from realtime_mer.server.viewer import Viewer


def publish(runner: LiveRunner, *seqs: int) -> None:
    for seq in seqs:
        runner.hub.publish(replace(ESTIMATE, seq=seq))


def settle(running: RunningServer, viewers: int) -> None:
    """Wait until there are so many viewers and none has anything left to send."""

    def idle() -> bool:
        connected = running.server._viewers
        return len(connected) == viewers and all(viewer._sender is None for viewer in connected)

    wait_for(lambda: bool(running.call(idle)), "idle viewers")


def test_viewers_that_keep_up_need_no_task(running: RunningServer, runner: LiveRunner) -> None:
    with running.connect() as first, running.connect() as second:
        settle(running, 2)
        tasks = running.call(running.tasks)
        for seq in range(50):
            publish(runner, seq)
            assert receive_kind(first, "estimate")["seq"] == seq
            assert receive_kind(second, "estimate")["seq"] == seq
            assert running.call(running.tasks) == tasks
        stats = running.server.stats
        wait_for(lambda: stats.histogram(Timing.DELIVERY).count == 100, "the count of deliveries")
        assert stats[Counter.MESSAGES_DROPPED] == 0


def test_events_markers_and_notices_need_no_task_either(
    running: RunningServer, runner: LiveRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcast, "CHUNK", 1)
    with running.connect() as first, running.connect() as second:
        settle(running, 2)
        tasks = running.call(running.tasks)
        monkeypatch.setattr(Viewer, "_ensure_sender", lambda viewer: pytest.fail("a task"))
        publish(runner, 0)
        runner.hub.publish(Event(EventKind.RISE, 0.0, 1.0, ESTIMATE.utc, 0.4))
        runner.hub.publish(Notice("slow", "it is slow"))
        runner.hub.publish(Marker(1.0, ESTIMATE.utc, "applause"))
        for client in (first, second):
            told: dict[str, Any] = {}
            while not told.keys() >= {"estimate", "event", "warning", "marker"}:
                message = receive(client)
                told[message["type"]] = message
            assert told["event"]["kind"] == "rise"
            assert told["warning"]["code"] == "slow"
            assert told["marker"]["text"] == "applause"
        assert running.call(running.tasks) == tasks


def test_a_connection_that_breaks_between_two_messages_writes_nothing_to_the_log(
    running: RunningServer, runner: LiveRunner, caplog: pytest.LogCaptureFixture
) -> None:
    with running.connect():
        settle(running, 1)
        message = EncodedMessage.from_text("{}")

        def breaks() -> None:
            (viewer,) = running.server._viewers
            viewer.abort()
            # All before the event loop tells the connection that it is lost.
            for seq in range(10):
                viewer.offer(replace(ESTIMATE, seq=seq), message)
                viewer.offer_health(message)
                viewer.offer_passing(message)
                viewer.announce(message)

        running.call(breaks)
        wait_for(lambda: not running.server._viewers, "the viewer has left")
    assert [record.getMessage() for record in caplog.records] == []


def test_all_viewers_share_one_subscription(running: RunningServer, runner: LiveRunner) -> None:
    with running.connect(), running.connect(), running.connect():
        settle(running, 3)
        assert runner.hub.subscribers == 1
    wait_for(lambda: runner.hub.subscribers == 0, "the empty broadcaster to close")


def test_viewers_beyond_one_chunk_get_every_estimate(
    running: RunningServer, runner: LiveRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcast, "CHUNK", 2)
    with ExitStack() as stack:
        clients = [stack.enter_context(running.connect()) for _ in range(7)]
        settle(running, 7)
        for seq in range(5):
            publish(runner, seq)
            assert [receive_kind(client, "estimate")["seq"] for client in clients] == [seq] * 7


def test_encoding_failure_closes_with_an_error_and_a_log_entry(
    running: RunningServer,
    runner: LiveRunner,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with running.connect() as client:
        settle(running, 1)

        def fail(*_: object) -> str:
            raise ZeroDivisionError("a bug")

        monkeypatch.setattr(broadcast.Broadcaster, "encode", fail)
        publish(runner, 0)
        assert receive_kind(client, "error")["code"] == "internal"
    monkeypatch.undo()
    with running.connect() as client:
        settle(running, 1)
        publish(runner, 1)
        assert receive_kind(client, "estimate")["seq"] == 1
    assert "a bug" in caplog.text


def test_snapshot_parts_are_shared_and_do_not_overlap(
    running: RunningServer, runner: LiveRunner
) -> None:
    publish(runner, *range(3 * protocol.SNAPSHOT_CHUNK + 7))
    for since in (-1, 10, protocol.SNAPSHOT_CHUNK - 1, -1):
        session = running.server.session
        with running.connect(f"?session={session}&since={since}") as client:
            received: list[int] = []
            more = True
            while more:
                part = receive_kind(client, "snapshot")
                assert part["complete"]
                assert len(part["estimates"]) <= protocol.SNAPSHOT_CHUNK
                received += [estimate["seq"] for estimate in part["estimates"]]
                more = part["more"]
            assert received == list(range(since + 1, 3 * protocol.SNAPSHOT_CHUNK + 7))


def test_encoded_message_is_a_text_frame() -> None:
    message = EncodedMessage.from_text(json.dumps({"a": "x" * 200}))
    assert message.frame[:2] == b"\x81\x7e"
    assert message.size == int.from_bytes(message.frame[2:4], "big") == len(message.frame) - 4
