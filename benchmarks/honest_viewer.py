"""A viewer that behaves, in a process of its own: notes when each estimate arrives.

It also sends a newcomer about once a second and notes how long that one waits for its first
message. It prints `{"kind": "watching"}` after its first estimate and, once its standard input is
closed, one report.
"""

from __future__ import annotations

import argparse
import json
import os
import ssl
import sys
import threading
import time
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from realtime_mer.tls_socket import TlsConnection

NEWCOMER_TIMEOUT_S = 10.0
NEWCOMER_PERIOD_S = 1.0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--source", required=True, help="local address to connect from")
    parser.add_argument("--tls", action="store_true", help="connect with TLS, any certificate")
    args = parser.parse_args()
    arrivals: list[float] = []
    newcomers: list[tuple[float, float | None]] = []
    stop = threading.Event()
    threads = [
        threading.Thread(target=_watch, args=(args, arrivals, stop), daemon=True),
        threading.Thread(target=_send_newcomers, args=(args, newcomers, stop), daemon=True),
    ]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join(NEWCOMER_TIMEOUT_S + 1.0)
    report = {"kind": "report", "arrivals": arrivals, "newcomers": newcomers}
    print(json.dumps(report), flush=True)
    return 0


def _open(args: argparse.Namespace) -> ClientConnection:
    context = None
    if args.tls:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    token = os.environ.get("REALTIME_MER_TOKEN")
    return connect(
        f"{'wss' if args.tls else 'ws'}://127.0.0.1:{args.port}/ws",
        ssl=context,
        create_connection=TlsConnection,
        source_address=(args.source, 0),
        additional_headers={"Authorization": f"Bearer {token}"} if token else None,
        open_timeout=NEWCOMER_TIMEOUT_S,
        close_timeout=0.5,
        compression=None,
    )


def _watch(args: argparse.Namespace, arrivals: list[float], stop: threading.Event) -> None:
    """Note the time (`time.monotonic`) of each estimate until the connection is lost."""
    try:
        with _open(args) as socket:
            while not stop.is_set():
                message: dict[str, Any] = json.loads(socket.recv())
                if message["type"] == "estimate":
                    arrivals.append(time.monotonic())
                    if len(arrivals) == 1:
                        print(json.dumps({"kind": "watching"}), flush=True)
    except (OSError, WebSocketException) as error:
        print(f"viewer of {args.source}: {error!r}", file=sys.stderr, flush=True)


def _send_newcomers(
    args: argparse.Namespace, newcomers: list[tuple[float, float | None]], stop: threading.Event
) -> None:
    """Note for each newcomer when it came and how many seconds it waited for `hello`."""
    while not stop.wait(NEWCOMER_PERIOD_S):
        came_at = time.monotonic()
        waited_s = None
        try:
            with _open(args) as socket:
                message = json.loads(socket.recv(NEWCOMER_TIMEOUT_S))
                if message["type"] == "hello":
                    waited_s = time.monotonic() - came_at
        except (OSError, WebSocketException):
            pass
        newcomers.append((came_at, waited_s))


if __name__ == "__main__":
    raise SystemExit(main())
