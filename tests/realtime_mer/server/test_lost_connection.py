"""A connection that is already lost can be cut off once more."""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import cast

from live_support import TIMEOUT_S
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Response

from realtime_mer.server.audio_connection import AudioConnection

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def not_asked(connection: AudioConnection, head: bytes, error: Exception) -> Response:
    raise AssertionError(f"the handshake failed: {error}")


def test_a_connection_whose_last_bytes_were_read_late_can_be_cut_off() -> None:
    async def lose() -> None:
        connections: asyncio.Queue[AudioConnection] = asyncio.Queue()
        done = asyncio.Event()

        async def handle(connection: ServerConnection) -> None:
            connections.put_nowait(cast(AudioConnection, connection))
            await done.wait()

        create = cast(type[ServerConnection], partial(AudioConnection, answer_unparsed=not_asked))
        async with serve(handle, "127.0.0.1", 0, create_connection=create) as server:
            loop = asyncio.get_running_loop()
            try:
                with socket.socket() as client:
                    client.setblocking(False)
                    await loop.sock_connect(client, server.sockets[0].getsockname())
                    await loop.sock_sendall(client, UPGRADE)
                    connection = await connections.get()
                    # More than the kernel takes; closing then waits until the client has read it.
                    connection.transport.write(bytes(2**24))
                    assert connection.transport.get_write_buffer_size()
                    connection.transport.close()
                    while await loop.sock_recv(client, 2**20):
                        pass
                async with asyncio.timeout(TIMEOUT_S):
                    await connection.connection_lost_waiter
                connection.transport.abort()
            finally:
                done.set()

    asyncio.run(lose())
