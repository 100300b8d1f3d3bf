"""A websocket client that costs next to nothing: raw sockets, frames made before, read afterwards.

A load generator shares the machine with the server that it loads. So it only sends ready bytes and
keeps what it reads with the time; what the bytes mean is found out when the measurement is over.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

TEXT, BINARY = 0x1, 0x2
TIMEOUT_S = 30.0
# Any key will do; the server undoes it in any case.
_MASK = b"\x5a\xc3\x17\x8e"
_UPGRADE = (
    b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def allow_sockets(count: int) -> int:
    """Raises this process's limit of open files; returns how many sockets it may have."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # Windows has no such limit
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = count + 64
        if soft < wanted:
            soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return soft - 64
    return count


def masked_frame(opcode: int, payload: bytes) -> bytes:
    """A message of a client as bytes on the wire."""
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
    """One connection, open.

    Attributes:
        socket: non-blocking.
        heard: what came and when (seconds of the clock that the reader used).
        unsent: what the kernel did not take yet.
    """

    socket: socket.socket
    heard: list[tuple[float, bytes]] = field(default_factory=list)
    unsent: bytes = b""

    @classmethod
    def open(cls, port: int, *, receive_buffer: int | None = None) -> RawWebSocket:
        """Connects to this machine and shakes hands.

        Args:
            port: of the server.
            receive_buffer: bytes of the kernel's buffer; the system's choice where None.
        """
        connection = socket.socket()
        connection.settimeout(TIMEOUT_S)
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.connect(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(_UPGRADE % b"/ws")
        answer = b""
        while b"\r\n\r\n" not in answer:
            part = connection.recv(1)  # nothing of what follows the answer
            if not part:
                raise ConnectionError(f"the server refused the connection: {answer[:200]!r}")
            answer += part
        if b" 101 " not in answer.split(b"\r\n")[0]:
            raise ConnectionError(f"the server refused the connection: {answer[:200]!r}")
        connection.setblocking(False)
        return cls(connection)

    def send(self, data: bytes) -> None:
        """Sends what the kernel takes now and keeps the rest."""
        data = self.unsent + data if self.unsent else data
        try:
            sent = self.socket.send(data)
        except BlockingIOError:
            sent = 0
        self.unsent = data[sent:] if sent < len(data) else b""

    def read(self, now: float) -> bool:
        """Keeps what is there; False where the server has closed."""
        try:
            data = self.socket.recv(2**16)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if data:
            self.heard.append((now, data))
        return bool(data)

    def texts(self) -> Iterator[tuple[float, str]]:
        """The text messages so far, each with the time at which its end came."""
        return _texts(self.heard)

    def close(self) -> None:
        """Closes without a handshake."""
        self.socket.close()


def _texts(heard: Iterable[tuple[float, bytes]]) -> Iterator[tuple[float, str]]:
    waiting = b""
    for now, data in heard:
        waiting += data
        start = 0
        while (end := _end(waiting, start)) is not None:
            head, last = end
            if waiting[start] & 0x0F == TEXT:
                yield now, waiting[head:last].decode()
            start = last
        waiting = waiting[start:]


def _end(data: bytes, start: int) -> tuple[int, int] | None:
    """Where the payload of the frame at `start` begins and ends; None where it is not complete."""
    if len(data) < start + 2:
        return None
    size, head = data[start + 1] & 0x7F, start + 2
    if size >= 126:
        wide = 2 if size == 126 else 8
        if len(data) < head + wide:
            return None
        size, head = int.from_bytes(data[head : head + wide], "big"), head + wide
    return (head, head + size) if len(data) >= head + size else None


def own_cpu_s() -> float:
    """Processor time of this process."""
    times = os.times()
    return times.user + times.system
