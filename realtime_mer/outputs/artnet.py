"""Art-Net: DMX values in UDP packets, to one node or to all of a network.

The packets are made here and not by stupidArtnet: that library sends every packet with the sequence
number 0 and prints failures on standard output instead of raising them.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from dataclasses import dataclass

from realtime_mer.errors import UserError
from realtime_mer.outputs.fixtures import UNIVERSE_CHANNELS, DmxOutput, DmxSettings

PORT = 6454
_HEADER = struct.Struct("<8sH")  # identification, operation code
_ADDRESS = struct.Struct(">H2B")  # protocol version, sequence, physical port
_DMX = 0x5000
_PROTOCOL = 14
_START = _HEADER.pack(b"Art-Net\0", _DMX)
_LENGTH = struct.pack(">H", UNIVERSE_CHANNELS)
# The system reports a refusal at a later packet only, so some must pass before it is forgotten.
_PACKETS_AFTER_REFUSAL = 10


@dataclass(frozen=True, kw_only=True)
class ArtnetSettings(DmxSettings):
    """Art-Net 4.

    Attributes:
        to: the node's host name or IPv4 address; a broadcast address reaches all nodes.
        port: UDP port, 1 to 65535; nodes listen at 6454.
        fixtures: the lamps. A universe is the Port-Address from 0 to 32767: net times 256 plus
            sub-net times 16 plus universe.

    Raises:
        UserError: a value is out of range.
    """

    to: str
    port: int = PORT

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_universes(0, 32767)
        if not 1 <= self.port <= 65535:
            raise UserError(f"port is {self.port}; it must lie between 1 and 65535")


class ArtnetOutput(DmxOutput):
    """Sends ArtDmx packets of 512 values. At the end the nodes keep the last values."""

    kind = "artnet"

    def __init__(self, settings: ArtnetSettings) -> None:
        super().__init__(settings.name or f"artnet {settings.to}", settings)
        self._to = (settings.to, settings.port)
        self._sequences: dict[int, int] = {}
        self._socket: socket.socket | None = None
        self._since_refusal = 0

    def open(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        host, port = self._to
        try:
            # Connected, so that the system tells whether somebody listens.
            self._socket.connect((resolve(host), port))
        except UserError:
            self.close()
            raise

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def _send_universe(self, universe: int, data: bytes) -> None:
        assert self._socket is not None
        sequence = self._sequences.get(universe, 0) % 255 + 1  # 0 means that there is none
        self._sequences[universe] = sequence
        address = _ADDRESS.pack(_PROTOCOL, sequence, 0) + struct.pack("<H", universe)
        try:
            self._socket.send(_START + address + _LENGTH + data)
        except ConnectionRefusedError:
            self.answer = "nobody listens at {}:{}".format(*self._to)
            self._since_refusal = 0
        else:
            self._since_refusal += 1
            if self._since_refusal > _PACKETS_AFTER_REFUSAL:
                self.answer = ""


def resolve(host: str) -> str:
    """Return the IPv4 address of a host.

    Raises:
        UserError: the name is not known.
    """
    with contextlib.suppress(OSError, UnicodeError):
        return socket.gethostbyname(host)
    raise UserError(f"to is {host}, which has no IPv4 address; check the name and the network")
