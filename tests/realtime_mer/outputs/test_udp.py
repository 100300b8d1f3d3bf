"""Datagrams to one address, and what is told of those who do not listen."""

from __future__ import annotations

import socket

import pytest
from live_support import TIMEOUT_S, wait_for
from osc_support import free_udp_port, udp_receiver

from realtime_mer.errors import UserError
from realtime_mer.outputs import udp
from realtime_mer.outputs.udp import UdpSender, host_and_port


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:7000", "127.0.0.1", 7000),
        ("stage-left.local:65535", "stage-left.local", 65535),
        ("[::1]:7000", "::1", 7000),
        ("255.255.255.255:9000", "255.255.255.255", 9000),
    ],
)
def test_addresses(text: str, host: str, port: int) -> None:
    assert host_and_port(text, name="to") == (host, port)


def test_a_default_port() -> None:
    assert host_and_port("wled.local", name="to", default_port=21324) == ("wled.local", 21324)
    assert host_and_port("wled.local:9", name="to", default_port=21324) == ("wled.local", 9)
    assert host_and_port("[fe80::1]", name="to", default_port=21324) == ("fe80::1", 21324)


@pytest.mark.parametrize(
    "text",
    ["", "127.0.0.1", ":7000", "host:0", "host:65536", "host:-1", "host:osc", "::1:7000", "a b:1",
     "http://host:1", "host:1/x", "me@host:1", "host:1?x", "[::1:7000", "a\nb:1"],
)  # fmt: skip
def test_no_addresses(text: str) -> None:
    with pytest.raises(UserError, match=r"^to is .*127\.0\.0\.1:7000"):
        host_and_port(text, name="to")


def test_it_sends_and_is_closed_twice() -> None:
    with udp_receiver() as receiver, UdpSender(*receiver.getsockname()) as sender:
        sender.open()
        sender.send(b"one")
        assert receiver.recv(100) == b"one"
        assert sender.answer == ""
        sender.close()


def test_ipv6() -> None:
    try:
        with udp_receiver("::1") as receiver, UdpSender("::1", receiver.getsockname()[1]) as sender:
            sender.open()
            sender.send(b"six")
            assert receiver.recv(100) == b"six"
    except OSError as error:
        pytest.skip(f"this machine has no IPv6: {error}")


def test_a_name_prefers_ipv4() -> None:
    with udp_receiver() as receiver, UdpSender("localhost", receiver.getsockname()[1]) as sender:
        sender.open()
        sender.send(b"four")
        assert receiver.recv(100) == b"four"


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 64])
def test_an_unknown_host(host: str) -> None:
    with pytest.raises(UserError, match=f"the host {host} is not known .*check its name"):
        UdpSender(host, 7000).open()


def test_nobody_listens_until_somebody_does(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_udp_port()
    with UdpSender("127.0.0.1", port) as sender:
        sender.open()

        def is_refused() -> bool:
            sender.send(b"anybody?")
            return sender.answer != ""

        wait_for(is_refused, "a refusal")
        assert sender.answer == f"nobody listens at 127.0.0.1:{port}"
        # Not one datagram is lost once somebody listens, although the last one was refused.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
            receiver.settimeout(TIMEOUT_S)
            receiver.bind(("127.0.0.1", port))
            sender.send(b"now")
            assert receiver.recv(100) == b"now"
            monkeypatch.setattr(udp, "REFUSAL_S", 0.0)
            sender.send(b"and then")
            assert sender.answer == ""


def test_broadcast() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.settimeout(TIMEOUT_S)
        receiver.bind(("", 0))
        with UdpSender("127.255.255.255", receiver.getsockname()[1]) as sender:
            sender.open()
            sender.send(b"all")
            assert receiver.recv(100) == b"all"


def test_multicast() -> None:
    group = "239.192.7.7"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.settimeout(TIMEOUT_S)
        receiver.bind(("", 0))
        with UdpSender(group, receiver.getsockname()[1]) as sender:
            try:
                joined = socket.inet_aton(group) + socket.inet_aton("0.0.0.0")
                receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, joined)
                sender.open()
            except OSError as error:
                pytest.skip(f"no network of this machine has multicast: {error}")
            sender.send(b"group")
            assert receiver.recv(100) == b"group"
