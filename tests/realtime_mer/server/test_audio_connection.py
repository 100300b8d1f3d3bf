"""The short way of audio: whatever way bytes are cut, what is heard stays the same."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence

import numpy as np
import pytest
from live_support import receive_kind, running_server, wait_for
from mer_engine import Engine
from numpy.typing import NDArray
from websockets.frames import Frame, Opcode

from realtime_mer.audio.format import AudioFormat
from realtime_mer.bench.raw_websocket import BINARY, TEXT, RawWebSocket, masked_frame
from realtime_mer.live.session_pool import ClientSession, SessionPool
from realtime_mer.live.stats import Counter
from realtime_mer.server.audio_connection import MAX_WHOLE_BYTES, BinaryFrame, unmasked_samples
from realtime_mer.server.protocol import Encoding, StreamFormat

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
FORMAT = StreamFormat(AudioFormat(16_000, 1), Encoding.F32LE)
START = {"type": "start", "sample_rate_hz": 16_000, "channels": 1, "format": "f32le"}


def sound(count: int) -> NDArray[np.float32]:
    return np.random.default_rng(1).uniform(-0.5, 0.5, count).astype(np.float32)


def as_frames(parts: Sequence[bytes]) -> list[BinaryFrame]:
    data = b"".join(masked_frame(BINARY, part) for part in parts)
    frames, start = [], 0
    for part in parts:
        start += len(masked_frame(BINARY, part)) - len(part)
        frames.append(BinaryFrame(data, start, len(part)))
        start += len(part)
    return frames


@pytest.mark.parametrize("encoding", list(Encoding))
@pytest.mark.parametrize("channels", [1, 2])
def test_unmasked_samples_are_what_the_message_holds(encoding: Encoding, channels: int) -> None:
    stream_format = StreamFormat(AudioFormat(48_000, channels), encoding)
    signal = sound(48)
    stored = signal if encoding is Encoding.F32LE else (signal * 32768).astype("<i2")
    parts = [stored[:8].tobytes(), stored[8:].tobytes()]
    heard = unmasked_samples(as_frames(parts), stream_format)
    assert heard is not None
    assert np.array_equal(heard, stream_format.decode(b"".join(parts)))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"123",
        b"123456",
        np.array([0.1, np.nan], "<f4").tobytes(),
        np.array([np.inf, 0.0], "<f4").tobytes(),
    ],
)
def test_what_is_unusual_is_left_to_the_long_way(payload: bytes) -> None:
    good = sound(4).tobytes()
    assert unmasked_samples(as_frames([good, payload]), FORMAT) is None


def test_very_loud_samples_are_no_mistake() -> None:
    loud = np.array([3e38, -3e38], "<f4").tobytes()
    # Their power overflows, so they take the long way, which takes them as they are.
    assert unmasked_samples(as_frames([loud]), FORMAT) is None
    assert np.isfinite(FORMAT.decode(loud)).all()


def whole_conversation(signal: NDArray[np.float32]) -> bytes:
    """All that a client sends, as bytes: all kinds of frames between audio."""
    parts = [signal[start : start + 512].tobytes() for start in range(0, len(signal), 512)]
    large = np.zeros(MAX_WHOLE_BYTES // 4 + 64, np.float32)
    sent = [masked_frame(TEXT, json.dumps(START).encode())]
    for number, part in enumerate(parts):
        sent.append(masked_frame(BINARY, part))
        if number == 3:
            sent.append(masked_frame(TEXT, b'{"type": "ping", "id": 1}'))
        if number == 5:
            sent.append(Frame(Opcode.PING, b"here?").serialize(mask=True))
        if number == 7:
            sent.append(masked_frame(BINARY, large.tobytes()))
        if number == 9:
            half = Frame(Opcode.BINARY, signal[:64].tobytes(), fin=False)
            rest = Frame(Opcode.CONT, signal[64:128].tobytes())
            sent += [half.serialize(mask=True), rest.serialize(mask=True)]
    sent.append(masked_frame(TEXT, b'{"type": "stop"}'))
    return b"".join(sent)


def expected(signal: NDArray[np.float32]) -> NDArray[np.float32]:
    parts = [signal[start : start + 512] for start in range(0, len(signal), 512)]
    heard: list[NDArray[np.float32]] = []
    for number, part in enumerate(parts):
        heard.append(part)
        if number == 7:
            heard.append(np.zeros(MAX_WHOLE_BYTES // 4 + 64, np.float32))
        if number == 9:
            heard.append(signal[:128])
    return np.concatenate(heard)


@pytest.mark.parametrize("pieces", ["as one", "in crumbs", "at random"])
def test_however_it_is_cut_the_same_is_heard_in_the_same_order(
    engine: Engine, pieces: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal = sound(512 * 20)
    heard: list[NDArray[np.float32]] = []
    push = SessionPool.push

    def listen(pool: SessionPool, session: ClientSession, samples: NDArray[np.float32]) -> None:
        heard.append(samples.copy())
        push(pool, session, samples)

    monkeypatch.setattr(SessionPool, "push", listen)
    data = whole_conversation(signal)
    rng = np.random.default_rng(3)
    sizes = {
        "as one": [len(data)],
        "in crumbs": [7] * 900 + [len(data)],
        "at random": [*rng.integers(1, 9000, 60).tolist(), len(data)],
    }[pieces]
    with running_server(engine, max_sessions=2) as running:
        client = RawWebSocket.open(running.port)
        client.socket.setblocking(True)
        client.socket.settimeout(20.0)
        start = 0
        for size in sizes:
            client.socket.sendall(data[start : start + size])
            start += size
        said: list[str] = []
        while not any('"type":"end"' in text for text in said):
            client.received.append((0.0, client.socket.recv(65_536)))
            said = [text for _, text in client.texts()]
        client.close()
        assert any('"type":"pong"' in text for text in said)
        assert not any('"type":"error"' in text for text in said)
        wait_for(lambda: running.server.viewers == 0, "the client to be gone")
    assert np.array_equal(np.concatenate(heard)[:, 0], expected(signal))


def test_a_client_that_does_not_wait_for_the_answer_is_heard_too(engine: Engine) -> None:
    """Where its frames begin is not known then: the library alone reads it."""
    sent = [
        UPGRADE,
        masked_frame(TEXT, json.dumps(START).encode()),
        *(masked_frame(BINARY, sound(1600).tobytes()) for _ in range(3)),
        masked_frame(TEXT, b'{"type": "stop"}'),
    ]
    with running_server(engine, max_sessions=2) as running:
        with socket.create_connection(("127.0.0.1", running.port), 20.0) as client:
            client.sendall(b"".join(sent))
            received = b""
            while b'"type":"end"' not in received:
                part = client.recv(65_536)
                assert part, received
                received += part
        assert b'"type":"error"' not in received
        assert running.server.stats[Counter.BYTES_IN] > 3 * 6400
        wait_for(lambda: running.server.viewers == 0, "the client to be gone")


def test_an_unmasked_frame_closes_as_a_mistake(engine: Engine) -> None:
    with running_server(engine, max_sessions=2) as running:
        client = RawWebSocket.open(running.port)
        client.socket.setblocking(True)
        client.socket.settimeout(20.0)
        client.socket.sendall(masked_frame(BINARY, b"1234") + b"\x82\x04abcd")
        received = b""
        while part := client.socket.recv(65_536):
            received += part
        client.close()
        # 1002, protocol error, in a close frame.
        assert b"\x03\xea" in received
        wait_for(lambda: running.server.viewers == 0, "the client to be gone")


def test_many_streams_are_read_less_often_and_lose_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from realtime_mer.server import audio_connection

    monkeypatch.setattr(audio_connection, "GATHER_S_PER_STREAM", 0.02)
    with running_server(engine, max_sessions=2) as running:
        with running.connect() as client:
            client.send(json.dumps(START))
            signal = sound(16_000)
            for start in range(0, len(signal), 320):
                client.send(signal[start : start + 320].tobytes())
            client.send('{"type": "stop"}')
            assert receive_kind(client, "end")["reason"]
        stats = running.server.stats
        assert stats[Counter.DROPPED_SAMPLES] == 0
        assert stats[Counter.BYTES_IN] > signal.nbytes
