"""The messages of /ws, schema 1: builds the server's messages and parses the clients'.

docs/protocol.md describes every field; a test compares it with this module.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from realtime_mer import __version__
from realtime_mer.audio.format import AudioFormat
from realtime_mer.audio.source import Input
from realtime_mer.core.config import check_format
from realtime_mer.core.events import MAX_MARKER_LENGTH, Event, Marker
from realtime_mer.core.personal_map import PersonalMap
from realtime_mer.core.pulse import Pulse
from realtime_mer.core.target import TargetTrajectory
from realtime_mer.core.types import Estimate
from realtime_mer.errors import UserError
from realtime_mer.live.hub import End, Notice
from realtime_mer.live.show import SWITCHES, ControlCommand, Show

SCHEMA = 1
MAX_MESSAGE_BYTES = 2**20
MAX_TEXT_BYTES = 4096
MAX_JSON_DEPTH = 8
MAX_NAME_LENGTH = 200
MAX_SESSION_LENGTH = 80
_MAX_INTEGER = 10**9
_BRACKET_OR_STRING = re.compile(r'[\[\]{}]|"(?:[^"\\]|\\.)*"?', re.DOTALL)
SNAPSHOT_CHUNK = 50
"""Estimates in a snapshot message: up to 45 kB, which bounds the memory of a stalled viewer."""


class ErrorCode(StrEnum):
    """The `code` of an `error` message: why the server refused something."""

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
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    BAD_CONTROL = "bad_control"
    GOING_AWAY = "going_away"
    BAD_TAP = "bad_tap"
    BAD_WATCH = "bad_watch"
    UNKNOWN_SESSION = "unknown_session"
    BAD_PULSE = "bad_pulse"
    INTERNAL = "internal"


class CloseCode:
    """Close codes of the websocket that the server uses (RFC 6455, IANA registry)."""

    GOING_AWAY = 1001
    POLICY = 1008
    TOO_BIG = 1009
    INTERNAL = 1011
    RESTART = 1012
    TRY_AGAIN_LATER = 1013


class WireError(Exception):
    """An invalid message of a client."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        self.code = code
        super().__init__(message)


class Encoding(StrEnum):
    """Encoding of a sample in a binary frame."""

    F32LE = "f32le"
    S16LE = "s16le"

    @property
    def sample_bytes(self) -> int:
        return 4 if self is Encoding.F32LE else 2


@dataclass(frozen=True, slots=True)
class StreamFormat:
    """Format of the audio in a client's binary frames."""

    audio: AudioFormat
    encoding: Encoding

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample frame (all channels)."""
        return self.audio.channels * self.encoding.sample_bytes

    def decode(self, data: bytes) -> NDArray[np.float32]:
        """Decode the samples of a binary frame.

        Returns:
            float32 [n, channels], n >= 1, full scale 1.0; includes any bad value that the client
            sent.

        Raises:
            WireError: the frame is empty or not a whole number of sample frames.
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
    """The client starts to send audio.

    Attributes:
        format: of its binary frames.
        name: for display.
        private: whether nobody else may list or follow the stream.
    """

    format: StreamFormat
    name: str
    private: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """The client has sent all its audio."""


@dataclass(frozen=True, slots=True)
class Ping:
    """The client requests a pong."""

    id: object


@dataclass(frozen=True, slots=True)
class Auth:
    """The client shows its token."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Control:
    """The client changes the show by hand."""

    command: ControlCommand


@dataclass(frozen=True, slots=True)
class TapChange:
    """The client taps for the person, takes the last tap back, or begins anew.

    Attributes:
        action: one of `TAP_ACTIONS`.
        valence, arousal: where the tap is, in [-1, 1]; 0 for other actions.
    """

    action: str
    valence: float = 0.0
    arousal: float = 0.0


@dataclass(frozen=True, slots=True)
class ListSessions:
    """The client wants the list of the sessions every second, or no longer."""

    on: bool


@dataclass(frozen=True, slots=True)
class Watch:
    """The client follows another session; the server's own where `session` is None."""

    session: str | None


TAP_ACTIONS = ("add", "undo", "reset")


@dataclass(frozen=True, slots=True)
class PulseRequest:
    """The client asks for pulses, or for no more of them."""

    on: bool


ClientMessage = (
    Start | Stop | Ping | Auth | Control | TapChange | ListSessions | Watch | PulseRequest
)


