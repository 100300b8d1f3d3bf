"""A real OSC server that keeps what it receives, and a frame to send."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from live_support import TIMEOUT_S, wait_for
from pythonosc.dispatcher import Dispatcher
from pythonosc.osc_server import BlockingOSCUDPServer
from stage_support import frame

FRAME = frame(
    t=12.0,
    valence=0.75,
    arousal=0.25,
    valence_width=0.125,
    arousal_width=0.375,
    mood="calm",
    dimmer=0.625,
    bpm=120.0,
)
# All numbers are exact in 32 bits.
FRAME_MESSAGES: dict[str, list[float | str]] = {
    "/mer/valence": [0.75],
    "/mer/arousal": [0.25],
    "/mer/level": [0.5],
    "/mer/valence_width": [0.125],
    "/mer/arousal_width": [0.375],
    "/mer/dimmer": [0.625],
    "/mer/bipolar/valence": [0.5],
    "/mer/bipolar/arousal": [-0.5],
    "/mer/bpm": [120.0],
    "/mer/color": [1.0, 0.5, 0.0],
    "/mer/mood": ["calm"],
    "/mer/state": ["tracking"],
}

Received = list[tuple[str, list[object]]]


class OscServer:
    """A python-osc server on the loopback interface.

    Args:
        port: to listen at; 0 for a free one.
        host: to listen at.

    Attributes:
        port: it listens at.
        received: address and arguments of every message, in order.
    """

    def __init__(self, port: int = 0, host: str = "127.0.0.1") -> None:
        self.received: Received = []
        dispatcher = Dispatcher()
        dispatcher.set_default_handler(self._keep)
        self._server = BlockingOSCUDPServer((host, port), dispatcher)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def _keep(self, address: str, *arguments: object) -> None:
        self.received.append((address, list(arguments)))

    def wait_for(self, address: str, *arguments: object) -> None:
        """Wait until a message arrived."""
        wanted = (address, list(arguments))
        wait_for(lambda: wanted in self.received, f"{wanted} in {self.received[-30:]}")

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def osc_server(port: int = 0, host: str = "127.0.0.1") -> Iterator[OscServer]:
    """Run an OSC server."""
    server = OscServer(port, host)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def udp_receiver(host: str = "127.0.0.1") -> Iterator[socket.socket]:
    """Open a UDP socket at a free port that gives up after a minute."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as receiver:
        receiver.bind((host, 0))
        receiver.settimeout(TIMEOUT_S)
        yield receiver


def free_udp_port() -> int:
    """Return a port of the loopback interface at which nobody listens."""
    with udp_receiver() as receiver:
        return int(receiver.getsockname()[1])
