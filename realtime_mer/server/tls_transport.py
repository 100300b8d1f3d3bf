"""TLS between a socket and its connection.

The TLS layer of asyncio keeps what a slow client has not taken in a buffer that it does not show,
so a viewer that reads nothing would look as if it kept up. It also cannot end only the sending half
of a connection. Here all that waits for the client is in the buffer of the socket's own transport,
as without TLS. `ssl.SSLObject` does the cryptography.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Any

from realtime_mer.server.audio_connection import AudioConnection
from realtime_mer.server.http import TLS_HANDSHAKE
from realtime_mer.server.limits import Refusals, Turns, address_of

HANDSHAKE_TIMEOUT_S = 5.0
_RECORD_BYTES = 16 * 2**10


class TlsHandshakes:
    """Lets connections in after their TLS handshake, and those that speak plain HTTP as they are.

    Sockets that finish no handshake in `HANDSHAKE_TIMEOUT_S` are closed.

    Args:
        context: returns the context of the next connection.
        turns: of the addresses. A step of a handshake may take 5 ms, and a client makes the server
            do one with 300 bytes.
        refusals: counts and logs handshakes that failed.
    """

    def __init__(
        self,
        context: Callable[[], ssl.SSLContext],
        turns: Turns,
        refusals: Refusals,
    ) -> None:
        self.context = context
        self.turns = turns
        self._refusals = refusals
        self._waiting: set[TlsTransport] = set()

    def guard(self, connection: AudioConnection) -> asyncio.Protocol:
        """Return the protocol of a new socket, which opens the connection when TLS is ready."""
        return TlsTransport(self, connection)

    def close(self) -> None:
        """Abort all handshakes."""
        for transport in list(self._waiting):
            transport.drop()

    def enter(self, transport: TlsTransport) -> None:
        """Note a socket whose handshake begins."""
        self._waiting.add(transport)

    def leave(self, transport: TlsTransport) -> bool:
        """Note the end of a handshake; return False if it is known already."""
        known = transport in self._waiting
        self._waiting.discard(transport)
        return known

    def log_failure(self, address: str, reason: str) -> None:
        """Count a failed handshake and say so, at most once a minute."""
        self._refusals.log("tls", "a TLS handshake of %s failed: %s", address, reason)


class TlsTransport(asyncio.Protocol, asyncio.Transport):
    """The protocol of a socket and, after the handshake, the transport of its connection.

    Args:
        handshakes: makes the transport.
        connection: gets plain bytes.

    Attributes:
        address: of the client.
    """

    def __init__(self, handshakes: TlsHandshakes, connection: AudioConnection) -> None:
        super().__init__()
        self.address = ""
        self._handshakes = handshakes
        self._connection = connection
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        self._open = False
        self._waiting = False
        self._ended = False
        self._full = False
        self._raw: asyncio.Transport
        self._timer: asyncio.TimerHandle

    # The protocol of the socket.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._raw = transport
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if peer else "a closed connection"
        self._timer = self._connection.loop.call_later(HANDSHAKE_TIMEOUT_S, self._give_up)
        self._handshakes.enter(self)

    def data_received(self, data: bytes) -> None:
        if self._tls is None:
            if not data.startswith(TLS_HANDSHAKE):
                self._finish_handshake()
                self._raw.set_protocol(self._connection)
                self._connection.connection_made(self._raw)
                self._connection.data_received(data)
                return
            context = self._handshakes.context()
            self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._incoming.write(data)
        if self._open:
            self._decrypt(self._tls)
        elif not self._waiting:
            self._waiting = True
            self._raw.pause_reading()
            self._handshakes.turns.run(
                address_of(self._raw.get_extra_info("peername")), self._proceed
            )

    def eof_received(self) -> None:
        if self._open:
            self._connection.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._open:
            self._connection.connection_lost(exc)
        elif self._handshakes.leave(self):
            self._timer.cancel()
            if self._tls is not None:
                self._handshakes.log_failure(self.address, "the client broke it off")

    def pause_writing(self) -> None:
        self._full = True
        if self._open:
            self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._full = False
        if self._connection.paused:
            self._connection.resume_writing()

    # The handshake.

    def fail(self, reason: str) -> None:
        """End a handshake for a reason, which goes to the log."""
        self._handshakes.log_failure(self.address, reason)
        self.drop()

    def drop(self) -> None:
        """End a handshake at once."""
        self._finish_handshake()
        self._raw.abort()

    def _give_up(self) -> None:
        if self._tls is None:  # Browsers open sockets in reserve; nothing is wrong with silence.
            self.drop()
        else:
            self.fail(f"it took more than {HANDSHAKE_TIMEOUT_S:g} s")

    def _finish_handshake(self) -> None:
        self._timer.cancel()
        self._handshakes.leave(self)

    def _proceed(self) -> None:
        self._waiting = False
        if self._tls is not None and not self._raw.is_closing():
            self._raw.resume_reading()
            if self._shake_hands(self._tls):
                self._decrypt(self._tls)

    def _shake_hands(self, tls: ssl.SSLObject) -> bool:
        """Go on with the handshake; return whether the connection is open now."""
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except ssl.SSLError as error:
            self._flush()  # the alert that says why
            self._finish_handshake()
            self._handshakes.log_failure(self.address, _reason(error))
            self._raw.close()
            return False
        self._finish_handshake()
        self._flush()
        self._open = True
        self._connection.connection_made(self)
        return True

    # Bytes in and out.

    def _decrypt(self, tls: ssl.SSLObject) -> None:
        parts: list[bytes] = []
        ended = False
        try:
            while part := tls.read(_RECORD_BYTES):
                parts.append(part)
            ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            ended = True
        except ssl.SSLError:
            self.abort()
        if self._full and self._outgoing.pending:
            # Only a client that asks for new keys, again and again, and reads none of the answers.
            self.abort()
        self._flush()
        if parts:
            self._connection.data_received(b"".join(parts))
        if ended and not self._raw.is_closing():
            self._connection.eof_received()
            self.close()

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data:
            self._raw.write(data)

    def _end(self) -> None:
        """Say that nothing more will be sent."""
        if self._open and not self._ended:
            self._ended = True
            assert self._tls is not None
            with contextlib.suppress(ssl.SSLError):  # the client has not answered yet
                self._tls.unwrap()
            self._flush()

    # The transport of the connection.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._ended or self._raw.is_closing():
            return
        assert self._tls is not None
        rest = memoryview(data)
        while rest:
            rest = rest[self._tls.write(rest) :]
        self._flush()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._end()
        self._raw.write_eof()

    def close(self) -> None:
        self._end()
        self._raw.close()

    def abort(self) -> None:
        self._raw.abort()

    def is_closing(self) -> bool:
        return self._raw.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._tls if name == "ssl_object" else self._raw.get_extra_info(name, default)

    def is_reading(self) -> bool:
        return self._raw.is_reading()

    def pause_reading(self) -> None:
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        self._raw.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._raw.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self._raw.get_write_buffer_size()


def _reason(error: ssl.SSLError) -> str:
    """Say what failed, in words for those that clients cause often."""
    name = error.reason or str(error)
    if "UNKNOWN_CA" in name or "CERTIFICATE_UNKNOWN" in name or "BAD_CERTIFICATE" in name:
        return "the client does not trust the certificate"
    if "UNSUPPORTED_PROTOCOL" in name or "VERSION" in name:
        return "the client speaks only versions before TLS 1.2"
    return name.lower().replace("_", " ")
