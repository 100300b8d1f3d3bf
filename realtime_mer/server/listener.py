"""The socket that the server listens on."""

from __future__ import annotations

import errno
import socket

from realtime_mer.errors import UserError

DEFAULT_PORT = 8765
# Of each connection, in the kernel, which may use twice as much: messages that a stalled viewer has
# not read wait there and become stale.
SOCKET_BUFFER_BYTES = 32 * 2**10


def open_listener(host: str, port: int) -> socket.socket:
    """Open a listening socket.

    Raises:
        UserError: it cannot be opened; the message gives the reason and a remedy.
    """
    host = host.strip("[]")
    try:
        addresses = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        # A name such as localhost may resolve to IPv4 and IPv6; browsers try IPv4 in any case.
        family, _, _, _, address = min(addresses, key=lambda entry: entry[0] != socket.AF_INET)
        dualstack = family == socket.AF_INET6 and host == "::" and socket.has_dualstack_ipv6()
        listener = socket.create_server(
            address, family=family, backlog=128, dualstack_ipv6=dualstack
        )
    except socket.gaierror as error:
        raise UserError(
            f"the host {host!r} is unknown ({error.strerror}); give an address of this "
            "machine, for example --host 127.0.0.1"
        ) from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"port {port} on {host} is in use, perhaps by another realtime-mer; stop that "
                f"one, or choose another port (--port {port + 1}) or any free one (--port 0)"
            ) from error
        if error.errno == errno.EACCES:
            raise UserError(
                f"you have no permission to use port {port}; choose one above 1023, for example "
                f"--port {DEFAULT_PORT}"
            ) from error
        if error.errno == errno.EADDRNOTAVAIL:
            raise UserError(
                f"{host} is not an address of this machine; choose 127.0.0.1 (this machine only) "
                "or 0.0.0.0 (all its networks)"
            ) from error
        raise UserError(f"port {port} on {host} cannot be opened: {error}") from error
    # Every connection inherits this: it bounds what the kernel buffers for a stalled viewer.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)
    return listener
