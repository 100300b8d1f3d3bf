"""Messages: building, parsing, and the error code of each mistake."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from support import ESTIMATE, EVENT, SCALED_ESTIMATE

from realtime_mer.audio.format import AudioFormat
from realtime_mer.audio.source import Input, InputKind
from realtime_mer.core.events import EventKind, Marker
from realtime_mer.core.personal_map import Tap, fit_personal_map
from realtime_mer.core.pulse import BANDS, PULSES_PER_SECOND, Pulse
from realtime_mer.core.target import TargetPoint, TargetTrajectory
from realtime_mer.live.hub import End, Notice
from realtime_mer.live.show import Health, OutputStatus, SceneStatus, Show
from realtime_mer.server import protocol
from realtime_mer.server.broadcast import MAX_PULSE_INTERVAL_S, PULSE_INTERVAL_S, PULSE_SHARE
from realtime_mer.server.protocol import (
    Auth,
    Encoding,
    ErrorCode,
    Ping,
    PulseRequest,
    Start,
    Stop,
    StreamFormat,
    WireError,
)

PROTOCOL = Path(__file__).parents[3] / "docs" / "protocol.md"
PULSE = Pulse(1.5, -20.0, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0), 0.5)


def test_start_with_all_fields() -> None:
    text = (
        '{"type": "start", "sample_rate_hz": 48000, "channels": 2, "format": "s16le", '
        '"name": "stage left"}'
    )
    assert protocol.parse(text) == Start(
        StreamFormat(AudioFormat(48_000, 2), Encoding.S16LE), "stage left"
    )


def test_start_with_required_fields() -> None:
    assert protocol.parse('{"type": "start", "sample_rate_hz": 8000}') == Start(
        StreamFormat(AudioFormat(8000, 1), Encoding.F32LE), "browser"
    )


def test_stop_and_ping() -> None:
    assert protocol.parse('{"type": "stop", "unknown": 1}') == Stop()
    assert protocol.parse('{"type": "ping", "id": [1, "a"]}') == Ping([1, "a"])
    assert protocol.parse('{"type": "ping"}') == Ping(None)


@pytest.mark.parametrize(("text", "on"), [("true", True), ("false", False)])
def test_a_request_for_pulses(text: str, on: bool) -> None:
    assert protocol.parse(f'{{"type": "pulse", "on": {text}}}') == PulseRequest(on)


def test_a_token_is_parsed_and_not_shown() -> None:
    message = protocol.parse('{"type": "auth", "token": "a secret of mine"}')
    assert message == Auth("a secret of mine")
    assert "secret" not in repr(message)
    with pytest.raises(WireError) as caught:
        protocol.parse('{"type": "auth", "token": ["a secret of mine"]}')
    assert caught.value.code is ErrorCode.UNAUTHORIZED
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("", ErrorCode.BAD_JSON, "not JSON"),
        ("{", ErrorCode.BAD_JSON, "not JSON"),
        ("[" * 4000, ErrorCode.BAD_JSON, "more than 8 objects or arrays"),
        ('{"type": NaN}', ErrorCode.BAD_JSON, "NaN is not a JSON number"),
        ("[1]", ErrorCode.BAD_JSON, "is an array; it must be a JSON object"),
        ("7", ErrorCode.BAD_JSON, "is a number; it must be a JSON object"),
        ('"start"', ErrorCode.BAD_JSON, "is a string; it must be a JSON object"),
        ("null", ErrorCode.BAD_JSON, "is null; it must be a JSON object"),
        (" " * 5000, ErrorCode.BAD_JSON, "5000 characters; the limit is 4096"),
        ('{"type": "ping", "id": 1e999}', ErrorCode.BAD_JSON, "id of the ping"),
        ("{}", ErrorCode.UNKNOWN_TYPE, "type is missing; it must be one of: start, stop, ping"),
        ('{"type": "hello"}', ErrorCode.UNKNOWN_TYPE, 'type is "hello"'),
        ('{"type": ["start"]}', ErrorCode.UNKNOWN_TYPE, "type is"),
        ('{"type": "%s"}' % ("x" * 900), ErrorCode.UNKNOWN_TYPE, "xxx..."),
        ('{"type": "start"}', ErrorCode.BAD_FORMAT, "sample_rate_hz is missing"),
        ('{"type": "start", "sample_rate_hz": "48000"}', ErrorCode.BAD_FORMAT, "whole number"),
        ('{"type": "start", "sample_rate_hz": 48000.5}', ErrorCode.BAD_FORMAT, "48000.5"),
        ('{"type": "start", "sample_rate_hz": true}', ErrorCode.BAD_FORMAT, "whole number"),
        ('{"type": "start", "sample_rate_hz": 7999}', ErrorCode.BAD_FORMAT, "7999 Hz"),
        ('{"type": "start", "sample_rate_hz": 192001}', ErrorCode.BAD_FORMAT, "192001 Hz"),
        ('{"type": "pulse"}', ErrorCode.BAD_PULSE, "on is missing; it must be true or false"),
        ('{"type": "pulse", "on": 1}', ErrorCode.BAD_PULSE, "on is 1; it must be true or false"),
        ('{"type": "pulse", "on": [{}]}', ErrorCode.BAD_PULSE, "on is [{}]"),
        (
            '{"type": "start", "sample_rate_hz": 8000, "channels": 0}',
            ErrorCode.BAD_FORMAT,
            "0 channels",
        ),
        (
            '{"type": "start", "sample_rate_hz": 8000, "format": "mp3"}',
            ErrorCode.BAD_FORMAT,
            'format is "mp3"; it must be one of: f32le, s16le',
        ),
        (
            '{"type": "start", "sample_rate_hz": 8000, "format": {}}',
            ErrorCode.BAD_FORMAT,
            "format is {}",
        ),
        (
            '{"type": "start", "sample_rate_hz": 8000, "name": ""}',
            ErrorCode.BAD_FORMAT,
            "1 to 200 characters",
        ),
        (
            '{"type": "start", "sample_rate_hz": 8000, "name": "%s"}' % ("n" * 201),
            ErrorCode.BAD_FORMAT,
            "1 to 200 characters",
        ),
    ],
)
def test_invalid_message_has_code_and_text(text: str, code: ErrorCode, words: str) -> None:
    with pytest.raises(WireError, match=re.escape(words)) as caught:
        protocol.parse(text)
    assert caught.value.code is code
    assert len(str(caught.value)) < 300


def test_decode_floats_and_integers() -> None:
    floats = np.array([[0.5, -1.0], [0.25, 2.0]], dtype="<f4")
    decoded = StreamFormat(AudioFormat(8000, 2), Encoding.F32LE).decode(floats.tobytes())
    np.testing.assert_array_equal(decoded, floats)
    assert decoded.dtype == np.float32
    assert decoded.flags.writeable
    integers = np.array([[-32768], [16384], [0]], dtype="<i2")
    decoded = StreamFormat(AudioFormat(8000, 1), Encoding.S16LE).decode(integers.tobytes())
    np.testing.assert_array_equal(decoded, [[-1.0], [0.5], [0.0]])


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (b"", ErrorCode.EMPTY_FRAME, "empty"),
        (b"1234567", ErrorCode.BAD_LENGTH, "7 bytes, which is not a whole number of sample frames"),
        (b"1234", ErrorCode.BAD_LENGTH, "sample frames of 8 bytes (2 channel(s) of f32le)"),
    ],
)
def test_invalid_binary_frames(data: bytes, code: ErrorCode, words: str) -> None:
    with pytest.raises(WireError, match=re.escape(words)) as caught:
        StreamFormat(AudioFormat(48_000, 2), Encoding.F32LE).decode(data)
    assert caught.value.code is code


def messages() -> dict[str, dict[str, object]]:
    """Return one of each message that the server sends."""
    info = Input(InputKind.DEMO, "demo", 44_100, 2, paced=True, live=False)
    show = Show()
    show.statuses = lambda: [OutputStatus("desk", "artnet", Health.OK, 7, 0, "")]
    show.scenes = lambda: [SceneStatus("storm", True, "active")]
    taps = [Tap("", piece, 0.5, 0.5, (0.0, 0.0, -0.1, 0.1, -0.1, 0.1)) for piece in range(2)]
    person = fit_personal_map(taps, coverage=0.8)
    all_messages = [
        protocol.hello(
            session="s",
            model={"name": "m", "version": "1", "sha256": "00"},
            hop_s=1.0,
            lag_order=20,
            window_s=10.0,
            coverage=0.8,
            value_range="raw",
            adapt=False,
            input_info=info,
            backend="onnxruntime",
            role="view",
            utc="2026-01-02T03:04:05.000Z",
            target=TargetTrajectory((TargetPoint(0.0, -0.5, 0.5),)),
            speed=10.0,
        ),
        protocol.snapshot("s", [ESTIMATE], complete=True, more=False),
        SCALED_ESTIMATE.to_dict(),
        EVENT.to_dict(),
        Marker(1.0, "2026-01-02T03:04:05.000Z", "opens eyes").to_dict(),
        protocol.health(
            "s", {"overflows": 1}, viewers=2, sessions=1, uptime_s=3.14159, show=show, person=person
        ),
        protocol.pulses([PULSE]),
        protocol.warning(Notice("stalled", "no audio")),
        protocol.error(ErrorCode.BAD_JSON, "no"),
        protocol.end("s", End("over")),
        protocol.sessions(
            [protocol.listed_session("s", info, own=True, uptime_s=3.14159, estimate=ESTIMATE)],
            total=1,
        ),
        protocol.pong(7, "2026-01-02T03:04:05.000Z"),
    ]
    return {str(message["type"]): message for message in all_messages}


def test_hello_contains_the_backend_note() -> None:
    plain = messages()["hello"]
    assert "backend_note" not in plain
    fields = {
        name: plain[name]
        for name in (
            "session",
            "hop_s",
            "lag_order",
            "window_s",
            "coverage",
            "backend",
            "role",
            "utc",
        )
    }
    info = Input(InputKind.DEMO, "demo", 44_100, 2, paced=True, live=False)
    hello = protocol.hello(
        **fields,  # type: ignore[arg-type]
        value_range="music",
        adapt=True,
        model={},
        input_info=info,
        backend_note="the card failed",
    )
    assert hello["backend_note"] == "the card failed"


def test_messages_round_trip_through_json() -> None:
    for message in messages().values():
        text = protocol.dump(message)
        assert "\n" not in text
        assert json.loads(text) == message


def test_nan_is_not_encoded() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        protocol.dump({"valence": math.nan})


def test_invalid_file_name_can_be_sent() -> None:
    text = protocol.dump({"name": b"caf\xe9.wav".decode("utf-8", "surrogateescape")})
    assert text.encode("ascii")


def test_every_message_and_field_is_documented() -> None:
    document = PROTOCOL.read_text(encoding="utf-8")
    for kind, message in messages().items():
        section = document.split(f"\n### {kind}\n", 1)[1].split("\n### ", 1)[0]
        for name in message:
            assert f"`{name}`" in section or f'"{name}":' in section, f"{kind}.{name}"
        nested = [message.get("latency"), message.get("model"), message.get("input")]
        if isinstance(pulses := message.get("pulses"), list):
            nested.append(pulses[0])
        if isinstance(entries := message.get("sessions"), list):
            nested += [entries[0], entries[0]["input"]]
        if isinstance(show := message.get("show"), dict):
            nested += [show, show["control"], show["outputs"][0], show["scenes"][0]]
        if isinstance(person := message.get("personal"), dict):
            taps = document.split("\n## Taps\n", 1)[1].split("\n## ", 1)[0]
            for name in (*person, *person["map"]["valence"], *person["worth"]):
                assert f"`{name}`" in taps, name
        for part in nested:
            for name in part if isinstance(part, dict) else ():
                assert f"`{name}`" in section, f"{kind}: {name}"


def test_documented_estimate_has_all_fields_in_order() -> None:
    document = PROTOCOL.read_text(encoding="utf-8")
    match = re.search(r"<!-- example: estimate -->\n```json\n(.*?)```", document, re.DOTALL)
    assert match is not None
    example = json.loads(match[1])
    message = SCALED_ESTIMATE.to_dict()
    assert list(example) == list(message)
    for name in ("latency", "fast", "scaled"):
        nested = message[name]
        assert isinstance(nested, dict)
        assert list(example[name]) == list(nested)
    assert example["fast"]["valence_low"] <= example["fast"]["valence"]


def test_every_kind_of_event_is_documented() -> None:
    document = PROTOCOL.read_text(encoding="utf-8")
    section = document.split("\n### event\n", 1)[1].split("\n### ", 1)[0]
    for kind in EventKind:
        assert f"`{kind}`" in section
    match = re.search(r"<!-- example: event -->\n```json\n(.*?)```", section, re.DOTALL)
    assert match is not None
    assert list(json.loads(match[1])) == list(EVENT.to_dict())


def test_the_documented_pulses_have_all_fields_in_order() -> None:
    document = PROTOCOL.read_text(encoding="utf-8")
    match = re.search(r"<!-- example: pulse -->\n```json\n(.*?)```", document, re.DOTALL)
    assert match is not None
    example, message = json.loads(match[1]), protocol.pulses([PULSE])
    assert list(example) == list(message)
    for pulse in example["pulses"]:
        assert list(pulse) == list(PULSE.to_dict())
        assert len(pulse["bands"]) == BANDS
    assert f"{PULSES_PER_SECOND} pulses a second" in document
    assert f"{round(1 / PULSE_INTERVAL_S)} times a second" in document
    assert f"up to\n{MAX_PULSE_INTERVAL_S} s" in document
    assert f"at most {100 * PULSE_SHARE:g} % of a processor core" in document


def test_snapshot_part_stays_small() -> None:
    part = protocol.snapshot(
        "s" * 20, [SCALED_ESTIMATE] * protocol.SNAPSHOT_CHUNK, complete=True, more=True
    )
    assert len(protocol.dump(part)) < 48_000


def test_every_code_is_documented() -> None:
    document = PROTOCOL.read_text(encoding="utf-8")
    for code in ErrorCode:
        assert f"| `{code}` |" in document
    for name, code in vars(protocol.CloseCode).items():
        if name.isupper():
            assert f"| {code} |" in document
