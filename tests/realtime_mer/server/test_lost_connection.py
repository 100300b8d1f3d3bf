"""Connections that end while something is still to be sent."""

from __future__ import annotations

import pytest
from live_support import TIMEOUT_S, running_server, wait_for
from mer_engine import Engine

from realtime_mer.bench.raw_websocket import RawWebSocket, masked_frame


def test_a_connection_whose_last_bytes_were_read_late_can_be_cut_off(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    with running_server(engine) as running:
        # Errors of a connection's task are shown to nobody else.
        caplog.set_level("ERROR", logger="realtime_mer.websockets")
        client = RawWebSocket.open(running.port)
        wait_for(lambda: running.server.viewers == 1, "the client is a viewer")
        (viewer,) = running.server._viewers
        transport = viewer._connection.transport

        def close() -> int:
            # More than the kernel takes; closing then waits until the client has read it.
            transport.write(bytes(2**24))
            transport.close()
            return transport.get_write_buffer_size()

        assert running.call(close) > 0
        client.socket.settimeout(TIMEOUT_S)
        while client.socket.recv(2**20):
            pass
        client.close()
        wait_for(lambda: running.server.viewers == 0, "the client is gone")
        running.call(transport.abort)
    assert not caplog.records


def test_a_viewer_that_says_goodbye_before_it_has_read_all_is_closed(engine: Engine) -> None:
    """Not half-closed: asyncio would log an exception if the viewer is gone by then."""
    with running_server(engine) as running:
        client = RawWebSocket.open(running.port)
        wait_for(lambda: running.server.viewers == 1, "the client is a viewer")
        (viewer,) = running.server._viewers
        connection = viewer._connection

        def take_goodbye() -> bool:
            connection.transport.write(bytes(2**24))
            connection.data_received(masked_frame(0x8, b"\x03\xe8"))
            return connection.transport.is_closing()

        assert running.call(take_goodbye)
        client.close()
        wait_for(lambda: running.server.viewers == 0, "the client is gone")
