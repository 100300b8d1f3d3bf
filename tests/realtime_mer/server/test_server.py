"""The server over real sockets on this machine."""

from __future__ import annotations

import contextlib
import http.client
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
from support import ESTIMATE, blocks, music
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.pipeline import Pipeline
from realtime_mer.core.types import Estimate
from realtime_mer.errors import UserError
from realtime_mer.live.hub import End, Notice
from realtime_mer.live.runner import LiveRunner
from realtime_mer.live.stats import Counter, Timing
from realtime_mer.server import viewer
from realtime_mer.server.server import MerServer, ServerConfig, reach

RATE = 16_000  # the front-end's own: no resampler between
START = {"type": "start", "sample_rate_hz": RATE, "channels": 1, "format": "f32le", "name": "me"}


def estimate(seq: int) -> Estimate:
    return replace(ESTIMATE, seq=seq)


class Stage:
    """A server, and a runner that the test speaks for."""

    def __init__(self, engine: Engine, **settings: Any) -> None:
        config = PipelineConfig(hop_s=settings.pop("hop_s", 1.0))
        self.runner = LiveRunner(HangingSource(), engine, config=config)
        self._server = running_server(engine, self.runner, **settings)

    def __enter__(self) -> Stage:
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
def stage(engine: Engine) -> Iterator[Stage]:
    with Stage(engine, max_sessions=4) as stage:
        yield stage


def opened(client: ClientConnection) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The hello and the estimates of the whole snapshot."""
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
    """Starts a stream; returns its hello."""
    client.send(json.dumps({**START, **changes}))
    return stream_hello(client)


def stream_hello(client: ClientConnection) -> dict[str, Any]:
    """The next hello of a client's own stream."""
    hello = receive_kind(client, "hello")
    while hello["input"]["kind"] != "browser":
        hello = receive_kind(client, "hello")
    return hello


# What a viewer sees.


def test_hello_then_an_empty_snapshot_before_the_first_estimate(stage: Stage) -> None:
    with stage.connect() as client:
        hello, estimates = opened(client)
    info = stage.runner.pipeline.engine.info
    assert hello["schema"] == 1
    assert hello["model"] == {"name": info.name, "version": info.version, "sha256": info.sha256}
    assert (hello["hop_s"], hello["lag_order"], hello["window_s"]) == (1.0, 20, 10.0)
    assert hello["coverage"] == info.coverage
    assert hello["input"] == {
        "kind": "microphone", "name": "hanging", "sample_rate_hz": RATE, "channels": 1
    }  # fmt: skip
    assert hello["backend"] == "onnxruntime"
    assert estimates == []


def test_a_backend_that_is_replaced_is_told_to_those_here_and_those_to_come(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stage.connect() as client:
        hello, _ = opened(client)
        assert "backend_note" not in hello
        monkeypatch.setattr(stage.runner.pipeline.engine, "warning", "the card failed")
        warning = receive_kind(client, "warning")
        assert (warning["code"], warning["message"]) == ("backend_fallback", "the card failed")
    with stage.connect() as client:
        hello, _ = opened(client)
    assert hello["backend_note"] == "the card failed"


def test_what_happened_before_and_what_happens_now(stage: Stage) -> None:
    stage.publish(0, 1, 2)
    with stage.connect() as client:
        _, before = opened(client)
        assert before == [estimate(seq).to_dict() for seq in range(3)]
        stage.publish(3)
        assert receive_kind(client, "estimate") == estimate(3).to_dict()


def test_a_long_past_comes_in_small_parts(engine: Engine) -> None:
    with Stage(engine, hop_s=0.1) as stage:
        stage.publish(*range(6123))
        with stage.connect() as client:
            parts = [receive(client)]
            while not parts or parts[-1].get("more", True):
                parts.append(receive(client))
    snapshots = parts[1:]
    assert [e["seq"] for part in snapshots for e in part["estimates"]] == list(range(123, 6123))
    assert max(len(json.dumps(part)) for part in snapshots) < 32_000
    assert all(part["complete"] for part in snapshots)


def test_every_estimate_comes_once_although_they_go_on_during_the_snapshot(stage: Stage) -> None:
    """A publisher that never pauses: nothing comes twice, nothing goes backwards."""
    stage.publish(*range(600))
    going = threading.Event()

    def go_on() -> None:
        for seq in range(600, 3000):
            stage.publish(seq)
            if going.wait(0.0005):
                return

    publisher = threading.Thread(target=go_on)
    publisher.start()
    try:
        for _ in range(5):
            with stage.connect() as client:
                _, before = opened(client)
                seqs = [e["seq"] for e in before]
                assert np.all(np.diff(seqs) == 1)
                assert receive_kind(client, "estimate")["seq"] > seqs[-1]
    finally:
        going.set()
        publisher.join()


def test_twenty_viewers_all_see_the_same(stage: Stage) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(stage.connect()) for _ in range(20)]
        for client in clients:
            opened(client)
        for seq in range(5):
            stage.publish(seq)
            for client in clients:
                assert receive_kind(client, "estimate")["seq"] == seq
        assert stage.server.most_viewers == 20
    wait_for(lambda: stage.server.viewers == 0, "the viewers to leave")


