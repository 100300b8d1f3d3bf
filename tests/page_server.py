"""A server that speaks the protocol as a test directs: tokens, faults and hostile messages."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from urllib.parse import urlsplit

import mer_web
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

from realtime_mer.server.http import Site

HOP_S = 0.2
COOKIE = "door=open"
MAX_FAILURES = 3


class PageServer:
    """Serves the page, and estimates of its own making five times a second.

    Attributes:
        tokens: roles by token; empty where no token is needed.
        hello: more fields of the hello.
        running: whether estimates are sent.
        state, mood, level_db: of the estimates.
        sessions: number of streams that others send.
        skew: added to the server's clock.
        auths: tokens that were sent, in order.
        wants_pulses: whether a page has asked for pulses, last.
        received: other text messages that were received, in order.
        connections: websockets, in order.
    """

    def __init__(self) -> None:
        self.tokens: dict[str, str] = {}
        self.hello: dict[str, object] = {}
        self.running = True
        self.state, self.mood, self.level_db = "tracking", "calm", -20.0
        self.sessions = 0
        self.skew = timedelta()
        self.auths: list[str] = []
        self.wants_pulses = False
        self.received: list[dict[str, object]] = []
        self.connections: list[ServerConnection] = []
        self._sequence = 0
        self._stopped = threading.Event()
        self._site = Site("mer_web", mer_web.FILES, {"/healthz": self._health})
        self._server: Server = serve(
            self._handle, "127.0.0.1", 0, process_request=self._process_request
        )
        self.port: int = self._server.socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"

    @contextlib.contextmanager
    def serving(self) -> Iterator[PageServer]:
        threads = [
            threading.Thread(target=self._server.serve_forever),
            threading.Thread(target=self._send_estimates),
        ]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stopped.set()
            self._server.shutdown()
            for connection in self.connections:
                connection.close_socket()
            for thread in threads:
                thread.join()

    def send(self, *messages: Mapping[str, object] | str) -> None:
        """Send messages, or texts that are none, to every page."""
        for message in messages:
            text = message if isinstance(message, str) else json.dumps(message)
            for connection in self.connections:
                with contextlib.suppress(ConnectionClosed):
                    connection.send(text)

    def close(self, code: int, reason: str) -> None:
        """Close every websocket."""
        for connection in self.connections:
            connection.close(code, reason)

    def _now(self) -> datetime:
        return datetime.now(UTC) + self.skew

    def _hello(self, role: str) -> dict[str, object]:
        return {
            "type": "hello", "schema": 1, "session": "one", "server": "test", "hop_s": HOP_S,
            "model": {"name": "model", "version": "1"}, "window_s": 10.0, "coverage": 0.8,
            "range": "raw", "adapt": False, "backend": "none", "role": role,
            "input": {"kind": "demo", "name": "demo", "sample_rate_hz": 44_100, "channels": 2},
            **self.hello,
        }  # fmt: skip

    def estimate(self) -> dict[str, object]:
        """Return the next estimate."""
        self._sequence += 1
        return {
            "type": "estimate", "seq": self._sequence, "t": self._sequence * HOP_S,
            "utc": self._now().isoformat(), "valence": 0.25, "arousal": -0.5, "valence_low": 0,
            "valence_high": 0.5, "arousal_low": -0.75, "arousal_high": -0.25, "mood": self.mood,
            "state": self.state, "level_db": self.level_db, "latency": {"window_s": 10.0},
        }  # fmt: skip

    def _send_estimates(self) -> None:
        health = {"type": "health", "session": "one", "counters": {}, "viewers": 1}
        while not self._stopped.wait(HOP_S):
            self.send(
                *([self.estimate()] if self.running else []),
                {**health, "sessions": self.sessions, "uptime_s": 1.0},
            )

    def _health(self) -> tuple[str, bytes]:
        locked = {"token": "required"} if self.tokens else {}
        return "application/json", json.dumps({"status": "listening", **locked}).encode()

    def _process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        path = urlsplit(request.path).path
        if path == "/enter":
            headers = Headers({"Location": "/", "Set-Cookie": f"{COOKIE}; HttpOnly"})
            return Response(HTTPStatus.SEE_OTHER, "See Other", headers)
        return None if path == "/ws" else self._site.respond(request, path)

    def _handle(self, connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            role = self._role(connection)
            if role is None:
                return
            connection.send(json.dumps(self._hello(role)))
            connection.send('{"type": "snapshot", "session": "one", "estimates": []}')
            self.connections.append(connection)
            for text in connection:
                message = json.loads(text) if isinstance(text, str) else {}
                if message.get("type") == "ping":
                    connection.send(json.dumps({"type": "pong", "id": message.get("id")}))
                elif message.get("type") == "pulse":
                    self.wants_pulses = message["on"]
                elif message:
                    self.received.append(message)
                if message.get("type") == "start":
                    sentence = "the role view may watch, not send sound"
                    error = {"type": "error", "code": "forbidden", "message": sentence}
                    connection.send(json.dumps(error))

    def _role(self, connection: ServerConnection) -> str | None:
        assert connection.request is not None
        if not self.tokens or COOKIE in connection.request.headers.get("Cookie", ""):
            return "control"
        try:
            message = json.loads(connection.recv(timeout=5.0))
        except TimeoutError:
            message = {"token": ""}
        else:
            self.auths.append(message["token"])
        failures = [token for token in self.auths if token not in self.tokens]
        role = self.tokens.get(message["token"])
        if len(failures) > MAX_FAILURES:
            sentence = "too many wrong tokens; try again in 60 s"
        elif role is not None:
            return role
        else:
            sentence = "this token is not one of this server"
        error = {"type": "error", "code": "unauthorized", "message": sentence}
        connection.send(json.dumps(error))
        connection.close(1008, "unauthorized")
        return None
