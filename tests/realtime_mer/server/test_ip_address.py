"""Addresses of clients, and what counts as one."""

from __future__ import annotations

import ipaddress

import pytest

from realtime_mer.server.ip_address import network_of, parse_ip


@pytest.mark.parametrize(
    ("text", "address", "network"),
    [
        ("192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::1", "fe80::/64"),
    ],
)
def test_addresses(text: str, address: str, network: str) -> None:
    assert parse_ip(text) == ipaddress.ip_address(address)
    assert network_of(text) == network


@pytest.mark.parametrize("text", ["", "a closed connection", "192.0.2.7:80", "[::1]", "1.2.3"])
def test_other_text_is_no_address(text: str) -> None:
    assert parse_ip(text) is None
    assert network_of(text) == text
