"""A websocket over TLS whose socket is used by two threads.

The library reads in a thread of its own while other threads send. OpenSSL allows one thread at a
time in a connection, and `ssl.SSLSocket` does not see to that: a connection may end without a
reason, and the process may crash (https://github.com/python/cpython/issues/143756).
"""

from __future__ import annotations

import selectors
import ssl
import threading
import time
from collections.abc import Callable
from functools import partial
from socket import socket
from typing import Any, TypeVar, cast

from websockets.client import ClientProtocol
from websockets.sync.client import ClientConnection

_Result = TypeVar("_Result")
_WAIT_S = 0.25  # how soon a thread that waits for the other side sees that the socket is closed


class TlsSocket:
    """Lets one thread at a time into a TLS connection, and none wait in it.

    It has the methods of a blocking socket that `ClientConnection` uses.

    Args:
        tls: after its handshake; it belongs to this object.
    """

    def __init__(self, tls: ssl.SSLSocket) -> None:
        self._tls = tls
        self._one_thread = threading.Lock()
        self._timeout_s: float | None = None
        tls.setblocking(False)

    def settimeout(self, timeout_s: float | None) -> None:
        """Limit how long `recv` and `sendall` wait for the other side; None: for ever."""
        self._timeout_s = timeout_s

    def recv(self, size: int) -> bytes:
        """Return up to `size` bytes, and none at the end of the connection.

        Raises:
            OSError: the connection is broken or closed, or the time is over.
        """
        return self._call(partial(self._tls.recv, size), selectors.EVENT_READ)

    def sendall(self, data: bytes) -> None:
        """Send all bytes; called by one thread at a time.

        Raises:
            OSError: the connection is broken or closed, or the time is over.
        """
        rest = memoryview(data)
        while rest:
            rest = rest[self._call(partial(self._tls.send, rest), selectors.EVENT_WRITE) :]

    def shutdown(self, how: int) -> None:
        """End one half of the connection, as `socket.shutdown` does."""
        with self._one_thread:
            self._tls.shutdown(how)

    def close(self) -> None:
        """Close the socket; callable more than once."""
        with self._one_thread:
            self._tls.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tls, name)

    def _call(self, call: Callable[[], _Result], event: int) -> _Result:
        """Return the result of `call`, as soon as it need not wait for `event`."""
        end = None if self._timeout_s is None else time.monotonic() + self._timeout_s
        while True:
            with self._one_thread:
                try:
                    return call()
                except ssl.SSLWantReadError:
                    awaited = selectors.EVENT_READ
                except ssl.SSLWantWriteError:
                    awaited = selectors.EVENT_WRITE
                except BlockingIOError:  # after `shutdown` it is a socket without TLS
                    awaited = event
                selector = selectors.DefaultSelector()
                selector.register(self._tls, awaited)  # here no other thread can close it
            with selector:
                left = _WAIT_S if end is None else min(_WAIT_S, end - time.monotonic())
                if left <= 0.0:
                    raise TimeoutError("the other side of the TLS connection does not answer")
                selector.select(left)


class TlsConnection(ClientConnection):
    """A connection for `websockets.sync.client.connect`, which may be secure (wss) or not."""

    def __init__(self, sock: socket, protocol: ClientProtocol, **options: Any) -> None:
        if isinstance(sock, ssl.SSLSocket):
            sock = cast("socket", TlsSocket(sock))
        super().__init__(sock, protocol, **options)
