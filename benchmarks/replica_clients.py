"""Two servers behind nginx, and clients that go on when one of the servers goes away."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from local_nginx import Nginx, running_nginx
from target_server import TargetServer, target_server
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as open_websocket

from realtime_mer import Connection, Estimate, connect
from realtime_mer.bench.demo_audio import demo_audio
from realtime_mer.tls_socket import TlsConnection

HTTP_TIMEOUT_S = JOIN_TIMEOUT_S = 60.0
DRAIN_S = 60.0
SENT_RATE_HZ = 16_000
FRAME_S = 0.1
RETRY_S = 0.25


class Replicas:
    """The servers, which listen to the demo, and the nginx in front of them.

    Args:
        folder: an empty folder for nginx.
        arguments: further options of the servers.
    """

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._arguments = arguments
        self._folder = folder
        self._stack = ExitStack()
        self._ports = [_free_port() for _ in range(2)]
        self.servers: list[TargetServer] = []
        self.nginx: Nginx

    def __enter__(self) -> Replicas:
        try:
            self.servers = [self._start(port) for port in self._ports]
            self.nginx = self._stack.enter_context(
                running_nginx(self._folder, "localhost", self._ports)
            )
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _start(self, port: int) -> TargetServer:
        return self._stack.enter_context(
            target_server(
                "--port", str(port), "--drain", str(DRAIN_S), "--proxy", "127.0.0.1",
                *self._arguments,
            )
        )  # fmt: skip

    def restart(self, index: int) -> None:
        """Start a server again that has ended."""
        self.servers[index] = self._start(self._ports[index])

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"https://localhost:{self.nginx.port}"

    def connect(self) -> Connection:
        """Follow the servers' own input through nginx."""
        return connect(self.url, ca_file=self.nginx.ca_file)

    def open_websocket(self) -> ClientConnection:
        """Open a websocket through nginx; use it in a `with` block."""
        trust = ssl.create_default_context(cafile=str(self.nginx.ca_file))
        address = f"wss://localhost:{self.nginx.port}/ws"
        return open_websocket(
            address,
            ssl=trust,
            create_connection=TlsConnection,
            ping_interval=None,
            close_timeout=1.0,
        )


def get(
    server: TargetServer, path: str, headers: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Return status and body of a request to a server itself."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=HTTP_TIMEOUT_S)
    connection.request("GET", path, headers=dict(headers or {}))
    with connection.getresponse() as response:
        return response.status, response.read().decode()


def viewers(server: TargetServer) -> int:
    """Return the number of connections of a server."""
    return int(json.loads(get(server, "/healthz")[1])["viewers"])


class Watcher(threading.Thread):
    """Follows the servers' own input through nginx.

    Attributes:
        estimates: all that it got.
        arrived_at: the monotonic time of each.
        error: what ended it.
    """

    def __init__(self, where: Replicas) -> None:
        super().__init__(daemon=True)
        self.estimates: list[Estimate] = []
        self.arrived_at: list[float] = []
        self.connection = where.connect()
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            for estimate in self.connection:
                self.arrived_at.append(time.monotonic())
                self.estimates.append(estimate)
        except Exception as error:
            self.error = error

    def close(self) -> None:
        """End the connection.

        Raises:
            Exception: what ended it before.
        """
        self.connection.close()
        self.join(JOIN_TIMEOUT_S)
        if self.error is not None:
            raise self.error


class Sender(threading.Thread):
    """Sends music at its pace, as docs/protocol.md says; connects anew when told to, and at a loss.

    Attributes:
        estimates: of each session, in the order of the sessions.
        arrived_at: the monotonic time of each estimate, over all sessions.
        error: what ended it.
    """

    def __init__(self, where: Replicas) -> None:
        super().__init__(daemon=True)
        self.estimates: dict[str, list[dict[str, Any]]] = {}
        self.arrived_at: list[float] = []
        self.error: Exception | None = None
        self._where = where
        self._closing = threading.Event()
        self.start()

    def run(self) -> None:
        try:
            while not self._closing.is_set():
                try:
                    with self._where.open_websocket() as websocket:
                        self._send_and_receive(websocket)
                except (OSError, WebSocketException):
                    self._closing.wait(RETRY_S)
        except Exception as error:
            self.error = error

    def _send_and_receive(self, websocket: ClientConnection) -> None:
        start = {"type": "start", "sample_rate_hz": SENT_RATE_HZ, "name": "a sender"}
        websocket.send(json.dumps(start))
        samples = demo_audio(10.0, SENT_RATE_HZ).astype("<f4")
        size, sent, session = int(FRAME_S * SENT_RATE_HZ), 0, ""
        while not self._closing.wait(FRAME_S):
            websocket.send(samples[sent : sent + size].tobytes())
            sent = (sent + size) % len(samples)
            try:
                while True:
                    message = json.loads(websocket.recv(0.0))
                    if message["type"] == "hello" and message["input"]["kind"] == "browser":
                        session = message["session"]
                    elif message["type"] == "estimate" and session:
                        self.arrived_at.append(time.monotonic())
                        self.estimates.setdefault(session, []).append(message)
                    elif message["type"] == "going_away":
                        return
            except TimeoutError:
                pass
            except ConnectionClosed:
                return

    def close(self) -> None:
        """End the stream.

        Raises:
            Exception: what ended it before.
        """
        self._closing.set()
        self.join(JOIN_TIMEOUT_S)
        if self.error is not None:
            raise self.error


@contextmanager
def clients(where: Replicas, watchers: int, senders: int) -> Iterator[list[Watcher | Sender]]:
    """Run clients until the end of the `with` block."""
    running: list[Watcher | Sender] = []
    try:
        running += [Watcher(where) for _ in range(watchers)]
        running += [Sender(where) for _ in range(senders)]
        yield running
    finally:
        for client in running:
            client.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
