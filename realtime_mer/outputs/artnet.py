"""Art-Net: DMX values in UDP packets, to one node or to all of a network.

The packets are made here and not by stupidArtnet: that library sends every packet with the sequence
number 0 and prints failures on standard output instead of raising them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from realtime_mer.outputs.fixtures import UNIVERSE_CHANNELS, DmxOutput, DmxSettings
from realtime_mer.outputs.udp import UdpSender, host_and_port

PORT = 6454
MAX_UNIVERSE = 32767
# Identification, operation code (low byte first), protocol version.
_START = b"Art-Net\0" + struct.pack("<H", 0x5000) + struct.pack(">H", 14)
_LENGTH = struct.pack(">H", UNIVERSE_CHANNELS)


@dataclass(frozen=True, kw_only=True)
class ArtnetSettings(DmxSettings):
    """Art-Net 4.

    Attributes:
        to: HOST or HOST:PORT of the node, whose port is 6454; a broadcast address reaches all.
        fixtures: the lamps. A universe is the Port-Address from 0 to 32767: net times 256 plus
            sub-net times 16 plus universe.

    Raises:
        UserError: a value is out of range.
    """

    to: str

    def __post_init__(self) -> None:
        super().__post_init__()
        host_and_port(self.to, name="to", default_port=PORT)
        self.check_universes(0, MAX_UNIVERSE)


class ArtnetOutput(DmxOutput):
    """Sends ArtDmx packets of 512 values. At the end the nodes keep the last values.

    Args:
        settings: see `ArtnetSettings`.
    """

    kind = "artnet"

    def __init__(self, settings: ArtnetSettings) -> None:
        super().__init__(settings.name or f"artnet {settings.to}", settings)
        self._udp = UdpSender(*host_and_port(settings.to, name="to", default_port=PORT))
        self.waits = self._udp.waits
        self._sequences: dict[int, int] = {}

    def open(self) -> None:
        self._udp.open()

    def close(self) -> None:
        self._udp.close()

    def _send_universe(self, universe: int, data: bytes) -> None:
        sequence = self._sequences.get(universe, 0) % 255 + 1  # 0 means that there is none
        self._sequences[universe] = sequence
        physical_port = 0
        address = struct.pack("<BBH", sequence, physical_port, universe)
        self._udp.send(_START + address + _LENGTH + data)
        self.answer = self._udp.answer
        self.failing = self.answer != ""
