"""The machine's own addresses, found without a packet."""

from __future__ import annotations

import ipaddress
import socket

from realtime_mer.server.own_addresses import own_addresses


def test_the_addresses_belong_to_this_machine() -> None:
    addresses = own_addresses(ipv6=True)
    assert len(addresses) == len(set(addresses))
    for address in addresses:
        parsed = ipaddress.ip_address(address)
        assert not parsed.is_loopback
        family = socket.AF_INET if parsed.version == 4 else socket.AF_INET6
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))  # fails for an address of another machine
