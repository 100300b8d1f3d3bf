"""Accepts connections, so that a flood of them keeps nobody out.

    listening socket -> Door -> (has sent something, in turn) -> the websocket library

The library would serve connections in the order of their arrival, and would accept more than the
process may open files. So the door accepts all, which is cheap, and passes them on in the turns of
their addresses, once they have sent their first bytes. If too many have not finished their
handshake, the oldest of the address with the most of them is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import Any

from realtime_mer.server.http import TLS_HANDSHAKE
from realtime_mer.server.limits import Limit, Refusals, Turns, address_of

# A few milliseconds; then the event loop may do other work.
ACCEPTS_AT_ONCE = 64
# Time of the event loop to accept a connection, to make the library's objects for it, and for the
# handshake of TLS.
ACCEPT_COST_S, CONNECTION_COST_S, TLS_COST_S = 0.00002, 0.0003, 0.002
RETRY_S = 0.1
# How often to look for connections that have sent nothing within the time for a handshake.
SWEEP_PERIOD_S = 1.0
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(slots=True, eq=False)
class _Guest:
    """A connection that has not finished its handshake, or is closing.

    Attributes:
        peer: the address as the socket gives it.
        silent_until: when it is closed if it has sent nothing; None once it has.
        inside: the library has it.
        transport: once it exists.
    """

    socket: Any
    peer: object
    address: str
    silent_until: float | None = None
    inside: bool = False
    transport: asyncio.Transport | None = None


class Door(socket.socket):
    """Stands in for the listening socket: accepts a connection when its turn comes.

    Args:
        listener: bound.
        max_pending: most connections whose handshake is not finished.
        timeout_s: a connection that sends nothing is closed after this time.
        turns: the turns of the addresses.
        refusals: counts and logs what is closed.
    """

    def __init__(
        self,
        listener: socket.socket,
        *,
        max_pending: int,
        timeout_s: float,
        turns: Turns,
        refusals: Refusals,
    ) -> None:
        inner, self._bell = socket.socketpair()
        super().__init__(inner.family, inner.type, inner.proto, inner.detach())
        self._bell.setblocking(False)
        listener.setblocking(False)
        self.listener = listener
        self._max_pending = max_pending
        self._timeout_s = timeout_s
        self._turns = turns
        self._refusals = refusals
        self._loop = asyncio.get_running_loop()
        self._ready: deque[_Guest] = deque()
        # By address and file descriptor; first what has made no progress for the longest time. A
        # closed socket stays until it is found closed, or until its descriptor has a new owner.
        self._guests: dict[str, dict[int, _Guest]] = {}
        self._addresses: dict[int, str] = {}
        self._shut = False
        self._retry: asyncio.TimerHandle | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def pending(self) -> int:
        """Connections that have not finished their handshake, or are closing."""
        return len(self._addresses)

    # Called by the event loop in place of the methods of a listening socket.

    def listen(self, backlog: int = 128, /) -> None:
        self.listener.listen(backlog)
        self._loop.add_reader(self.listener, self._accept)
        self._sweep()

    def getsockname(self) -> object:
        return self.listener.getsockname()

    def accept(self) -> tuple[socket.socket, object]:
        while self._ready and not self._shut:
            guest = self._ready.popleft()
            if guest.socket.fileno() >= 0:
                guest.inside = True
                return guest.socket, guest.peer
        self.recv(4096)
        raise BlockingIOError

    def close(self) -> None:
        if self.listener.fileno() >= 0:
            self._shut = True
            self._loop.remove_reader(self.listener)
            for timer in (self._retry, self._sweeper):
                if timer is not None:
                    timer.cancel()
            self.listener.close()
            self._bell.close()
            for guests in list(self._guests.values()):
                for descriptor, guest in list(guests.items()):
                    if guest.socket.fileno() == descriptor:
                        self._close_guest(guest)
        super().close()

    async def shut(self) -> None:
        """Pass no more connections on, before `close`.

        The event loop would lose one that it has just accepted, if its server were closed before
        there is a transport. That takes one turn of the loop.
        """
        self._shut = True
        await asyncio.sleep(0)

    async def wait_empty(self, timeout_s: float) -> None:
        """Wait after `close` until the connections it has closed are gone."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while any(
                    guest.socket.fileno() == descriptor
                    for guests in self._guests.values()
                    for descriptor, guest in guests.items()
                ):
                    await asyncio.sleep(0.005)

    # Called by the connections.

    def entered(self, transport: asyncio.Transport) -> None:
        """A connection has a transport: its handshake begins."""
        descriptor = _descriptor(transport)
        guest = self._guests.get(self._addresses.get(descriptor, ""), {}).get(descriptor)
        if self._shut:
            transport.abort()
        elif guest is not None:
            guest.transport = transport
            self._remember(descriptor, guest)

    def opened(self, transport: asyncio.Transport) -> None:
        """A connection has finished its handshake, and has shown who it is where that is needed."""
        self._forget(_descriptor(transport))

    def closing(self, transport: asyncio.Transport, address: str) -> None:
        """An open connection is being closed: it no longer has its place."""
        raw = transport.get_extra_info("socket")
        descriptor = _descriptor(transport)
        if descriptor >= 0 and not transport.is_closing():
            self._remember(descriptor, _Guest(raw, None, address, None, True, transport))

    def left(self, transport: asyncio.Transport) -> None:
        """A connection is closed."""
        self._forget(_descriptor(transport))

    def _accept(self) -> None:
        for _ in range(ACCEPTS_AT_ONCE):
            try:
                connection, peer = self.listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                self._out_of_files(error)
                return
            address = address_of(peer)
            self._turns.spend(address, ACCEPT_COST_S)
            connection.setblocking(False)
            guest = _Guest(connection, peer, address)
            self._remember(connection.fileno(), guest)
            # Often there is something already, or the client has gone.
            self._look(guest)
            while len(self._addresses) > self._max_pending:
                self._close_oldest()

    def _spoke(self, guest: _Guest) -> None:
        """A silent connection has sent its first bytes, or was closed."""
        self._loop.remove_reader(guest.socket)
        guest.silent_until = None
        self._look(guest)

    def _look(self, guest: _Guest) -> None:
        """Pass a connection on in its turn if it has sent something, else wait for that."""
        try:
            first = guest.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            guest.silent_until = self._loop.time() + self._timeout_s
            self._loop.add_reader(guest.socket, self._spoke, guest)
            return
        except OSError:
            first = b""
        if not first:
            self._forget(guest.socket.fileno())
            guest.socket.close()
        else:
            self._remember(guest.socket.fileno(), guest)
            cost_s = CONNECTION_COST_S + (TLS_COST_S if first == TLS_HANDSHAKE else 0.0)
            self._turns.run(guest.address, partial(self._pass_on, guest, cost_s))

    def _pass_on(self, guest: _Guest, cost_s: float) -> None:
        if guest.socket.fileno() < 0 or self._shut:
            return
        self._turns.spend(guest.address, cost_s)
        if not self._ready:
            self._bell.send(b"1")
        self._ready.append(guest)

    def _out_of_files(self, error: OSError) -> None:
        """Close the oldest handshake, and go on accepting a little later."""
        self._refusals.counts[Limit.FILES] += 1
        self._refusals.log(Limit.FILES, "connections wait to be accepted: %s", error.strerror)
        if self._addresses:
            self._close_oldest()
        self._loop.remove_reader(self.listener)
        self._retry = self._loop.call_later(
            RETRY_S, self._loop.add_reader, self.listener, self._accept
        )

    def _close_oldest(self) -> None:
        """Close the oldest connection of the address with the most, or forget that it is closed."""
        address, guests = max(self._guests.items(), key=lambda item: len(item[1]))
        descriptor, guest = next(iter(guests.items()))
        self._forget(descriptor)
        if guest.socket.fileno() == descriptor:
            reason = "the oldest of too many unfinished handshakes"
            self._refusals.limited(Limit.PENDING, address, reason)
            self._close_guest(guest)

    def _close_guest(self, guest: _Guest) -> None:
        """Close a connection at once, with a reset."""
        if guest.transport is not None:
            guest.transport.abort()
        elif guest.inside:
            # In a handshake of TLS; the library sees the end of the connection and closes it.
            with contextlib.suppress(OSError):  # the client has closed it
                guest.socket.shutdown(socket.SHUT_RDWR)
        else:
            if guest.silent_until is not None:
                self._loop.remove_reader(guest.socket)
            guest.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            guest.socket.close()

    def _sweep(self) -> None:
        """Close the connections that have sent nothing in time."""
        now = self._loop.time()
        late = [
            (descriptor, guest)
            for guests in self._guests.values()
            for descriptor, guest in guests.items()
            if guest.silent_until is not None and guest.silent_until <= now
        ]
        for descriptor, guest in late:
            self._forget(descriptor)
            self._close_guest(guest)
        self._sweeper = self._loop.call_later(SWEEP_PERIOD_S, self._sweep)

    def _remember(self, descriptor: int, guest: _Guest) -> None:
        self._forget(descriptor)
        self._addresses[descriptor] = guest.address
        self._guests.setdefault(guest.address, {})[descriptor] = guest

    def _forget(self, descriptor: int) -> None:
        address = self._addresses.pop(descriptor, None)
        if address is not None:
            guests = self._guests[address]
            del guests[descriptor]
            if not guests:
                del self._guests[address]


def can_stand_in() -> bool:
    """Return whether the event loop can watch two sockets for one server (not on Windows)."""
    return sys.platform != "win32"


def _descriptor(transport: asyncio.Transport) -> int:
    raw = transport.get_extra_info("socket")
    return -1 if raw is None else int(raw.fileno())
