"""A connection that is already lost can be cut off once more."""

from __future__ import annotations

import pytest
from live_support import TIMEOUT_S, running_server, wait_for
from mer_engine import Engine

from realtime_mer.bench.raw_websocket import RawWebSocket


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
