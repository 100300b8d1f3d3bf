"""Two real servers behind a real nginx, and clients that stay when one of the servers goes away."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from live_support import TIMEOUT_S
from local_nginx import Nginx, missing_for_nginx, running_nginx
from page_support import free_port
from support import music
from target_server import TargetServer, target_server
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as open_websocket

from realtime_mer import Connection, Estimate, connect

RATE = 16_000


class Replicas:
    """The servers, and the nginx in front of them."""

    def __init__(self, servers: list[TargetServer], nginx: Nginx) -> None:
        self.servers = servers
        self.nginx = nginx
        self.url = f"https://localhost:{nginx.port}"

    def connect(self) -> Connection:
        return connect(self.url, ca_file=self.nginx.ca_file)

    def open_websocket(self) -> ClientConnection:
        trust = ssl.create_default_context(cafile=str(self.nginx.ca_file))
        address = f"wss://localhost:{self.nginx.port}/ws"
        return open_websocket(address, ssl=trust, ping_interval=None, close_timeout=1.0)


@contextmanager
def replicas(folder: Path, *arguments: str) -> Iterator[Replicas]:
    """Run two servers that wait a minute for their clients to leave; skip without nginx.

    Args:
        folder: an empty folder for nginx.
        arguments: further options of the servers.
    """
    if missing := missing_for_nginx():
        pytest.skip(missing)
    with ExitStack() as stack:
        servers = [
            stack.enter_context(
                target_server(
                    "--port", str(free_port()), "--drain", "60", "--proxy", "127.0.0.1",
                    "--hop", "0.2", *arguments,
                )
            )
            for _ in range(2)
        ]  # fmt: skip
        ports = [server.port for server in servers]
        yield Replicas(servers, stack.enter_context(running_nginx(folder, "localhost", ports)))


def get(
    server: TargetServer, path: str, headers: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Return status and body of a request to a server itself."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT_S)
    connection.request("GET", path, headers=dict(headers or {}))
    with connection.getresponse() as response:
        return response.status, response.read().decode()


def viewers(server: TargetServer) -> int:
    return int(json.loads(get(server, "/healthz")[1])["viewers"])


class Watcher(threading.Thread):
    """Follows the servers' own input through nginx, and keeps all estimates."""

    def __init__(self, where: Replicas) -> None:
        super().__init__(daemon=True)
        self.estimates: list[Estimate] = []
        self.connection = where.connect()
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self.estimates.extend(self.connection)
        except Exception as error:
            self.error = error

    def notices(self) -> list[str]:
        return [notice.code for notice in self.connection.notices]

    def close(self) -> None:
        self.connection.close()
        self.join(TIMEOUT_S)
        assert self.error is None, self.error


class Sender(threading.Thread):
    """Sends music at its pace, as docs/protocol.md says, and moves when it is told to."""

    def __init__(self, where: Replicas) -> None:
        super().__init__(daemon=True)
        self.estimates: dict[str, list[dict[str, Any]]] = {}
        self.error: Exception | None = None
        self._where = where
        self._closing = threading.Event()
        self.start()

    def run(self) -> None:
        try:
            while not self._closing.is_set():
                with self._where.open_websocket() as socket:
                    self._send_and_receive(socket)
        except Exception as error:
            self.error = error

    def _send_and_receive(self, socket: ClientConnection) -> None:
        start = {"type": "start", "sample_rate_hz": RATE, "format": "f32le", "name": "a sender"}
        socket.send(json.dumps(start))
        samples, sent, session = music(10.0, RATE).astype("<f4"), 0, ""
        while not self._closing.wait(0.1):
            socket.send(samples[sent : sent + RATE // 10].tobytes())
            sent = (sent + RATE // 10) % len(samples)
            try:
                while True:
                    message = json.loads(socket.recv(0.0))
                    if message["type"] == "hello" and message["input"]["kind"] == "browser":
                        session = message["session"]
                    elif message["type"] == "estimate" and session:
                        self.estimates.setdefault(session, []).append(message)
                    elif message["type"] == "going_away":
                        return
            except TimeoutError:
                pass
            except ConnectionClosed:
                return

    def close(self) -> None:
        self._closing.set()
        self.join(TIMEOUT_S)
        assert self.error is None, self.error
