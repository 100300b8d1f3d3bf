"""Art-Net: packets at a real socket, read by the published format."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import pytest
from live_support import wait_for
from stage_support import UdpReceiver, frame

from realtime_mer.errors import UserError
from realtime_mer.outputs.artnet import ArtnetOutput, ArtnetSettings
from realtime_mer.outputs.fixtures import Fixture
from realtime_mer.outputs.output import Action


@dataclass(frozen=True)
class ArtDmx:
    """A packet by the specification of Art-Net 4."""

    sequence: int
    physical: int
    sub_universe: int
    net: int
    data: bytes

    @classmethod
    def parse(cls, packet: bytes) -> ArtDmx:
        assert packet[:8] == b"Art-Net\0"
        assert struct.unpack_from("<H", packet, 8) == (0x5000,)
        assert struct.unpack_from(">H", packet, 10) == (14,)
        sequence, physical, sub_universe, net, length = struct.unpack_from(">4BH", packet, 12)
        assert length == len(packet) - 18
        return cls(sequence, physical, sub_universe, net, packet[18:])


def lamps(*universes: int) -> tuple[Fixture, ...]:
    return tuple(
        Fixture(name=f"lamp {universe}", universe=universe, address=510, kind="rgb")
        for universe in universes
    )


def test_packets_hold_universe_sequence_and_values() -> None:
    with UdpReceiver() as node:
        output = ArtnetOutput(
            ArtnetSettings(to=f"127.0.0.1:{node.port}", fixtures=lamps(0, 0x1234))
        )
        output.open()
        for _ in range(2):
            output.send(frame())
        first, second, third, _ = (ArtDmx.parse(node.receive()) for _ in range(4))
        output.close()
        output.close()
    assert output.sent == 4
    assert (first.net, first.sub_universe) == (0, 0)
    assert (second.net, second.sub_universe) == (0x12, 0x34)
    assert (first.sequence, second.sequence, third.sequence) == (1, 1, 2)
    assert first.data == second.data == bytes(509) + bytes([255, 128, 0])


def test_the_sequence_never_is_zero() -> None:
    with UdpReceiver() as node:
        output = ArtnetOutput(ArtnetSettings(to=f"127.0.0.1:{node.port}", fixtures=lamps(0)))
        output.open()
        sequences = []
        for _ in range(300):
            output.send(frame())
            sequences.append(ArtDmx.parse(node.receive()).sequence)
        output.close()
    assert sequences == [*range(1, 256), *range(1, 46)]


def test_a_blackout_and_a_scene_reach_the_node() -> None:
    with UdpReceiver() as node:
        output = ArtnetOutput(ArtnetSettings(to=f"127.0.0.1:{node.port}", fixtures=lamps(3)))
        output.open()
        output.act(Action("storm", {"fixture": "lamp 3", "color": [0, 0, 1]}))
        output.send(frame())
        output.send(frame(dimmer=0.0))
        lit, dark = (ArtDmx.parse(node.receive()) for _ in range(2))
        output.close()
    assert lit.data[509:] == bytes([0, 0, 255])
    assert not any(dark.data)


def test_a_node_that_does_not_listen_is_told_until_it_does() -> None:
    with UdpReceiver() as node:
        port = node.port
    output = ArtnetOutput(ArtnetSettings(to=f"127.0.0.1:{port}", fixtures=lamps(0)))
    output.open()

    def sent(answer: str) -> bool:
        output.send(frame())
        return output.answer == answer

    wait_for(lambda: sent(f"nobody listens at 127.0.0.1:{port}"), "the refusal")
    with UdpReceiver(port) as node:
        wait_for(lambda: sent(""), "the node")
        ArtDmx.parse(node.receive())
    output.close()


def test_an_address_of_broadcast_is_allowed() -> None:
    settings = ArtnetSettings(to="127.255.255.255:9", fixtures=lamps(0))
    output = ArtnetOutput(settings)
    output.open()
    output.send(frame())
    output.close()
    assert (output.sent, output.answer) == (1, "")


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"^fixtures: universe is 32768 for lamp 32768; .* 0 and 32767$"
    ):
        ArtnetSettings(to="127.0.0.1", fixtures=lamps(32768))
    with pytest.raises(UserError, match=r"^to is '127.0.0.1:x'; it must be HOST or HOST:PORT"):
        ArtnetSettings(to="127.0.0.1:x", fixtures=lamps(0))
    output = ArtnetOutput(ArtnetSettings(to="nowhere.invalid", fixtures=lamps(0)))
    with pytest.raises(UserError, match=r"^the host nowhere\.invalid is not known"):
        output.open()
    output.close()
