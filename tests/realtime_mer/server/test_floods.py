"""Floods over real sockets: whoever sends them is closed with a reason, and nobody else notices.

Other loopback addresses, such as 127.0.0.2, stand for other machines.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_support import (
    TIMEOUT_S,
    HangingSource,
    RunningServer,
    receive,
    receive_kind,
    receive_until,
    running_server,
    wait_for,
)
from mer_engine import Engine
from support import ESTIMATE, music
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from realtime_mer.bench.raw_websocket import BINARY, TEXT, masked_frame
from realtime_mer.live import freed_memory
from realtime_mer.live.runner import LiveRunner
from realtime_mer.live.stats import Counter
from realtime_mer.server import door as door_module
from realtime_mer.server import limits
from realtime_mer.server import server as server_module
from realtime_mer.server.audio_connection import AudioConnection
from realtime_mer.server.limits import Limit

CONTINUATION, CLOSE, PING, PONG = 0x0, 0x8, 0x9, 0xA
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
START = {"type": "start", "sample_rate_hz": 16_000, "channels": 1, "format": "f32le"}


def other_addresses() -> bool:
    """Return whether connections may come from 127.0.0.2, as on Linux."""
    with socket.socket() as attempt:
        try:
            attempt.bind(("127.0.0.2", 0))
        except OSError:
            return False
    return True


pytestmark = pytest.mark.skipif(
    not other_addresses(), reason="this system has only one loopback address, 127.0.0.1"
)


class Show:
    """A server with a runner whose hub the test publishes to."""

    def __init__(self, running: RunningServer, runner: LiveRunner) -> None:
        self.running = running
        self.server = running.server
        self._runner = runner

    def connect(self, address: str = "127.0.0.2") -> ClientConnection:
        return self.running.connect(source_address=(address, 0))

    def raw(self, address: str = "127.0.0.1") -> socket.socket:
        """Open a connection that has said nothing yet."""
        return socket.create_connection(
            ("127.0.0.1", self.running.port), TIMEOUT_S, source_address=(address, 0)
        )

    def count(self, kind: Limit) -> int:
        return self.server.refusals.counts[kind]

    def pending(self) -> int:
        door = self.server.door
        assert door is not None
        return door.pending

    def assert_goes_on(self, viewer: ClientConnection) -> None:
        """An estimate that is published now reaches a viewer."""
        self._runner.hub.publish(ESTIMATE)
        message = receive(viewer)
        # A viewer that has only just come gets it with its snapshot, and not again.
        while message["type"] != "estimate" and not message.get("estimates"):
            message = receive(viewer)
        assert message.get("estimates", [message])[-1]["seq"] == ESTIMATE.seq


@contextlib.contextmanager
def running_show(engine: Engine, **settings: Any) -> Iterator[Show]:
    runner = LiveRunner(HangingSource(), engine)
    with running_server(engine, runner, **settings) as running:
        yield Show(running, runner)


@pytest.fixture
def show(engine: Engine) -> Iterator[Show]:
    with running_show(engine) as show:
        yield show


def read_to_end(connection: socket.socket) -> bytes:
    """Return all that comes until the connection is closed or reset."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65_536):
            received += part
    return received


def send_all(connection: socket.socket, data: bytes) -> None:
    """Send as much as the server takes before it closes the connection."""
    with contextlib.suppress(ConnectionError):
        connection.sendall(data)


def close_of(connection: socket.socket) -> tuple[int, str]:
    """Return code and reason of the close frame that a connection ends with."""
    received = read_to_end(connection)
    head = received.rfind(b"\x88")
    assert head >= 0, received[-200:]
    size = received[head + 1]
    payload = received[head + 2 : head + 2 + size]
    return struct.unpack("!H", payload[:2])[0], payload[2:].decode()


def is_closed(connection: socket.socket) -> bool:
    """Return whether the server has closed a connection that it said nothing to."""
    connection.setblocking(False)
    try:
        return not connection.recv(1)
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


