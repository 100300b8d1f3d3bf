"""Random input: functions raise only what they document, and the server answers and goes on.

The long form is `python benchmarks/fuzz.py`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from live_support import RunningServer, receive_kind, running_server, wait_for
from mer_engine import Engine
from numpy.typing import NDArray
from websockets.frames import Opcode

from realtime_mer.audio.format import AudioFormat
from realtime_mer.bench.raw_websocket import BINARY, masked_frame
from realtime_mer.core.config import check_format
from realtime_mer.live.session_pool import ClientSession, SessionPool
from realtime_mer.server import protocol
from realtime_mer.server.audio_connection import MAX_DIRECT_BYTES, BinaryFrames, unmask_samples
from realtime_mer.server.protocol import Encoding, Ping, Start, StreamFormat, WireError

# The same examples in each run, however slow the machine is.
bounded = partial(
    settings, derandomize=True, database=None, deadline=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)
messages = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ["start", "stop", "ping", "auth", "control", "tap", "pulse", "sessions", "watch"]
        )
        | json_values
    },
    optional={
        "sample_rate_hz": st.integers(7_000, 200_000) | json_values,
        "channels": st.integers(-1, 70) | json_values,
        "format": st.sampled_from([*map(str, Encoding), "flac"]) | json_values,
        "name": json_values,
        "id": json_values,
        "token": json_values,
        "marker": json_values,
        "marker_t": st.floats(-1, 1e308) | json_values,
        "override": json_values,
        "action": st.sampled_from(["add", "undo", "reset"]) | json_values,
        "valence": st.floats(-2, 2) | json_values,
        "arousal": st.floats(-2, 2) | json_values,
        "private": st.booleans() | json_values,
        "on": st.booleans() | json_values,
        "session": st.text(max_size=100) | json_values,
    },
)
texts = st.text(max_size=5000) | messages.map(json.dumps) | json_values.map(json.dumps)


def refuse_constant(name: str) -> object:
    raise AssertionError(f"{name} in a message")


@bounded(max_examples=400)
@given(texts)
@example("[" * protocol.MAX_TEXT_BYTES)
@example('{"type":"ping","id":' + "[" * 900 + "]" * 900 + "}")
@example('{"type":"ping","id":1e999}')
@example('{"type":"start","sample_rate_hz":' + "9" * 4000 + "}")
@example('{"type":"start","sample_rate_hz":48000,"name":"\\ud800"}')
def test_every_text_is_a_message_or_a_wire_error(text: str) -> None:
    try:
        message = protocol.parse(text)
    except WireError as error:
        reply = protocol.dump(protocol.error(error.code, str(error)))
        assert len(reply) < 1000
    else:
        reply = protocol.dump(protocol.pong(getattr(message, "id", None), "now"))
        if isinstance(message, Start):
            check_format(message.format.audio.sample_rate_hz, message.format.audio.channels)
            assert 1 <= len(message.name) <= protocol.MAX_NAME_LENGTH
        if isinstance(message, Ping):
            assert len(reply) < 8 * protocol.MAX_TEXT_BYTES
    json.loads(reply, parse_constant=refuse_constant)


def payloads(size: int) -> st.SearchStrategy[bytes]:
    """Return payloads of a size in bytes: any bytes, or 32-bit numbers."""
    anything = st.binary(min_size=size, max_size=size)
    if size % 4:
        return anything
    numbers = st.lists(st.floats(width=32), min_size=size // 4, max_size=size // 4)
    return anything | numbers.map(lambda values: np.array(values, "<f4").tobytes())


sizes = st.integers(0, 200) | st.integers(0, 40).map(lambda count: 4 * count)


@bounded(max_examples=400)
@given(
    sizes.flatmap(lambda size: st.lists(payloads(size), min_size=1, max_size=4)),
    st.sampled_from(list(Encoding)),
    st.sampled_from([1, 2, 3, 7, 64]),
    st.integers(0, 3),
)
def test_both_ways_to_decode_samples_agree(
    parts: list[bytes], encoding: Encoding, channels: int, before: int
) -> None:
    stream_format = StreamFormat(AudioFormat(16_000, channels), encoding)
    frames = [masked_frame(BINARY, part) for part in parts]
    size, stride = len(parts[0]), len(frames[0])
    data = bytes(before) + b"".join(frames)
    start = before + stride - size
    fast = unmask_samples(BinaryFrames(data, start, size, stride, len(parts)), stream_format)
    try:
        decoded: NDArray[np.float32] | None = np.concatenate(
            [stream_format.decode(part) for part in parts]
        )
    except WireError:
        decoded = None
    if decoded is None:
        assert fast is None
        return
    assert decoded.dtype == np.float32
    assert decoded.shape[1:] == (channels,)
    if fast is not None:
        assert np.isfinite(fast).all()
        assert np.array_equal(fast, decoded)


@dataclass(frozen=True)
class Sent:
    """A message of a client: a ping or audio, its fragments, and control frames between these."""

    text: bool
    size: int
    cuts: tuple[float, ...]
    ping: bool

    @property
    def content(self) -> bytes:
        if self.text:
            return json.dumps({"type": "ping", "id": "x" * (self.size % 3000)}).encode()
        # What looks like frames (an empty binary one) wherever the parser loses its place.
        pattern = b"\x82\x80\x00\x00\x00\x00"
        return (pattern * (self.size // len(pattern) + 1))[: self.size]

    def wire(self) -> bytes:
        """Return the frames."""
        content = self.content
        ends = [*sorted(round(cut * len(content)) for cut in self.cuts), len(content)]
        data, start = b"", 0
        for number, end in enumerate(ends):
            first = Opcode.TEXT if self.text else Opcode.BINARY
            last = number == len(ends) - 1
            data += frame(Opcode.CONT if number else first, content[start:end], last=last)
            if self.ping:
                data += frame(Opcode.PING, b"\x82\x80", last=True)
            start = end
        return data


def frame(opcode: Opcode, content: bytes, *, last: bool) -> bytes:
    """Encode a frame with a mask of zeros, which leaves the content as it is."""
    size = len(content)
    if size < 126:
        head = struct.pack("!BB", opcode, 0x80 | size)
    elif size < 2**16:
        head = struct.pack("!BBH", opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", opcode, 0x80 | 127, size)
    return bytes([head[0] | (0x80 if last else 0)]) + head[1:] + bytes(4) + content


sent_messages = st.lists(
    st.builds(
        Sent,
        text=st.booleans(),
        # Samples of two bytes, so the sizes are even.
        size=st.sampled_from([2, 4, 124, 126, 128, 4096, MAX_DIRECT_BYTES, MAX_DIRECT_BYTES + 2])
        | st.integers(1, 1500).map(lambda count: 2 * count),
        cuts=st.just(()) | st.lists(st.floats(0, 1), max_size=3).map(tuple),
        ping=st.booleans(),
    ),
    min_size=1,
    max_size=8,
)
cut_places = st.lists(st.floats(0, 1), max_size=12) | st.sampled_from(
    [[i / 300] for i in range(30)]
)


@pytest.fixture(scope="module")
def running(engine: Engine) -> Iterator[RunningServer]:
    with running_server(engine) as server:
        yield server


# Not shrunk: each failing example waits for messages that do not come.
@bounded(max_examples=50, phases=(Phase.generate,))
@given(sent=sent_messages, places=cut_places, bytewise=st.integers(0, 60))
def test_messages_do_not_depend_on_how_their_bytes_are_split(
    running: RunningServer, sent: Sequence[Sent], places: list[float], bytewise: int
) -> None:
    data = b"".join(message.wire() for message in sent)
    ends = sorted({round(place * len(data)) for place in places} | set(range(1, bytewise)))
    ends = [*(end for end in ends if 0 < end < len(data)), len(data)]
    pieces = [data[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    pushed: list[bytes] = []
    push = SessionPool.push

    def record(pool: SessionPool, session: ClientSession, samples: NDArray[np.float32]) -> float:
        pushed.append((samples * 32768).astype("<i2").tobytes())
        return push(pool, session, samples)

    with pytest.MonkeyPatch.context() as patch, running.connect() as client:
        patch.setattr(SessionPool, "push", record)
        own = receive_kind(client, "hello")["session"]
        client.send(json.dumps({"type": "start", "sample_rate_hz": 48_000, "format": "s16le"}))
        while receive_kind(client, "hello")["session"] == own:
            pass
        (viewer,) = running.server._viewers
        for piece in pieces:
            running.call(partial(viewer._connection.data_received, piece))
        for message in sent:
            if message.text:
                assert receive_kind(client, "pong")["id"] == json.loads(message.content)["id"]
        audio = b"".join(message.content for message in sent if not message.text)
        wait_for(lambda: len(b"".join(pushed)) >= len(audio), "all samples arrived")
        assert b"".join(pushed) == audio
    wait_for(lambda: running.server.viewers == 0, "the client is gone")


def test_functions_that_read_what_strangers_send() -> None:
    from fuzz import FUNCTIONS, fuzz_functions

    calls = fuzz_functions(4000, seed=1)
    assert set(calls) == {function.__name__ for function in FUNCTIONS}


def test_a_real_server_under_random_frames_and_requests() -> None:
    from fuzz import check_server, fuzz_server
    from target_server import target_server

    with target_server("--input", "demo", "--quiet") as server:
        endings = fuzz_server(1000, 1, server.port)
        check_server(server)
    # Regular ends, protocol errors, and refused requests.
    assert endings["1000"] > 0
    assert endings["1002"] > 0
    assert endings["HTTP 400"] > 0


@pytest.mark.parametrize(
    ("received", "fault"),
    [
        (b'\x81\x0b{"type":1 }', "without a type"),
        (b'\x81\x16{"type":"a","b": NaN} ', "NaN in a message"),
        (b"\x88\x02\x03\xf3", "closed with 1011"),
        (b"\x83\x00", "begins with 0x83"),
    ],
)
def test_the_checks_see_a_fault(received: bytes, fault: str) -> None:
    from fuzz import Fault, _checked_messages

    with pytest.raises(Fault, match=fault):
        _checked_messages(received)
