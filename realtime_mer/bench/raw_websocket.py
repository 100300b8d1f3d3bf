"""A websocket client that uses little processor time.

A load generator shares the machine with the server that it loads. Therefore this client only sends
prepared frames and stores what it receives with the time. The messages are parsed after the
measurement.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

TEXT, BINARY = 0x1, 0x2
TIMEOUT_S = 30.0
# Open files of a process beside its sockets.
OTHER_FILES = 64
# Any key is valid; the server unmasks every frame.
_MASK = b"\x5a\xc3\x17\x8e"
_UPGRADE = (
    b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def allow_sockets(count: int) -> int:
    """Raise this process's limit of open files; return how many sockets it may open."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # Windows has no such limit
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = count + OTHER_FILES
        if soft < wanted:
            soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return soft - OTHER_FILES
    return count


def masked_frame(opcode: int, payload: bytes) -> bytes:
    """Encode a message of a client as one masked websocket frame."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    elif size < 2**16:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
    key = int.from_bytes((_MASK * (size // 4 + 1))[:size], "big")
    masked = (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")
    return head + _MASK + masked


@dataclass(slots=True)
class RawWebSocket:
    """An open connection.

    Attributes:
        socket: the TCP socket, non-blocking.
        received: received bytes, each part with its time (seconds of the caller's clock).
        unsent: bytes that the kernel has not accepted yet.
    """

    socket: socket.socket
    received: list[tuple[float, bytes]] = field(default_factory=list)
    unsent: bytes = b""

    @classmethod
    def open(cls, port: int, *, receive_buffer: int | None = None) -> RawWebSocket:
        """Connect to a server on this machine and do the websocket handshake.

        Args:
            port: TCP port of the server.
            receive_buffer: size of the kernel's receive buffer in bytes; None: the default.

        Raises:
            ConnectionError: the server refused the connection.
        """
        connection = socket.socket()
        connection.settimeout(TIMEOUT_S)
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.connect(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(_UPGRADE % b"/ws")
        response = b""
        while b"\r\n\r\n" not in response:
            part = connection.recv(1)  # one byte, so that no message is read with the response
            if not part:
                raise ConnectionError(f"the server refused the connection: {response[:200]!r}")
            response += part
        if b" 101 " not in response.split(b"\r\n")[0]:
            raise ConnectionError(f"the server refused the connection: {response[:200]!r}")
        connection.setblocking(False)
        return cls(connection)

    def send(self, data: bytes) -> None:
        """Send as much as the kernel accepts now and keep the rest in `unsent`."""
        data = self.unsent + data if self.unsent else data
        try:
            sent = self.socket.send(data)
        except BlockingIOError:
            sent = 0
        self.unsent = data[sent:] if sent < len(data) else b""

    def read(self, now: float) -> bool:
        """Store the bytes that have arrived; return False if the server has closed."""
        try:
            data = self.socket.recv(2**16)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if data:
            self.received.append((now, data))
        return bool(data)

    def texts(self) -> Iterator[tuple[float, str]]:
        """Return the text messages received so far, each with the time of its last byte."""
        return _texts(self.received)

    def close(self) -> None:
        """Close the socket without a closing handshake."""
        self.socket.close()


def _texts(received: Iterable[tuple[float, bytes]]) -> Iterator[tuple[float, str]]:
    pending = b""
    for now, data in received:
        pending += data
        start = 0
        while (payload := _payload(pending, start)) is not None:
            head, end = payload
            if pending[start] & 0x0F == TEXT:
                yield now, pending[head:end].decode()
            start = end
        pending = pending[start:]


def _payload(data: bytes, start: int) -> tuple[int, int] | None:
    """Return start and end of the payload of the frame at `start`; None if it is incomplete."""
    if len(data) < start + 2:
        return None
    size, head = data[start + 1] & 0x7F, start + 2
    if size >= 126:
        width = 2 if size == 126 else 8
        if len(data) < head + width:
            return None
        size, head = int.from_bytes(data[head : head + width], "big"), head + width
    return (head, head + size) if len(data) >= head + size else None