FRAGMENT = bytes([CONTINUATION, 0x80, 0, 0, 0, 0])  # masked, empty, not the last
FLOODS = {
    "pings": (masked_frame(PING, b"") * 5000, Limit.CONTROL_FRAMES, "pings or pongs"),
    "pongs": (masked_frame(PONG, b"1234") * 5000, Limit.CONTROL_FRAMES, "pings or pongs"),
    "empty fragments": (
        bytes([TEXT, 0x80, 0, 0, 0, 0]) + FRAGMENT * 5000,
        Limit.FRAGMENTS,
        "fragments of messages",
    ),
    "messages in two fragments": (
        (bytes([BINARY, 0x81, 0, 0, 0, 0, 7]) + masked_frame(CONTINUATION, b"")) * 5000,
        Limit.FRAGMENTS,
        "fragments of messages",
    ),
}


@pytest.mark.parametrize("waits", [True, False], ids=["after the handshake", "with the handshake"])
@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_of_frames_is_closed_and_others_go_on(
    show: Show, caplog: pytest.LogCaptureFixture, name: str, waits: bool
) -> None:
    flood, kind, words = FLOODS[name]
    with show.connect() as far, show.connect("127.0.0.1") as near:
        for _ in range(3):
            with show.raw() as attacker:
                if waits:
                    attacker.sendall(UPGRADE)
                    assert attacker.recv(12) == b"HTTP/1.1 101"
                    send_all(attacker, flood)
                else:
                    send_all(attacker, UPGRADE + flood)
                code, reason = close_of(attacker)
            assert code == 1008
            assert words in reason
        show.assert_goes_on(far)
        show.assert_goes_on(near)
    assert show.count(kind) == 3
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1, lines
    assert lines[0].startswith("closed a connection of 127.0.0.1: ")


def test_whatever_follows_a_close_frame_is_ignored_and_the_connection_ends(show: Show) -> None:
    with show.connect() as far, show.raw() as attacker:
        attacker.sendall(UPGRADE)
        send_all(attacker, masked_frame(CLOSE, struct.pack("!H", 1000)) * 20_000)
        assert close_of(attacker) == (1000, "")
        wait_for(lambda: show.server.viewers == 1, "the attacker to be gone")
        show.assert_goes_on(far)


def test_a_few_pings_and_fragments_are_answered(show: Show) -> None:
    """Twenty pings and a message of many fragments in between, as a client may send them."""
    first, *rest = [bytes([part]) for part in b'{"type": "ping", "id": 1}']
    message = bytes([TEXT, 0x81, 0, 0, 0, 0]) + first
    for part in rest[:-1]:
        message += masked_frame(PING, part) + bytes([CONTINUATION, 0x81, 0, 0, 0, 0]) + part
    message += masked_frame(CONTINUATION, rest[-1])
    with show.raw() as client:
        client.sendall(UPGRADE + message)
        received = b""
        while b'"pong"' not in received:
            received += client.recv(65_536)
    assert sum(show.server.refusals.counts.values()) == 0


def test_when_the_server_is_full_the_largest_holder_gives_way(engine: Engine) -> None:
    with running_show(engine, max_viewers=4) as show, ExitStack() as stack:
        many = [stack.enter_context(show.connect("127.0.0.1")) for _ in range(4)]
        for viewer in many:
            receive_kind(viewer, "health")
        newcomers = [stack.enter_context(show.connect("127.0.0.2"))]
        assert receive(newcomers[0])["type"] == "hello"
        with pytest.raises(ConnectionClosed) as closed:
            receive_until(many[3], "never")
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (
            1013,
            "too many viewers from your address",
        )
        # A further one of the largest holder is refused; a third address gets in.
        refused = stack.enter_context(show.connect("127.0.0.1"))
        assert receive(refused)["code"] == "too_many_viewers"
        newcomers.append(stack.enter_context(show.connect("127.0.0.3")))
        assert receive(newcomers[1])["type"] == "hello"
        for viewer in newcomers:
            # Their snapshots have come: the estimate that follows is not in them.
            receive_kind(viewer, "health")
        for viewer in (*many[:2], *newcomers):
            show.assert_goes_on(viewer)
        assert show.count(Limit.VIEWERS) == 3


