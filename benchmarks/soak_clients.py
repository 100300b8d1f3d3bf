"""The clients of soak.py: watchers that stay, guests that come and go, and a radio station."""

from __future__ import annotations

import io
import json
import math
import random
import socketserver
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import soundfile
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import ClientConnection, connect

TIMEOUT_S = 20.0
RECONNECT_S = 0.5
RATE_HZ = 44_100


class Watcher(threading.Thread):
    """Follows a server as the page does: connects again, asks for what it missed, checks all.

    Attributes:
        stream_s: stream time of the last estimate, in seconds; -1 before the first.
        estimates: how many came.
        missed: numbers that were left out, because the connection was slow or history was short.
        reconnects: how often the connection was opened again.
        notices: how often each code of `warning` came.
        faults: one sentence for each thing that must not happen.
    """

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._stopped = threading.Event()
        self._changed = threading.Condition()
        self._session: str | None = None
        self._seq = -1
        self.stream_s = -1.0
        self.estimates = self.missed = 0
        self.reconnects = -1
        self.notices = Counter[str]()
        self.faults: list[str] = []
        self._latest: tuple[float, str] = (0.0, "")

    def run(self) -> None:
        while not self._stopped.is_set():
            try:
                query = f"?session={self._session}&since={self._seq}" if self._session else ""
                with _open(self._port, query) as socket:
                    self.reconnects += 1
                    while not self._stopped.is_set():
                        try:
                            text = socket.recv(1.0)
                        except TimeoutError:
                            continue
                        self._take(json.loads(text, parse_constant=_no_constant))
            except (OSError, WebSocketException):
                self._stopped.wait(RECONNECT_S)
            except Exception as error:
                self.faults.append(f"a message that cannot be read: {error!r}")
                return

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        self.join(TIMEOUT_S)

    def wait_for_estimate(self, since: float, timeout_s: float, *, stalled: bool = False) -> bool:
        """Wait for an estimate that came after a time (`time.monotonic`).

        Args:
            since: the time.
            timeout_s: how long to wait, in seconds.
            stalled: whether its state must be `stalled`; if not, it must not.

        Returns:
            Whether it came.
        """
        with self._changed:
            return self._changed.wait_for(
                lambda: self._latest[0] > since and (self._latest[1] == "stalled") == stalled,
                timeout_s,
            )

    def _take(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "hello" and message["session"] != self._session:
            self._session, self._seq, self.stream_s = message["session"], -1, -1.0
        elif kind == "snapshot":
            for estimate in message["estimates"]:
                self._take_estimate(estimate)
        elif kind == "estimate":
            self._take_estimate(message)
        elif kind == "warning":
            self.notices[message["code"]] += 1
        elif kind == "error":
            self.faults.append(f"error {message['code']}: {message['message']}")

    def _take_estimate(self, estimate: dict[str, Any]) -> None:
        seq, t = estimate["seq"], estimate["t"]
        # Stream time stands still while no audio arrives.
        if (
            seq <= self._seq
            or t < self.stream_s
            or (t == self.stream_s and estimate["state"] != "stalled")
        ):
            self.faults.append(
                f"estimate {seq} at {t} s came after {self._seq} at {self.stream_s} s"
            )
        self.missed += max(0, seq - self._seq - 1) if self._seq >= 0 else 0
        self.estimates += 1
        self._seq, self.stream_s = seq, t
        for name in ("valence", "arousal"):
            low, value, high = (estimate[name + end] for end in ("_low", "", "_high"))
            if not -1.0 <= low <= value <= high <= 1.0:
                self.faults.append(f"{name} {value} lies outside its interval {low} to {high}")
        with self._changed:
            self._latest = (time.monotonic(), estimate["state"])
            self._changed.notify_all()


class Guests:
    """Browsers and viewers that come, behave well or badly, and go.

    Attributes:
        visits: how often each kind came.
        faults: one sentence for each thing that must not happen.
    """

    KINDS = ("watch", "vanish", "stream", "stream and vanish", "odd samples", "nonsense", "deaf")

    def __init__(self, port: int, seed: int, *, count: int, pace: float) -> None:
        self._port, self._pace = port, pace
        self._stopped = threading.Event()
        self.visits = Counter[str]()
        self.faults: list[str] = []
        self._threads = [
            threading.Thread(target=self._come_and_go, args=(seed * 1000 + number,), daemon=True)
            for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let all guests go."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(TIMEOUT_S)

    def _come_and_go(self, seed: int) -> None:
        rng = random.Random(seed)
        while not self._stopped.wait(rng.uniform(0.0, 1.0)):
            kind = rng.choice(self.KINDS)
            self.visits[kind] += 1
            try:
                with _open(self._port) as socket:
                    self._visit(kind, socket, rng)
            # While the server is stopped for a moment, or where it closed the connection.
            except (OSError, WebSocketException, TimeoutError):
                continue
            except Exception as error:
                self.faults.append(f"{kind}: {error!r}")

    def _visit(self, kind: str, socket: ClientConnection, rng: random.Random) -> None:
        match kind:
            case "watch":
                self._receive(socket, rng.uniform(0.5, 4.0))
            case "vanish":
                self._receive(socket, rng.uniform(0.0, 1.0))
                socket.socket.close()
            case "deaf":
                self._stopped.wait(rng.uniform(0.5, 4.0))
            case "nonsense":
                for _ in range(20):
                    socket.send(rng.choice(("{", "[]", '{"type":"stop"}', b"", rng.randbytes(9))))
                self._receive(socket, 1.0)
            case _:
                self._stream(kind, socket, rng)

    def _stream(self, kind: str, socket: ClientConnection, rng: random.Random) -> None:
        rate = rng.choice((16_000, 44_100, 48_000))
        start = {"type": "start", "sample_rate_hz": rate, "channels": rng.choice((1, 2))}
        socket.send(json.dumps(start))
        block = np.random.default_rng(rng.randrange(2**32)).uniform(-0.3, 0.3, (rate // 10, 2))
        samples = block[:, : start["channels"]].astype("<f4")
        if kind == "odd samples":
            samples[:: rng.randint(2, 50)] = rng.choice((np.nan, np.inf, 1e38, 1e-42))
        until = time.monotonic() + rng.uniform(0.5, 4.0)
        while time.monotonic() < until and not self._stopped.is_set():
            socket.send(samples.tobytes())
            self._receive(socket, 0.1 / min(self._pace, 10.0))
        if kind == "stream and vanish":
            socket.socket.close()
            return
        socket.send('{"type": "stop"}')
        ended_by = time.monotonic() + TIMEOUT_S
        while not any(message["type"] == "end" for message in self._receive(socket, 0.5)):
            if time.monotonic() > ended_by:
                self.faults.append("a stream that was stopped has no end")
                return

    def _receive(self, socket: ClientConnection, seconds: float) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = []
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0.0:
            try:
                messages.append(json.loads(socket.recv(left), parse_constant=_no_constant))
            except TimeoutError:
                break
            except ConnectionClosed as closed:
                if closed.rcvd is not None and closed.rcvd.code == 1011:
                    self.faults.append("the server closed a connection with 1011")
                raise
        return messages


class Station(socketserver.ThreadingTCPServer):
    """An internet radio station that sends MP3 in real time, and can go off the air."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, seed: int) -> None:
        super().__init__(("127.0.0.1", 0), _StationHandler)
        self.on_air = threading.Event()
        self.on_air.set()
        rng = np.random.default_rng(seed)
        seconds = np.arange(10 * RATE_HZ) / RATE_HZ
        chord = sum(np.sin(2 * np.pi * hz * seconds) for hz in (220.0, 277.2, 329.6))
        beat = np.exp(-6.0 * (seconds % 0.5))
        song = 0.15 * chord * beat + 0.01 * rng.standard_normal(len(seconds))
        buffer = io.BytesIO()
        soundfile.write(buffer, song.astype(np.float32), RATE_HZ, format="MP3")
        self.body, self.seconds = buffer.getvalue(), 10.0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Address of the stream."""
        return f"http://127.0.0.1:{self.server_address[1]}/radio"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: listeners go."""


class _StationHandler(socketserver.StreamRequestHandler):
    server: Station

    def handle(self) -> None:
        while self.rfile.readline().strip():
            pass
        if not self.server.on_air.is_set():
            self.wfile.write(b"HTTP/1.0 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
            return
        self.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Type: audio/mpeg\r\nicy-name: soak\r\n\r\n")
        for part, pause_s in self._parts():
            if not self.server.on_air.is_set():
                return
            self.wfile.write(part)
            time.sleep(pause_s)

    def _parts(self) -> Iterator[tuple[bytes, float]]:
        size = math.ceil(len(self.server.body) / 100)
        while True:
            for start in range(0, len(self.server.body), size):
                yield self.server.body[start : start + size], self.server.seconds / 100


def _open(port: int, query: str = "") -> ClientConnection:
    return connect(
        f"ws://127.0.0.1:{port}/ws{query}", open_timeout=TIMEOUT_S, close_timeout=1.0,
        compression=None,
    )  # fmt: skip


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} in a message")
