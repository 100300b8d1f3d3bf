"""MQTT against a real broker, and what Home Assistant is told."""

from __future__ import annotations

import json
import math
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, Literal

import pytest

pytest.importorskip("paho.mqtt", reason="paho-mqtt is not installed")

from live_support import TIMEOUT_S, wait_for
from mqtt_support import Broker, subscribed
from net_support import EVENT, FRAME
from page_support import free_port
from support import ESTIMATE, ManualClock
from tls_support import make_files

from realtime_mer.core.events import EventKind, Marker, RhythmEvent, RhythmKind
from realtime_mer.core.mood import WORDS
from realtime_mer.core.types import State
from realtime_mer.errors import UserError
from realtime_mer.live.hub import Hub
from realtime_mer.live.show import Health
from realtime_mer.outputs import mqtt
from realtime_mer.outputs.mqtt import MqttOutput, MqttSettings, discovery
from realtime_mer.outputs.output import Action
from realtime_mer.outputs.output_worker import OutputWorker
from realtime_mer.outputs.shaping import Shaper

VALUES = {
    "valence": 0.75,
    "arousal": 0.25,
    "bipolar": {"valence": 0.5, "arousal": -0.5},
    "level": 0.5,
    "valence_width": 0.2,
    "arousal_width": 0.12,
    "mood": "calm",
    "state": "tracking",
    "color": [255, 128, 0],
    "dimmer": 0.8,
    "bpm": None,
}


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a busy machine answer late."""
    monkeypatch.setattr(mqtt, "_TIMEOUT_S", TIMEOUT_S)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path)
    yield broker
    broker.kill()


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path, user="stage:pass word")
    yield broker
    broker.kill()


def test_values_have_topics_of_their_own_and_a_common_one(broker: Broker) -> None:
    settings = MqttSettings(broker=broker.address)
    with subscribed(broker) as subscriber, closing(MqttOutput(settings)) as output:
        output.open()
        output.send(FRAME)
        wait_for(lambda: "realtime-mer/values" in subscriber.newest(), "the values")
        newest = subscriber.newest()
    assert json.loads(newest.pop("realtime-mer/values")) == VALUES
    assert newest.pop("homeassistant/device/realtime-mer/config")
    assert newest == {
        "realtime-mer/availability": "online",
        "realtime-mer/valence": "0.75",
        "realtime-mer/arousal": "0.25",
        "realtime-mer/bipolar/valence": "0.5",
        "realtime-mer/bipolar/arousal": "-0.5",
        "realtime-mer/level": "0.5",
        "realtime-mer/valence_width": "0.2",
        "realtime-mer/arousal_width": "0.12",
        "realtime-mer/mood": "calm",
        "realtime-mer/state": "tracking",
        "realtime-mer/color": "#ff8000",
        "realtime-mer/dimmer": "0.8",
        "realtime-mer/bpm": "",
    }
    assert output.answer == f"connected to {broker.address}"


def test_only_what_changed_is_sent(broker: Broker) -> None:
    settings = MqttSettings(broker=broker.address, discovery_prefix="", qos=1)
    with subscribed(broker) as subscriber, closing(MqttOutput(settings)) as output:
        output.open()
        output.send(FRAME)
        output.send(replace(FRAME, t=13.0, valence=0.7501))
        output.send(replace(FRAME, t=13.5, valence=0.7601, mood=None))
        wait_for(lambda: len(subscriber.payloads("realtime-mer/values")) == 2, "two messages")
        topics = [topic for topic, _ in subscriber.messages]
        wait_for(lambda: output.sent == len(topics), "confirmations")
    changed = ("valence", "bipolar/valence", "mood", "values")
    assert topics[14:] == [f"realtime-mer/{name}" for name in changed]
    assert subscriber.payloads("realtime-mer/valence") == ["0.75", "0.76"]
    assert subscriber.payloads("realtime-mer/mood") == ["calm", ""]


@pytest.mark.parametrize("retain", [True, False])
def test_the_broker_keeps_the_newest_values_but_no_event(broker: Broker, retain: bool) -> None:
    settings = MqttSettings(broker=broker.address, retain=retain, qos=1)
    with closing(MqttOutput(settings)) as output:
        output.open()
        output.send(FRAME)
        output.send_event(EVENT)
        wait_for(lambda: output.sent == 16, "confirmations")
        with subscribed(broker) as subscriber:
            always = ["homeassistant/device/realtime-mer/config", "realtime-mer/availability"]
            count = 14 if retain else 2  # an empty payload is not kept
            wait_for(lambda: len(subscriber.messages) == count, "what was kept")
            kept = sorted(subscriber.retained)
    assert set(always) < set(kept) if retain else kept == always
    assert "realtime-mer/event" not in kept


def test_events_are_sent_and_beats_are_not(broker: Broker) -> None:
    settings = MqttSettings(broker=broker.address)
    with subscribed(broker) as subscriber, closing(MqttOutput(settings)) as output:
        output.open()
        output.send_event(RhythmEvent(RhythmKind.BEAT, 1.0, 0.5, 120.0))
        output.send_event(EVENT)
        output.send_event(Marker(1.0, EVENT.utc, "patient opened eyes"))
        wait_for(lambda: bool(subscriber.payloads("realtime-mer/marker")), "the marker")
        wait_for(lambda: output.sent == 4, "the messages that were written")
    assert [json.loads(text) for text in subscriber.payloads("realtime-mer/marker")] == [
        {"type": "marker", "t": 1.0, "utc": EVENT.utc, "text": "patient opened eyes"}
    ]
    assert [json.loads(text) for text in subscriber.payloads("realtime-mer/event")] == [
        {
            "event_type": "mood_enter",
            "type": "event",
            "kind": "mood_enter",
            "t": 10.0,
            "detected_t": 12.0,
            "utc": "2026-01-02T03:04:05.000Z",
            "strength": 0.75,
            "mood": "calm",
        }
    ]


def test_scenes_publish_to_any_topic(broker: Broker) -> None:
    settings = MqttSettings(broker=broker.address)
    with subscribed(broker) as subscriber, closing(MqttOutput(settings)) as output:
        output.open()
        output.act(Action("on", {"topic": "cmnd/lamp/POWER", "payload": "ON"}))
        output.act(Action("red", {"topic": "lamp/set", "payload": {"color": [255, 0, 0]}}))
        wait_for(lambda: "lamp/set" in subscriber.newest(), "the actions")
        for topic in ("", None, "lamps/#", 3):
            with pytest.raises(UserError, match="the topic is"):
                output.act(Action("on", {"topic": topic, "payload": "ON"}))
        for payload in (math.nan, {"at": date(2026, 1, 2)}):
            with pytest.raises(UserError, match="this cannot be sent as JSON"):
                output.check_action(Action("on", {"topic": "lamp", "payload": payload}))
    assert subscriber.newest()["cmnd/lamp/POWER"] == "ON"
    assert json.loads(subscriber.newest()["lamp/set"]) == {"color": [255, 0, 0]}


def test_the_end_is_announced(broker: Broker) -> None:
    with subscribed(broker) as subscriber:
        output = MqttOutput(MqttSettings(broker=broker.address))
        output.close()  # without `open`
        output.open()
        output.close()
        output.close()
        wait_for(
            lambda: subscriber.payloads("realtime-mer/availability") == ["online", "offline"],
            "the end",
        )


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_regular_end_is_announced_once(broker: Broker, qos: Literal[0, 1, 2]) -> None:
    """A connection that breaks off before the broker knows would bring the last will, too."""
    output = MqttOutput(MqttSettings(broker=broker.address, qos=qos))
    with subscribed(broker) as subscriber:
        for _ in range(20):
            output.open()
            output.send(FRAME)
            output.close()
        output.open()
        output.act(Action("end", {"topic": "end"}))
        wait_for(lambda: "end" in subscriber.newest(), "the last message")
        output.close()
        assert subscriber.payloads("realtime-mer/availability")[:40] == ["online", "offline"] * 20


def test_the_broker_announces_the_end_of_a_killed_program(broker: Broker) -> None:
    program = f"""