def test_when_all_streams_are_taken_the_largest_holder_gives_way(engine: Engine) -> None:
    with running_show(engine, max_sessions=2) as show, ExitStack() as stack:

        def stream(address: str) -> ClientConnection:
            client = stack.enter_context(show.connect(address))
            client.send(json.dumps(START))
            return client

        first, second = stream("127.0.0.1"), stream("127.0.0.1")
        for client in (first, second):
            while receive_kind(client, "hello")["input"]["kind"] != "browser":
                pass
        newcomer = stream("127.0.0.2")
        while receive_kind(newcomer, "hello")["input"]["kind"] != "browser":
            pass
        with pytest.raises(ConnectionClosed) as closed:
            receive_until(second, "never")
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (
            1013,
            "too many streams from your address",
        )
        for client in (first, newcomer):
            client.send(music(1.5, 16_000).tobytes())
            assert receive_kind(client, "estimate")["seq"] == 0
        # Each address has one now: nobody gives way any more.
        late = stream("127.0.0.3")
        assert receive_kind(late, "error")["code"] == "too_many_sessions"
        assert show.count(Limit.SESSIONS) == 2


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: 127"], ids=["silent", "half"])
def test_unfinished_handshakes_keep_nobody_out(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(limits, "MAX_PENDING", 8)
    monkeypatch.setattr(limits, "PENDING_PER_VIEWER", 0)
    # Only the bound closes them.
    monkeypatch.setattr(server_module, "OPEN_TIMEOUT_S", 10 * TIMEOUT_S)
    with running_show(engine) as show, ExitStack() as stack:
        attackers = [stack.enter_context(show.raw()) for _ in range(30)]
        for attacker in attackers:
            send_all(attacker, said)
        wait_for(lambda: sum(map(is_closed, attackers)) >= 22, "the oldest to be closed")
        with show.connect() as far, show.connect("127.0.0.1") as near:
            show.assert_goes_on(far)
            show.assert_goes_on(near)
        wait_for(lambda: show.pending() <= 8, "the bound")
        assert not is_closed(attackers[-1])
        assert show.count(Limit.PENDING) >= 22


def test_a_silent_connection_is_closed_after_the_time_for_a_handshake(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "OPEN_TIMEOUT_S", 0.2)
    monkeypatch.setattr(door_module, "SWEEP_PERIOD_S", 0.05)
    with running_show(engine) as show, show.raw() as silent, show.raw() as half:
        half.sendall(b"GET / HTTP/1.1\r\n")
        assert read_to_end(silent) == read_to_end(half) == b""
        wait_for(lambda: show.pending() == 0, "both to be forgotten")


def test_stop_does_not_wait_for_unfinished_handshakes(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than the end of the block waits for the server.
    monkeypatch.setattr(server_module, "OPEN_TIMEOUT_S", 10 * TIMEOUT_S)
    with ExitStack() as stack, running_show(engine) as show:
        stack.enter_context(show.raw())
        stack.enter_context(show.raw()).sendall(b"GET / HTTP/1.1\r\n")
        wait_for(lambda: show.pending() == 2, "both connections")


def test_a_stop_leaves_no_connection_that_is_just_being_accepted(engine: Engine) -> None:
    """The event loop would lose the socket, if its server closed before there is a transport."""

    async def stop_when_one_is_ready(server: server_module.MerServer) -> list[int]:
        door = server.door
        assert door is not None
        while not (ready := list(door._ready)):
            await asyncio.sleep(0)
        await server.stop()
        return [guest.socket.fileno() for guest in ready]

    with running_show(engine) as show, show.raw() as raw:
        stopped = asyncio.run_coroutine_threadsafe(
            stop_when_one_is_ready(show.server), show.running.loop
        )
        raw.sendall(b"GET / HTTP/1.1\r\n")
        assert stopped.result(TIMEOUT_S) == [-1]


def test_a_long_request_is_refused_before_it_takes_memory(show: Show) -> None:
    with show.connect() as far, show.raw() as attacker:
        head = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        send_all(attacker, head + b"".join(b"X%d: %s\r\n" % (n, b"a" * 8000) for n in range(20)))
        answer = read_to_end(attacker)
        assert answer.startswith(b"HTTP/1.1 431 ")
        assert b"more than 32768 bytes in all" in answer
        assert show.count(Limit.REQUEST_SIZE) == 1
        show.assert_goes_on(far)


def test_large_messages_share_a_bound(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_LARGE_BYTES", 500_000)
    unfinished = masked_frame(BINARY, bytes(200_000))[:-1]
    with running_show(engine) as show, ExitStack() as stack:
        attackers = [stack.enter_context(show.raw()) for _ in range(3)]
        for number, attacker in enumerate(attackers, 1):
            attacker.sendall(UPGRADE)
            assert attacker.recv(12) == b"HTTP/1.1 101"
            wait_for(lambda n=number: show.server.viewers == n, "the viewer")  # type: ignore[misc]
            send_all(attacker, unfinished)
        assert close_of(attackers[2]) == (1013, "too many large messages")
        # What is finished no longer counts.
        attackers[0].sendall(b"\0")
        with show.connect() as far:
            for _ in range(5):
                far.send(bytes(200_000))
                assert receive_kind(far, "error")["code"] == "not_streaming"
            show.assert_goes_on(far)
        assert show.count(Limit.MESSAGES) == 1


def test_memory_is_given_back_after_large_messages(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_back = threading.Event()
    monkeypatch.setattr(freed_memory, "give_back", given_back.set)
    monkeypatch.setattr(server_module, "HEALTH_PERIOD_S", 0.02)
    monkeypatch.setattr(limits, "BURST_BYTES", 100_000)
    lost: list[AudioConnection] = []
    connection_lost = AudioConnection.connection_lost

    def remember(self: AudioConnection, exc: Exception | None) -> None:
        connection_lost(self, exc)
        lost.append(self)

    monkeypatch.setattr(AudioConnection, "connection_lost", remember)
    with running_show(engine) as show:
        with show.raw() as attacker:
            attacker.sendall(UPGRADE)
            assert attacker.recv(12) == b"HTTP/1.1 101"
            wait_for(lambda: show.server.viewers == 1, "the viewer")
            send_all(attacker, masked_frame(BINARY, bytes(200_000))[:-1])
            wait_for(lambda: show.server.large.total > 0, "the message")
        wait_for(lambda: bool(lost), "the end of the connection")
        # Also while the connection's objects refer to each other.
        assert not lost[0].protocol.reader.buffer
        assert given_back.wait(TIMEOUT_S)


def test_many_large_messages_one_after_another_are_no_flood(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_LARGE_BYTES", 800_000)
    with running_show(engine) as show, show.connect() as client:
        for _ in range(30):
            client.send(bytes(70_000))
        for _ in range(30):
            assert receive_kind(client, "error")["code"] == "not_streaming"
        assert show.count(Limit.MESSAGES) == 0


def test_clients_share_what_is_faster_than_live(show: Show) -> None:
    samples = music(12.0, 16_000)
    with ExitStack() as stack:
        clients = [stack.enter_context(show.connect(f"127.0.0.{n}")) for n in (2, 3)]
        began = time.monotonic()
        for client in clients:
            client.send(json.dumps(START))
            for part in np.array_split(samples, 12):
                client.send(part.tobytes())
            client.send('{"type": "stop"}')
        for client in clients:
            receive_kind(client, "end")
        # Ten seconds of each pass at once; four remain for both, at about 20 seconds a second.
        assert time.monotonic() - began > 0.15
    assert show.server.stats[Counter.DROPPED_SAMPLES] == 0


def test_without_files_left_one_line_is_logged_and_accepting_goes_on() -> None:
    resource = pytest.importorskip("resource", reason="this system has no limit of open files")
    if not hasattr(resource, "prlimit"):
        pytest.skip("this system cannot change the limits of another process")
    server = subprocess.Popen(
        [sys.executable, "-m", "realtime_mer", "serve", "--input", "browser", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        found = re.search(r":(\d+)/", server.stdout.readline())
        assert found is not None
        port = int(found[1])
        before = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        used = {int(path.name) for path in Path(f"/proc/{server.pid}/fd").iterdir()}
        free = next(number for number in itertools.count() if number not in used)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (free, before[1]))
        with ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(socket.create_connection(("127.0.0.1", port), TIMEOUT_S))
            assert server.stderr is not None
            logged = next(line for line in server.stderr if "wait to be accepted" in line)
            resource.prlimit(server.pid, resource.RLIMIT_NOFILE, before)
            page = stack.enter_context(socket.create_connection(("127.0.0.1", port), TIMEOUT_S))
            page.sendall(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            answer = read_to_end(page).decode()
        refused = re.search(r'limited_total\{kind="files"\} (\d+)', answer)
        assert refused is not None
        assert int(refused[1]) >= 1
    finally:
        server.send_signal(signal.SIGINT)
        _, errors = server.communicate(timeout=TIMEOUT_S)
    assert "Traceback" not in errors
    assert "Too many open files" in logged
    assert "wait to be accepted" not in errors
