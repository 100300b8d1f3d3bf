"""Frames for outputs, and a receiver of UDP packets."""

from __future__ import annotations

import socket
from typing import Any

from live_support import TIMEOUT_S

from realtime_mer.closable import Closable
from realtime_mer.core.types import State
from realtime_mer.outputs.output import Frame


def frame(**changes: Any) -> Frame:
    """Return a frame with some values of its own."""
    values: dict[str, Any] = {
        "t": 1.0,
        "valence": 0.5,
        "arousal": 0.5,
        "level": 0.5,
        "valence_width": 0.25,
        "arousal_width": 0.25,
        "mood": None,
        "state": State.TRACKING,
        "color": (1.0, 0.5, 0.0),
        "dimmer": 1.0,
    }
    return Frame(**{**values, **changes})


class UdpReceiver(Closable):
    """Receives packets at a free port of the loopback interface.

    Args:
        port: 0 for a free one.

    Attributes:
        port: its port.
    """

    def __init__(self, port: int = 0) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(TIMEOUT_S)
        self._socket.bind(("127.0.0.1", port))
        self.port: int = self._socket.getsockname()[1]

    def receive(self) -> bytes:
        """Wait for a packet and return it."""
        return self._socket.recv(2048)

    def close(self) -> None:
        self._socket.close()
