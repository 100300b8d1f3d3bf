"""sACN at the receiver of the library sacn."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from live_support import wait_for
from stage_support import UdpReceiver, frame

from realtime_mer.errors import UserError
from realtime_mer.outputs.fixtures import Fixture

sacn = pytest.importorskip("sacn", reason="sacn is not installed (extra dmx)")

from sacn.messages.data_packet import DataPacket  # noqa: E402

from realtime_mer.outputs.sacn import PORT, SacnOutput, SacnSettings  # noqa: E402


def lamps(*universes: int) -> tuple[Fixture, ...]:
    return tuple(
        Fixture(name=f"lamp {universe}", universe=universe, address=1, kind="rgb")
        for universe in universes
    )


def free_port() -> int:
    with UdpReceiver() as receiver:
        return receiver.port


@dataclass
class Received:
    """What a receiver has seen: the last values of its universe, and changes."""

    data: tuple[int, ...] = ()
    changes: tuple[str, ...] = ()


@contextlib.contextmanager
def receiver(port: int, universe: int = 7, *, multicast: bool = False) -> Iterator[Received]:
    """Run the library's receiver at the loopback interface."""
    received = Received()

    def on_data(packet: DataPacket) -> None:
        received.data = tuple(packet.dmxData)

    def on_change(universe: int, changed: str) -> None:
        received.changes += (changed,)

    listening = sacn.sACNreceiver(bind_address="127.0.0.1", bind_port=port)
    listening.register_listener("universe", on_data, universe=universe)
    listening.register_listener("availability", on_change)
    if multicast:
        listening.join_multicast(universe)
    listening.start()
    try:
        yield received
    finally:
        listening.stop()


def test_a_receiver_gets_values_blackout_and_the_end() -> None:
    port = free_port()
    output = SacnOutput(SacnSettings(to=f"127.0.0.1:{port}", fixtures=lamps(7)))
    with receiver(port) as received:
        output.open()
        output.send(frame())
        wait_for(lambda: received.data[:4] == (255, 128, 0, 0), "the colour")
        assert len(received.data) == 512
        output.send(frame(dimmer=0.0))
        wait_for(lambda: not any(received.data), "the blackout")
        assert received.changes[0] == "available"
        output.close()
        # The library tells the end of a stream once for each of the three packets; silence, once.
        wait_for(lambda: received.changes.count("timeout") >= 3, "the end of the stream")
        output.open()
        output.send(frame())
        wait_for(lambda: received.data[:2] == (255, 128), "the stream goes on")
    output.close()
    assert output.sent == 3


def test_multicast_reaches_a_receiver_that_joined() -> None:
    universe = 61_237  # multicast has one port for all, so not one that others use
    output = SacnOutput(SacnSettings(interface="127.0.0.1", fixtures=lamps(universe)))
    with receiver(PORT, universe, multicast=True) as received:
        output.open()
        output.send(frame())
        wait_for(lambda: received.data[:2] == (255, 128), "the colour")
        output.close()
    assert output.name == "sacn multicast"


def test_packets_hold_name_priority_universe_sequence_and_the_end() -> None:
    with UdpReceiver() as listening:
        output = SacnOutput(
            SacnSettings(
                name="Hall ☀" * 20,
                to=f"localhost:{listening.port}",
                priority=150,
                fixtures=lamps(1, 63999),
            )
        )
        output.open()
        for _ in range(2):
            output.send(frame())
        output.close()
        output.close()
        packets = [
            DataPacket.make_data_packet(tuple(listening.receive())) for _ in range(2 * 2 + 2 * 3)
        ]
    for universe in (1, 63999):
        own = [packet for packet in packets if packet.universe == universe]
        assert [packet.sequence for packet in own] == [0, 1, 2, 3, 4]
        assert [packet.option_StreamTerminated for packet in own] == [False] * 2 + [True] * 3
        assert {packet.priority for packet in own} == {150}
        assert {packet.dmxData[:3] for packet in own} == {(255, 128, 0)}
    assert len({tuple(packet._cid) for packet in packets}) == 1
    assert packets[0].sourceName.startswith("Hall ☀Hall ☀")


def test_a_failing_network_is_an_error_of_the_output() -> None:
    # The system refuses a broadcast address, since broadcast is not asked for.
    output = SacnOutput(SacnSettings(to="255.255.255.255", fixtures=lamps(1)))
    output.open()
    with pytest.raises(OSError):  # noqa: PT011 - the text is the system's
        output.send(frame())
    output.close()


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"^fixtures: universe is 0 for lamp 0; it must lie between 1 and"
    ):
        SacnSettings(fixtures=lamps(0))
    with pytest.raises(UserError, match=r"^priority is 201; it must lie between 0 and 200$"):
        SacnSettings(priority=201, fixtures=lamps(1))
    with pytest.raises(UserError, match=r"^to is ':1'; it must be HOST or HOST:PORT"):
        SacnSettings(to=":1", fixtures=lamps(1))
    with pytest.raises(UserError, match=r"^the host nowhere\.invalid has no IPv4 address"):
        SacnOutput(SacnSettings(to="nowhere.invalid", fixtures=lamps(1))).open()
    with pytest.raises(UserError, match=r"^interface is 192\.0\.2\.1, which is no IPv4 address"):
        SacnOutput(SacnSettings(interface="192.0.2.1", fixtures=lamps(1))).open()


def test_a_source_is_known_again() -> None:
    def source() -> object:
        with UdpReceiver() as listening:
            output = SacnOutput(
                SacnSettings(name="hall", to=f"127.0.0.1:{listening.port}", fixtures=lamps(1))
            )
            output.open()
            output.send(frame())
            packet = DataPacket.make_data_packet(tuple(listening.receive()))
            output.close()
        return packet._cid

    assert source() == source() != (0,) * 16
