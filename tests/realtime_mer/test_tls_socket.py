"""Websockets over TLS that one thread reads while another one sends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live_support import TIMEOUT_S, wait_for
from tls_support import make_files
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from realtime_mer.tls_socket import TlsConnection, TlsSocket

MESSAGES = 200
MESSAGE = b"music" * 20_000  # of several TLS records, and more than a socket's buffer takes at once


class WatchedSocket(ssl.SSLSocket):
    """Notes whether two threads were in its TLS connection at once."""

    inside = 0
    overlaps = 0

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        self.inside += 1
        self.overlaps += self.inside > 1
        try:
            yield
        finally:
            self.inside -= 1

    def recv(self, *arguments: Any) -> bytes:
        with self.watched():
            return super().recv(*arguments)

    def send(self, *arguments: Any) -> int:
        with self.watched():
            return super().send(*arguments)

    def sendall(self, *arguments: Any) -> None:
        with self.watched():
            super().sendall(*arguments)


@pytest.fixture
def contexts(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Those of a server and of a client that trusts it."""
    files = make_files(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.certificate, files.key)
    client = ssl.create_default_context(cafile=str(files.certificate))
    client.sslsocket_class = WatchedSocket
    return server, client


@pytest.fixture
def pair(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> Iterator[tuple[Any, TlsSocket]]:
    """The two ends of a connection."""
    ours, theirs = socket.socketpair()
    shaken: list[ssl.SSLSocket] = []
    thread = threading.Thread(
        target=lambda: shaken.append(contexts[0].wrap_socket(theirs, server_side=True))
    )
    thread.start()
    client = TlsSocket(contexts[1].wrap_socket(ours, server_hostname="localhost"))
    thread.join()
    yield shaken[0], client
    client.close()
    shaken[0].close()


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


@pytest.fixture
def port(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> Iterator[int]:
    """That of a server with one thread, which sends back what it receives."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> Server:
        return await serve(echo, "127.0.0.1", 0, ssl=contexts[0])

    async def stop() -> None:
        server.close()
        await server.wait_closed()

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(TIMEOUT_S)
    yield next(iter(server.sockets)).getsockname()[1]
    asyncio.run_coroutine_threadsafe(stop(), loop).result(TIMEOUT_S)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def client(
    port: int, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> Iterator[ClientConnection]:
    with connect(
        f"wss://localhost:{port}", ssl=contexts[1], create_connection=TlsConnection
    ) as client:
        yield client


def test_two_threads_are_never_in_a_connection_at_once(client: ClientConnection) -> None:
    received: list[Any] = []
    reader = threading.Thread(
        target=lambda: received.extend(client.recv(TIMEOUT_S) for _ in range(MESSAGES))
    )
    reader.start()
    for _ in range(MESSAGES):
        client.send(MESSAGE)
    reader.join()
    assert received == [MESSAGE] * MESSAGES
    watched = client.socket._tls  # type: ignore[attr-defined]
    assert isinstance(watched, WatchedSocket)
    assert watched.overlaps == 0


def test_a_reader_that_waits_keeps_no_writer_out(pair: tuple[Any, TlsSocket]) -> None:
    server, client = pair
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(client.recv(100)))
    reader.start()
    client.sendall(b"to the server")
    assert server.recv(100) == b"to the server"
    server.sendall(b"to the client")
    reader.join(TIMEOUT_S)
    assert received == [b"to the client"]


def test_the_end_of_a_connection_is_no_bytes(pair: tuple[Any, TlsSocket]) -> None:
    server, client = pair
    server.shutdown(socket.SHUT_RDWR)
    assert client.recv(100) == b""
    client.shutdown(socket.SHUT_WR)


def test_a_closed_socket_ends_the_waiting(pair: tuple[Any, TlsSocket]) -> None:
    _, client = pair
    ended = threading.Event()

    def read() -> None:
        with pytest.raises(OSError, match="Bad file descriptor"):
            client.recv(100)
        ended.set()

    reader = threading.Thread(target=read)
    reader.start()
    client.close()
    assert ended.wait(TIMEOUT_S)
    reader.join()
    client.close()


def test_what_nobody_reads_is_given_up_at_the_time_limit(pair: tuple[Any, TlsSocket]) -> None:
    _, client = pair
    client.settimeout(0.05)
    with pytest.raises(TimeoutError, match="does not answer"):
        client.sendall(MESSAGE * 100)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        client.recv(100)
    assert time.monotonic() - began >= 0.05


def test_a_connection_that_ends_says_so(client: ClientConnection) -> None:
    client.close()
    with pytest.raises(ConnectionClosed):
        client.recv()
    wait_for(lambda: client.socket.fileno() == -1, "the socket is closed")
