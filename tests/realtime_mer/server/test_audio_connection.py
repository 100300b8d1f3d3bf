"""The fast path of audio: however the bytes are split, the samples stay the same."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from live_support import TIMEOUT_S, receive_kind, running_server, wait_for
from mer_engine import Engine
from numpy.typing import NDArray
from support import ManualClock
from tls_support import make_files
from websockets.frames import Frame, Opcode

from realtime_mer.audio.format import AudioFormat
from realtime_mer.bench.raw_websocket import BINARY, TEXT, RawWebSocket, masked_frame
from realtime_mer.core.config import PipelineConfig
from realtime_mer.live.session_pool import ClientSession, SessionPool
from realtime_mer.live.stats import Counter
from realtime_mer.server import audio_connection
from realtime_mer.server.audio_connection import (
    MAX_DIRECT_BYTES,
    AudioConnection,
    BinaryFrames,
    ReadPacing,
    unmask_samples,
)
from realtime_mer.server.protocol import Encoding, StreamFormat
from realtime_mer.server.tls import ServerTls

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
FORMAT = StreamFormat(AudioFormat(16_000, 1), Encoding.F32LE)
START = {"type": "start", "sample_rate_hz": 16_000, "channels": 1, "format": "f32le"}


def noise(count: int) -> NDArray[np.float32]:
    return np.random.default_rng(1).uniform(-0.5, 0.5, count).astype(np.float32)


def as_frames(parts: Sequence[bytes]) -> BinaryFrames:
    """Return payloads of the same size as a server receives them."""
    frames = [masked_frame(BINARY, part) for part in parts]
    size, stride = len(parts[0]), len(frames[0])
    return BinaryFrames(b"".join(frames), stride - size, size, stride, len(frames))


@pytest.mark.parametrize("encoding", list(Encoding))
@pytest.mark.parametrize("channels", [1, 2])
# Headers of 2 and of 4 bytes: only after the longer one the next frame begins at a whole word.
@pytest.mark.parametrize("size", [8, 480])
def test_unmask_samples_equals_decode(encoding: Encoding, channels: int, size: int) -> None:
    stream_format = StreamFormat(AudioFormat(48_000, channels), encoding)
    signal = noise(3 * size)
    stored = signal if encoding is Encoding.F32LE else (signal * 32768).astype("<i2")
    parts = [part.tobytes() for part in np.split(stored, 3)]
    samples = unmask_samples(as_frames(parts), stream_format)
    assert samples is not None
    assert np.array_equal(samples, stream_format.decode(b"".join(parts)))


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
def test_unusual_frames_are_left_to_the_library(payload: bytes) -> None:
    good = noise(4).tobytes()[: len(payload)]
    assert unmask_samples(as_frames([good, payload]), FORMAT) is None


def test_very_loud_samples_are_valid() -> None:
    loud = np.array([3e38, -3e38], "<f4").tobytes()
    # Their power overflows, so the slow path handles them and keeps them unchanged.
    assert unmask_samples(as_frames([loud]), FORMAT) is None
    assert np.isfinite(FORMAT.decode(loud)).all()


def client_bytes(signal: NDArray[np.float32]) -> bytes:
    """Return all bytes that a client sends: audio with every other kind of frame in between."""
    parts = [signal[start : start + 512].tobytes() for start in range(0, len(signal), 512)]
    large = np.zeros(MAX_DIRECT_BYTES // 4 + 64, np.float32)
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
    received: list[NDArray[np.float32]] = []
    for number, part in enumerate(parts):
        received.append(part)
        if number == 7:
            received.append(np.zeros(MAX_DIRECT_BYTES // 4 + 64, np.float32))
        if number == 9:
            received.append(signal[:128])
    return np.concatenate(received)


@pytest.mark.parametrize("pieces", ["in one piece", "in small pieces", "at random"])
def test_samples_do_not_depend_on_how_bytes_are_split(
    engine: Engine, pieces: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal = noise(512 * 20)
    received: list[NDArray[np.float32]] = []
    push = SessionPool.push

    def record(pool: SessionPool, session: ClientSession, samples: NDArray[np.float32]) -> float:
        received.append(samples.copy())
        return push(pool, session, samples)

    monkeypatch.setattr(SessionPool, "push", record)
    data = client_bytes(signal)
    rng = np.random.default_rng(3)
    sizes = {
        "in one piece": [len(data)],
        "in small pieces": [7] * 900 + [len(data)],
        "at random": [*rng.integers(1, 9000, 60).tolist(), len(data)],
    }[pieces]
    with running_server(engine, max_sessions=2) as running:
        client = RawWebSocket.open(running.port)
        client.socket.setblocking(True)
        client.socket.settimeout(TIMEOUT_S)
        start = 0
        for size in sizes:
            client.socket.sendall(data[start : start + size])
            start += size
        texts: list[str] = []
        while not any('"type":"end"' in text for text in texts):
            client.received.append((0.0, client.socket.recv(65_536)))
            texts = [text for _, text in client.texts()]
        client.close()
        assert any('"type":"pong"' in text for text in texts)
        assert not any('"type":"error"' in text for text in texts)
        wait_for(lambda: running.server.viewers == 0, "the client to be gone")
    assert np.array_equal(np.concatenate(received)[:, 0], expected(signal))


def test_client_that_does_not_wait_for_the_handshake(engine: Engine) -> None:
    """Where its frames begin is unknown, so the library parses all bytes."""
    sent = [
        UPGRADE,
        masked_frame(TEXT, json.dumps(START).encode()),
        *(masked_frame(BINARY, noise(1600).tobytes()) for _ in range(3)),
        masked_frame(TEXT, b'{"type": "stop"}'),
    ]
    with running_server(engine, max_sessions=2) as running:
        with socket.create_connection(("127.0.0.1", running.port), TIMEOUT_S) as client:
            client.sendall(b"".join(sent))
            received = b""
            while b'"type":"end"' not in received:
                part = client.recv(65_536)
                assert part, received
                received += part
        assert b'"type":"error"' not in received
        assert running.server.stats[Counter.BYTES_IN] > 3 * 6400
        wait_for(lambda: running.server.viewers == 0, "the client to be gone")


def test_unmasked_frame_closes_with_1002(engine: Engine) -> None:
    with running_server(engine, max_sessions=2) as running:
        client = RawWebSocket.open(running.port)
        client.socket.setblocking(True)
        client.socket.settimeout(TIMEOUT_S)
        client.socket.sendall(masked_frame(BINARY, b"1234") + b"\x82\x04abcd")
        received = b""
        while part := client.socket.recv(65_536):
            received += part
        client.close()
        # 1002 (protocol error) in a close frame.
        assert b"\x03\xea" in received
        wait_for(lambda: running.server.viewers == 0, "the client to be gone")


@pytest.mark.parametrize("encrypted", [False, True])
def test_read_pauses_lose_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, encrypted: bool
) -> None:
    paused: list[AudioConnection] = []
    end_pause = AudioConnection.end_pause

    def count(connection: AudioConnection) -> None:
        paused.append(connection)
        end_pause(connection)

    monkeypatch.setattr(AudioConnection, "end_pause", count)
    monkeypatch.setattr(audio_connection, "READ_PAUSE_S_PER_STREAM", 0.02)
    tls: ServerTls | None = None
    options: dict[str, Any] = {}
    if encrypted:
        files = make_files(tmp_path)
        tls = ServerTls(files.certificate, files.key)
        options["ssl"] = ssl.create_default_context(cafile=str(files.certificate))
    with running_server(engine, max_sessions=2, tls=tls) as running:
        with running.connect(**options) as client:
            client.send(json.dumps(START))
            wait_for(lambda: len(running.server.pool) == 1, "the stream")
            signal = noise(16_000)
            for start in range(0, len(signal), 320):
                before = running.server.stats[Counter.BYTES_IN]
                client.send(signal[start : start + 320].tobytes())
                wait_for(
                    lambda before=before: running.server.stats[Counter.BYTES_IN] > before,  # type: ignore[misc]
                    "the frame to be read",
                )
            client.send('{"type": "stop"}')
            assert receive_kind(client, "end")["reason"]
        stats = running.server.stats
        assert stats[Counter.DROPPED_SAMPLES] == 0
        assert stats[Counter.BYTES_IN] > signal.nbytes
        assert paused


class PacedClient:
    """A client that sends in real time, its connection, and the event loop with a clock to set."""

    def __init__(self, pool: SessionPool, clock: ManualClock, block: int) -> None:
        self.pool, self.clock, self.block = pool, clock, block
        self.session = pool.open(FORMAT.audio, "client")
        self.signal = noise(4 * FORMAT.audio.sample_rate_hz)
        self.sent = self.read = self.reads = 0
        self.pacing = ReadPacing()
        # What `ReadPacing` uses.
        self.paced = False
        self.loop = self.transport = self
        self.pauses: list[tuple[float, Callable[[int], None], int]] = []

    def time(self) -> float:
        return self.clock.now

    def call_at(self, when: float, function: Callable[[int], None], slot: int) -> None:
        self.pauses.append((when, function, slot))

    def pause_reading(self) -> None:
        assert self.paced

    def end_pause(self) -> None:
        self.paced = False
        self.receive()

    def receive(self) -> None:
        """Read what has come, and wait until it is processed."""
        samples = self.signal[self.read : self.sent]
        if not len(samples):
            return
        self.read = self.sent
        self.reads += 1
        enough_s = self.pool.push(self.session, samples)
        frame_s = self.block / FORMAT.audio.sample_rate_hz
        connection = cast(AudioConnection, self)
        self.pacing.pause(connection, 1000, enough_s=enough_s, frame_s=frame_s, unread_s=1.0)
        wait_for(lambda: not self.pool.due, "the end of the turn")

    def send(self) -> None:
        """Send the next block when it is due; end the pauses that end before."""
        due = self.clock.now + self.block / FORMAT.audio.sample_rate_hz
        while self.pauses and min(self.pauses)[0] < due:
            when, resume, slot = min(self.pauses)
            self.pauses.remove((when, resume, slot))
            self.clock.now = when
            resume(slot)
        self.clock.now = due
        self.sent += self.block
        if not self.paced:
            self.receive()


@pytest.mark.parametrize("pulses", [False, True])
@pytest.mark.parametrize(("hop_s", "block"), [(0.1, 320), (0.5, 320), (0.7, 470), (1.0, 1600)])
def test_read_pauses_delay_nothing(
    fast_engine: Engine, hop_s: float, block: int, pulses: bool
) -> None:
    """There are so many streams that pauses are at their longest."""
    config, clock = PipelineConfig(hop_s=hop_s), ManualClock()
    with SessionPool(fast_engine, config=config, max_sessions=1, workers=1, clock=clock) as pool:
        client = PacedClient(pool, clock, block)
        session = client.session
        if pulses:
            session.hub.subscribe_pulses(lambda: None)
        while client.sent + block <= len(client.signal):
            client.send()
            # What completes an estimate, or a message of pulses, is read when it comes.
            unread = client.sent - client.read
            assert unread + session.queued_frames < session.needed_frames
        latest = session.hub.latest
        assert latest is not None
        assert latest.t >= 2.5
    if not pulses:
        assert client.reads < 0.75 * client.sent / block
