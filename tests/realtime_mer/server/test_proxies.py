"""Whom the server believes where a request comes from."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Request

from realtime_mer.errors import UserError
from realtime_mer.server.proxies import Proxies


def connection(peer: str | None, *, tls: bool = False) -> ServerConnection:
    transport = SimpleNamespace(get_extra_info=lambda name: object() if tls else None)
    address = None if peer is None else (peer, 5000)
    return cast(ServerConnection, SimpleNamespace(remote_address=address, transport=transport))


def request(*headers: tuple[str, str]) -> Request:
    return Request("/ws", Headers(headers))


FORWARDED = request(
    ("X-Forwarded-For", "203.0.113.66, 198.51.100.7"), ("X-Forwarded-Proto", "https")
)


@pytest.mark.parametrize(
    ("trusted", "peer", "client", "scheme"),
    [
        ([], "127.0.0.1", "127.0.0.1", "http"),
        (["127.0.0.1"], "127.0.0.1", "198.51.100.7", "https"),
        (["127.0.0.1"], "::ffff:127.0.0.1", "198.51.100.7", "https"),
        (["127.0.0.1"], "127.0.0.2", "127.0.0.2", "http"),
        (["10.0.0.0/8", "fd00::/8"], "fd00::5", "198.51.100.7", "https"),
        (["10.0.0.0/8"], "10.1.2.3", "198.51.100.7", "https"),
    ],
)
def test_only_a_trusted_proxy_is_believed(
    trusted: list[str], peer: str, client: str, scheme: str
) -> None:
    proxies = Proxies(trusted)
    assert proxies.client_address(connection(peer), FORWARDED) == client
    assert proxies.scheme(connection(peer), FORWARDED) == scheme


@pytest.mark.parametrize(
    ("entries", "client"),
    [
        (["198.51.100.7"], "198.51.100.7"),
        (["203.0.113.66", "198.51.100.7"], "198.51.100.7"),  # the header twice
        (["198.51.100.7:4000"], "198.51.100.7"),
        (["[2001:db8::7]:4000"], "2001:db8::7"),
        (["[2001:db8::7]"], "2001:db8::7"),
        (["2001:db8::7"], "2001:db8::7"),
        (["198.51.100.7, unknown"], "127.0.0.1"),
        (["198.51.100.7, "], "127.0.0.1"),
        (["<script>"], "127.0.0.1"),
        ([], "127.0.0.1"),
    ],
)
def test_the_last_entry_counts_where_it_is_an_address(entries: list[str], client: str) -> None:
    asked = request(*(("X-Forwarded-For", entry) for entry in entries))
    assert Proxies(["127.0.0.1"]).client_address(connection("127.0.0.1"), asked) == client


def test_without_a_peer_and_without_a_request() -> None:
    proxies = Proxies(["127.0.0.1"])
    assert proxies.client_address(connection(None), FORWARDED) == ""
    assert proxies.client_address(connection("127.0.0.1"), None) == "127.0.0.1"
    assert proxies.client_address(connection("fe80::1%eth0"), FORWARDED) == "fe80::1"


def test_a_scheme_that_no_page_has_is_ignored() -> None:
    proxies = Proxies(["127.0.0.1"])
    for value, tls, scheme in (
        ("ftp", False, "http"),
        ("", True, "https"),
        ("https, http", True, "http"),
        ("HTTPS", False, "https"),
    ):
        asked = request(("X-Forwarded-Proto", value))
        assert proxies.scheme(connection("127.0.0.1", tls=tls), asked) == scheme


@pytest.mark.parametrize("address", ["nginx", "10.0.0.0/33", "10.0.0.1/8", ""])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(UserError, match=r"--proxy: .*172.16.0.0/12"):
        Proxies([address])
