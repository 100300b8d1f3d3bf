"""Reverse proxies in front of the server: whom to believe where a request comes from."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request

from realtime_mer.errors import UserError
from realtime_mer.server.ip_address import IpAddress, parse_ip

# Some proxies add the port: 192.0.2.1:5000 or [2001:db8::1]:5000.
_ENTRY = re.compile(r"\[(?P<v6>[0-9A-Fa-f:.]+)\](:[0-9]+)?|(?P<v4>[0-9.]+):[0-9]+")


class Proxies:
    """The proxies that are trusted to name the client of a request and its scheme.

    Args:
        addresses: of the proxies, or networks of them, for example `10.0.0.0/8`.

    Raises:
        UserError: a value is neither an address nor a network.
    """

    def __init__(self, addresses: Iterable[str] = ()) -> None:
        try:
            self._networks = [ipaddress.ip_network(address) for address in addresses]
        except ValueError as error:
            raise UserError(
                f"--proxy: {error}; give the address of the proxy or its network, for example "
                "127.0.0.1 or 172.16.0.0/12"
            ) from error

    def client_address(self, connection: ServerConnection, request: Request | None) -> str:
        """Return the client's IP address, without a port; empty if the connection is closed.

        This is the peer's. Where the peer is a trusted proxy, it is the last entry of
        `X-Forwarded-For`, which the proxy has added.
        """
        peer = _peer(connection)
        if peer is None:
            return ""
        named = _last(request, "X-Forwarded-For") if self._trusts(peer) else None
        return str((named and _address(named)) or peer)

    def scheme(self, connection: ServerConnection, request: Request) -> str:
        """Return the scheme that the client used: http or https.

        This is that of the connection, or what a trusted proxy says in `X-Forwarded-Proto`.
        """
        peer = _peer(connection)
        named = _last(request, "X-Forwarded-Proto") if self._trusts(peer) else None
        if named is not None and named.lower() in ("http", "https"):
            return named.lower()
        return "https" if is_encrypted(connection) else "http"

    def _trusts(self, peer: IpAddress | None) -> bool:
        return peer is not None and any(peer in network for network in self._networks)


def is_encrypted(connection: ServerConnection) -> bool:
    """Return whether a connection to this server itself is over TLS."""
    return connection.transport.get_extra_info("ssl_object") is not None


def _peer(connection: ServerConnection) -> IpAddress | None:
    peer = connection.remote_address
    return parse_ip(str(peer[0])) if peer else None


def _last(request: Request | None, name: str) -> str | None:
    """Return the last entry of a header that is a list."""
    values = [] if request is None else request.headers.get_all(name)
    return values[-1].split(",")[-1].strip() if values else None


def _address(entry: str) -> IpAddress | None:
    match = _ENTRY.fullmatch(entry)
    return parse_ip(entry if match is None else match["v6"] or match["v4"])
