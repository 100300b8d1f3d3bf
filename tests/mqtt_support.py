"""An MQTT broker and a subscriber for tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from live_support import wait_for
from page_support import free_port
from paho.mqtt.enums import CallbackAPIVersion


class Broker:
    """A mosquitto on a port of its own, which can be killed and started again.

    Args:
        folder: for its files.
        user: "NAME:PASSWORD" that it asks for; "" lets everybody in.
        certificate, key: PEM files of a broker with TLS.
    """

    def __init__(
        self,
        folder: Path,
        *,
        user: str = "",
        certificate: Path | None = None,
        key: Path | None = None,
    ) -> None:
        if shutil.which("mosquitto") is None:
            pytest.skip("mosquitto is not installed")
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        lines = [f"listener {self.port} 127.0.0.1", "persistence false"]
        if os.geteuid() == 0:
            lines.append("user root")  # another user could not read the files
        if user:
            name, _, password = user.partition(":")
            passwords = folder / "passwords"
            subprocess.run(
                ["mosquitto_passwd", "-c", "-b", str(passwords), name, password], check=True
            )
            lines += ["allow_anonymous false", f"password_file {passwords}"]
        else:
            lines.append("allow_anonymous true")
        if certificate is not None:
            lines += [f"certfile {certificate}", f"keyfile {key}"]
        self._configuration = folder / "mosquitto.conf"
        self._configuration.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            ["mosquitto", "-c", str(self._configuration)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(self._listens, "the broker listens")

    def kill(self) -> None:
        """End the broker at once; no effect if it has ended."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "mosquitto does not start"
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1.0).close()
        except OSError:
            return False
        return True


class Subscriber:
    """Collects all messages of a broker.

    Attributes:
        messages: topic and payload of each message, in order.
        retained: topics that the broker had kept before.
    """

    def __init__(self, broker: Broker, *, user: str = "") -> None:
        self.messages: list[tuple[str, str]] = []
        self.retained: list[str] = []
        self._subscribed = False
        self._client = client = paho.Client(CallbackAPIVersion.VERSION2)
        if user:
            client.username_pw_set(*user.split(":"))
        client.on_message = self._on_message
        client.on_subscribe = self._on_subscribe
        client.connect("127.0.0.1", broker.port)
        client.subscribe("#", qos=2)
        client.loop_start()
        wait_for(lambda: self._subscribed, "the subscription")

    def payloads(self, topic: str) -> list[str]:
        """Return the payloads of a topic, in order."""
        return [payload for name, payload in list(self.messages) if name == topic]

    def newest(self) -> dict[str, str]:
        """Return the newest payload of each topic."""
        return dict(list(self.messages))

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(self, client: paho.Client, user: Any, message: paho.MQTTMessage) -> None:
        if message.retain:
            self.retained.append(message.topic)
        self.messages.append((message.topic, message.payload.decode()))

    def _on_subscribe(self, *_: Any) -> None:
        self._subscribed = True


@contextmanager
def subscribed(broker: Broker, *, user: str = "") -> Iterator[Subscriber]:
    """Provide a subscriber to all topics."""
    subscriber = Subscriber(broker, user=user)
    try:
        yield subscriber
    finally:
        subscriber.close()
