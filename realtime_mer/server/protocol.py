"""The messages of /ws, schema 1: built from our types, parsed from a client's text.

docs/protocol.md describes every field; a test holds the two together.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from realtime_mer import __version__
from realtime_mer.audio.format import AudioFormat
from realtime_mer.audio.source import InputInfo
from realtime_mer.core.config import check_format
from realtime_mer.core.types import Estimate
from realtime_mer.errors import UserError
from realtime_mer.live.hub import End, Notice

SCHEMA = 1
MAX_MESSAGE_BYTES = 2**20
MAX_TEXT_BYTES = 4096
MAX_NAME_LENGTH = 200
SNAPSHOT_CHUNK = 50
"""Estimates in a snapshot message: about 30 kB, so that a stalled viewer holds little."""


class ErrorCode(StrEnum):
    """Why the server refused something; the `code` of an `error` message."""

    BAD_JSON = "bad_json"
    UNKNOWN_TYPE = "unknown_type"
    BAD_FORMAT = "bad_format"
    BAD_LENGTH = "bad_length"
    BAD_SAMPLES = "bad_samples"
    EMPTY_FRAME = "empty_frame"
    NOT_STREAMING = "not_streaming"
    ALREADY_STREAMING = "already_streaming"
    RATE_LIMITED = "rate_limited"
    TOO_MANY_SESSIONS = "too_many_sessions"
    TOO_MANY_VIEWERS = "too_many_viewers"
    INTERNAL = "internal"


class CloseCode:
    """Close codes of the websocket that the server uses (RFC 6455, IANA registry)."""

    GOING_AWAY = 1001
    POLICY = 1008
    TOO_BIG = 1009
    INTERNAL = 1011
    TRY_AGAIN_LATER = 1013


class WireError(Exception):
    """A client's message that cannot be taken."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        self.code = code
        super().__init__(message)


class Encoding(StrEnum):
    """How a sample is stored in a binary frame."""

    F32LE = "f32le"
    S16LE = "s16le"

    @property
    def sample_bytes(self) -> int:
        return 4 if self is Encoding.F32LE else 2


