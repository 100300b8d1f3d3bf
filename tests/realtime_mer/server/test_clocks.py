"""What viewers of a server are told about its clocks."""

from __future__ import annotations

import pytest
from live_support import receive, receive_kind, running_server
from mer_engine import Engine
from support import ManualClock

from realtime_mer.server import server as server_module
from realtime_mer.server.server import MerServer, ServerConfig


def test_a_server_for_browsers_tells_steps_of_the_clocks_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "HEALTH_PERIOD_S", 0.02)
    clock = ManualClock()
    server = MerServer(engine, config=ServerConfig(port=0), clock=clock)
    with running_server(engine, server=server) as running, running.connect() as viewer:
        receive_kind(viewer, "health")  # the health task runs

        def step() -> None:
            clock.sleep(60.0)
            clock.set_wall(3600.0)

        running.call(step)
        told = [receive_kind(viewer, "warning") for _ in range(2)]
        assert [message["code"] for message in told] == ["computer_slept", "clock_changed"]
        assert "slept for 60 s" in told[0]["message"]
        later = [receive(viewer)["type"] for _ in range(5)]
    assert set(later) == {"health"}