def test_warnings_and_the_end_reach_viewers_and_latecomers(stage: Stage) -> None:
    with stage.connect() as client:
        opened(client)
        stage.runner.hub.publish(Notice("input_lost", "gone"))
        assert receive_kind(client, "warning") == {
            "type": "warning", "code": "input_lost", "message": "gone"
        }  # fmt: skip
        stage.runner.hub.publish(End("the file is over"))
        end = receive_kind(client, "end")
        assert (end["session"], end["reason"]) == (stage.server.session, "the file is over")
        with stage.connect() as late:
            opened(late)
            assert receive_kind(late, "end") == end
        # The connection stays.
        client.send('{"type": "ping", "id": 1}')
        assert receive_kind(client, "pong")["id"] == 1


def test_health_comes_with_the_hello_and_with_a_change(stage: Stage) -> None:
    with stage.connect() as client:
        opened(client)
        first = receive_kind(client, "health")
        assert (first["viewers"], first["sessions"]) == (1, 0)
        assert set(first["counters"].values()) == {0}
        stage.runner.stats.add(Counter.OVERFLOWS, 3)
        health = receive_kind(client, "health")
        while health["counters"]["overflows"] == 0:
            health = receive_kind(client, "health")
        assert health["counters"]["overflows"] == 3
        assert health["uptime_s"] > 0


@pytest.mark.parametrize(
    ("since", "expected"), [(6, [7, 8, 9]), (9, []), (-1, list(range(10))), (500, [])]
)
def test_resuming_brings_only_what_was_missed(
    stage: Stage, since: int, expected: list[int]
) -> None:
    stage.publish(*range(10))
    with stage.connect(f"?session={stage.server.session}&since={since}") as client:
        hello, missed = opened(client)
        assert hello["session"] == stage.server.session
        assert [e["seq"] for e in missed] == expected
        # Even a client that claims to know the future is told the present.
        stage.publish(10)
        assert receive_kind(client, "estimate")["seq"] == 10


def test_resuming_says_what_can_no_longer_be_had(stage: Stage) -> None:
    stage.publish(*range(700))
    with stage.connect(f"?session={stage.server.session}&since=50") as client:
        receive(client)
        snapshot = receive(client)
        assert not snapshot["complete"]
        assert snapshot["estimates"][0]["seq"] == 100
        assert receive(client)["complete"]


def test_after_a_restart_the_snapshot_is_full(engine: Engine, stage: Stage) -> None:
    stage.publish(*range(5))
    old = stage.server.session
    with Stage(engine) as restarted:
        restarted.publish(0, 1)
        with restarted.connect(f"?session={old}&since=4") as client:
            hello, estimates = opened(client)
            assert hello["session"] != old
            assert [e["seq"] for e in estimates] == [0, 1]


@pytest.mark.parametrize("since", ["-2", "x", "1.5", ""])
def test_a_senseless_since_is_refused(stage: Stage, since: str) -> None:
    if since == "":
        # An empty value counts as none.
        with stage.connect("?since=") as client:
            opened(client)
        return
    with pytest.raises(InvalidStatus) as caught, stage.connect(f"?since={since}"):
        pytest.fail("it was let in")
    assert caught.value.response.status_code == 400


# Slow viewers.


