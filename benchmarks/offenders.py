"""The attacks of attack.py: each runs in a process of its own, at full speed, on raw sockets."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import random
import selectors
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from realtime_mer.bench.raw_websocket import BINARY, TEXT, allow_sockets, masked_frame

# Opens of one turn of the loop, so that a storm of them does not keep the others from sending.
OPENS_PER_TURN = 50
_TAIL_BYTES = 256
_HOST = b"Host: 127.0.0.1\r\n"
_UPGRADE = (
    b"GET /ws HTTP/1.1\r\n" + _HOST + b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
)
UPGRADE = _UPGRADE + b"\r\n"
MASK = b"\x11\x22\x33\x44"


@dataclass
class Offence:
    """What the clients of an attack do.

    Attributes:
        clients: connections at once; a connection that ends is opened again.
        openings: sent after the connection is made, one after the other of this list.
        chunks: endless parts to send; None: nothing more is sent.
        answered: wait for the answer to the opening before the parts are sent.
        reads: read what the server sends.
        leaves: close the connection once the opening is answered.
        pause_s: seconds between the parts of one client.
    """

    clients: int
    openings: list[bytes]
    chunks: Callable[[], Iterator[bytes]] | None = None
    answered: bool = True
    reads: bool = True
    leaves: bool = False
    pause_s: float = 0.0


@dataclass(eq=False)
class _Client:
    socket: socket.socket
    unsent: bytes
    chunks: Iterator[bytes]
    connected: bool = False
    answered: bool = False
    sent_opening: bool = False
    finished: bool = False
    head: bytes = b""
    tail: bytes = b""
    next_at: float = 0.0


@dataclass
class Swarm:
    """Runs an offence against a server on this machine.

    Attributes:
        endings: how the connections ended: close code, HTTP status, `reset`, `cut` (without a
            close frame), `left` (by the client), `open` (at the end of the attack).
        sent: bytes that the kernel took.
    """

    offence: Offence
    port: int
    endings: Counter[str] = field(default_factory=Counter)
    sent: int = 0

    def __post_init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._openings = itertools.cycle(self.offence.openings)
        self._clients: set[_Client] = set()

    def run(self, seconds: float) -> None:
        """Attack for some seconds, then look how the open connections stand, and close them."""
        until = time.monotonic() + seconds
        while (now := time.monotonic()) < until:
            for _ in range(min(OPENS_PER_TURN, self.offence.clients - len(self._clients))):
                self._open()
            for key, events in self._selector.select(min(0.05, until - now)):
                self._serve(key.data, events, now)
            if self.offence.pause_s:
                self._wake(now)
        for client in list(self._clients):
            if not self.offence.reads:
                self._read(client)
        for client in list(self._clients):
            self._end(client, "open")

    def _open(self) -> None:
        connection = socket.socket()
        connection.setblocking(False)
        if not self.offence.reads:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        chunks = iter(()) if self.offence.chunks is None else self.offence.chunks()
        client = _Client(connection, next(self._openings), chunks)
        connection.connect_ex(("127.0.0.1", self.port))
        self._clients.add(client)
        self._selector.register(connection, selectors.EVENT_WRITE, client)

    def _serve(self, client: _Client, events: int, now: float) -> None:
        if events & selectors.EVENT_WRITE:
            self._write(client, now)
        if events & selectors.EVENT_READ and client in self._clients:
            self._read(client)

    def _write(self, client: _Client, now: float) -> None:
        client.connected = True
        if not client.unsent and self._may_send(client):
            client.unsent = next(client.chunks, b"")
            client.finished = not client.unsent
            client.next_at = now + self.offence.pause_s
        try:
            sent = client.socket.send(client.unsent) if client.unsent else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            self._end(client, "reset")
            return
        self.sent += sent
        client.unsent = client.unsent[sent:]
        if not client.unsent:
            client.sent_opening = True
            idle = self.offence.chunks is None or client.finished or not self._may_send(client)
            if idle or self.offence.pause_s:
                self._listen(client, selectors.EVENT_READ if self.offence.reads else 0)
                return
        both = selectors.EVENT_WRITE | (selectors.EVENT_READ if self.offence.reads else 0)
        self._listen(client, both)

    def _may_send(self, client: _Client) -> bool:
        return client.sent_opening and (client.answered or not self.offence.answered)

    def _listen(self, client: _Client, events: int) -> None:
        registered = self._selector.get_map().get(client.socket)
        if registered is None:
            if events:
                self._selector.register(client.socket, events, client)
        elif not events:
            self._selector.unregister(client.socket)
        elif registered.events != events:
            self._selector.modify(client.socket, events, client)

    def _wake(self, now: float) -> None:
        for client in list(self._clients):
            if client.connected and self._may_send(client) and now >= client.next_at:
                self._write(client, now)

    def _read(self, client: _Client) -> None:
        while True:
            try:
                data = client.socket.recv(2**16)
            except BlockingIOError:
                return
            except OSError:
                self._end(client, "reset")
                return
            if not data:
                self._end(client, _ending(client))
                return
            client.tail = (client.tail + data)[-_TAIL_BYTES:]
            if not client.answered:
                client.head += data
                if b"\r\n\r\n" in client.head:
                    client.answered = True
                    if self.offence.leaves:
                        self._end(client, "left")
                        return
                    self._listen(client, selectors.EVENT_READ | selectors.EVENT_WRITE)

    def _end(self, client: _Client, how: str) -> None:
        self.endings[how] += 1
        self._clients.discard(client)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(client.socket)
        client.socket.close()


def _ending(client: _Client) -> str:
    """Return the HTTP status of a refusal or the code of a close frame, else `cut`."""
    status = client.head[9:12].decode(errors="replace")
    if client.head.startswith(b"HTTP/") and status != "101":
        return f"HTTP {status}"
    tail = client.tail
    for start in range(len(tail) - 3):
        if tail[start] == 0x88 and tail[start + 1] == len(tail) - start - 2:
            return str(int.from_bytes(tail[start + 2 : start + 4], "big"))
    return "cut"


def start(sample_rate_hz: int, encoding: str) -> bytes:
    """Return the frame of a `start` message."""
    fields = {"type": "start", "sample_rate_hz": sample_rate_hz, "format": encoding}
    return masked_frame(TEXT, json.dumps(fields).encode())


def silent() -> Offence:
    return Offence(1300, [b""])


def pings() -> Offence:
    return Offence(4, [UPGRADE], lambda: itertools.repeat((b"\x89\x80" + MASK) * 400))


def deep_json() -> Offence:
    return Offence(50, [UPGRADE], lambda: itertools.repeat(masked_frame(TEXT, b"[" * 4090) * 8))


def idle() -> Offence:
    return Offence(200, [UPGRADE])


def slow_loris() -> Offence:
    opening = b"GET / HTTP/1.1\r\n" + _HOST + b"X-Slow: "
    return Offence(250, [opening], lambda: itertools.repeat(b"a"), answered=False, pause_s=0.5)


def reconnect() -> Offence:
    return Offence(50, [UPGRADE], leaves=True)


def get() -> Offence:
    paths = (b"/", b"/metrics", b"/healthz")
    return Offence(50, [b"GET %s HTTP/1.1\r\n" % path + _HOST + b"\r\n" for path in paths])


def fragments() -> Offence:
    def chunks() -> Iterator[bytes]:
        yield b"\x01\x81" + MASK + b"a"
        yield from itertools.repeat((b"\x00\x80" + MASK + b"\x00\x81" + MASK + b"a") * 200)

    return Offence(8, [UPGRADE], chunks)


def big_messages() -> Offence:
    return Offence(8, [UPGRADE], lambda: itertools.repeat(masked_frame(BINARY, bytes(2**20))))


def stalled() -> Offence:
    # It asks for everything again and reads nothing of it.
    return Offence(200, [UPGRADE], reads=False)


def fast_audio() -> Offence:
    noise = np.random.default_rng(1).integers(-9000, 9000, 320, dtype="<i2").tobytes()
    second = masked_frame(BINARY, noise) * 50

    def chunks() -> Iterator[bytes]:
        yield start(16_000, "s16le")
        yield from itertools.repeat(second)

    return Offence(64, [UPGRADE], chunks)


def odd_samples() -> Offence:
    odd = np.array([1e38, -3e38, np.nan, np.inf, -np.inf, 1e-42, -0.0, 17.0], "<f4")
    frames = [masked_frame(BINARY, np.roll(np.tile(odd, 60), n).tobytes()) for n in range(8)]

    def chunks() -> Iterator[bytes]:
        yield start(48_000, "f32le")
        yield from itertools.cycle(frames)

    return Offence(8, [UPGRADE], chunks)


MALFORMED = (
    b"\x81\x05hello",  # not masked
    b"\xc1\x80" + MASK,  # reserved bit
    b"\xf2\x80" + MASK,
    b"\x83\x80" + MASK,  # reserved opcodes
    b"\x8f\x80" + MASK,
    b"\x09\x80" + MASK,  # fragmented control frame
    b"\x89\xfe\x00\x7e" + MASK + bytes(126),  # long control frame
    b"\x80\x80" + MASK,  # continuation of nothing
    b"\x01\x80" + MASK + b"\x81\x80" + MASK,  # message inside a message
    masked_frame(TEXT, b"\xff\xfe\xc0\x80"),  # not UTF-8
    masked_frame(0x8, b"\x03"),  # close with half a code
    masked_frame(0x8, b"\x03\xe7"),  # close with an invalid code
    masked_frame(0x8, b"\x03\xe8\xff"),
    b"\x82\xff" + struct.pack("!Q", 2**63) + MASK,  # wrong lengths
    b"\x82\xff" + struct.pack("!Q", 2**40) + MASK,
    b"\x82\xff" + struct.pack("!Q", 2**20 + 1) + MASK,
    b"\x82\xff" + struct.pack("!Q", 5) + MASK + b"short" + b"\x81\x05hello",
)


def malformed() -> Offence:
    kinds = itertools.cycle(MALFORMED)
    return Offence(20, [UPGRADE], lambda: iter([next(kinds)]))


def wrong_tokens() -> Offence:
    guesses = [f"wrong-token-{number:06}".encode() for number in range(1000)]
    openings = [_UPGRADE + b"Authorization: Bearer " + guess + b"\r\n\r\n" for guess in guesses]
    messages = itertools.cycle(
        masked_frame(TEXT, json.dumps({"type": "auth", "token": guess.decode()}).encode())
        for guess in guesses
    )
    return Offence(20, [*openings, UPGRADE], lambda: iter([next(messages)]))


def markers() -> Offence:
    # As fast as the limit of text messages allows, for who comes later to read them all.
    return Offence(
        50, [UPGRADE], lambda: _messages(type="control", marker="x" * 500), pause_s=0.05
    )


def taps() -> Offence:
    return Offence(50, [UPGRADE], lambda: _messages(type="tap", valence=0.5, arousal=0.5),
                   pause_s=0.05)  # fmt: skip


def _messages(**fields: object) -> Iterator[bytes]:
    return itertools.repeat(masked_frame(TEXT, json.dumps(fields).encode()))


def broken_tls() -> Offence:
    random_bytes = random.Random(1).randbytes
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    openings = [
        hello + random_bytes(501),
        hello,  # and no more
        b"\x16\x03\x01\xff\xff" + random_bytes(2000),
        b"\x15\x03\x01\x00\x02\x02\x28",  # an alert
        b"GET / HTTP/1.1\r\n" + _HOST + b"\r\n",
        random_bytes(300),
    ]
    return Offence(50, openings)


OFFENCES: dict[str, Callable[[], Offence]] = {
    "silent": silent,
    "pings": pings,
    "deep-json": deep_json,
    "idle": idle,
    "slow-loris": slow_loris,
    "reconnect": reconnect,
    "get": get,
    "fragments": fragments,
    "big-messages": big_messages,
    "stalled": stalled,
    "fast-audio": fast_audio,
    "odd-samples": odd_samples,
    "malformed": malformed,
    "wrong-tokens": wrong_tokens,
    "markers": markers,
    "taps": taps,
    "broken-tls": broken_tls,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", choices=OFFENCES)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    args = parser.parse_args()
    offence = OFFENCES[args.name]()
    allow_sockets(offence.clients)
    swarm = Swarm(offence, args.port)
    swarm.run(args.seconds)
    print(json.dumps({"kind": "report", "endings": swarm.endings, "sent_bytes": swarm.sent}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
