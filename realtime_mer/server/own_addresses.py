"""The network addresses and names of this machine."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
import sys
from pathlib import Path

# Of the documentation (RFC 5737). Connecting a UDP socket sends nothing; it chooses our address.
_ELSEWHERE = ("192.0.2.1", 9)
_INTERFACE_ADDRESS = 0x8915  # SIOCGIFADDR
_GLOBAL_SCOPE, _TEMPORARY = 0x00, 0x01


def own_addresses() -> list[str]:
    """Return the addresses of this machine without those of the loopback; sends nothing.

    The address of the default route comes first. Temporary IPv6 addresses (RFC 8981) are left out:
    they change every day.
    """
    found: list[str] = []
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(_ELSEWHERE)
        found.append(probe.getsockname()[0])
    found += _linux_addresses() if sys.platform == "linux" else _resolved_addresses()
    usable = [a for a in found if not ipaddress.ip_address(a).is_loopback]
    return list(dict.fromkeys(usable))


def own_names() -> list[str]:
    """Return the names by which other devices know this machine, in lower case."""
    name = socket.gethostname().lower()
    short = name.split(".")[0]
    return list(dict.fromkeys((name, short, f"{short}.local")))


def _linux_addresses() -> list[str]:
    import fcntl

    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):  # an interface without an address
                asked = struct.pack("256s", name.encode()[:15])
                answer = fcntl.ioctl(probe, _INTERFACE_ADDRESS, asked)
                found.append(socket.inet_ntoa(answer[20:24]))
    with contextlib.suppress(OSError):
        for line in Path("/proc/net/if_inet6").read_text().splitlines():
            address, _, _, scope, flags, _ = line.split()
            if int(scope, 16) == _GLOBAL_SCOPE and not int(flags, 16) & _TEMPORARY:
                found.append(str(ipaddress.IPv6Address(bytes.fromhex(address))))
    return found


def _resolved_addresses() -> list[str]:
    with contextlib.suppress(OSError):
        return [
            str(entry[4][0])
            for entry in socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM)
            if "%" not in str(entry[4][0])
        ]
    return []
