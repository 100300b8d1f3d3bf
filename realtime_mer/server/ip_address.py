"""IP addresses of clients and proxies."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def parse_ip(text: str) -> IpAddress | None:
    """Return an address without its zone (`%eth0`); None for anything else.

    A socket that takes both families shows IPv4 as ::ffff:192.0.2.1, which becomes IPv4.
    """
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped) or address


@lru_cache(1024)
def network_of(text: str) -> str:
    """Return what limits count as one address: an IPv4 address, or the /64 network of an IPv6 one.

    Whoever has an IPv6 address usually has all addresses of its /64. Other text stays as it is.
    """
    address = parse_ip(text)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return text if address is None else str(address)
