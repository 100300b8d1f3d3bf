"""The addresses under which other devices of the network find this machine."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
import sys

_SIOCGIFADDR = 0x8915  # Linux: the IPv4 address of an interface


def own_addresses(*, ipv6: bool) -> list[str]:
    """Return this machine's addresses, that of the default route first. Nothing is sent.

    Args:
        ipv6: whether to return IPv6 addresses too, after those of IPv4.
    """
    found = _default_route(socket.AF_INET, "192.0.2.1")  # an address of documentation
    if sys.platform == "linux":
        found += _interfaces()
    if ipv6:
        found += _default_route(socket.AF_INET6, "2001:db8::1")
    return list(dict.fromkeys(filter(_is_reachable, found)))


def _default_route(family: socket.AddressFamily, target: str) -> list[str]:
    # Connecting a UDP socket only chooses its own address.
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((target, 9))
        return [str(probe.getsockname()[0])]
    return []


def _interfaces() -> list[str]:
    """Return the IPv4 addresses of all interfaces, also where there is no default route."""
    import fcntl

    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):  # an interface without an address
                request = struct.pack("256s", name.encode()[:15])
                reply = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
                found.append(socket.inet_ntoa(reply[20:24]))
    return found


def _is_reachable(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    return not (parsed.is_loopback or parsed.is_unspecified or parsed.is_link_local)
