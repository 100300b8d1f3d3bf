"""sACN (ANSI E1.31): DMX values in UDP packets, multicast or to one receiver.

The packets are those of the library sacn. Its sender is not used: it sends from a thread of its
own, which ends when the network fails, and nobody is told.
"""

from __future__ import annotations

import contextlib
import socket
import uuid
from dataclasses import dataclass

from sacn.messages.data_packet import DataPacket

from realtime_mer.errors import UserError
from realtime_mer.outputs.fixtures import DmxOutput, DmxSettings
from realtime_mer.outputs.udp import host_and_port

PORT = 5568
MAX_PRIORITY = 200
_TERMINATIONS = 3  # as the standard asks
_MAX_NAME_BYTES = 63
_TTL = 8


@dataclass(frozen=True, kw_only=True)
class SacnSettings(DmxSettings):
    """sACN (E1.31).

    Attributes:
        to: HOST or HOST:PORT of a receiver with an IPv4 address, whose port is 5568; "" for
            multicast, which reaches all receivers of a universe.
        interface: IPv4 address of this machine from which to send; "" leaves it to the system.
            Multicast needs it where there are several networks.
        priority: 0 to 200; receivers follow the source of the highest.
        fixtures: the lamps, in universes from 1 to 63999.

    Raises:
        UserError: a value is out of range.
    """

    to: str = ""
    interface: str = ""
    priority: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_universes(1, 63999)
        if self.to:
            host_and_port(self.to, name="to", default_port=PORT)
        if not 0 <= self.priority <= MAX_PRIORITY:
            raise UserError(f"priority is {self.priority}; it must lie between 0 and 200")


class SacnOutput(DmxOutput):
    """Sends data packets of 512 values; `close` tells the receivers that the stream ends.

    Args:
        settings: see `SacnSettings`.
    """

    kind = "sacn"

    def __init__(self, settings: SacnSettings) -> None:
        name = settings.name or f"sacn {settings.to or 'multicast'}"
        super().__init__(name, settings)
        self._settings = settings
        self._label = name.encode()[:_MAX_NAME_BYTES].decode(errors="ignore")
        # The same in every show, so that receivers know the source again.
        self._source = uuid.uuid5(uuid.NAMESPACE_DNS, f"{socket.gethostname()}/{name}").bytes
        self._packets: dict[int, DataPacket] = {}
        self._to: tuple[str, int] | None = None
        self._socket: socket.socket | None = None

    def open(self) -> None:
        self._to = _resolved(self._settings.to) if self._settings.to else None
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, _TTL)
        interface = self._settings.interface
        if interface:
            try:
                self._socket.bind((interface, 0))
                self._socket.setsockopt(
                    socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(interface)
                )
            except OSError as error:
                self.close()
                raise UserError(
                    f"interface is {interface}, which is no IPv4 address of this machine"
                ) from error

    def close(self) -> None:
        if self._socket is None:
            return
        with contextlib.suppress(OSError):
            for packet in self._packets.values():
                packet.option_StreamTerminated = True
                for _ in range(_TERMINATIONS):
                    self._send(packet)
        self._socket.close()
        self._socket = None

    def _send_universe(self, universe: int, data: bytes) -> None:
        packet = self._packets.get(universe)
        if packet is None:
            packet = self._packets[universe] = DataPacket(
                tuple(self._source), self._label, universe, priority=self._settings.priority
            )
        packet.option_StreamTerminated = False
        packet.dmxData = tuple(data)
        self._send(packet)

    def _send(self, packet: DataPacket) -> None:
        assert self._socket is not None
        address = self._to or (packet.calculate_multicast_addr(), PORT)
        self._socket.sendto(bytes(packet.getBytes()), address)
        packet.sequence_increase()


def _resolved(to: str) -> tuple[str, int]:
    """Return the IPv4 address and the port of a receiver.

    Raises:
        UserError: the host is not known.
    """
    host, port = host_and_port(to, name="to", default_port=PORT)
    with contextlib.suppress(OSError, UnicodeError):
        return socket.gethostbyname(host), port
    raise UserError(f"the host {host} has no IPv4 address; check its name and the network")
