"""The server over real sockets of this machine."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import socket
import struct
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fast_support import tones
from live_support import (
    TIMEOUT_S,
    ArraySource,
    HangingSource,
    RunningServer,
    receive,
    receive_kind,
    receive_until,
    running_server,
    wait_for,
)
from mer_engine import Engine
from mer_web import FILES
from numpy.typing import NDArray
from support import ESTIMATE, FaultInjector, blocks, music
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.pipeline import Pipeline
from realtime_mer.core.types import Estimate
from realtime_mer.errors import UserError
from realtime_mer.live import engine_watch
from realtime_mer.live.hub import End, Notice
from realtime_mer.live.runner import LiveRunner
from realtime_mer.live.stats import Counter, Timing
from realtime_mer.server import server as server_module
from realtime_mer.server import viewer
from realtime_mer.server.broadcast import Broadcaster, SnapshotPart
from realtime_mer.server.server import MerServer, ServerConfig, binding_warning

RATE = 16_000  # the rate of the front-end: no resampling
START = {"type": "start", "sample_rate_hz": RATE, "channels": 1, "format": "f32le", "name": "me"}


def estimate(seq: int) -> Estimate:
    return replace(ESTIMATE, seq=seq)


class ServerHarness:
    """A running server, and a runner whose hub the test publishes to."""

    def __init__(self, engine: Engine, **settings: Any) -> None:
        config = PipelineConfig(hop_s=settings.pop("hop_s", 1.0))
        self.runner = LiveRunner(HangingSource(), engine, config=config)
        self._server = running_server(engine, self.runner, **settings)

    def __enter__(self) -> ServerHarness:
        self.running: RunningServer = self._server.__enter__()
        self.server = self.running.server
        return self

    def __exit__(self, *error: Any) -> None:
        self._server.__exit__(*error)

    def publish(self, *seqs: int) -> None:
        for seq in seqs:
            self.runner.hub.publish(estimate(seq))

    def connect(self, query: str = "", **options: Any) -> ClientConnection:
        return self.running.connect(query, **options)

    def http(
        self, path: str, method: str = "GET", **headers: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.running.port, timeout=TIMEOUT_S)
        try:
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    def count(self, counter: Counter) -> int:
        return self.server.stats[counter]


@pytest.fixture
def harness(engine: Engine) -> Iterator[ServerHarness]:
    with ServerHarness(engine, max_sessions=4) as harness:
        yield harness


def read_snapshot(client: ClientConnection) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the hello and the estimates of all parts of the snapshot."""
    hello = receive(client)
    assert hello["type"] == "hello"
    estimates: list[dict[str, Any]] = []
    more = True
    while more:
        snapshot = receive(client)
        assert snapshot["type"] == "snapshot"
        assert snapshot["session"] == hello["session"]
        estimates += snapshot["estimates"]
        more = snapshot["more"]
    return hello, estimates


def start(client: ClientConnection, **changes: object) -> dict[str, Any]:
    """Start a stream and return its hello."""
    client.send(json.dumps({**START, **changes}))
    return stream_hello(client)


def stream_hello(client: ClientConnection) -> dict[str, Any]:
    """Return the next hello of a client's own stream."""
    hello = receive_kind(client, "hello")
    while hello["input"]["kind"] != "browser":
        hello = receive_kind(client, "hello")
    return hello


# What a viewer receives.


def test_hello_and_empty_snapshot_before_the_first_estimate(harness: ServerHarness) -> None:
    with harness.connect() as client:
        hello, estimates = read_snapshot(client)
    info = harness.runner.pipeline.engine.info
    assert hello["schema"] == 1
    assert hello["model"] == {"name": info.name, "version": info.version, "sha256": info.sha256}
    assert (hello["hop_s"], hello["lag_order"], hello["window_s"]) == (1.0, 20, 10.0)
    assert hello["coverage"] == info.coverage
    assert hello["input"] == {
        "kind": "microphone", "name": "hanging", "sample_rate_hz": RATE, "channels": 1
    }  # fmt: skip
    assert hello["backend"] == "onnxruntime"
    assert estimates == []