def parse(text: str) -> ClientMessage:
    """Parse a client's text message.

    Raises:
        WireError: not JSON, not an object, an unknown type or an invalid field.
    """
    if len(text) > MAX_TEXT_BYTES:
        raise WireError(
            ErrorCode.BAD_JSON,
            f"the text message has {len(text)} characters; the limit is {MAX_TEXT_BYTES}",
        )
    if _depth(text) > MAX_JSON_DEPTH:
        raise WireError(
            ErrorCode.BAD_JSON,
            f"the text message has more than {MAX_JSON_DEPTH} objects or arrays in each other",
        )
    try:
        data = json.loads(text, parse_constant=_no_constant)
    except ValueError as error:
        raise WireError(ErrorCode.BAD_JSON, f"the text message is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise WireError(
            ErrorCode.BAD_JSON, f"the text message is {_json_type(data)}; it must be a JSON object"
        )
    kind = data.get("type")
    parser = _PARSERS.get(kind) if isinstance(kind, str) else None
    if parser is None:
        raise WireError(
            ErrorCode.UNKNOWN_TYPE,
            f"the message type is {_excerpt(kind)}; it must be one of: {', '.join(_PARSERS)}",
        )
    return parser(data)


def _parse_start(data: Mapping[str, object]) -> Start:
    rate, channels = _integer(data, "sample_rate_hz"), _integer(data, "channels", default=1)
    try:
        check_format(rate, channels)
    except UserError as error:
        raise WireError(ErrorCode.BAD_FORMAT, str(error)) from error
    encoding = data.get("format", Encoding.F32LE)
    if encoding not in tuple(Encoding):
        raise WireError(
            ErrorCode.BAD_FORMAT,
            f"the format is {_excerpt(encoding)}; it must be one of: {', '.join(Encoding)}",
        )
    name = data.get("name", "browser")
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME_LENGTH:
        raise WireError(
            ErrorCode.BAD_FORMAT,
            f"the name is {_excerpt(name)}; "
            f"it must be a string of 1 to {MAX_NAME_LENGTH} characters",
        )
    private = data.get("private", False)
    if not isinstance(private, bool):
        raise WireError(
            ErrorCode.BAD_FORMAT, f"private is {_excerpt(private)}; it must be true or false"
        )
    audio = AudioFormat(rate, channels)
    return Start(StreamFormat(audio, Encoding(str(encoding))), name, private)


def _parse_stop(data: Mapping[str, object]) -> Stop:
    return Stop()


def _parse_ping(data: Mapping[str, object]) -> Ping:
    ping_id = data.get("id")
    try:
        dump({"id": ping_id})
    except ValueError as error:
        raise WireError(
            ErrorCode.BAD_JSON, "the id of the ping cannot be sent back; use a string or a number"
        ) from error
    return Ping(ping_id)


def _parse_auth(data: Mapping[str, object]) -> Auth:
    token = data.get("token")
    if not isinstance(token, str):
        raise WireError(ErrorCode.UNAUTHORIZED, "the token of auth must be a text")
    return Auth(token)


def _parse_control(data: Mapping[str, object]) -> Control:
    switches = {name: _switch(data, name) for name in SWITCHES}
    override = data.get("override", {})
    if not isinstance(override, dict) or not all(map(_is_number_or_null, override.values())):
        raise WireError(
            ErrorCode.BAD_CONTROL,
            f"override is {_excerpt(override)}; it must be an object of numbers from 0 to 1, or "
            "null to give a value back to the music",
        )
    output = _name(data, "output")
    try:
        command = ControlCommand(
            output=output or "",
            override=override,
            scene=_name(data, "scene"),
            marker=_name(data, "marker", MAX_MARKER_LENGTH),
            marker_t=_time(data, "marker_t"),
            **switches,
        )
    except UserError as error:
        raise WireError(ErrorCode.BAD_CONTROL, str(error)) from error
    return Control(command)


def _parse_tap(data: Mapping[str, object]) -> TapChange:
    action = data.get("action", "add")
    if action not in TAP_ACTIONS:
        raise WireError(
            ErrorCode.BAD_TAP,
            f"the action is {_excerpt(action)}; it must be one of: {', '.join(TAP_ACTIONS)}",
        )
    if action != "add":
        return TapChange(str(action))
    return TapChange("add", _coordinate(data, "valence"), _coordinate(data, "arousal"))