from realtime_mer.outputs.mqtt import MqttOutput, MqttSettings
output = MqttOutput(MqttSettings(broker="{broker.address}"))
output.open()
input()
"""
    with subscribed(broker) as subscriber:
        run = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)
        try:
            wait_for(lambda: bool(subscriber.payloads("realtime-mer/availability")), "the start")
        finally:
            run.kill()
            run.communicate()
        wait_for(
            lambda: subscriber.payloads("realtime-mer/availability") == ["online", "offline"],
            "the last will",
        )


def test_a_broker_that_goes_away_is_reported_and_found_again(broker: Broker) -> None:
    hub = Hub()
    settings = MqttSettings(broker=broker.address, rate_hz=20.0)
    thread = OutputWorker(hub, MqttOutput(settings), Shaper(settings, hop_s=1.0))
    with thread:
        hub.publish(ESTIMATE)
        wait_for(lambda: thread.status.sent > 5, "values")
        broker.kill()
        wait_for(lambda: thread.status.health is Health.FAILING, "the failure")
        assert broker.address in thread.status.answer
        broker.start()
        with subscribed(broker) as subscriber:
            wait_for(lambda: "realtime-mer/values" in subscriber.newest(), "values again")
            wait_for(lambda: thread.status.health is Health.OK, "health")
        assert thread.status.answer == f"connected to {broker.address}"


def test_a_lost_connection_shows_before_the_next_value(broker: Broker) -> None:
    with closing(MqttOutput(MqttSettings(broker=broker.address))) as output:
        output.open()
        broker.kill()
        wait_for(lambda: "is lost" in output.answer, "the loss")
        with pytest.raises(ConnectionError, match=f"^the connection to {broker.address} is lost"):
            output.send(FRAME)


@pytest.mark.parametrize("place", ["variable", "file"])
def test_a_password_comes_from_outside(
    secured: Broker, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if place == "variable":
        monkeypatch.setenv("MQTT_PASSWORD", "pass word")
        settings = MqttSettings(
            broker=secured.address, user="stage", password_variable="MQTT_PASSWORD"
        )
    else:
        file = tmp_path / "password"
        file.write_text("pass word\n", encoding="utf-8")
        settings = MqttSettings(broker=secured.address, user="stage", password_file=str(file))
    output = MqttOutput(settings)
    with closing(output), subscribed(secured, user="stage:pass word") as subscriber:
        output.open()
        output.send(FRAME)
        wait_for(lambda: "realtime-mer/values" in subscriber.newest(), "values")


def test_a_wrong_password_is_a_sentence_and_is_not_tried_at_once_again(
    secured: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MQTT_PASSWORD", "wrongsecret")
    clock = ManualClock()
    settings = MqttSettings(broker=secured.address, user="stage", password_variable="MQTT_PASSWORD")
    output = MqttOutput(settings, clock)
    sentence = (
        f"{secured.address} refuses the user or the password; check user, password_variable and "
        "password_file. It is asked again every 60 s"
    )
    with pytest.raises(UserError) as caught:
        output.open()
    assert str(caught.value) == sentence
    output.close()
    secured.kill()  # so that asking it would show
    clock.advance(59.0)
    with pytest.raises(UserError, match="refuses the user"):
        output.open()
    clock.advance(2.0)
    with pytest.raises(OSError, match=f"cannot connect to {secured.address}"):
        output.open()
    output.close()
    assert "wrongsecret" not in repr(settings) + sentence


def test_a_password_that_is_not_there_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^password_variable names MISSING_PASSWORD, which is"):
        MqttOutput(MqttSettings(broker="host", user="me", password_variable="MISSING_PASSWORD"))
    with pytest.raises(UserError, match=r"^password_file is .*nothing; it cannot be read: No such"):
        MqttOutput(MqttSettings(broker="host", user="me", password_file=str(tmp_path / "nothing")))


# paho-mqtt leaves the socket of a failed handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tls_needs_a_certificate_that_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = make_files(tmp_path)
    broker = Broker(tmp_path, certificate=files.certificate, key=files.key)
    try:
        output = MqttOutput(MqttSettings(broker=f"mqtts://{broker.address}"))
        with pytest.raises(UserError, match=r"is not trusted here: self.signed certificate; name"):
            output.open()
        output.close()
        monkeypatch.setenv("SSL_CERT_FILE", str(files.certificate))
        output.open()
        output.send(FRAME)
        wait_for(lambda: output.sent == 15, "messages")
        output.close()
    finally:
        broker.kill()


def test_what_is_no_broker_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:  # accepts, and says nothing
        address = f"127.0.0.1:{server.getsockname()[1]}"
        output = MqttOutput(MqttSettings(broker=address))
        with pytest.raises(TimeoutError, match=f"^{address} does not answer as an MQTT broker$"):
            output.open()
        output.close()
    output = MqttOutput(MqttSettings(broker=f"127.0.0.1:{free_port()}"))
    with pytest.raises(OSError, match=r"^cannot connect to .*: Connection refused"):
        output.open()
    output.close()


def test_a_broker_that_takes_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """It accepts the connection and confirms no message."""
    monkeypatch.setattr(mqtt, "_CLOSE_TIMEOUT_S", 0.1)
    connections = []

    def accept(server: socket.socket) -> None:
        connection, _ = server.accept()
        connections.append(connection)
        connection.recv(1000)
        connection.sendall(b"\x20\x02\x00\x00")

    with socket.create_server(("127.0.0.1", 0)) as server:
        accepting = threading.Thread(target=accept, args=(server,))
        accepting.start()
        settings = MqttSettings(broker=f"127.0.0.1:{server.getsockname()[1]}", qos=1)
        output = MqttOutput(settings)
        output.open()
        for _ in range(255):  # and two of `open`
            output.send_event(EVENT)
        with pytest.raises(TimeoutError, match=r"is too slow: 256 messages wait$"):
            output.send_event(EVENT)
        output.close()
        accepting.join()
        assert output.sent == 0
        connections[0].close()


# The fields that Home Assistant documents for MQTT discovery of a device, its sensors and events.
AVAILABILITY = {"availability", "availability_mode", "availability_topic", "availability_template",
                "payload_available", "payload_not_available"}  # fmt: skip
ROOT = AVAILABILITY | {"device", "origin", "components", "state_topic", "command_topic", "qos",
                       "encoding"}  # fmt: skip
DEVICE = {"identifiers", "connections", "configuration_url", "hw_version", "manufacturer", "model",
          "model_id", "name", "serial_number", "suggested_area", "sw_version",
          "via_device"}  # fmt: skip
ORIGIN = {"name", "sw_version", "support_url"}
ENTITY = AVAILABILITY | {"platform", "name", "unique_id", "icon", "entity_category", "encoding",
                         "enabled_by_default", "qos", "state_topic", "value_template",
                         "device_class", "json_attributes_topic",
                         "json_attributes_template"}  # fmt: skip
FIELDS = {
    "sensor": ENTITY | {"state_class", "unit_of_measurement", "suggested_display_precision",
                        "options", "expire_after", "force_update", "last_reset_value_template"},
    "event": ENTITY | {"event_types"},
}  # fmt: skip


def test_templates_of_home_assistant_find_their_values() -> None:
    jinja2 = pytest.importorskip("jinja2")
    components: Any = discovery("realtime-mer", "Hall")["components"]
    rendered = {
        key: jinja2.Template(component["value_template"]).render(value_json=VALUES)
        for key, component in components.items()
        if "value_template" in component
    }
    assert rendered == {
        "valence": "0.5",
        "arousal": "-0.5",
        "level": "50.0",
        "mood": "calm",
        "state": "tracking",
    }


def test_home_assistant_gets_the_fields_that_it_documents(broker: Broker) -> None:
    settings = MqttSettings(
        broker=broker.address, prefix="hall/mood 1", discovery_prefix="ha", name="Hall"
    )
    with subscribed(broker) as subscriber, closing(MqttOutput(settings)) as output:
        output.open()
        output.send(FRAME)
        wait_for(lambda: "hall/mood 1/values" in subscriber.newest(), "the values")
    newest = subscriber.newest()
    message = json.loads(newest["ha/device/hall_mood_1/config"])
    assert message == discovery("hall/mood 1", "Hall")
    assert {"device", "origin", "components"} <= set(message) <= ROOT
    assert set(message["device"]) <= DEVICE
    assert message["device"]["identifiers"] == ["hall_mood_1"]
    assert message["device"]["name"] == "Hall"
    assert "name" in message["origin"]
    assert set(message["origin"]) <= ORIGIN
    assert message["availability_topic"] == "hall/mood 1/availability"
    assert newest[message["availability_topic"]] in ("online", "offline")  # the defaults there
    values = json.loads(newest[message["state_topic"]])

    components = message["components"]
    assert list(components) == ["valence", "arousal", "level", "mood", "state", "change"]
    assert len({each["unique_id"] for each in components.values()}) == len(components)
    for key, component in components.items():
        assert set(component) <= FIELDS[component["platform"]], key
        assert component["unique_id"] == f"hall_mood_1_{key}"
        assert component["name"]
        assert component["icon"].startswith("mdi:")
        assert component.get("entity_category") in (None, "diagnostic", "config")
        if component["platform"] == "event":
            assert component["event_types"] == [str(kind) for kind in EventKind]
            assert component["state_topic"] == "hall/mood 1/event"
            continue
        (path,) = re.findall(r"value_json((?:\.\w+)+)", component["value_template"])
        found = values
        for part in path.split(".")[1:]:
            found = found[part]
        if component.get("device_class") == "enum":  # has options, and neither class nor unit
            assert found in component["options"]
            assert not {"state_class", "unit_of_measurement"} & set(component)
        else:
            assert component["state_class"] == "measurement"
            assert isinstance(found, float)
    assert components["mood"]["options"] == list(WORDS)
    assert components["state"]["options"] == [str(state) for state in State]


@pytest.mark.parametrize(
    ("broker", "shown"),
    [
        ("host", "host:1883"),
        ("host:1884", "host:1884"),
        ("mqtt://host/", "host:1883"),
        ("mqtts://host", "host:8883"),
        ("[::1]:7", "[::1]:7"),
    ],
)
def test_addresses_of_brokers(broker: str, shown: str) -> None:
    assert MqttOutput(MqttSettings(broker=broker)).name == f"mqtt {shown}"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"broker": ""}, "broker is ''; write it as HOST or HOST:PORT"),
        ({"broker": "host:port"}, "broker is 'host:port'; write it as"),
        ({"broker": "host:0"}, "broker is 'host:0'; write it as"),
        ({"broker": "a..b"}, "broker is 'a..b'; write it as"),
        ({"broker": "host/path"}, "broker is 'host/path'; write it as"),
        ({"broker": "http://host"}, "broker is 'http://host'; it must begin with mqtt://"),
        ({"password_file": "f", "password_variable": "V", "user": "me"}, "password_variable and"),
        ({"password_file": "f"}, "user is missing; a password needs one"),
        ({"prefix": ""}, "prefix is empty"),
        ({"prefix": "a/#"}, "prefix is 'a/#'; it may have no #"),
        ({"discovery_prefix": "/ha"}, "discovery_prefix is '/ha'; it may have no #"),
        ({"qos": 3}, "qos is 3; it must be 0, 1 or 2"),
        ({"rate_hz": 0.0}, "rate_hz is 0; it must lie between"),
    ],
)
def test_settings_that_cannot_be_used(fields: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        MqttSettings(**{"broker": "host", **fields})  # type: ignore[arg-type]
    assert str(caught.value).startswith(sentence)


def test_a_login_in_the_address_is_refused_and_not_shown() -> None:
    with pytest.raises(UserError) as caught:
        MqttSettings(broker="mqtt://me:secret@host")
    assert str(caught.value).startswith("broker contains a login; give the user as user")
    assert "secret" not in str(caught.value)
