"""Sends datagrams to one address, and tells when nobody listens there."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import time
from urllib.parse import urlsplit

from realtime_mer.closable import Closable
from realtime_mer.errors import UserError

REFUSAL_S = 3.0
"""A refusal counts for this long: systems report at most about one a second."""


def host_and_port(text: str, *, name: str, default_port: int | None = None) -> tuple[str, int]:
    """Return the host and the port of an address.

    Args:
        text: HOST:PORT, or [HOST]:PORT with an IPv6 address.
        name: of the setting, for the message.
        default_port: where the port may be left out.

    Raises:
        UserError: it is not such an address, or the port is not 1 to 65535.
    """
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, default_port if parts.port is None else parts.port
        valid = parts.netloc == text and re.search(r"[@\s]", text) is None
    except ValueError:
        valid = False
    if not valid or not host or not port:
        example = "192.168.1.20" if default_port else "127.0.0.1:7000"
        form = "HOST or HOST:PORT" if default_port else "HOST:PORT"
        raise UserError(
            f"{name} is {text!r}; it must be {form} with a port from 1 to 65535, such as {example} "
            "or [::1]:7000"
        )
    return host, port


class UdpSender(Closable):
    """Sends datagrams to one address: of a machine, a broadcast or a multicast group.

    Args:
        host: name or address; resolved by `open`, IPv4 before IPv6, because many programs listen
            only there.
        port: 1 to 65535.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._socket: socket.socket | None = None
        self._refused_at: float | None = None

    def open(self) -> None:
        """Resolve the host and open the socket.

        Raises:
            UserError: the host does not resolve.
            OSError: no network leads there.
        """
        self.close()
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that no host may have
            reason = getattr(error, "strerror", None) or error
            raise UserError(
                f"the host {self._host} is not known ({reason}); check its name, or use its address"
            ) from error
        family, kind, protocol, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
        opened = socket.socket(family, kind, protocol)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            opened.connect(address)  # only a connected socket is told of refusals
            opened.setblocking(False)
        except OSError:
            opened.close()
            raise
        self._socket = opened

    @property
    def waits(self) -> bool:
        """Whether `open` waits for a name server; nothing else ever waits."""
        try:
            ipaddress.ip_address(self._host)
        except ValueError:
            return True
        return False

    def send(self, datagram: bytes | bytearray) -> None:
        """Send a datagram. Nobody who listens is no error: see `answer`.

        Raises:
            OSError: it cannot be sent.
        """
        assert self._socket is not None, "send without open"
        try:
            self._socket.send(datagram)
        except ConnectionRefusedError:  # of an earlier datagram; this one was not sent
            self._refused_at = time.monotonic()
            with contextlib.suppress(ConnectionRefusedError):
                self._socket.send(datagram)

    @property
    def answer(self) -> str:
        """That nobody listens, if the receiver's machine said so lately; else ""."""
        if self._refused_at is None or time.monotonic() - self._refused_at > REFUSAL_S:
            return ""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"nobody listens at {host}:{self._port}"

    def close(self) -> None:
        self._refused_at = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