def _parse_sessions(data: Mapping[str, object]) -> ListSessions:
    on = data.get("on")
    if not isinstance(on, bool):
        raise WireError(ErrorCode.BAD_WATCH, f"on is {_excerpt(on)}; it must be true or false")
    return ListSessions(on)


def _parse_watch(data: Mapping[str, object]) -> Watch:
    session = data.get("session")
    valid = isinstance(session, str) and 1 <= len(session) <= MAX_SESSION_LENGTH
    if not valid and (session is not None or "session" not in data):
        raise WireError(
            ErrorCode.BAD_WATCH,
            f"session is {_excerpt(session)}; it must be the session of a stream, as the message "
            "sessions has it, or null for the server's own",
        )
    return Watch(str(session) if valid else None)


def _parse_pulse(data: Mapping[str, object]) -> PulseRequest:
    on = data.get("on")
    if not isinstance(on, bool):
        raise WireError(ErrorCode.BAD_PULSE, f"on is {_excerpt(on)}; it must be true or false")
    return PulseRequest(on)


def _coordinate(data: Mapping[str, object], field: str) -> float:
    value = data.get(field)
    if not isinstance(value, int | float) or isinstance(value, bool) or not -1 <= value <= 1:
        raise WireError(
            ErrorCode.BAD_TAP, f"{field} is {_excerpt(value)}; it must be a number from -1 to 1"
        )
    return float(value)


def _switch(data: Mapping[str, object], field: str) -> bool | None:
    value = data.get(field)
    if value is not None and not isinstance(value, bool):
        raise WireError(
            ErrorCode.BAD_CONTROL, f"{field} is {_excerpt(value)}; it must be true or false"
        )
    return value


def _name(data: Mapping[str, object], field: str, max_length: int = MAX_NAME_LENGTH) -> str | None:
    value = data.get(field)
    if value is not None and not (isinstance(value, str) and len(value) <= max_length):
        raise WireError(
            ErrorCode.BAD_CONTROL,
            f"{field} is {_excerpt(value)}; it must be a text of at most {max_length} characters",
        )
    return value


def _time(data: Mapping[str, object], field: str) -> float | None:
    value = data.get(field)
    if value is None:
        return None
    # A number may have 4000 digits.
    if not _is_number_or_null(value) or not 0 <= value <= _MAX_INTEGER:  # type: ignore[operator]
        raise WireError(
            ErrorCode.BAD_CONTROL,
            f"{field} is {_excerpt(value)}; it must be a stream time in seconds, 0 or more",
        )
    return float(value)  # type: ignore[arg-type]


