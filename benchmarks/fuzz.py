"""Sends random and mutated bytes to the parsers and to a real server.

python benchmarks/fuzz.py [--messages 100000] [--seed 1] [--json FILE]

Half of the messages go to the functions that read what strangers send (messages, audio, request
targets, hosts, origins, playlists), the other half over sockets to a real `realtime-mer serve`,
cut at random places. The properties: a function returns, or raises what its documentation names;
the server answers with valid messages of finite numbers, and where it ends a connection it says so
with a fitting close code or HTTP status; it goes on, its log has no exception, and what it recorded
can be read. The exit code is 1 when one does not hold. The same seed sends the same bytes.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import socket
import struct
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from mer_engine import load_engine
from offenders import MALFORMED, UPGRADE
from target_server import TargetServer, target_server
from websockets.http11 import Request
from websockets.server import ServerProtocol

from realtime_mer.audio.format import AudioFormat
from realtime_mer.audio.playlist import (
    Playlist,
    playlist_entries,
    recognise_playlist,
    resolve_at_address,
)
from realtime_mer.bench.machine import describe_machine
from realtime_mer.bench.raw_websocket import BINARY, TEXT, masked_frame
from realtime_mer.errors import UserError
from realtime_mer.live.person import Person
from realtime_mer.recording.parts import part_name
from realtime_mer.recording.reader import SessionReader
from realtime_mer.server import protocol
from realtime_mer.server.audio_connection import BinaryFrames, unmask_samples
from realtime_mer.server.http import AccessPolicy, Refusal, Target, unparsed_refusal
from realtime_mer.server.protocol import Encoding, StreamFormat, WireError

CLOSE_CODES = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1013})
STATUSES = frozenset(
    {200, 303, 304, 400, 401, 403, 404, 405, 409, 414, 421, 426, 429, 431, 503, 505}
)
TIMEOUT_S = 20.0
# The server closes a connection after 200 refused messages; most connections should not get there.
MESSAGES_PER_CONNECTION = 40
_EXAMPLES = (
    '{"type": "start", "sample_rate_hz": 48000, "channels": 1, "format": "f32le", "name": "a"}',
    '{"type": "start", "sample_rate_hz": 8000, "channels": 2, "format": "s16le"}',
    '{"type": "stop"}',
    '{"type": "ping", "id": 7}',
    '{"type": "auth", "token": "abc"}',
    '{"type": "control", "marker": "opens eyes", "marker_t": 1.5}',
    '{"type": "control", "output": "a", "override": {"hue": 0.5}, "scene": "a", "mute": true}',
    '{"type": "tap", "valence": 0.5, "arousal": -0.25}',
    '{"type": "pulse", "on": true}',
    '{"type": "pulse", "on": 7}',
    '{"type": "tap", "action": "undo"}',
    '{"type": "tap", "action": "reset"}',
    '{"type": "sessions", "on": true}',
    '{"type": "watch", "session": null}',
    '{"type": "start", "sample_rate_hz": 16000, "private": true}',
    '{"type": "ping", "id": {"a": [1, 2.5e3, null, true, "\\ud83d\\ude00"]}}',
)
_REQUESTS = (
    UPGRADE,
    UPGRADE.replace(b"/ws", b"/ws?session=abc&since=12"),
    UPGRADE.replace(b"\r\n\r\n", b"\r\nOrigin: http://127.0.0.1\r\n\r\n"),
    b'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nIf-None-Match: "a"\r\n\r\n',
    b"HEAD /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n",
    b"GET http://127.0.0.1/healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /calibrate HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /enter?code=abc HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
)
_PLAYLISTS = (
    b"#EXTM3U\n#EXTINF:-1,A station\nhttp://radio.example:8000/a.mp3\n../b.flac\n",
    b"[playlist]\nNumberOfEntries=1\nFile1=http://radio.example/a\nTitle1=A\nLength1=-1\n",
    b'<?xml version="1.0"?><playlist version="1" xmlns="http://xspf.org/ns/0/"><trackList>'
    b"<track><location>http://radio.example/a</location></track></trackList></playlist>",
    b"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:4.0,\nsegment1.ts\n#EXT-X-ENDLIST\n",
)
_INTERESTING = (
    b"\x00", b"\xff", b"\x80", b"\r\n", b"\n\n", b"[", b"]", b"{", b"}", b'"', b"\\", b"\\ud800",
    b"//[", b"http://[", b"http://a:99999999/", b"%", b"%00", b"-1", b"1e999", b"9" * 400,
    b"\xef\xbb\xbf", b"\xff\xfe", b"null", b"NaN", b"HTTP/1.1", b":", b";", b"<!DOCTYPE a>", b"&x;",
)  # fmt: skip


class Fault(Exception):
    """A property does not hold."""


class Mutator:
    """Makes random inputs from examples; the same seed makes the same ones."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def mutated(self, data: bytes) -> bytes:
        """Change, insert, remove and repeat some bytes."""
        rng, changed = self.random, bytearray(data)
        for _ in range(rng.choice((0, 1, 1, 2, 4, 16))):
            place = rng.randint(0, len(changed))
            match rng.randrange(5):
                case 0 if changed:
                    changed[min(place, len(changed) - 1)] ^= 1 << rng.randrange(8)
                case 1:
                    changed[place:place] = rng.choice(_INTERESTING)
                case 2:
                    del changed[place : place + rng.randint(1, 20)]
                case 3:
                    changed[place:place] = changed[place : place + rng.randint(1, 60)] * rng.choice(
                        (1, 2, 100)
                    )
                case _:
                    changed[place:place] = rng.randbytes(rng.randint(1, 8))
        return bytes(changed)

    def text(self) -> bytes:
        """Return a text message of a client, mostly damaged."""
        return self.mutated(self.random.choice(_EXAMPLES).encode())

    def request(self) -> bytes:
        """Return the head of an HTTP request, mostly damaged."""
        return self.mutated(self.random.choice(_REQUESTS))

    def playlist(self) -> bytes:
        """Return a playlist, mostly damaged."""
        return self.mutated(self.random.choice(_PLAYLISTS))

    def audio(self) -> bytes:
        """Return the payload of a binary frame: random, odd or usual samples, of any length."""
        rng = self.random
        size = rng.choice((rng.randint(0, 40), rng.randint(0, 4096), 4 * rng.randint(0, 1024)))
        match rng.randrange(3):
            case 0:
                return rng.randbytes(size)
            case 1:
                odd = (math.nan, math.inf, -math.inf, 1e38, -3e38, 1e-42, -0.0, 16.5, 0.25)
                return struct.pack(f"<{size // 4}f", *(rng.choice(odd) for _ in range(size // 4)))
            case _:
                return struct.pack(
                    f"<{size // 4}f", *(rng.uniform(-1, 1) for _ in range(size // 4))
                )

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Cut bytes at random places, sometimes one by one."""
        rng, start = self.random, 0
        longest = rng.choice((1, 3, 40, 4000, 10**6)) if len(data) < 500 else 4000
        while start < len(data):
            end = start + rng.randint(1, longest)
            yield data[start:end]
            start = end

    def client_frame(self) -> bytes:
        """Return the bytes of a websocket frame, or of what passes for one."""
        rng = self.random
        match rng.randrange(10):
            case 0 | 1 | 2:
                return masked_frame(TEXT, self.text()[: 2**16])
            case 3 | 4 | 5:
                return masked_frame(BINARY, self.audio())
            case 6:
                return masked_frame(rng.choice((0x9, 0xA)), rng.randbytes(rng.randint(0, 125)))
            case 7:
                first, second = masked_frame(TEXT, b'{"type":'), masked_frame(0x0, b'"stop"}')
                return bytes([first[0] & 0x7F]) + first[1:] + second
            case 8 if rng.random() < 0.3:
                return rng.choice(MALFORMED)
            case 9 if rng.random() < 0.1:
                return self.mutated(masked_frame(TEXT, self.text()[:2000]))
            case _:
                return masked_frame(TEXT, rng.choice(_EXAMPLES).encode())


def parse_message(mutator: Mutator) -> None:
    """Parse a text message."""
    text = mutator.text().decode(errors="replace")
    try:
        message = protocol.parse(text)
    except WireError as error:
        protocol.dump(protocol.error(error.code, str(error)))
    else:
        if isinstance(message, protocol.Ping):
            json.loads(protocol.dump(protocol.pong(message.id, "")), parse_constant=no_constant)


def decode_audio(mutator: Mutator) -> None:
    """Decode the same payload in both ways: they agree wherever both give samples."""
    rng = mutator.random
    channels, encoding = rng.choice((1, 1, 2, 3, 64)), rng.choice(tuple(Encoding))
    stream_format = StreamFormat(AudioFormat(16_000, channels), encoding)
    payload = mutator.audio()
    frame = masked_frame(BINARY, payload)
    start = len(frame) - len(payload)
    fast = unmask_samples(BinaryFrames(frame, start, len(payload), len(frame), 1), stream_format)
    try:
        decoded = stream_format.decode(payload)
    except WireError:
        if fast is not None:
            raise Fault(f"unmask_samples takes {len(payload)} bytes, decode refuses them") from None
        return
    if decoded.shape[1:] != (channels,) or decoded.dtype != np.float32:
        raise Fault(f"decode gives {decoded.dtype} {decoded.shape}")
    if fast is not None and not (np.isfinite(fast).all() and np.array_equal(fast, decoded)):
        raise Fault(f"unmask_samples and decode differ for {payload[:40]!r}")


def check_request(mutator: Mutator) -> None:
    """Check target, host and origin of a request, and say why it cannot be parsed."""
    head = mutator.request()
    library = ServerProtocol()
    library.receive_data(head)
    request = next(iter(library.events_received()), None)
    refused: Refusal | None = None
    if isinstance(request, Request):
        target = Target.parse(request.path)
        policy = AccessPolicy(mutator.random.choice(("127.0.0.1", "0.0.0.0", "::1", "a.example")))
        refused = policy.check_host(request, target) or policy.check_origin(request, target)
    elif library.handshake_exc is not None:
        refused = unparsed_refusal(head, library.handshake_exc)
    if refused is None:
        return
    if refused.status not in STATUSES or refused.message.count("\n") != 1:
        raise Fault(f"refused with {refused.status}: {refused.message!r}")


def read_playlist(mutator: Mutator) -> None:
    """Recognise a playlist, read its entries and make addresses of them."""
    data = mutator.playlist()
    found = recognise_playlist(data[:4096], suffix=".m3u")
    if found is None or found is Playlist.HLS:
        return
    try:
        for entry in playlist_entries(data, found, label="a playlist"):
            resolve_at_address(entry, "http://radio.example/folder/list")
    except UserError as error:
        if not str(error):
            raise Fault("a UserError without a sentence") from None


FUNCTIONS: tuple[Callable[[Mutator], None], ...] = (
    parse_message,
    decode_audio,
    check_request,
    read_playlist,
)


def fuzz_functions(messages: int, seed: int) -> Counter[str]:
    """Call the functions in turn; return how often each was called.

    Raises:
        Fault: a property does not hold; names the function and the number of the message.
    """
    calls = Counter[str]()
    for number in range(messages):
        function = FUNCTIONS[number % len(FUNCTIONS)]
        try:
            # A seed for each message, so that one can be repeated alone.
            function(Mutator(seed * 1_000_003 + number))
        except Exception as error:
            raise Fault(f"{function.__name__}, message {number}: {error!r}") from error
        calls[function.__name__] += 1
    return calls


def fuzz_server(messages: int, seed: int, port: int) -> Counter[str]:
    """Send messages to a server on this machine; return how its connections ended.

    Raises:
        Fault: a property does not hold; names the number of the connection.
    """
    endings, sent, number = Counter[str](), 0, 0
    while sent < messages:
        mutator = Mutator(seed * 1_000_003 + number)
        try:
            count, ending = _converse(mutator, port)
        except (Fault, TimeoutError) as error:
            raise Fault(f"connection {number}: {error}") from error
        endings[ending] += 1
        sent += count
        number += 1
    return endings


def _converse(mutator: Mutator, port: int) -> tuple[int, str]:
    """Open a connection, say something, read everything; return the messages and its end."""
    rng = mutator.random
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if rng.random() < 0.2:
            return 1, _try_request(mutator, connection)
        connection.sendall(UPGRADE)
        received = b""
        while b"\r\n\r\n" not in received:
            part = connection.recv(2**16)
            if not part:
                return 1, _checked_answer(received)
            received += part
        status, _, received = received.partition(b"\r\n\r\n")
        if b" 101 " not in status.split(b"\r\n")[0]:
            return 1, _checked_answer(status + b"\r\n\r\n" + received)
        count = rng.randint(1, MESSAGES_PER_CONNECTION)
        frames = [mutator.client_frame() for _ in range(count)]
        # Everything ends with a regular close, unless something before it was an error.
        data = b"".join([*frames, masked_frame(0x8, struct.pack("!H", 1000))])
        received += _exchange(connection, mutator.pieces(data))
        return count, _checked_messages(received)


def _try_request(mutator: Mutator, connection: socket.socket) -> str:
    for piece in mutator.pieces(mutator.request()):
        try:
            connection.sendall(piece)
        except OSError:
            break
    # Half a request waits for its other half; the end of the stream is an end of it, too.
    try:
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        return "reset"
    received = _read_all(connection)
    if b" 101 " in received.split(b"\r\n")[0]:
        return "left"
    return _checked_answer(received)


def _exchange(connection: socket.socket, pieces: Iterator[bytes]) -> bytes:
    """Send everything and read meanwhile, since the server does not read from one who does not."""
    received = b""
    connection.settimeout(0.0)
    for piece in pieces:
        rest = piece
        deadline = time.monotonic() + TIMEOUT_S
        while rest:
            try:
                rest = rest[connection.send(rest) :]
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Fault("the server reads nothing more") from None
                time.sleep(0.001)
            except OSError:
                rest = b""
            try:
                received += connection.recv(2**16)
            except BlockingIOError:
                pass
            except OSError:
                return received
    connection.settimeout(TIMEOUT_S)
    return received + _read_all(connection)


def _read_all(connection: socket.socket) -> bytes:
    received = b""
    while True:
        try:
            part = connection.recv(2**16)
        except ConnectionError:
            return received
        except TimeoutError:
            raise Fault(f"no answer within {TIMEOUT_S:g} s after {received[-100:]!r}") from None
        if not part:
            return received
        received += part


def _checked_answer(received: bytes) -> str:
    """Return the status of an HTTP answer; `cut` without one."""
    if not received:
        return "cut"
    status = received[9:12].decode(errors="replace")
    if not received.startswith(b"HTTP/1.") or not status.isdigit() or int(status) not in STATUSES:
        raise Fault(f"an answer begins with {received[:60]!r}")
    return f"HTTP {status}"


def _checked_messages(received: bytes) -> str:
    """Check the server's frames; return the close code, `cut` if there is none."""
    start = 0
    while start + 2 <= len(received):
        first, size, head = received[start], received[start + 1], start + 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size, head = int.from_bytes(received[head : head + width], "big"), head + width
        payload = received[head : head + size]
        start = head + size
        if start > len(received):
            break
        if first == 0x80 | TEXT:
            message = json.loads(payload, parse_constant=no_constant)
            if not isinstance(message.get("type"), str):
                raise Fault(f"a message without a type: {payload[:100]!r}")
            if message.get("code") == "internal":
                raise Fault(f"an internal error: {payload!r}")
        elif first == 0x88:
            code = int.from_bytes(payload[:2], "big") if payload else 1000
            if code not in CLOSE_CODES:
                raise Fault(f"closed with {code} {payload[2:]!r}")
            return str(code)
        elif first not in (0x89, 0x8A):
            raise Fault(f"a frame begins with {first:#x}")
    return "cut"


def no_constant(name: str) -> object:
    """Refuse NaN and Infinity, for `json.loads`."""
    raise Fault(f"{name} in a message")


def check_server(server: TargetServer) -> None:
    """Check that a server goes on and has logged no exception.

    Raises:
        Fault: it does not, or it has.
    """
    if not server.alive:
        raise Fault(f"the server ended: {server.log()[-2000:]}")
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/healthz", timeout=30) as answer:
        json.loads(answer.read(), parse_constant=no_constant)
    if server.tracebacks():
        raise Fault(f"the log has exceptions: {server.log()[-2000:]}")


def wait_for_estimate(recording: Path) -> None:
    """Wait until a recording holds one.

    Raises:
        Fault: none comes.
    """
    deadline = time.monotonic() + TIMEOUT_S
    while b'"seq"' not in (recording / part_name(1)).read_bytes():
        if time.monotonic() > deadline:
            raise Fault(f"no estimate is recorded within {TIMEOUT_S:g} s")
        time.sleep(0.05)


def check_recording(recording: Path, person: Path) -> None:
    """Check that what a server that was killed has recorded can be read.

    Raises:
        Fault: it cannot.
    """
    try:
        with SessionReader(recording) as reader:
            list(reader)
        Person(person, load_engine().info)
    except UserError as error:
        raise Fault(f"the recording cannot be read: {error}") from error


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--messages", type=int, default=100_000, help="messages in all (default: 100000)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the random numbers (default: 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    args = parser.parse_args(arguments)
    if args.messages < 2:
        parser.error(f"--messages is {args.messages}; it must be at least 2")
    half = args.messages // 2
    started = time.monotonic()
    faults: list[str] = []
    calls, endings = Counter[str](), Counter[str]()
    try:
        calls = fuzz_functions(args.messages - half, args.seed)
        with tempfile.TemporaryDirectory() as folder:
            recording, person = Path(folder) / "recording", Path(folder) / "person.json"
            options = ("--record", str(recording), "--record-audio", "--person", str(person))
            with target_server("--input", "demo", "--quiet", *options) as server:
                try:
                    endings = fuzz_server(half, args.seed, server.port)
                finally:
                    check_server(server)
                wait_for_estimate(recording)
            check_recording(recording, person)
    except Fault as fault:
        faults.append(str(fault))
        print(f"fault: {fault}", file=sys.stderr)
    result: dict[str, Any] = {
        "messages": args.messages,
        "seed": args.seed,
        "calls": calls,
        "endings": endings,
        "faults": faults,
        "seconds": round(time.monotonic() - started, 1),
        "machine": describe_machine(),
    }
    print(f"{args.messages} messages, seed {args.seed}, {result['seconds']} s")
    print(", ".join(f"{how} x{count}" for how, count in endings.most_common()))
    if args.json is not None:
        args.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return int(bool(faults))


if __name__ == "__main__":
    raise SystemExit(main())
