"""Messages to the service manager that started the program (systemd: sd_notify(3))."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Mapping
from typing import Self


class ServiceManager:
    """Says that the program is ready, while it works, and that it stops.

        async with ServiceManager(healthy):
            ...

    Without a service manager, and on systems without Unix sockets, it does nothing.

    Args:
        healthy: asked in the event loop before each ping of the watchdog. The service manager
            restarts a program whose pings stay out.
        environ: `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`; default: the process's.
    """

    def __init__(
        self, healthy: Callable[[], bool], environ: Mapping[str, str] | None = None
    ) -> None:
        environ = os.environ if environ is None else environ
        self._healthy = healthy
        self._address = environ.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):  # an abstract socket of Linux
            self._address = "\0" + self._address[1:]
        period_us = environ.get("WATCHDOG_USEC", "")
        for_us = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._period_s = int(period_us) / 2e6 if for_us and period_us.isdecimal() else 0.0
        self._watchdog: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._tell("READY=1")
        if self._address and self._period_s > 0.0:
            self._watchdog = asyncio.create_task(self._ping())
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
        self._tell("STOPPING=1")

    async def _ping(self) -> None:
        while True:
            if self._healthy():
                self._tell("WATCHDOG=1")
            await asyncio.sleep(self._period_s)

    def _tell(self, message: str) -> None:
        if not self._address or not hasattr(socket, "AF_UNIX"):
            return
        # Nothing depends on whether the manager listens.
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with contextlib.suppress(OSError), channel:
            channel.setblocking(False)
            channel.sendto(message.encode(), self._address)