def _is_number_or_null(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


_PARSERS: dict[str, Callable[[Mapping[str, object]], ClientMessage]] = {
    "start": _parse_start,
    "stop": _parse_stop,
    "ping": _parse_ping,
    "auth": _parse_auth,
    "control": _parse_control,
    "tap": _parse_tap,
    "sessions": _parse_sessions,
    "watch": _parse_watch,
    "pulse": _parse_pulse,
}


def _integer(data: Mapping[str, object], field: str, default: int | None = None) -> int:
    value = data.get(field, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise WireError(
            ErrorCode.BAD_FORMAT, f"{field} is {_excerpt(value)}; it must be a whole number"
        )
    if abs(value) > _MAX_INTEGER:  # thousands of digits would come back in the reply
        raise WireError(ErrorCode.BAD_FORMAT, f"{field} is {_excerpt(value)}; it is far too large")
    return value


def _depth(text: str) -> int:
    """Return how many objects and arrays lie in each other, counted up to one over the limit."""
    depth = deepest = 0
    for match in _BRACKET_OR_STRING.finditer(text):
        token = match[0]
        if token in ("[", "{"):
            depth += 1
            deepest = max(deepest, depth)
            if deepest > MAX_JSON_DEPTH:
                break
        elif token in ("]", "}"):
            depth -= 1
    return deepest


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not a JSON number")


def _json_type(value: object) -> str:
    names = {list: "an array", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _excerpt(value: object) -> str:
    """Format a client's value for an error message, at most 60 characters."""
    if value is None:
        return "missing"
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 60 else text[:57] + "..."


def dump(message: Mapping[str, object]) -> str:
    """Encode a message as one line of JSON. ASCII, so that an invalid file name can be sent too."""
    return json.dumps(message, separators=(",", ":"), allow_nan=False)


def input_object(info: Input) -> dict[str, object]:
    """Build the `input` field of a hello."""
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
    value_range: str,
    adapt: bool,
    input_info: Input,
    backend: str,
    role: str,
    utc: str,
    recording: bool = False,
    backend_note: str = "",
    target: TargetTrajectory | None = None,
    speed: float | None = None,
) -> dict[str, object]:
    """Build the hello: the session's input, model, backend, rate and range; the client's role."""
    optional: dict[str, object] = {"backend_note": backend_note} if backend_note else {}
    if target is not None:
        optional["target"] = target.to_dict()
    if speed is not None:
        optional["speed"] = speed
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
        "range": value_range,
        "adapt": adapt,
        "input": input_object(input_info),
        "backend": backend,
        **optional,
        "role": role,
        "recording": recording,
        "utc": utc,
    }


def snapshot(
    session: str, estimates: Iterable[Estimate], *, complete: bool, more: bool
) -> dict[str, object]:
    """Build a part of the snapshot: at most `SNAPSHOT_CHUNK` past estimates, oldest first."""
    return {
        "type": "snapshot",
        "session": session,
        "estimates": [estimate.to_dict() for estimate in estimates],
        "complete": complete,
        "more": more,
    }


def health(
    session: str,
    counters: Mapping[str, int],
    *,
    viewers: int,
    sessions: int,
    uptime_s: float,
    show: Show,
    person: PersonalMap | None = None,
) -> dict[str, object]:
    """Build the health message: losses, viewers, sessions; outputs and a person's map if any."""
    state = show.to_dict()
    return {
        "type": "health",
        "session": session,
        "counters": dict(counters),
        "viewers": viewers,
        "sessions": sessions,
        "uptime_s": round(uptime_s, 1),
        **({"show": state} if state["outputs"] or state["scenes"] else {}),
        **({} if person is None else {"personal": person.to_dict()}),
    }


def pulses(latest: Iterable[Pulse]) -> dict[str, object]:
    """Build the message of the newest pulses, oldest first."""
    return {"type": "pulse", "pulses": [pulse.to_dict() for pulse in latest]}


def listed_session(
    session: str,
    info: Input,
    *,
    own: bool,
    uptime_s: float,
    estimate: Estimate | None,
    ended: End | None = None,
) -> dict[str, object]:
    """Build an entry of `sessions`: a stream with its newest estimate, if it has one."""
    return {
        "session": session,
        "own": own,
        "input": input_object(info),
        "uptime_s": round(uptime_s, 1),
        "estimate": None if estimate is None else estimate.to_dict(),
        "ended": None if ended is None else ended.reason,
    }


def sessions(listed: Sequence[Mapping[str, object]], total: int) -> dict[str, object]:
    """Build the list of the sessions.

    Args:
        listed: entries, see `listed_session`.
        total: how many there are, with those that are left out.
    """
    return {"type": "sessions", "total": total, "sessions": list(listed)}


def warning(notice: Notice) -> dict[str, object]:
    """Build a warning: something to show the user; the session goes on."""
    return {"type": "warning", "code": notice.code, "message": notice.message}


def remark(item: Notice | Event | Marker) -> dict[str, object]:
    """Build what is told beside the estimates: a warning, an event or a marker."""
    return warning(item) if isinstance(item, Notice) else item.to_dict()


def error(code: ErrorCode, message: str) -> dict[str, object]:
    """Build an error: the server refused something that this client sent."""
    return {"type": "error", "code": str(code), "message": message}


def end(session: str, ended: End) -> dict[str, object]:
    """Build the end of a session: it has no more estimates."""
    return {"type": "end", "session": session, "reason": ended.reason}


def going_away(closes_in_s: float) -> dict[str, object]:
    """Build the announcement that the server stops: connect anew, and another replica takes over.

    Args:
        closes_in_s: seconds until it closes the connections that are left.
    """
    return {"type": "going_away", "closes_in_s": round(closes_in_s, 1)}


def pong(ping_id: object, utc: str) -> dict[str, object]:
    """Build the reply to a ping."""
    return {"type": "pong", "id": ping_id, "utc": utc}