def stalled_viewer(port: int) -> socket.socket:
    """A viewer that shakes hands and then reads nothing, with little room in its own buffers."""
    stalled = socket.socket()
    stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stalled.connect(("127.0.0.1", port))
    stalled.sendall(
        b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    return stalled


def backlog(stage: Stage) -> int:
    """Bytes that the fullest viewer holds in the server's memory."""

    def measure() -> int:
        return max(one.backlog_bytes for one in stage.server._viewers)

    worst: int = stage.running.call(measure)
    return worst


def test_a_stalled_viewer_holds_little_and_delays_nobody(stage: Stage) -> None:
    stage.publish(*range(600))
    with stalled_viewer(stage.running.port) as stalled, stage.connect() as client:
        opened(client)
        wait_for(lambda: stage.server.viewers == 2, "both viewers")
        slowest_publish = slowest_delivery = worst = 0.0
        for seq in range(600, 2600):
            began = time.perf_counter()
            stage.publish(seq)
            published = time.perf_counter()
            assert receive_kind(client, "estimate")["seq"] == seq
            slowest_publish = max(slowest_publish, published - began)
            slowest_delivery = max(slowest_delivery, time.perf_counter() - published)
            if seq % 100 == 0:
                worst = max(worst, backlog(stage))
        assert 0 < worst < 64 * 1024
        assert slowest_publish < 0.25
        assert slowest_delivery < 1.0
        dropped = stage.count(Counter.MESSAGES_DROPPED)
        # Once it reads again it is told the newest, after what lay in the socket.
        stalled.settimeout(TIMEOUT_S)
        newest = estimate(2599).to_dict()
        needle = json.dumps(newest, separators=(",", ":")).encode()
        received = b""
        while needle not in received:
            received = received[-4096:] + stalled.recv(65_536)
        wait_for(lambda: stage.count(Counter.MESSAGES_DROPPED) > 1000, "skipped messages counted")
        assert dropped == 0


def test_the_server_stops_quickly_in_spite_of_a_stalled_viewer(engine: Engine) -> None:
    with Stage(engine) as stage:
        stage.publish(*range(600))
        stalled = stalled_viewer(stage.running.port)
        wait_for(lambda: stage.server.viewers == 1, "the viewer")
        wait_for(lambda: backlog(stage) > 0, "a backlog")
        began = time.monotonic()
    assert time.monotonic() - began < 5.0
    stalled.close()


def test_a_viewer_that_takes_nothing_is_cut_off(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewer, "SEND_TIMEOUT_S", 0.2)
    stage.publish(*range(600))
    with stalled_viewer(stage.running.port):
        wait_for(lambda: stage.count(Counter.CONNECTIONS) == 1, "the viewer")
        wait_for(lambda: stage.server.viewers == 0, "the viewer to be cut off")
    assert stage.runner.hub.subscribers == 0


def test_a_viewer_that_vanishes_leaves_no_task(stage: Stage) -> None:
    before = stage.running.call(stage.running.tasks)
    for _ in range(3):
        vanishing = stalled_viewer(stage.running.port)
        wait_for(lambda: stage.server.viewers == 1, "the viewer")
        # A reset, as when a machine is switched off and on again.
        vanishing.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        vanishing.close()
        stage.publish(*range(50))
        wait_for(lambda: stage.server.viewers == 0, "the viewer to be gone")
    wait_for(lambda: stage.running.call(stage.running.tasks) == before, "its tasks to be gone")
    assert stage.runner.hub.subscribers == 0


# Streams of clients.


def stream(client: ClientConnection, samples: NDArray[Any], rate: int) -> list[Any]:
    """Sends a signal, half a second at a time, and collects its estimates.

    Each estimate is awaited before the next can be made, because a viewer is sent the newest only.
    A resampler gives the end of a part with the next one, so then one part more is under way.
    """
    told = []
    ahead = int(rate != RATE)
    for number, part in enumerate(blocks(samples, (rate // 2,))):
        client.send(part.tobytes())
        if number >= ahead:
            told.append(heard(client))
    client.send('{"type": "stop"}')
    rest = [m for m in receive_until(client, "end") if m["type"] == "estimate"]
    return told + [m for m in rest if m["state"] != "stalled"]


def heard(client: ClientConnection) -> dict[str, Any]:
    """The next estimate of audio; a machine that freezes for a second makes others as well."""
    estimate = receive_kind(client, "estimate")
    while estimate["state"] == "stalled":
        estimate = receive_kind(client, "estimate")
    return estimate


def in_order(estimates: list[Any]) -> NDArray[np.float64]:
    names = ("t", "valence", "arousal", "valence_low", "arousal_high", "level_db")
    return np.array([[e[name] for name in names] for e in estimates])


def offline(engine: Engine, samples: NDArray[np.float32], rate: int) -> NDArray[np.float64]:
    pipeline = Pipeline(
        engine,
        sample_rate_hz=rate,
        channels=samples.shape[1],
        config=PipelineConfig(hop_s=0.5),
    )
    return in_order([e.to_dict() for e in pipeline.feed(samples) + pipeline.finish()])


def test_a_stream_has_its_own_session_and_the_estimates_of_the_pipeline(engine: Engine) -> None:
    signal = music(3.0, RATE)
    with Stage(engine, hop_s=0.5) as stage, stage.connect() as client:
        own, _ = opened(client)
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
        told = stream(client, signal, RATE)
        assert len(told) == 6
        np.testing.assert_allclose(in_order(told), offline(engine, signal, RATE), atol=2e-5)
        # Back at the server's own session.
        again, _ = opened(client)
        assert again["session"] == own["session"]
        assert len(stage.server.pool) == 0


def test_several_browsers_at_once_hear_only_themselves(engine: Engine) -> None:
    browsers = Stage(engine, hop_s=0.5)
    rates = (RATE, 44_100, 48_000)
    signals = [music(3.0, rate, seed=seed) for seed, rate in enumerate(rates)]
    results: dict[int, NDArray[np.float64]] = {}

    def play(number: int) -> None:
        with browsers.connect() as client:
            start(client, sample_rate_hz=rates[number])
            results[number] = in_order(stream(client, signals[number], rates[number]))

    with browsers:
        threads = [threading.Thread(target=play, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TIMEOUT_S)
    for number, rate in enumerate(rates):
        np.testing.assert_allclose(
            results[number], offline(engine, signals[number], rate), atol=2e-5
        )


def test_integers_are_taken_too(engine: Engine) -> None:
    signal = (music(1.0, RATE, channels=2) * 20_000).astype(np.int16)
    with Stage(engine, hop_s=0.5) as stage, stage.connect() as client:
        start(client, channels=2, format="s16le")
        told = stream(client, signal, RATE)
        scaled = signal.astype(np.float32) / np.float32(32768)
        np.testing.assert_allclose(in_order(told), offline(engine, scaled, RATE), atol=2e-5)


def test_a_client_that_sends_too_fast_is_slowed_down_and_loses_nothing(stage: Stage) -> None:
    signal = music(14.0, RATE)
    with stage.connect() as client:
        hello = start(client)
        session = stage.server.pool.get(hello["session"])
        assert session is not None
        began = time.monotonic()
        for part in blocks(signal, (RATE,)):
            client.send(part.tobytes())
        client.send('{"type": "stop"}')
        receive_kind(client, "end")
        # Ten seconds at once, the other four at twenty times real time.
        assert time.monotonic() - began > 0.19
    assert session.stats[Counter.DROPPED_SAMPLES] == 0
    latest = session.hub.latest
    assert latest is not None
    assert latest.t == 14.0


def test_start_follows_stop_at_once(stage: Stage) -> None:
    with stage.connect() as client:
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
        assert stage.count(Counter.CLIENT_ERRORS) == 0


def test_another_viewer_can_watch_a_stream(engine: Engine) -> None:
    with Stage(engine, hop_s=0.5) as stage, stage.connect() as player:
        hello = start(player)
        with stage.connect(f"?session={hello['session']}") as watcher:
            assert opened(watcher)[0]["session"] == hello["session"]
            player.send(music(0.5, RATE).tobytes())
            assert receive_kind(watcher, "estimate")["seq"] == 0
            player.close()
            end = receive_kind(watcher, "end")
            assert (end["session"], end["reason"]) == (hello["session"], "its client is gone")
            assert opened(watcher)[0]["session"] == stage.server.session
            assert len(stage.server.pool) == 0


def test_who_comes_to_a_slowed_stream_is_told_so(engine: Engine) -> None:
    with Stage(engine, hop_s=0.5) as stage, stage.connect() as player:
        session = start(player)["session"]
        client = stage.server.pool.get(session)
        assert client is not None
        client.stream.slow_down(4)
        assert receive_kind(player, "warning")["code"] == "slower"
        with stage.connect(f"?session={session}") as late:
            told = receive_kind(late, "warning")
            assert told["code"] == "slower"
            assert "every 2 s instead of every 0.5 s" in told["message"]
            client.stream.slow_down(1)
            assert receive_kind(late, "warning")["code"] == "full_rate"
        with stage.connect(f"?session={session}") as later:
            player.send(music(0.5, RATE).tobytes())
            codes = [m["type"] for m in receive_until(later, "estimate")]
            assert "warning" not in codes


def test_a_client_that_vanishes_frees_its_session(stage: Stage) -> None:
    tasks = stage.running.call(stage.running.tasks)
    threads = threading.active_count()
    for _ in range(3):
        with stage.connect() as client:
            start(client)
            client.send(music(0.2, RATE).tobytes())
            assert len(stage.server.pool) == 1
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.socket.shutdown(socket.SHUT_RDWR)
        wait_for(lambda: len(stage.server.pool) == 0, "the session to be gone")
    wait_for(lambda: stage.running.call(stage.running.tasks) == tasks, "its tasks to be gone")
    wait_for(lambda: threading.active_count() <= threads, "its threads to be gone")


def test_a_client_that_vanishes_while_its_stop_is_awaited_is_forgotten(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage.server.pool, "finish", lambda *_: None)  # the end never comes
    tasks = stage.running.call(stage.running.tasks)
    with stage.connect() as client:
        start(client)
        client.send('{"type": "stop"}')
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.socket.shutdown(socket.SHUT_RDWR)
    wait_for(lambda: stage.server.viewers == 0, "the viewer to be gone")
    wait_for(lambda: stage.running.call(stage.running.tasks) == tasks, "its tasks to be gone")
    assert len(stage.server.pool) == 0


def test_too_many_streams_are_refused_and_closed(engine: Engine) -> None:
    with Stage(engine, max_sessions=1) as stage:
        with stage.connect() as first, stage.connect() as second:
            start(first)
            second.send(json.dumps(START))
            error = receive_kind(second, "error")
            assert error["code"] == "too_many_sessions"
            assert "--max-sessions" in error["message"]
            with pytest.raises(ConnectionClosed) as closed:
                receive_until(second, "never")
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1013
            # The first is not disturbed.
            first.send(music(1.0, RATE).tobytes())
            assert receive_kind(first, "estimate")["seq"] == 0
        wait_for(lambda: len(stage.server.pool) == 0, "room")
        with stage.connect() as third:
            start(third)


def test_too_many_viewers_are_refused_and_closed(engine: Engine) -> None:
    with Stage(engine, max_viewers=1) as stage, stage.connect() as first:
        opened(first)
        with stage.connect() as second:
            assert receive(second)["code"] == "too_many_viewers"
            with pytest.raises(ConnectionClosed) as closed:
                receive(second)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1013
        assert stage.count(Counter.REFUSALS) == 1
        stage.publish(0)
        assert receive_kind(first, "estimate")["seq"] == 0


# Mistakes of clients: each is named, and nobody else notices.


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
def test_mistakes_without_a_stream(stage: Stage, message: str | bytes, code: str) -> None:
    with stage.connect() as client, stage.connect() as other:
        client.send(message)
        assert receive_kind(client, "error")["code"] == code
        stage.publish(0)
        assert receive_kind(client, "estimate")["seq"] == 0
        assert receive_kind(other, "estimate")["seq"] == 0
        assert stage.count(Counter.CLIENT_ERRORS) == 1


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (json.dumps(START), "already_streaming"),
        (b"", "empty_frame"),
        (b"12345", "bad_length"),
        (np.array([0.0, np.nan, np.inf], dtype="<f4").tobytes(), "bad_samples"),
    ],
)
def test_mistakes_while_streaming(stage: Stage, message: str | bytes, code: str) -> None:
    with stage.connect() as client:
        start(client)
        client.send(message)
        assert receive_kind(client, "error")["code"] == code
        client.send(music(1.0, RATE).tobytes())
        assert receive_kind(client, "estimate")["seq"] == 0


def test_bad_samples_are_counted(stage: Stage) -> None:
    with stage.connect() as client:
        start(client)
        client.send(np.array([0.0, np.nan, np.inf], dtype="<f4").tobytes())
        receive_kind(client, "error")
        assert stage.count(Counter.BAD_SAMPLES) == 2


def test_a_frame_of_ten_megabytes_closes_with_1009(stage: Stage) -> None:
    with stage.connect() as other, stage.connect() as client:
        opened(other)
        start(client)
        # The server may close before all of it is sent.
        with contextlib.suppress(ConnectionClosed):
            client.send(bytes(10 * 2**20))
        with pytest.raises(ConnectionClosed) as closed:
            receive_until(client, "never")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        wait_for(lambda: len(stage.server.pool) == 0, "the session to be gone")
        stage.publish(0)
        assert receive_kind(other, "estimate")["seq"] == 0


def test_text_that_is_not_utf8_closes_with_1007(stage: Stage) -> None:
    with stage.connect() as client:
        client.send(b"\xff\xfe", text=True)
        with pytest.raises(ConnectionClosed) as closed:
            receive_until(client, "never")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1007


def test_ping_gives_back_any_id(stage: Stage) -> None:
    with stage.connect() as client:
        for ping_id in (7, "seven", None, [1, {"a": 2.5}]):
            client.send(json.dumps({"type": "ping", "id": ping_id}))
            assert receive_kind(client, "pong")["id"] == ping_id


def test_a_flood_is_refused_then_cut_off_and_others_go_on(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewer, "PENALTY_S", 0.001)
    with stage.connect() as other, stage.connect() as client:
        opened(other)
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
        stage.publish(0)
        assert receive_kind(other, "estimate")["seq"] == 0


def test_a_fault_of_ours_is_told_and_closes_with_1011(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(stage.server.pool, "open", fail)
    with stage.connect() as client:
        client.send(json.dumps(START))
        assert receive_kind(client, "error")["code"] == "internal"
        with pytest.raises(ConnectionClosed) as closed:
            receive_until(client, "never")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1011
    assert "a bug" in caplog.text


# Plain HTTP on the same port.


def test_every_file_of_the_page(stage: Stage) -> None:
    for path, (_, content_type) in FILES.items():
        response, body = stage.http(path)
        assert response.status == 200, path
        assert response.getheader("Content-Type") == content_type
        assert body
        assert stage.http(path, If_None_Match="x")[0].status == 200
        known = {"If-None-Match": response.getheader("ETag") or ""}
        assert stage.http(path, **known)[0].status == 304
        head, nothing = stage.http(path, "HEAD")
        assert (head.status, nothing) == (200, b"")
        assert head.getheader("Content-Length") == str(len(body))


def test_a_page_that_fails_is_a_sentence_and_a_log_entry(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(stage.server, "_status", fail)
    response, body = stage.http("/healthz")
    assert (response.status, body) == (500, b"the server made a mistake; its log says more\n")
    assert "a bug" in caplog.text


def test_healthz(stage: Stage) -> None:
    stage.publish(0)
    response, body = stage.http("/healthz")
    health = json.loads(body)
    assert response.status == 200
    assert health["latest"] == estimate(0).to_dict()
    assert health["input"]["name"] == "hanging"
    assert health["status"] == "listening"


def test_healthz_tells_what_is_wrong(engine: Engine) -> None:
    def status() -> object:
        with urllib.request.urlopen(page, timeout=TIMEOUT_S) as response:
            return json.load(response)["status"]

    source = HangingSource()
    runner = LiveRunner(source, engine, config=PipelineConfig(hop_s=0.5))
    with running_server(engine, runner) as running:
        page = f"http://127.0.0.1:{running.port}/healthz"
        with runner:
            wait_for(lambda: status() == "stalled", "the stall")
            source.give(music(0.5, RATE))
            wait_for(lambda: status() == "listening", "the end of the stall")
        assert status() == "ended"
    with running_server(engine) as running:
        page = f"http://127.0.0.1:{running.port}/healthz"
        assert status() == "waiting"


def test_metrics_count_what_happens(stage: Stage) -> None:
    stage.publish(0)
    with stage.connect() as client:
        opened(client)
        stage.publish(1)
        receive_kind(client, "estimate")
        wait_for(lambda: stage.server.stats.histogram(Timing.DELIVERY).count == 1, "the delivery")
        response, body = stage.http("/metrics")
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
def test_requests_that_are_refused(
    stage: Stage, path: str, headers: dict[str, str], status: int
) -> None:
    response, body = stage.http(path, **headers)
    assert response.status == status
    assert body.endswith(b"\n")
    assert b"Traceback" not in body


def test_strangers_pages_and_rebound_names_may_not_connect(stage: Stage) -> None:
    with pytest.raises(InvalidStatus) as caught, stage.connect(origin="http://evil.example"):
        pytest.fail("a stranger's page connected")
    assert caught.value.response.status_code == 403
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Host": "evil.example"}
    assert stage.http("/ws", **upgrade)[0].status == 421
    assert stage.count(Counter.REFUSALS) == 2
    with stage.connect(origin=f"http://127.0.0.1:{stage.running.port}") as client:
        opened(client)


@pytest.mark.parametrize(
    "garbage",
    [b"\x00\xff" * 500, b"GET / HTTP/1.1\r\n", b"GET /" + b"a" * 20_000, b"\r\n\r\n", b""],
)
def test_garbage_on_the_port_disturbs_nobody(stage: Stage, garbage: bytes) -> None:
    with (
        stage.connect() as client,
        socket.create_connection(("127.0.0.1", stage.running.port)) as raw,
    ):
        opened(client)
        raw.sendall(garbage)
        raw.shutdown(socket.SHUT_WR)
        raw.settimeout(TIMEOUT_S)
        while raw.recv(4096):
            pass
        stage.publish(0)
        assert receive_kind(client, "estimate")["seq"] == 0


# Starting and stopping.


def test_a_port_in_use_is_a_sentence(engine: Engine, stage: Stage) -> None:
    port = stage.running.port
    with (
        pytest.raises(UserError, match=f"port {port} on 127.0.0.1 is in use.*--port {port + 1}"),
        Stage(engine, port=port),
    ):
        pytest.fail("the port was taken twice")


@pytest.mark.parametrize(
    ("host", "words"),
    [("203.0.113.7", "not an address of this machine"), ("no.such.host.invalid", "not known")],
)
def test_an_address_that_is_not_ours_is_a_sentence(engine: Engine, host: str, words: str) -> None:
    with pytest.raises(UserError, match=words), running_server(engine, host=host):
        pytest.fail("it was bound")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"port": 65_536}, "port is 65536; it must lie between 0 and 65535"),
        ({"port": -1}, "port is -1"),
        ({"max_sessions": -1}, "number of sessions is -1"),
        ({"max_viewers": 0}, "number of viewers is 0"),
    ],
)
def test_impossible_settings(settings: dict[str, int], words: str) -> None:
    with pytest.raises(UserError, match=words):
        ServerConfig(**settings)  # type: ignore[arg-type]


def test_a_freed_port_can_be_taken_at_once(engine: Engine) -> None:
    with Stage(engine) as first:
        port = first.running.port
        with first.connect() as client:
            opened(client)
            first.running.stop()
            with pytest.raises(ConnectionClosed) as closed:
                receive_until(client, "never")
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001
    with Stage(engine, port=port) as second, second.connect() as again:
        opened(again)


def test_a_server_for_browsers_only(engine: Engine) -> None:
    with running_server(engine) as running, running.connect() as client:
        hello, estimates = opened(client)
        assert hello["input"]["kind"] == "browser"
        assert estimates == []
        start(client)
        client.send(music(1.0, RATE).tobytes())
        assert receive_kind(client, "estimate")["state"] == "settling"


def test_localhost_is_bound_where_browsers_look_first(engine: Engine) -> None:
    with running_server(engine, host="localhost") as running, running.connect() as client:
        assert running.server.url == f"http://localhost:{running.port}/"
        opened(client)


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_ipv6(engine: Engine) -> None:
    with running_server(engine, host="::1") as running:
        assert running.server.url == f"http://[::1]:{running.port}/"
        with urllib.request.urlopen(running.server.url, timeout=TIMEOUT_S) as response:
            assert response.status == 200


def test_the_address_for_people(engine: Engine) -> None:
    server = MerServer(engine, config=ServerConfig(host="0.0.0.0", port=0))
    with pytest.raises(RuntimeError, match="has not been started"):
        _ = server.port
    with running_server(engine, server=server) as running:
        assert server.url == f"http://127.0.0.1:{running.port}/"


def test_binding_beyond_this_machine_is_explained() -> None:
    assert reach("127.0.0.1") is None
    assert "every device that can reach this machine" in (reach("0.0.0.0") or "")


def test_the_whole_way_from_samples_to_a_message(engine: Engine) -> None:
    """A paced source, a runner, a server and a viewer, with nothing replaced."""
    samples = music(3.0, RATE)
    runner = LiveRunner(
        ArraySource(samples, RATE), engine, config=PipelineConfig(hop_s=0.5), speed=4.0
    )
    with running_server(engine, runner) as running, running.connect() as client:
        opened(client)
        with runner:
            told = [m for m in receive_until(client, "end") if m["type"] == "estimate"]
    np.testing.assert_allclose(in_order(told), offline(engine, samples, RATE), atol=2e-5)
