"""Messages to the service manager, over a real socket."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_support import TIMEOUT_S
from page_support import ServerProcess

from realtime_mer.service_manager import ServiceManager

pytestmark = pytest.mark.skipif(
    not hasattr(socket, "AF_UNIX"), reason="this system has no Unix sockets"
)


class Manager:
    """The side of the service manager."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(TIMEOUT_S)

    async def next(self) -> str:
        return (await asyncio.to_thread(self.socket.recv, 1000)).decode()

    def waiting(self) -> list[str]:
        self.socket.setblocking(False)
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(1000).decode())
            except BlockingIOError:
                return messages


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(str(tmp_path / "notify"))
    yield manager
    manager.socket.close()


def environ(manager: Manager, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": manager.socket.getsockname(), **more}


def test_ready_and_stopping_without_a_watchdog(manager: Manager) -> None:
    async def run() -> None:
        async with ServiceManager(lambda: True, environ(manager)):
            assert await manager.next() == "READY=1"

    asyncio.run(run())
    assert manager.waiting() == ["STOPPING=1"]


def test_pings_while_the_program_is_healthy(manager: Manager) -> None:
    healthy = True

    async def run() -> None:
        nonlocal healthy
        given = environ(manager, WATCHDOG_USEC="2000", WATCHDOG_PID=str(os.getpid()))
        async with ServiceManager(lambda: healthy, given):
            assert await manager.next() == "READY=1"
            for _ in range(3):
                assert await manager.next() == "WATCHDOG=1"
            healthy = False
            manager.waiting()
            for _ in range(10):
                await asyncio.sleep(0.001)
            assert manager.waiting() == []
            healthy = True
            manager.socket.settimeout(TIMEOUT_S)
            assert await manager.next() == "WATCHDOG=1"

    asyncio.run(run())
    assert manager.waiting()[-1] == "STOPPING=1"


@pytest.mark.parametrize(
    "given",
    [
        {"WATCHDOG_USEC": "2000", "WATCHDOG_PID": "1"},  # for another process
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "0"},
    ],
)
def test_no_pings_that_nobody_asked_for(manager: Manager, given: dict[str, str]) -> None:
    async def run() -> None:
        async with ServiceManager(lambda: True, environ(manager, **given)):
            for _ in range(10):
                await asyncio.sleep(0.001)

    asyncio.run(run())
    assert manager.waiting() == ["READY=1", "STOPPING=1"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has abstract sockets")
def test_an_abstract_socket() -> None:
    manager = Manager(f"\0realtime-mer-{os.getpid()}")

    async def run() -> None:
        name = manager.socket.getsockname()[1:].decode()
        async with ServiceManager(lambda: True, {"NOTIFY_SOCKET": f"@{name}"}):
            assert await manager.next() == "READY=1"

    asyncio.run(run())
    manager.socket.close()


def test_a_manager_that_is_gone_disturbs_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        async with ServiceManager(lambda: True, {"NOTIFY_SOCKET": str(tmp_path / "gone")}):
            pass
        async with ServiceManager(lambda: True, {}):
            pass

    asyncio.run(run())


def test_the_server_reports_that_it_is_ready_works_and_stops(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.socket.getsockname())
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)

    async def run() -> None:
        server = ServerProcess("--input", "demo", "--port", "0")
        assert await manager.next() == "READY=1"
        with socket.create_connection(("127.0.0.1", server.port), TIMEOUT_S):
            pass
        for _ in range(3):
            assert await manager.next() == "WATCHDOG=1"
        server.stop()

    asyncio.run(run())
    assert manager.waiting()[-1] == "STOPPING=1"