def test_backend_fallback_reaches_present_and_later_viewers(
    harness: ServerHarness, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with harness.connect() as client:
        hello, _ = read_snapshot(client)
        assert "backend_note" not in hello
        monkeypatch.setattr(engine, "warning", "the card failed")
        warning = receive_kind(client, "warning")
        assert (warning["code"], warning["message"]) == ("backend_fallback", "the card failed")
    with harness.connect() as client:
        hello, _ = read_snapshot(client)
    assert hello["backend_note"] == "the card failed"


def test_snapshot_then_estimates(harness: ServerHarness) -> None:
    harness.publish(0, 1, 2)
    with harness.connect() as client:
        _, past = read_snapshot(client)
        assert past == [estimate(seq).to_dict() for seq in range(3)]
        harness.publish(3)
        assert receive_kind(client, "estimate") == estimate(3).to_dict()


def test_long_history_comes_in_small_parts(engine: Engine) -> None:
    with ServerHarness(engine, hop_s=0.1) as harness:
        harness.publish(*range(6123))
        with harness.connect() as client:
            parts = [receive(client)]
            while not parts or parts[-1].get("more", True):
                parts.append(receive(client))
    snapshots = parts[1:]
    assert [e["seq"] for part in snapshots for e in part["estimates"]] == list(range(123, 6123))
    assert max(len(json.dumps(part)) for part in snapshots) < 32_000
    assert all(part["complete"] for part in snapshots)


def test_others_come_between_the_parts_of_a_long_history(
    harness: ServerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.publish(*range(600))
    order: list[str] = []
    make_part = Broadcaster.snapshot_part

    def snapshot_part(self: Broadcaster, since: int) -> SnapshotPart:
        order.append("part")
        asyncio.get_running_loop().call_soon(order.append, "others")
        return make_part(self, since)

    monkeypatch.setattr(Broadcaster, "snapshot_part", snapshot_part)
    with harness.connect() as client:
        _, past = read_snapshot(client)
        assert len(past) == 600
    assert order.count("part") >= 12
    assert "part part" not in " ".join(order)


def test_estimates_published_during_the_snapshot_come_once(harness: ServerHarness) -> None:
    """A publisher that never pauses: no estimate comes twice or out of order."""
    harness.publish(*range(600))
    stopping = threading.Event()

    def publish_until_stopped() -> None:
        for seq in itertools.count(600):
            harness.publish(seq)
            if stopping.wait(0.0005):
                return

    publisher = threading.Thread(target=publish_until_stopped)
    publisher.start()
    try:
        for _ in range(5):
            with harness.connect() as client:
                _, past = read_snapshot(client)
                seqs = [e["seq"] for e in past]
                assert np.all(np.diff(seqs) == 1)
                assert receive_kind(client, "estimate")["seq"] > seqs[-1]
    finally:
        stopping.set()
        publisher.join()


def test_twenty_viewers_receive_the_same(harness: ServerHarness) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(harness.connect()) for _ in range(20)]
        for client in clients:
            read_snapshot(client)
        for seq in range(5):
            harness.publish(seq)
            for client in clients:
                assert receive_kind(client, "estimate")["seq"] == seq
        assert harness.server.peak_viewers == 20
    wait_for(lambda: harness.server.viewers == 0, "the viewers to leave")


def test_end_reaches_present_and_later_viewers(harness: ServerHarness) -> None:
    with harness.connect() as client:
        read_snapshot(client)
        harness.runner.hub.publish(Notice("input_lost", "gone"))
        assert receive_kind(client, "warning") == {
            "type": "warning", "code": "input_lost", "message": "gone"
        }  # fmt: skip
        harness.runner.hub.publish(End("the file is over"))
        end = receive_kind(client, "end")
        assert (end["session"], end["reason"]) == (harness.server.session, "the file is over")
        with harness.connect() as late:
            read_snapshot(late)
            assert receive_kind(late, "end") == end
        # The connection stays open.
        client.send('{"type": "ping", "id": 1}')
        assert receive_kind(client, "pong")["id"] == 1


def test_health_comes_after_hello_and_after_a_change(harness: ServerHarness) -> None:
    with harness.connect() as client:
        read_snapshot(client)
        first = receive_kind(client, "health")
        assert (first["viewers"], first["sessions"]) == (1, 0)
        assert set(first["counters"].values()) == {0}
        harness.runner.stats.add(Counter.OVERFLOWS, 3)
        health = receive_kind(client, "health")
        while health["counters"]["overflows"] == 0:
            health = receive_kind(client, "health")
        assert health["counters"]["overflows"] == 3
        assert health["uptime_s"] > 0


@pytest.mark.parametrize(
    ("since", "expected"), [(6, [7, 8, 9]), (9, []), (-1, list(range(10))), (500, [])]
)
def test_resume_brings_only_missed_estimates(
    harness: ServerHarness, since: int, expected: list[int]
) -> None:
    harness.publish(*range(10))
    with harness.connect(f"?session={harness.server.session}&since={since}") as client:
        hello, missed = read_snapshot(client)
        assert hello["session"] == harness.server.session
        assert [e["seq"] for e in missed] == expected
        # Even a client whose `since` is in the future gets new estimates.
        harness.publish(10)
        assert receive_kind(client, "estimate")["seq"] == 10


def test_resume_reports_estimates_older_than_the_history(harness: ServerHarness) -> None:
    harness.publish(*range(700))
    with harness.connect(f"?session={harness.server.session}&since=50") as client:
        receive(client)
        snapshot = receive(client)
        assert not snapshot["complete"]
        assert snapshot["estimates"][0]["seq"] == 100
        assert receive(client)["complete"]


def test_resume_after_a_restart_gives_all(engine: Engine, harness: ServerHarness) -> None:
    harness.publish(*range(5))
    old = harness.server.session
    with ServerHarness(engine) as restarted:
        restarted.publish(0, 1)
        with restarted.connect(f"?session={old}&since=4") as client:
            hello, estimates = read_snapshot(client)
            assert hello["session"] != old
            assert [e["seq"] for e in estimates] == [0, 1]


@pytest.mark.parametrize("since", ["-2", "x", "1.5", ""])
def test_invalid_since_is_refused(harness: ServerHarness, since: str) -> None:
    if since == "":
        # An empty value counts as absent.
        with harness.connect("?since=") as client:
            read_snapshot(client)
        return
    with pytest.raises(InvalidStatus) as caught, harness.connect(f"?since={since}"):
        pytest.fail("the connection was accepted")
    assert caught.value.response.status_code == 400


# Slow viewers.


def stalled_viewer(port: int) -> socket.socket:
    """Open a viewer that reads nothing after the handshake and has small buffers."""
    stalled = socket.socket()
    stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stalled.connect(("127.0.0.1", port))
    stalled.sendall(
        b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    return stalled


def backlog(harness: ServerHarness) -> int:
    """Return the largest backlog of a viewer in the server's memory, in bytes."""

    def measure() -> int:
        return max(viewer.backlog_bytes for viewer in harness.server._viewers)

    largest: int = harness.running.call(measure)
    return largest


def test_stalled_viewer_is_buffered_little_and_delays_nobody(harness: ServerHarness) -> None:
    harness.publish(*range(600))
    with stalled_viewer(harness.running.port) as stalled, harness.connect() as client:
        read_snapshot(client)
        wait_for(lambda: harness.server.viewers == 2, "both viewers")
        largest = 0
        for seq in range(600, 2600):
            harness.publish(seq)
            # Waiting for the stalled viewer would take SEND_TIMEOUT_S, longer than this waits.
            assert receive_kind(client, "estimate")["seq"] == seq
            if seq % 100 == 0:
                largest = max(largest, backlog(harness))
        assert 0 < largest < 64 * 1024
        dropped = harness.count(Counter.MESSAGES_DROPPED)
        # When it reads again it gets what lay in the socket, then the newest estimate.
        stalled.settimeout(TIMEOUT_S)
        newest = estimate(2599).to_dict()
        needle = json.dumps(newest, separators=(",", ":")).encode()
        received = b""
        while needle not in received:
            received = received[-4096:] + stalled.recv(65_536)
        wait_for(lambda: harness.count(Counter.MESSAGES_DROPPED) > 1000, "skipped messages counted")
        assert dropped == 0


def test_stop_does_not_wait_for_a_stalled_viewer(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than the test waits for the server: only cutting the viewer off ends it in time.
    monkeypatch.setattr(server_module, "CLOSE_TIMEOUT_S", 10 * TIMEOUT_S)
    with ServerHarness(engine) as harness:
        harness.publish(*range(600))
        stalled = stalled_viewer(harness.running.port)
        wait_for(lambda: harness.server.viewers == 1, "the viewer")
        wait_for(lambda: backlog(harness) > 0, "a backlog")
    stalled.close()


def test_viewer_that_reads_nothing_is_cut_off(
    harness: ServerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewer, "SEND_TIMEOUT_S", 0.2)
    harness.publish(*range(600))
    with stalled_viewer(harness.running.port):
        wait_for(lambda: harness.count(Counter.CONNECTIONS) == 1, "the viewer")
        wait_for(lambda: harness.server.viewers == 0, "the viewer to be cut off")
    assert harness.runner.hub.subscribers == 0


def test_vanished_viewer_leaves_no_task(harness: ServerHarness) -> None:
    before = harness.running.call(harness.running.tasks)
    for _ in range(3):
        vanishing = stalled_viewer(harness.running.port)
        wait_for(lambda: harness.server.viewers == 1, "the viewer")
        # Closes with a reset, as a crashed client does.
        vanishing.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        vanishing.close()
        harness.publish(*range(50))
        wait_for(lambda: harness.server.viewers == 0, "the viewer to be gone")
    wait_for(lambda: harness.running.call(harness.running.tasks) == before, "its tasks to be gone")
    assert harness.runner.hub.subscribers == 0


# Streams of clients.


def stream(client: ClientConnection, samples: NDArray[Any], rate: int) -> list[Any]:
    """Send a signal, half a second at a time, and return its estimates.

    Receives each estimate before the next one can be made, because a viewer gets only the newest.
    A resampler outputs the end of a part with the next one; then one more part is in flight.
    """
    received = []
    ahead = int(rate != RATE)
    for number, part in enumerate(blocks(samples, (rate // 2,))):
        client.send(part.tobytes())
        if number >= ahead:
            received.append(receive_estimate(client))
    client.send('{"type": "stop"}')
    rest = [m for m in receive_until(client, "end") if m["type"] == "estimate"]
    return received + [m for m in rest if m["state"] != "stalled"]


def receive_estimate(client: ClientConnection) -> dict[str, Any]:
    """Return the next estimate of audio; skip those of a stall on a busy machine."""
    estimate = receive_kind(client, "estimate")
    while estimate["state"] == "stalled":
        estimate = receive_kind(client, "estimate")
    return estimate


def receive_warning(client: ClientConnection) -> dict[str, Any]:
    """Return the next warning; skip that of a stall on a busy machine."""
    warning = receive_kind(client, "warning")
    while warning["code"] == "stalled":
        warning = receive_kind(client, "warning")
    return warning


def as_array(estimates: list[Any]) -> NDArray[np.float64]:
    names = ("t", "valence", "arousal", "valence_low", "arousal_high", "level_db")
    return np.array([[e[name] for name in names] for e in estimates])


def offline(engine: Engine, samples: NDArray[np.float32], rate: int) -> NDArray[np.float64]:
    pipeline = Pipeline(
        engine,
        sample_rate_hz=rate,
        channels=samples.shape[1],
        config=PipelineConfig(hop_s=0.5),
    )
    return as_array([e.to_dict() for e in pipeline.feed(samples) + pipeline.finish()])


def test_stream_has_its_own_session_and_the_estimates_of_the_pipeline(engine: Engine) -> None:
    signal = music(3.0, RATE)
    with ServerHarness(engine, hop_s=0.5) as harness, harness.connect() as client:
        own, _ = read_snapshot(client)
        hello = start(client)
        assert hello["session"] != own["session"]
        assert hello["input"] == {
            "kind": "browser", "name": "me", "sample_rate_hz": RATE, "channels": 1
        }  # fmt: skip
        assert receive_kind(client, "snapshot") == {
            "type": "snapshot",
            "session": hello["session"],
            "estimates": [],
            "complete": True,
            "more": False,
        }
        received = stream(client, signal, RATE)
        assert len(received) == 6
        np.testing.assert_allclose(as_array(received), offline(engine, signal, RATE), atol=2e-5)
        # Then the server's own session follows again.
        again = receive_kind(client, "hello")
        assert again["session"] == own["session"]
        assert len(harness.server.pool) == 0


def test_viewers_learn_of_speech_and_of_a_missing_mood(sound_engine: Engine) -> None:
    signal = tones([("speech", 3.0), ("music", 6.0), ("noise", 5.0)], RATE)
    with ServerHarness(sound_engine, hop_s=0.5) as harness, harness.connect() as client:
        read_snapshot(client)
        start(client)
        receive_kind(client, "snapshot")
        received = stream(client, signal, RATE)
        assert [state for state, _ in itertools.groupby(e["state"] for e in received)] == [
            "speech", "settling", "tracking", "noise",
        ]  # fmt: skip
        assert received[0]["mood"] is None
        assert received[-1]["mood"] is not None
        spoken = sum(e["state"] == "speech" for e in received)
        _, body = harness.http("/metrics")
        line = f'realtime_mer_state_estimates_total{{state="speech"}} {spoken}'
        assert line in body.decode().splitlines()


def test_concurrent_streams_are_independent(engine: Engine) -> None:
    harness = ServerHarness(engine, hop_s=0.5)
    rates = (RATE, 44_100, 48_000)
    signals = [music(3.0, rate, seed=seed) for seed, rate in enumerate(rates)]
    results: dict[int, NDArray[np.float64]] = {}

    def play(number: int) -> None:
        with harness.connect() as client:
            start(client, sample_rate_hz=rates[number])
            results[number] = as_array(stream(client, signals[number], rates[number]))

    with harness:
        threads = [threading.Thread(target=play, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TIMEOUT_S)
    for number, rate in enumerate(rates):
        np.testing.assert_allclose(
            results[number], offline(engine, signals[number], rate), atol=2e-5
        )


def test_stream_of_integers(engine: Engine) -> None:
    signal = (music(1.0, RATE, channels=2) * 20_000).astype(np.int16)
    with ServerHarness(engine, hop_s=0.5) as harness, harness.connect() as client:
        start(client, channels=2, format="s16le")
        received = stream(client, signal, RATE)
        scaled = signal.astype(np.float32) / np.float32(32768)
        np.testing.assert_allclose(as_array(received), offline(engine, scaled, RATE), atol=2e-5)


def test_fast_client_is_slowed_down_and_loses_nothing(harness: ServerHarness) -> None:
    signal = music(14.0, RATE)
    with harness.connect() as client:
        hello = start(client)
        session = harness.server.pool.get(hello["session"])
        assert session is not None
        began = time.monotonic()
        for part in blocks(signal, (RATE,)):
            client.send(part.tobytes())
        client.send('{"type": "stop"}')
        receive_kind(client, "end")
        # Ten seconds pass at once, the other four at twenty times real time.
        assert time.monotonic() - began > 0.19
    assert session.stats[Counter.DROPPED_SAMPLES] == 0
    latest = session.hub.latest
    assert latest is not None
    assert latest.t == 14.0


def test_start_directly_after_stop(harness: ServerHarness) -> None:
    with harness.connect() as client:
        sessions = []
        for _ in range(3):
            client.send(json.dumps(START))
            client.send(music(0.1, RATE).tobytes())
            client.send('{"type": "stop"}')
        for _ in range(3):
            hello = stream_hello(client)
            sessions.append(hello["session"])
            end = receive_kind(client, "end")
            assert (end["session"], end["reason"]) == (hello["session"], "stopped by the client")
        assert len(set(sessions)) == 3
        assert harness.count(Counter.CLIENT_ERRORS) == 0


def test_watch_the_stream_of_another_client(engine: Engine) -> None:
    with ServerHarness(engine, hop_s=0.5) as harness, harness.connect() as player:
        hello = start(player)
        with harness.connect(f"?session={hello['session']}") as watcher:
            assert read_snapshot(watcher)[0]["session"] == hello["session"]
            player.send(music(0.5, RATE).tobytes())
            assert receive_kind(watcher, "estimate")["seq"] == 0
            player.close()
            end = receive_kind(watcher, "end")
            assert (end["session"], end["reason"]) == (hello["session"], "its client is gone")
            assert read_snapshot(watcher)[0]["session"] == harness.server.session
            assert len(harness.server.pool) == 0


def test_later_viewer_of_a_slowed_stream_gets_the_warning(engine: Engine) -> None:
    with ServerHarness(engine) as harness, harness.connect() as player:
        session = start(player)["session"]
        client = harness.server.pool.get(session)
        assert client is not None
        # The pool's rate too: on a busy machine a stall comes meanwhile, with a turn at that rate.
        client.level = 2
        client.stream.slow_down(4)
        assert receive_warning(player)["code"] == "slower"
        with harness.connect(f"?session={session}") as late:
            warning = receive_warning(late)
            assert warning["code"] == "slower"
            assert "every 4 s instead of every 1 s" in warning["message"]
            client.level = 0
            client.stream.slow_down(1)
            assert receive_warning(late)["code"] == "full_rate"
        with harness.connect(f"?session={session}") as later:
            player.send(music(1.0, RATE).tobytes())
            codes = {m["code"] for m in receive_until(later, "estimate") if m["type"] == "warning"}
            assert codes <= {"stalled"}


def test_vanished_client_frees_its_session(harness: ServerHarness) -> None:
    tasks = harness.running.call(harness.running.tasks)
    threads = threading.active_count()
    for _ in range(3):
        with harness.connect() as client:
            start(client)
            client.send(music(0.2, RATE).tobytes())
            assert len(harness.server.pool) == 1
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.socket.shutdown(socket.SHUT_RDWR)
        wait_for(lambda: len(harness.server.pool) == 0, "the session to be gone")
    wait_for(lambda: harness.running.call(harness.running.tasks) == tasks, "its tasks to be gone")
    wait_for(lambda: threading.active_count() <= threads, "its threads to be gone")


def test_client_that_vanishes_during_stop_is_removed(
    harness: ServerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness.server.pool, "finish", lambda *_: None)  # the end never comes
    tasks = harness.running.call(harness.running.tasks)
    with harness.connect() as client:
        start(client)
        client.send('{"type": "stop"}')
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.socket.shutdown(socket.SHUT_RDWR)
    wait_for(lambda: harness.server.viewers == 0, "the viewer to be gone")
    wait_for(lambda: harness.running.call(harness.running.tasks) == tasks, "its tasks to be gone")
    assert len(harness.server.pool) == 0


def test_too_many_streams_close_with_1013(engine: Engine) -> None:
    with ServerHarness(engine, max_sessions=1) as harness:
        with harness.connect() as first, harness.connect() as second:
            start(first)
            second.send(json.dumps(START))
            error = receive_kind(second, "error")
            assert error["code"] == "too_many_sessions"
            assert "--max-sessions" in error["message"]
            with pytest.raises(ConnectionClosed) as closed:
                receive_until(second, "never")
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1013
            # The first client is not affected.
            first.send(music(1.0, RATE).tobytes())
            assert receive_kind(first, "estimate")["seq"] == 0
        wait_for(lambda: len(harness.server.pool) == 0, "a free session")
        with harness.connect() as third:
            start(third)


def test_too_many_viewers_close_with_1013(engine: Engine) -> None:
    with ServerHarness(engine, max_viewers=1) as harness, harness.connect() as first:
        read_snapshot(first)
        with harness.connect() as second:
            assert receive(second)["code"] == "too_many_viewers"
            with pytest.raises(ConnectionClosed) as closed:
                receive(second)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1013
        assert harness.count(Counter.REFUSALS) == 1
        harness.publish(0)
        assert receive_kind(first, "estimate")["seq"] == 0


# Invalid messages: each has an error code and affects no other client.


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("{", "bad_json"),
        ("[]", "bad_json"),
        ('{"type": "nonsense"}', "unknown_type"),
        ('{"type": "start", "sample_rate_hz": 5}', "bad_format"),
        ('{"type": "stop"}', "not_streaming"),
        (b"1234", "not_streaming"),
        (b"", "not_streaming"),
    ],
)
def test_invalid_messages_without_a_stream(
    harness: ServerHarness, message: str | bytes, code: str
) -> None:
    with harness.connect() as client, harness.connect() as other:
        for viewer in (client, other):
            # What is published earlier is in their snapshots, and does not come again.
            read_snapshot(viewer)
        client.send(message)
        assert receive_kind(client, "error")["code"] == code
        harness.publish(0)
        assert receive_kind(client, "estimate")["seq"] == 0
        assert receive_kind(other, "estimate")["seq"] == 0
        assert harness.count(Counter.CLIENT_ERRORS) == 1


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (json.dumps(START), "already_streaming"),
        (b"", "empty_frame"),
        (b"12345", "bad_length"),
        (np.array([0.0, np.nan, np.inf], dtype="<f4").tobytes(), "bad_samples"),
    ],
)
def test_invalid_messages_while_streaming(
    harness: ServerHarness, message: str | bytes, code: str
) -> None:
    with harness.connect() as client:
        start(client)
        client.send(message)
        assert receive_kind(client, "error")["code"] == code
        client.send(music(1.0, RATE).tobytes())
        assert receive_kind(client, "estimate")["seq"] == 0


def test_bad_samples_are_counted(harness: ServerHarness) -> None:
    with harness.connect() as client:
        start(client)
        client.send(np.array([0.0, np.nan, np.inf], dtype="<f4").tobytes())
        receive_kind(client, "error")
        assert harness.count(Counter.BAD_SAMPLES) == 2


@pytest.mark.parametrize("value", [np.nan, -np.inf, 1e18, 1e30, 3e38])
def test_bad_samples_of_a_client_leave_its_history_whole(
    harness: ServerHarness, value: float
) -> None:
    signal = music(3.0, RATE)
    signal[RATE : 2 * RATE : 100] = value
    with harness.connect() as client:
        session = start(client)["session"]
        for block in blocks(signal, (1600,)):
            client.send(block.tobytes())
        while receive_kind(client, "estimate")["t"] < 3.0:
            pass
        with harness.connect(f"?session={session}") as viewer:
            # A stall on a busy machine repeats values.
            history = [e for e in read_snapshot(viewer)[1] if e["state"] != "stalled"]
            assert [e["t"] for e in history] == [1.0, 2.0, 3.0]
        assert harness.count(Counter.BAD_SAMPLES) == RATE // 100


def no_constant(name: str) -> object:
    raise AssertionError(f"{name} is not JSON")


def test_bad_samples_of_the_input_leave_history_and_health_whole(engine: Engine) -> None:
    runner = LiveRunner(ArraySource(music(3.0, RATE) * np.float32(1e30), RATE), engine, speed=200.0)
    with running_server(engine, runner) as running, runner:
        assert runner.join(TIMEOUT_S)
        with running.connect() as viewer:
            assert [e["t"] for e in read_snapshot(viewer)[1]] == [1.0, 2.0, 3.0]
        with urllib.request.urlopen(f"http://127.0.0.1:{running.port}/healthz") as answer:
            page = json.loads(answer.read(), parse_constant=no_constant)
        with urllib.request.urlopen(f"http://127.0.0.1:{running.port}/metrics") as answer:
            gauges = [line for line in answer.read().decode().splitlines() if "# " not in line]
    assert page["counters"]["bad_samples"] > 0
    assert page["latest"]["level_db"] == -120.0
    for line in gauges:
        assert np.isfinite(float(line.split()[-1])), line


def test_frame_of_ten_megabytes_closes_with_1009(harness: ServerHarness) -> None:
    with harness.connect() as other, harness.connect() as client:
        read_snapshot(other)
        start(client)
        # Its beginning alone: the library's client may lose the close frame where sending fails.
        client.socket.sendall(b"\x82\xff" + (10 * 2**20).to_bytes(8, "big") + bytes(2**16))
        with pytest.raises(ConnectionClosed) as closed:
            receive_until(client, "never")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        wait_for(lambda: len(harness.server.pool) == 0, "the session to be gone")
        harness.publish(0)
        assert receive_kind(other, "estimate")["seq"] == 0


def test_text_that_is_not_utf8_closes_with_1007(harness: ServerHarness) -> None:
    with harness.connect() as client:
        client.send(b"\xff\xfe", text=True)
        with pytest.raises(ConnectionClosed) as closed:
            receive_until(client, "never")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1007


def test_pong_returns_any_id(harness: ServerHarness) -> None:
    with harness.connect() as client:
        for ping_id in (7, "seven", None, [1, {"a": 2.5}]):
            client.send(json.dumps({"type": "ping", "id": ping_id}))
            assert receive_kind(client, "pong")["id"] == ping_id


def test_flood_is_limited_then_closed_and_others_go_on(
    harness: ServerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewer, "PENALTY_S", 0.001)
    with harness.connect() as other, harness.connect() as client:
        read_snapshot(other)
        for _ in range(300):
            client.send("nonsense")
        messages: list[dict[str, Any]] = []

        def collect() -> None:
            while True:
                messages.append(receive(client))

        with pytest.raises(ConnectionClosed) as closed:
            collect()
        codes = {message["code"] for message in messages if message["type"] == "error"}
        assert codes == {"bad_json", "rate_limited"}
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008
        harness.publish(0)
        assert receive_kind(other, "estimate")["seq"] == 0


def test_internal_error_closes_with_1011(
    harness: ServerHarness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(harness.server.pool, "open", fail)
    with harness.connect() as client:
        client.send(json.dumps(START))
        assert receive_kind(client, "error")["code"] == "internal"
        with pytest.raises(ConnectionClosed) as closed:
            receive_until(client, "never")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1011
    assert "a bug" in caplog.text


# Plain HTTP on the same port.


def test_every_file_of_the_page(harness: ServerHarness) -> None:
    for path, (_, content_type) in FILES.items():
        response, body = harness.http(path)
        assert response.status == 200, path
        assert response.getheader("Content-Type") == content_type
        assert body
        assert harness.http(path, If_None_Match="x")[0].status == 200
        known = {"If-None-Match": response.getheader("ETag") or ""}
        assert harness.http(path, **known)[0].status == 304
        head, nothing = harness.http(path, "HEAD")
        assert (head.status, nothing) == (200, b"")
        assert head.getheader("Content-Length") == str(len(body))


def test_failing_page_gives_500_and_a_log_entry(
    harness: ServerHarness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(harness.server._status, "_health", fail)
    response, body = harness.http("/healthz")
    assert (response.status, body) == (500, b"internal server error, see the server's log\n")
    assert "a bug" in caplog.text


def test_healthz(harness: ServerHarness) -> None:
    harness.publish(0)
    response, body = harness.http("/healthz")
    health = json.loads(body)
    assert response.status == 200
    assert health["latest"] == estimate(0).to_dict()
    assert health["input"]["name"] == "hanging"
    assert health["status"] == "listening"


def test_healthz_status(engine: Engine) -> None:
    def status() -> object:
        with urllib.request.urlopen(page, timeout=TIMEOUT_S) as response:
            return json.load(response)["status"]

    source = HangingSource()
    runner = LiveRunner(source, engine, config=PipelineConfig(hop_s=0.5))
    with running_server(engine, runner) as running:
        page = f"http://127.0.0.1:{running.port}/healthz"
        with runner:
            wait_for(lambda: status() == "stalled", "the stall")

            def listening() -> bool:
                # Before each question: a busy machine may ask only after the next stall.
                source.give(music(0.5, RATE))
                return status() == "listening"

            wait_for(listening, "the end of the stall")
        assert status() == "ended"
    with running_server(engine) as running:
        page = f"http://127.0.0.1:{running.port}/healthz"
        assert status() == "waiting"


def test_healthz_says_503_only_where_the_engine_does_not_work(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("HANG_HOPS", 0), ("HANG_S", 0.05), ("TICK_S", 0.05)):
        monkeypatch.setattr(engine_watch, name, value)

    def health() -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=TIMEOUT_S)
        connection.request("GET", "/healthz")
        with connection.getresponse() as response:
            return response.status, json.load(response)["status"]

    injector, source = FaultInjector(engine), HangingSource()
    runner = LiveRunner(source, injector, config=PipelineConfig(hop_s=0.5))

    def listening() -> bool:
        # Before each question: a busy machine may ask only after the next stall.
        source.give(music(0.5, RATE))
        return health() == (200, "listening")

    with running_server(injector, runner) as running, runner:
        wait_for(listening, "listening")
        wait_for(lambda: health() == (200, "stalled"), "no audio")
        with running.connect() as client:
            injector.hang()
            source.give(music(0.5, RATE))
            wait_for(lambda: health() == (503, "stalled"), "the hang")
            assert not running.server.healthy
            codes = list[str]()
            while "engine_stalled" not in codes:
                codes.append(receive_kind(client, "warning")["code"])
            assert receive_kind(client, "estimate")["state"] == "stalled"
            injector.release()
            while "engine_back" not in codes:
                codes.append(receive_kind(client, "warning")["code"])
            wait_for(lambda: running.server.healthy, "the end of the hang")


def test_metrics(harness: ServerHarness) -> None:
    harness.publish(0)
    with harness.connect() as client:
        read_snapshot(client)
        harness.publish(1)
        receive_kind(client, "estimate")
        wait_for(lambda: harness.server.stats.histogram(Timing.DELIVERY).count == 1, "the delivery")
        response, body = harness.http("/metrics")
    assert response.getheader("Content-Type") == "text/plain; version=0.0.4; charset=utf-8"
    lines = body.decode().splitlines()
    assert "realtime_mer_viewers 1.0" in lines
    assert "realtime_mer_connections_total 1" in lines
    assert f"realtime_mer_valence {ESTIMATE.valence!r}" in lines
    assert "realtime_mer_delivery_seconds_count 1" in lines


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/nothing", {}, 404),
        ("/ws", {}, 426),
        ("/", {"Host": "evil.example"}, 421),
        ("/metrics", {"Host": "evil.example"}, 421),
    ],
)
def test_refused_requests(
    harness: ServerHarness, path: str, headers: dict[str, str], status: int
) -> None:
    response, body = harness.http(path, **headers)
    assert response.status == status
    assert body.endswith(b"\n")
    assert b"Traceback" not in body


def test_foreign_pages_and_rebound_names_may_not_connect(harness: ServerHarness) -> None:
    with pytest.raises(InvalidStatus) as caught, harness.connect(origin="http://evil.example"):
        pytest.fail("a foreign page connected")
    assert caught.value.response.status_code == 403
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Host": "evil.example"}
    assert harness.http("/ws", **upgrade)[0].status == 421
    assert harness.count(Counter.REFUSALS) == 2
    with harness.connect(origin=f"http://127.0.0.1:{harness.running.port}") as client:
        read_snapshot(client)


UPGRADE = {
    "Host": "127.0.0.1",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec-WebSocket-Version": "13",
}


def raw_request(line: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{line}\r\n{fields}\r\n".encode() + body


def exchange(port: int, sent: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes and return the status, the headers and the body of the answer."""
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as raw:
        raw.sendall(sent)
        response = http.client.HTTPResponse(raw, method=sent.split(b" ")[0].decode("latin-1"))
        response.begin()
        return response.status, dict(response.getheaders()), response.read()


HOST_ONLY = {"Host": "127.0.0.1"}
BODY = {**HOST_ONLY, "Content-Length": "2"}


@pytest.mark.parametrize(
    ("sent", "status", "header", "words"),
    [
        (raw_request("POST / HTTP/1.1", BODY, b"{}"), 405, "Allow: GET, HEAD", "POST is not"),
        (raw_request("POST /ws HTTP/1.1", BODY, b"{}"), 405, "Allow: GET, HEAD", "POST is not"),
        (
            raw_request("PUT /healthz HTTP/1.1", {**HOST_ONLY, "Transfer-Encoding": "chunked"}),
            405, "Allow: GET, HEAD", "PUT is not",
        ),
        (raw_request("POST /ws HTTP/1.1", UPGRADE), 405, "Allow: GET, HEAD", "POST is not"),
        (raw_request("HEAD /ws HTTP/1.1", UPGRADE), 405, "Allow: GET", ""),
        (raw_request("OPTIONS * HTTP/1.1", HOST_ONLY), 405, "Allow: GET, HEAD", "OPTIONS is not"),
        (raw_request("GET / HTTP/1.0", {}), 400, "", "the Host header is missing"),
        (raw_request("GET //[ HTTP/1.1", HOST_ONLY), 404, "", "there is no such page"),
        (raw_request("GET ftp://x/ HTTP/1.1", HOST_ONLY), 400, "", "the target of a request"),
        (raw_request("GET /ws HTTP/1.1", HOST_ONLY), 426, "Upgrade: websocket", "a proxy"),
        (
            raw_request("GET /ws HTTP/1.1", {**UPGRADE, "Connection": "close"}),
            426, "Upgrade: websocket", "a proxy",
        ),
        (raw_request("GET /ws HTTP/1.0", UPGRADE), 505, "", "HTTP/1.1"),
        (
            raw_request("GET /ws HTTP/1.1", {**UPGRADE, "Sec-WebSocket-Key": "x"}),
            400, "", "Sec-WebSocket-Key is missing or malformed",
        ),
        (
            raw_request("GET /ws HTTP/1.1", {**UPGRADE, "Sec-WebSocket-Version": "8"}),
            426, "Sec-WebSocket-Version: 13", "must be 13",
        ),
        (
            raw_request("GET /ws HTTP/1.1", {**UPGRADE, "Origin": "http://evil.example"}),
            403, "", "--allow-origin http://evil.example",
        ),
        (raw_request("GET http://evil.example/ HTTP/1.1", HOST_ONLY), 421, "", "evil.example"),
        (
            raw_request("GET /ws?origin=http://%1b[2J%e2%80%ae HTTP/1.1", HOST_ONLY),
            403, "", "origin of the page is malformed",
        ),
        (raw_request("G\x1b[2J / HTTP/1.1", HOST_ONLY), 405, "Allow: GET, HEAD", "this method"),
        (raw_request(f"GET /{'a' * 9000} HTTP/1.1", HOST_ONLY), 414, "", "8192 bytes"),
        (raw_request("GET / HTTP/1.1", {**HOST_ONLY, "X": "a" * 9000}), 431, "", "8192 bytes"),
        (
            raw_request("GET / HTTP/1.1", {**HOST_ONLY, **{f"X{i}": "" for i in range(200)}}),
            431, "", "128",
        ),
        # As a browser begins TLS: without the end of a line, and then it waits.
        (b"\x16\x03\x01\x00\xff", 400, "", "speaks http, not https"),
    ],
)  # fmt: skip
def test_every_refusal_has_a_reason_and_one_line_in_the_log(
    harness: ServerHarness,
    caplog: pytest.LogCaptureFixture,
    sent: bytes,
    status: int,
    header: str,
    words: str,
) -> None:
    for _ in range(3):
        got, headers, body = exchange(harness.running.port, sent)
        assert got == status
        assert headers["Content-Type"] == "text/plain; charset=utf-8"
        assert words in body.decode()
        assert body.count(b"\n") == (0 if sent.startswith(b"HEAD") else 1)
        assert body.decode().strip().isprintable()
        name, _, value = header.partition(": ")
        assert headers.get(name, "") == value
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == (0 if status == 404 else 1), lines
    if lines:
        assert lines[0].startswith(f"refused a request from 127.0.0.1 ({status}): ")
        assert lines[0].isprintable()
        assert harness.count(Counter.REFUSALS) == 3


def test_a_body_that_follows_a_refusal_is_ignored(
    harness: ServerHarness, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_connection(("127.0.0.1", harness.running.port)) as raw:
        raw.settimeout(TIMEOUT_S)
        raw.sendall(raw_request("POST / HTTP/1.1", {**HOST_ONLY, "Content-Length": "9"}))
        answer = b""
        while part := raw.recv(4096):
            answer += part
        raw.sendall(b"more\r\n\r\n")
        raw.shutdown(socket.SHUT_WR)
    # Once this is answered, the server has read what came before.
    exchange(harness.running.port, raw_request("GET /healthz HTTP/1.1", HOST_ONLY))
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_absolute_targets_are_answered(harness: ServerHarness) -> None:
    port = harness.running.port
    own = f"http://127.0.0.1:{port}"
    assert exchange(port, raw_request(f"GET {own}/healthz HTTP/1.1", HOST_ONLY))[0] == 200
    assert exchange(port, raw_request(f"GET {own} HTTP/1.1", HOST_ONLY))[0] == 200
    assert exchange(port, raw_request(f"GET {own}/ws?since=x HTTP/1.1", UPGRADE))[0] == 400
    assert exchange(port, raw_request(f"GET {own}/ws HTTP/1.1", UPGRADE))[0] == 101


@pytest.mark.parametrize(
    "garbage",
    [b"\x00\xff" * 500, b"GET / HTTP/1.1\r\n", b"GET /" + b"a" * 20_000, b"\r\n\r\n", b""],
)
def test_garbage_on_the_port_affects_nobody(harness: ServerHarness, garbage: bytes) -> None:
    with (
        harness.connect() as client,
        socket.create_connection(("127.0.0.1", harness.running.port)) as raw,
    ):
        read_snapshot(client)
        raw.sendall(garbage)
        raw.shutdown(socket.SHUT_WR)
        raw.settimeout(TIMEOUT_S)
        while raw.recv(4096):
            pass
        harness.publish(0)
        assert receive_kind(client, "estimate")["seq"] == 0


# Starting and stopping.


def test_port_in_use(engine: Engine, harness: ServerHarness) -> None:
    port = harness.running.port
    with (
        pytest.raises(UserError, match=f"port {port} on 127.0.0.1 is in use.*--port {port + 1}"),
        ServerHarness(engine, port=port),
    ):
        pytest.fail("the port was bound twice")


@pytest.mark.parametrize(
    ("host", "words"),
    [("203.0.113.7", "not an address of this machine"), ("no.such.host.invalid", "is unknown")],
)
def test_foreign_address_cannot_be_bound(engine: Engine, host: str, words: str) -> None:
    with pytest.raises(UserError, match=words), running_server(engine, host=host):
        pytest.fail("the address was bound")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"port": 65_536}, "port is 65536; it must lie between 0 and 65535"),
        ({"port": -1}, "port is -1"),
        ({"max_sessions": -1}, "number of sessions is -1"),
        ({"max_viewers": 0}, "number of viewers is 0"),
    ],
)
def test_invalid_settings(settings: dict[str, int], words: str) -> None:
    with pytest.raises(UserError, match=words):
        ServerConfig(**settings)  # type: ignore[arg-type]


def test_released_port_can_be_bound_at_once(engine: Engine) -> None:
    with ServerHarness(engine) as first:
        port = first.running.port
        with first.connect() as client:
            read_snapshot(client)
            first.running.stop()
            with pytest.raises(ConnectionClosed) as closed:
                receive_until(client, "never")
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001
    with ServerHarness(engine, port=port) as second, second.connect() as again:
        read_snapshot(again)


def test_server_without_its_own_input(engine: Engine) -> None:
    with running_server(engine) as running, running.connect() as client:
        hello, estimates = read_snapshot(client)
        assert hello["input"]["kind"] == "browser"
        assert estimates == []
        start(client)
        client.send(music(1.0, RATE).tobytes())
        assert receive_estimate(client)["state"] == "settling"


def test_localhost_binds_ipv4(engine: Engine) -> None:
    with running_server(engine, host="localhost") as running, running.connect() as client:
        assert running.server.url == f"http://localhost:{running.port}/"
        read_snapshot(client)


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_ipv6(engine: Engine) -> None:
    with running_server(engine, host="::1") as running:
        assert running.server.url == f"http://[::1]:{running.port}/"
        with urllib.request.urlopen(running.server.url, timeout=TIMEOUT_S) as response:
            assert response.status == 200


def test_url_of_a_server_on_all_networks(engine: Engine) -> None:
    server = MerServer(engine, config=ServerConfig(host="0.0.0.0", port=0))
    with pytest.raises(RuntimeError, match="has not been started"):
        _ = server.port
    with running_server(engine, server=server) as running:
        assert server.url == f"http://127.0.0.1:{running.port}/"


def test_binding_warning() -> None:
    assert binding_warning("127.0.0.1") is None
    assert "without a token: every device that can reach" in (binding_warning("0.0.0.0") or "")
    assert "behind the proxy" in (binding_warning("127.0.0.1", proxied=True) or "")
    assert "every device" in (binding_warning("0.0.0.0", proxied=True) or "")


def test_from_samples_to_messages(engine: Engine) -> None:
    """A paced source, a runner, a server and a viewer, without test doubles."""
    samples = music(3.0, RATE)
    runner = LiveRunner(
        ArraySource(samples, RATE), engine, config=PipelineConfig(hop_s=0.5), speed=4.0
    )
    with running_server(engine, runner) as running, running.connect() as client:
        read_snapshot(client)
        with runner:
            received = [m for m in receive_until(client, "end") if m["type"] == "estimate"]
    np.testing.assert_allclose(as_array(received), offline(engine, samples, RATE), atol=2e-5)
