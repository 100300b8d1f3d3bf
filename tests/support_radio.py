"""A server on loopback with the habits of radio stations and of what pretends to be one."""

from __future__ import annotations

import base64
import http.server
import re
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Answer:
    """What the server sends for a path.

    Attributes:
        body: the content.
        content_type: its type.
        status: the HTTP status; 0 closes the connection without an answer.
        headers: further headers.
        length: the stated length; None for the true one, 0 for none, as of a live stream.
        endless: send the body again and again until the client goes.
        mute: send nothing after the headers.
        stops: send nothing after the body, and keep the connection.
        breaks_at: close the connection after this many bytes of the body; None sends all.
        resets: break the connection off instead of closing it.
        chunk: instead of a length, send the body as one chunk and then these bytes, which should be
            the next chunk.
        ranges: send a part of the body where one is asked for.
        login: "NAME:PASSWORD" without which the status is 401.
    """

    body: bytes = b""
    content_type: str = "audio/mpeg"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None
    endless: bool = False
    mute: bool = False
    stops: bool = False
    breaks_at: int | None = None
    resets: bool = False
    chunk: bytes | None = None
    ranges: bool = False
    login: str | None = None


class Radio(http.server.ThreadingHTTPServer):
    """Answers each path as `answers` says; a list answers one request each, the last one the rest.

    Attributes:
        address: of the server, without a slash at the end.
        answers: by path.
        requests: the paths asked for, in order.
        starts: where in the body each answer starts, in order.
        logins: "NAME:PASSWORD" of each request, None without one.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.answers: dict[str, Answer | list[Answer]] = {}
        self.requests: list[str] = []
        self.starts: list[int] = []
        self.logins: list[str | None] = []
        self.stop = threading.Event()

    def answer(self, path: str) -> Answer:
        self.requests.append(path)
        found = self.answers.get(path, Answer(b"<html>not here</html>", "text/html", 404))
        if isinstance(found, Answer):
            return found
        return found.pop(0) if len(found) > 1 else found[0]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: clients that go are part of the tests."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Radio

    def do_GET(self) -> None:
        encoded = self.headers.get("Authorization", "").removeprefix("Basic ")
        login = base64.b64decode(encoded).decode() or None
        self.server.logins.append(login)
        answer = self.server.answer(self.path)
        if answer.status == 0:
            return
        if answer.login not in (None, login):
            header = {"WWW-Authenticate": 'Basic realm="radio"'}
            answer = Answer(b"log in", "text/plain", 401, header)
        body, start = answer.body, 0
        if answer.chunk is not None:
            self.protocol_version = "HTTP/1.1"  # older ones have no chunks
        wanted = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if answer.ranges and wanted:
            start = int(wanted[1])
            body = body[start:]
        self.server.starts.append(start)
        self.send_response(206 if answer.ranges and wanted else answer.status)
        if answer.ranges:
            self.send_header("Accept-Ranges", "bytes")
        if answer.ranges and wanted:
            total = len(answer.body)
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        self.send_header("Content-Type", answer.content_type)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        length = len(body) if answer.length is None else answer.length
        if answer.chunk is not None:
            self.send_header("Transfer-Encoding", "chunked")
            body = b"%x\r\n%b\r\n%b" % (len(body), body, answer.chunk)
        elif length and not (answer.endless or answer.mute or answer.stops):
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if answer.mute:
            self.server.stop.wait(60)
            return
        self.wfile.write(body if answer.breaks_at is None else body[: answer.breaks_at])
        if answer.resets:
            now = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
        while answer.endless and not self.server.stop.is_set():
            self.wfile.write(answer.body)
        if answer.stops:
            self.server.stop.wait(60)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""


@contextmanager
def running_radio() -> Iterator[Radio]:
    """Start a `Radio` without answers."""
    with Radio() as radio:
        thread = threading.Thread(target=radio.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield radio
        radio.stop.set()
        radio.shutdown()
        thread.join()