@dataclass(frozen=True, slots=True)
class StreamFormat:
    """What the binary frames of a client hold."""

    audio: AudioFormat
    encoding: Encoding

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample frame (all channels)."""
        return self.audio.channels * self.encoding.sample_bytes

    def decode(self, data: bytes) -> NDArray[np.float32]:
        """The samples of a binary frame.

        Returns:
            float32 [n, channels], n >= 1, full scale 1.0; may hold NaN where the client sent them.

        Raises:
            WireError: nothing in it, or not a whole number of sample frames.
        """
        if not data:
            raise WireError(
                ErrorCode.EMPTY_FRAME, "the binary frame is empty; send at least one sample frame"
            )
        if len(data) % self.frame_bytes:
            raise WireError(
                ErrorCode.BAD_LENGTH,
                f"the binary frame has {len(data)} bytes, which is not a whole number of sample "
                f"frames of {self.frame_bytes} bytes ({self.audio.channels} channel(s) of "
                f"{self.encoding})",
            )
        if self.encoding is Encoding.F32LE:
            samples = np.frombuffer(data, dtype="<f4").astype(np.float32)
        else:
            samples = np.frombuffer(data, dtype="<i2").astype(np.float32) / np.float32(32768.0)
        return samples.reshape(-1, self.audio.channels)


@dataclass(frozen=True, slots=True)
class Start:
    """A client begins to send audio."""

    format: StreamFormat
    name: str


@dataclass(frozen=True, slots=True)
class Stop:
    """A client has sent all its audio."""


@dataclass(frozen=True, slots=True)
class Ping:
    """A client wants an answer."""

    id: object


ClientMessage = Start | Stop | Ping


def parse(text: str) -> ClientMessage:
    """Reads a client's text message.

    Raises:
        WireError: not JSON, not an object, an unknown type or a field that is wrong.
    """
    if len(text) > MAX_TEXT_BYTES:
        raise WireError(
            ErrorCode.BAD_JSON,
            f"the text message has {len(text)} characters; at most {MAX_TEXT_BYTES} are taken",
        )
    try:
        data = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise WireError(ErrorCode.BAD_JSON, f"the text message is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise WireError(
            ErrorCode.BAD_JSON, f"the text message is {_kind(data)}; it must be a JSON object"
        )
    kind = data.get("type")
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise WireError(
            ErrorCode.UNKNOWN_TYPE,
            f"the message type is {_shown(kind)}; it must be one of: {', '.join(_READERS)}",
        )
    return reader(data)


def _read_start(data: Mapping[str, object]) -> Start:
    rate, channels = _whole(data, "sample_rate_hz"), _whole(data, "channels", default=1)
    try:
        check_format(rate, channels)
    except UserError as error:
        raise WireError(ErrorCode.BAD_FORMAT, str(error)) from error
    encoding = data.get("format", Encoding.F32LE)
    if encoding not in tuple(Encoding):
        raise WireError(
            ErrorCode.BAD_FORMAT,
            f"the format is {_shown(encoding)}; it must be one of: {', '.join(Encoding)}",
        )
    name = data.get("name", "browser")
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME_LENGTH:
        raise WireError(
            ErrorCode.BAD_FORMAT,
            f"the name is {_shown(name)}; it must be a text of 1 to {MAX_NAME_LENGTH} characters",
        )
    return Start(StreamFormat(AudioFormat(rate, channels), Encoding(str(encoding))), name)


def _read_stop(data: Mapping[str, object]) -> Stop:
    return Stop()


def _read_ping(data: Mapping[str, object]) -> Ping:
    ping_id = data.get("id")
    try:
        dump({"id": ping_id})
    except (ValueError, RecursionError) as error:
        raise WireError(
            ErrorCode.BAD_JSON, "the id of the ping cannot be sent back; use a text or a number"
        ) from error
    return Ping(ping_id)


_READERS: dict[str, Callable[[Mapping[str, object]], ClientMessage]] = {
    "start": _read_start,
    "stop": _read_stop,
    "ping": _read_ping,
}


def _whole(data: Mapping[str, object], field: str, default: int | None = None) -> int:
    value = data.get(field, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise WireError(
            ErrorCode.BAD_FORMAT, f"{field} is {_shown(value)}; it must be a whole number"
        )
    return value


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not a JSON number")


def _kind(value: object) -> str:
    names = {list: "an array", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _shown(value: object) -> str:
    """A value for an error message, cut short: it came from outside."""
    if value is None:
        return "missing"
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 60 else text[:57] + "..."


def dump(message: Mapping[str, object]) -> str:
    """A message as text: one line of JSON, in ASCII, so that even a broken name can be sent."""
    return json.dumps(message, separators=(",", ":"), allow_nan=False)


def input_object(info: InputInfo) -> dict[str, object]:
    """The `input` of a hello."""
    return {
        "kind": str(info.kind),
        "name": info.name,
        "sample_rate_hz": info.sample_rate_hz,
        "channels": info.channels,
    }


def hello(
    *,
    session: str,
    model: Mapping[str, str],
    hop_s: float,
    lag_order: int,
    window_s: float,
    coverage: float,
    input_info: InputInfo,
    backend: str,
    utc: str,
    backend_note: str = "",
) -> dict[str, object]:
    """Opens a session: what is listened to, by what, how often."""
    noted = {"backend_note": backend_note} if backend_note else {}
    return {
        "type": "hello",
        "schema": SCHEMA,
        "session": session,
        "server": f"realtime-mer {__version__}",
        "model": dict(model),
        "hop_s": hop_s,
        "lag_order": lag_order,
        "window_s": window_s,
        "coverage": coverage,
        "input": input_object(input_info),
        "backend": backend,
        **noted,
        "utc": utc,
    }


def snapshot(
    session: str, estimates: Iterable[Estimate], *, complete: bool, more: bool
) -> dict[str, object]:
    """A part of what happened before: at most `SNAPSHOT_CHUNK` estimates, oldest first."""
    return {
        "type": "snapshot",
        "session": session,
        "estimates": [estimate.to_dict() for estimate in estimates],
        "complete": complete,
        "more": more,
    }


def health(
    session: str, counters: Mapping[str, int], *, viewers: int, sessions: int, uptime_s: float
) -> dict[str, object]:
    """What was lost so far, and who is there."""
    return {
        "type": "health",
        "session": session,
        "counters": dict(counters),
        "viewers": viewers,
        "sessions": sessions,
        "uptime_s": round(uptime_s, 1),
    }


def warning(notice: Notice) -> dict[str, object]:
    """Something to tell the user; the stream goes on."""
    return {"type": "warning", "code": notice.code, "message": notice.message}


def error(code: ErrorCode, message: str) -> dict[str, object]:
    """The server refused something that this client did."""
    return {"type": "error", "code": str(code), "message": message}


def end(session: str, ended: End) -> dict[str, object]:
    """A session gives no more estimates."""
    return {"type": "end", "session": session, "reason": ended.reason}


def pong(ping_id: object, utc: str) -> dict[str, object]:
    """The answer to a ping."""
    return {"type": "pong", "id": ping_id, "utc": utc}
