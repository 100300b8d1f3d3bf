"""MQTT: values on topics of their own, changes of the music, discovery by Home Assistant.

Below the prefix of the settings (`realtime-mer`) are these topics; a payload is text in UTF-8:

* `valence`, `arousal`, `level`, `valence_width`, `arousal_width`, `dimmer`: 0 to 1, two decimals;
* `bipolar/valence`, `bipolar/arousal`: -1 to 1, two decimals;
* `mood`, `state`: a word; `color`: `#rrggbb`; `bpm`: beats per minute;
* `values`: all of these as one JSON object, with `color` as [red, green, blue], each 0 to 255;
* `event`: a change of the music as JSON, never retained;
* `availability`: `online` or `offline`, always retained.

What is not known (`mood` before any music, `bpm`) is an empty payload, and null in JSON. Onsets and
beats are not sent: a broker is no clock.

An action of a scene is `{"topic": TOPIC, "payload": PAYLOAD}`. The topic is sent as it is, without
the prefix; a payload that is no text becomes JSON. It is not retained.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from realtime_mer import __version__
from realtime_mer.clock import Clock, SystemClock
from realtime_mer.core.events import Event, EventKind, Marker, RhythmEvent
from realtime_mer.core.mood import WORDS
from realtime_mer.core.types import State
from realtime_mer.errors import UserError
from realtime_mer.outputs.environment import secret_of
from realtime_mer.outputs.output import Action, Frame, Output, OutputSettings, json_text

MAX_WAITING = 256
"""Messages that the broker has not taken yet; with more, the connection counts as broken."""
REFUSED_PAUSE_S = 60.0
"""A broker that refuses the user or the password is asked again after this many seconds."""
_TIMEOUT_S = 3.0  # of each step of a connection
_KEEPALIVE_S = 15
_CLOSE_TIMEOUT_S = 0.8
_MAX_PASSWORD = 65_535  # of the protocol, and /dev/zero has no end
_REFUSALS = ("Bad user name or password", "Not authorized")
_UNUSABLE_IN_TOPIC = re.compile(r"[#+\0]")
_UNUSABLE_IN_ID = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True, kw_only=True)
class MqttSettings(OutputSettings):
    """Values and changes of the music on an MQTT broker.

    Attributes:
        broker: HOST, HOST:PORT, mqtt://HOST:PORT or mqtts://HOST:PORT. The port is 1883 without
            TLS and 8883 with TLS if it is left out.
        user: name of the user; "" for none.
        password_variable: environment variable that has the password; "" for none.
        password_file: file that has the password in its first line; "" for none.
        tls: encrypted, with the certificates that this computer trusts; also with mqtts://.
        prefix: of all topics. It also identifies the device in Home Assistant.
        discovery_prefix: of Home Assistant's discovery topics; "" announces nothing.
        retain: the broker keeps the newest values for those that subscribe later.
        qos: quality of service: 0 at most once, 1 at least once, 2 exactly once.
        rate_hz: how often values are looked at; only those that changed are sent.

    Raises:
        UserError: a value is not usable.
    """

    broker: str
    user: str = ""
    password_variable: str = ""
    password_file: str = ""
    tls: bool = False
    prefix: str = "realtime-mer"
    discovery_prefix: str = "homeassistant"
    retain: bool = True
    qos: Literal[0, 1, 2] = 0
    rate_hz: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _address(self)
        if self.password_variable and self.password_file:
            raise UserError("password_variable and password_file are both given; give one")
        if not self.user and (self.password_variable or self.password_file):
            raise UserError("user is missing; a password needs one")
        for name in ("prefix", "discovery_prefix"):
            text = getattr(self, name)
            if _UNUSABLE_IN_TOPIC.search(text) or text.startswith("/") or text.endswith("/"):
                raise UserError(f"{name} is {text!r}; it may have no #, no + and no / at its ends")
        if not self.prefix:
            raise UserError("prefix is empty; give one such as realtime-mer")
        if self.qos not in (0, 1, 2):
            raise UserError(f"qos is {self.qos}; it must be 0, 1 or 2")


@dataclass(frozen=True, slots=True)
class _Address:
    """Where a broker is."""

    host: str
    port: int
    tls: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def _address(settings: MqttSettings) -> _Address:
    broker = settings.broker
    if "@" in broker:
        raise UserError(
            "broker contains a login; give the user as user, and the password in a file or an "
            "environment variable (password_file, password_variable)"
        )
    scheme, found, _ = broker.partition("://")
    if found and scheme not in ("mqtt", "mqtts"):
        raise UserError(f"broker is {broker!r}; it must begin with mqtt:// or mqtts://")
    tls = settings.tls or scheme == "mqtts"
    try:
        parts = urlsplit(broker if found else f"//{broker}")
        port = parts.port or (8883 if tls else 1883)
        (parts.hostname or "").encode("idna")  # as the look-up of names does
    except ValueError:
        parts, port = urlsplit(""), 0
    if not parts.hostname or parts.path.strip("/") or parts.query or parts.port == 0:
        raise UserError(f"broker is {broker!r}; write it as HOST or HOST:PORT")
    return _Address(parts.hostname, port, tls)


def _password(settings: MqttSettings) -> str | None:
    """Return the password.

    Raises:
        UserError: there is none where the settings say.
    """
    if settings.password_variable:
        return secret_of(settings.password_variable, "password_variable")
    if not settings.password_file:
        return None
    try:
        with Path(settings.password_file).expanduser().open(encoding="utf-8") as file:
            return file.readline(_MAX_PASSWORD).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UserError(
            f"password_file is {settings.password_file}; it cannot be read: {reason}"
        ) from None


def discovery(prefix: str, name: str) -> dict[str, object]:
    """Return the message from which Home Assistant makes a device with its sensors.

    Args:
        prefix: of the topics.
        name: of the device.
    """
    device = _device_id(prefix)

    def component(key: str, label: str, platform: str, **fields: object) -> dict[str, object]:
        return {"platform": platform, "name": label, "unique_id": f"{device}_{key}", **fields}

    number: dict[str, object] = {"state_class": "measurement", "suggested_display_precision": 2}
    return {
        "device": {
            "identifiers": [device],
            "name": name,
            "manufacturer": "realtime-mer",
            "model": "Emotion of music",
            "sw_version": __version__,
        },
        "origin": {"name": "realtime-mer", "sw_version": __version__},
        "availability_topic": f"{prefix}/availability",
        "state_topic": f"{prefix}/values",
        "components": {
            "valence": component(
                "valence", "Valence", "sensor", icon="mdi:emoticon-happy-outline",
                value_template="{{ value_json.bipolar.valence }}", **number,
            ),
            "arousal": component(
                "arousal", "Arousal", "sensor", icon="mdi:flash-outline",
                value_template="{{ value_json.bipolar.arousal }}", **number,
            ),
            "level": component(
                "level", "Level", "sensor", icon="mdi:volume-high",
                value_template="{{ (value_json.level * 100) | round(0) }}",
                unit_of_measurement="%", state_class="measurement",
            ),
            "mood": component(
                "mood", "Mood", "sensor", icon="mdi:music", device_class="enum",
                value_template="{{ value_json.mood }}", options=list(WORDS),
            ),
            "state": component(
                "state", "State", "sensor", icon="mdi:ear-hearing", device_class="enum",
                value_template="{{ value_json.state }}", options=[str(state) for state in State],
                entity_category="diagnostic",
            ),
            "change": component(
                "change", "Change", "event", icon="mdi:waveform", state_topic=f"{prefix}/event",
                event_types=[str(kind) for kind in EventKind],
            ),
        },
    }  # fmt: skip


def _device_id(prefix: str) -> str:
    return _UNUSABLE_IN_ID.sub("_", prefix)


class MqttOutput(Output):
    """Publishes to a broker (MQTT 3.1.1).

    A thread of paho-mqtt keeps the connection. Where it breaks, the next value raises an error and
    `OutputWorker` connects again; all values are then sent anew.

    Args:
        settings: of the output.
        clock: the time source.

    Attributes:
        sent: messages that the broker has taken: confirmed with `qos` 1 and 2, else written.

    Raises:
        UserError: there is no password where the settings say.
    """

    kind = "mqtt"

    def __init__(self, settings: MqttSettings, clock: Clock | None = None) -> None:
        self._address = _address(settings)
        super().__init__(settings.name or f"mqtt {self._address}")
        self._settings = settings
        self._password = _password(settings)
        self._clock = clock or SystemClock()
        self._refused_until = 0.0
        self._refusal = ""
        self._client: paho.Client | None = None
        self._answered = threading.Event()  # the broker accepts, refuses or is lost
        self._ended = threading.Event()
        self._reason = ""
        self._given = self._taken = 0
        self._last: dict[str, str] = {}

    def open(self) -> None:
        """Connect, and announce the device to Home Assistant.

        Raises:
            OSError: there is no connection.
            UserError: the broker refuses, or its certificate is not trusted here.
        """
        if self._clock.monotonic() < self._refused_until:
            raise UserError(self._refusal)
        self._answered.clear()
        self._ended.clear()
        self._reason = ""
        self._given = self._taken = 0
        self._last.clear()
        self._client = client = self._new_client()
        try:
            client.connect(self._address.host, self._address.port, _KEEPALIVE_S)
        except ssl.SSLCertVerificationError as error:
            raise UserError(
                f"the certificate of {self._address} is not trusted here: {error.verify_message}; "
                "name the file of its authority in the environment variable SSL_CERT_FILE"
            ) from None
        except OSError as error:
            reason = error.strerror or str(error)
            raise OSError(f"cannot connect to {self._address}: {reason}") from None
        client.loop_start()
        if not self._answered.wait(_TIMEOUT_S):
            raise TimeoutError(f"{self._address} does not answer as an MQTT broker")
        if self._reason:
            raise self._refused()
        self.answer = f"connected to {self._address}"
        self._publish(f"{self._settings.prefix}/availability", "online", retain=True)
        if self._settings.discovery_prefix:
            topic = f"{self._settings.discovery_prefix}/device/{_device_id(self._settings.prefix)}"
            message = discovery(self._settings.prefix, self._settings.name or "Emotion of music")
            self._publish(f"{topic}/config", json.dumps(message), retain=True)

    def send(self, frame: Frame) -> None:
        """Publish the values that changed.

        Raises:
            OSError: the connection is lost, or the broker is too slow.
        """
        self._check()
        values = _values(frame)
        payloads = {name: _text(value) for name, value in _topics(values).items()}
        payloads["values"] = json.dumps(values, allow_nan=False)
        for name, payload in payloads.items():
            if self._last.get(name) != payload:
                self._publish(
                    f"{self._settings.prefix}/{name}", payload, retain=self._settings.retain
                )
                self._last[name] = payload

    def send_event(self, event: Event | RhythmEvent | Marker) -> None:
        """Publish a change of the music or a marker; onsets and beats are left out.

        Raises:
            OSError: as for `send`.
        """
        if isinstance(event, Event):
            self._check()
            # `event_type` is what Home Assistant asks for.
            message = {"event_type": str(event.kind), **event.to_dict()}
            self._publish(f"{self._settings.prefix}/event", json.dumps(message), retain=False)
        elif isinstance(event, Marker):
            self._check()
            topic = f"{self._settings.prefix}/marker"
            self._publish(topic, json.dumps(event.to_dict()), retain=False)

    def check_action(self, action: Action) -> None:
        _message(action)

    def act(self, action: Action) -> None:
        """Publish what a scene asks for: `topic` and `payload`.

        Raises:
            OSError: as for `send`.
            UserError: the topic is missing or not valid.
        """
        topic, text = _message(action)
        self._check()
        self._publish(topic, text, retain=False)

    def close(self) -> None:
        """Say that nothing follows, and disconnect."""
        client, self._client = self._client, None
        if client is None:
            return
        if client.is_connected():
            topic = f"{self._settings.prefix}/availability"
            # Wait for the confirmation. Before it, a closed connection breaks off and the broker
            # publishes the last will, too; and a new connection could overtake this message.
            info = client.publish(topic, "offline", max(1, self._settings.qos), retain=True)
            with contextlib.suppress(RuntimeError, ValueError):  # lost meanwhile
                info.wait_for_publish(_CLOSE_TIMEOUT_S)
            client.disconnect()
            sock = client.socket()
            # A broker that hangs takes nothing: end the connection without it.
            if not self._ended.wait(_CLOSE_TIMEOUT_S) and isinstance(sock, socket.socket):
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        client.loop_stop()

    def _new_client(self) -> paho.Client:
        # Two clients with the same name would throw each other out.
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"realtime-mer-{secrets.token_hex(4)}",
            reconnect_on_failure=False,
        )
        client.connect_timeout = _TIMEOUT_S
        client.will_set(f"{self._settings.prefix}/availability", "offline", 1, retain=True)
        if self._settings.user:
            client.username_pw_set(self._settings.user, self._password)
        if self._address.tls:
            client.tls_set_context(ssl.create_default_context())
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        return client

    def _publish(self, topic: str, payload: str, *, retain: bool) -> None:
        assert self._client is not None
        info = self._client.publish(topic, payload, self._settings.qos, retain)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise ConnectionError(self._lost_sentence())
        self._given += 1

    def _check(self) -> None:
        if self._client is None or not self._client.is_connected():
            raise ConnectionError(self._lost_sentence())
        if self._given - self._taken > MAX_WAITING:
            raise TimeoutError(f"{self._address} is too slow: {MAX_WAITING} messages wait")

    def _lost_sentence(self) -> str:
        reason = f": {self._reason}" if self._reason else ""
        return f"the connection to {self._address} is lost{reason}"

    def _refused(self) -> Exception:
        if self._reason not in _REFUSALS:
            return ConnectionError(f"{self._address} refuses the connection: {self._reason}")
        self._refused_until = self._clock.monotonic() + REFUSED_PAUSE_S
        self._refusal = (
            f"{self._address} refuses the user or the password; check user, password_variable and "
            f"password_file. It is asked again every {REFUSED_PAUSE_S:.0f} s"
        )
        return UserError(self._refusal)

    # The thread of paho-mqtt calls these. A callback of an earlier connection changes nothing.

    def _on_connect(
        self, client: paho.Client, user: Any, flags: Any, reason: ReasonCode, properties: Any
    ) -> None:
        if client is self._client:
            self._reason = str(reason) if reason.is_failure else ""
            self._answered.set()

    def _on_disconnect(
        self, client: paho.Client, user: Any, flags: Any, reason: ReasonCode, properties: Any
    ) -> None:
        if client is self._client:
            self._reason = self._reason or str(reason)
            self.answer = self._lost_sentence()
        self._answered.set()
        self._ended.set()

    def _on_publish(
        self, client: paho.Client, user: Any, mid: int, reason: ReasonCode, properties: Any
    ) -> None:
        self.sent += 1
        self._taken += 1


def _message(action: Action) -> tuple[str, str]:
    """Return the topic and the payload of a scene's message.

    Raises:
        UserError: the topic or the payload is missing or not valid, or there are other values.
    """
    topic, payload = action.values.get("topic"), action.values.get("payload", "")
    if not isinstance(topic, str) or not topic or _UNUSABLE_IN_TOPIC.search(topic):
        raise UserError(f"the topic is {topic!r}; give one without # and +")
    if others := action.values.keys() - {"topic", "payload"}:
        raise UserError(
            f"there is {', '.join(sorted(others))}; a message of MQTT has topic and payload"
        )
    return topic, payload if isinstance(payload, str) else json_text(payload)


def _values(frame: Frame) -> dict[str, object]:
    """Return the JSON object of a frame."""
    return {
        "valence": round(frame.valence, 2),
        "arousal": round(frame.arousal, 2),
        "bipolar": {
            "valence": round(2.0 * frame.valence - 1.0, 2) + 0.0,
            "arousal": round(2.0 * frame.arousal - 1.0, 2) + 0.0,
        },
        "level": round(frame.level, 2),
        "valence_width": round(frame.valence_width, 2),
        "arousal_width": round(frame.arousal_width, 2),
        "mood": frame.mood,
        "state": str(frame.state),
        "color": [round(255.0 * part) for part in frame.color],
        "dimmer": round(frame.dimmer, 2),
        "bpm": None if frame.bpm is None else round(frame.bpm, 1),
    }


def _topics(values: Mapping[str, object]) -> dict[str, object]:
    """Return the values by their topics below the prefix."""
    topics: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            topics.update({f"{name}/{part}": number for part, number in value.items()})
        else:
            topics[name] = value
    return topics


def _text(value: object) -> str:
    """Return a value as the payload of its own topic."""
    if value is None:
        return ""
    if isinstance(value, list):
        return "#" + "".join(f"{part:02x}" for part in value)
    return str(value)
