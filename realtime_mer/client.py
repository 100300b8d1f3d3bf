"""A client of a running server: its estimates as an iterator, with reconnect and resume.

A thread reads the websocket of docs/protocol.md into a queue; `EstimateStream` hands that out.
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import urlencode, urlsplit, urlunsplit

from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as open_websocket

from realtime_mer.audio.source import InputInfo as Input
from realtime_mer.audio.source import InputKind
from realtime_mer.core.types import Estimate
from realtime_mer.errors import UserError
from realtime_mer.live.estimate_stream import POLL_S, QUEUE_CAPACITY, Alarm, EstimateStream
from realtime_mer.live.hub import BoundedQueue, End, LatestSlot, Notice, Subscription

SCHEMA = 1
DEFAULT_PORT = 8765
OPEN_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 1.0
FIRST_RETRY_S = 0.25
LAST_RETRY_S = 10.0
_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
# Whatever the library has to say comes back as an exception too.
_SILENT = logging.Logger("realtime_mer.client", logging.CRITICAL + 1)


class Connection(EstimateStream):
    """What `connect` returns: live estimates of a server. See `EstimateStream` for its use.

    `with` and `async with` wait until the server has answered; so do the attributes below, and
    the first step of an iteration.
    """

    def __init__(self, follower: _Follower, alarm: Alarm) -> None:
        super().__init__(follower.queue, alarm, stop=follower.stop, failure=lambda: follower.error)
        self._follower = follower
        follower.start()

    @property
    def hello(self) -> Mapping[str, Any]:
        """The server's first message, the `hello` of docs/protocol.md.

        Raises:
            UserError: there is no connection; the message says why.
        """
        while not self._follower.ready.wait(POLL_S):
            pass
        if self._follower.hello is None:
            self.close()
            raise self._follower.error or UserError("the connection was closed")
        return self._follower.hello

    @property
    def session(self) -> str:
        """Name of the session; `connect(url, session=..., since=...)` goes on with it."""
        return str(self.hello["session"])

    @property
    def input(self) -> Input:
        """What the server listens to."""
        return _input(self.hello["input"])

    @property
    def missed(self) -> int:
        """Estimates that were never delivered.

        The server no longer had them after a lost connection, this connection or this consumer was
        too slow for them (`lost` counts the latter alone).
        """
        return self._follower.missed + self.lost

    def __enter__(self) -> Self:
        _ = self.hello
        return self

    async def __aenter__(self) -> Self:
        import asyncio

        await asyncio.to_thread(lambda: self.hello)
        return self


def connect(
    url: str = "ws://127.0.0.1:8765",
    *,
    session: str | None = None,
    since: int | None = None,
    reconnect: bool = True,
    timeout_s: float | None = None,
    latest_only: bool = False,
) -> Connection:
    """Follow a running server; iterate over the result, with `for` or `async for`.

    The first estimate is the newest that the server has; all that follow come once and in order.
    A connection that breaks is taken up again, after pauses of 0.25 s growing to 10 s, and goes on
    where it stopped: what came meanwhile is delivered too, as long as the server has it (ten
    minutes). A server that was started anew has a new session, which is delivered from its
    beginning. `notices` says so, and holds the server's warnings; `missed` counts what was
    missed. The iteration ends with the session: the file is over, the device is gone for good.

    Args:
        url: ws://, wss://, http:// or https://, with or without the path /ws, or only host:port.
        session: which session to follow; the server's own where None or gone.
        since: deliver what is newer than this `seq` of the session; -1 for all that the server
            has; None for the newest and what follows.
        reconnect: whether to take a broken connection up again.
        timeout_s: give up after so many seconds without a connection; never where None.
        latest_only: keep only the newest estimate for a slow consumer, instead of all.

    Raises:
        UserError: the address or an argument cannot be taken. Raised by `with` or the iteration:
            nothing answers at the address, what answers is not a realtime-mer server or speaks
            another schema, or the connection broke and `reconnect` or `timeout_s` forbids more.
    """
    if since is not None and (isinstance(since, bool) or not isinstance(since, int) or since < -1):
        raise UserError(f"since is {since!r}; it must be a whole number from -1")
    if since is not None and since >= 0 and session is None:
        raise UserError(f"since is {since}, which counts within a session: give session too")
    if timeout_s is not None and not timeout_s > 0:
        raise UserError(f"timeout_s is {timeout_s}; it must be above 0")
    alarm = Alarm()
    queue = LatestSlot(alarm) if latest_only else BoundedQueue(QUEUE_CAPACITY, alarm)
    follower = _Follower(
        websocket_address(url), queue, session=session, since=since,
        reconnect=reconnect, timeout_s=timeout_s,
    )  # fmt: skip
    return Connection(follower, alarm)


def websocket_address(url: str) -> str:
    """Return the address of a server's websocket, from what people write.

    Raises:
        UserError: it is no such address.
    """
    example = "write, for example, ws://127.0.0.1:8765"
    if not isinstance(url, str):
        raise UserError(f"the address of the server is {url!r}; it must be a text: {example}")
    text = url.strip()
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        port = parts.port
    except ValueError as error:
        raise UserError(f"{text!r} is not an address of a server ({error}); {example}") from error
    if parts.scheme and parts.scheme not in _SCHEMES:
        raise UserError(
            f"{text!r} begins with {parts.scheme}://; a server is reached by ws://, wss://, "
            f"http:// or https://: {example}"
        )
    if not parts.hostname or any(character.isspace() for character in text):
        raise UserError(f"{text!r} is not an address of a server; {example}")
    if parts.query or parts.fragment:
        raise UserError(
            f"{text!r} holds more than an address; leave out what follows the path and give "
            "session and since as arguments"
        )
    host = parts.netloc if parts.scheme or port is not None else f"{parts.netloc}:{DEFAULT_PORT}"
    path = parts.path if parts.path.strip("/") else "/ws"
    return urlunsplit((_SCHEMES[parts.scheme or "ws"], host, path, "", ""))


class _Lost(Exception):
    """The connection is lost, and another attempt may help."""


class _Gap(Exception):
    """The server left estimates out, as it does for a slow connection, but may still have them."""


class _Follower:
    """The thread of a connection: keeps it, and puts what comes into a queue.

    Attributes:
        ready: set once the first hello has come, or never will.
        hello: the newest hello.
        error: what ended it, unless that was the end of the session or `stop`.
        missed: estimates of the session that never came.
    """

    def __init__(
        self,
        address: str,
        queue: Subscription,
        *,
        session: str | None,
        since: int | None,
        reconnect: bool,
        timeout_s: float | None,
    ) -> None:
        self.queue = queue
        self.ready = threading.Event()
        self.hello: Mapping[str, Any] | None = None
        self.error: Exception | None = None
        self.missed = 0
        self._address = address
        self._session = session
        self._last = since if since is not None and since >= 0 else None  # newest `seq`
        self._only_newest = since is None  # of the first snapshot
        self._newest: Mapping[str, Any] | None = None
        self._resumed_at: int | None = None  # the `seq` before the newest gap
        self._reconnect = reconnect
        self._timeout_s = timeout_s
        self._waits_for_hello = True
        self._lost_at: float | None = None
        self._pause_s = FIRST_RETRY_S
        self._socket: ClientConnection | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="realtime-mer client", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread and the connection."""
        self._stop.set()
        if self._socket is not None:
            self._socket.close()
        if self._thread is not threading.current_thread():
            # An attempt to connect cannot be cut short; the thread ends after it.
            self._thread.join(CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        reason = "closed"
        try:
            reason = self._follow()
        except Exception as error:
            self.error, reason = error, str(error)
        finally:
            self.queue.offer(End(reason))
            self.ready.set()

    def _follow(self) -> str:
        """Keep the connection until the session ends; return the reason of the end."""
        while not self._stop.is_set():
            try:
                with self._open() as socket:
                    self._socket = socket
                    while not self._stop.is_set():
                        # A server says hello at once; later it may be silent for long.
                        timeout_s = OPEN_TIMEOUT_S if self._waits_for_hello else None
                        reason = self._take(socket.recv(timeout_s))
                        if reason is not None:
                            return reason
            except _Gap:
                self._stop.wait(FIRST_RETRY_S)
            except (_Lost, OSError, WebSocketException) as error:
                if not self._stop.is_set():
                    self._wait_to_retry(error)
        return "closed"

    def _open(self) -> ClientConnection:
        self._waits_for_hello = True
        query = {}
        if self._session is not None:
            query["session"] = self._session
        if self._last is not None:
            query["since"] = str(self._last)
        return open_websocket(
            f"{self._address}?{urlencode(query)}" if query else self._address,
            open_timeout=OPEN_TIMEOUT_S,
            close_timeout=CLOSE_TIMEOUT_S,
            logger=_SILENT,
        )

    def _wait_to_retry(self, error: Exception) -> None:
        """Wait before the next attempt, or raise where there shall be none."""
        refused = isinstance(error, InvalidStatus) and error.response.status_code < 500
        sentence = self._sentence(error)
        now = time.monotonic()
        if self._lost_at is None:
            self._lost_at = now
            if self.hello is not None and self._reconnect:
                self.queue.offer(Notice("connection_lost", f"{sentence}; trying again"))
        left_s = (
            None if self._timeout_s is None else max(0.0, self._lost_at + self._timeout_s - now)
        )
        if self.hello is None or refused or not self._reconnect or left_s == 0.0:
            raise UserError(sentence) from error
        # Many clients of one server must not come back all at once.
        pause_s = self._pause_s * random.uniform(0.5, 1.0)
        self._pause_s = min(2.0 * self._pause_s, LAST_RETRY_S)
        self._stop.wait(pause_s if left_s is None else min(pause_s, left_s))

    def _sentence(self, error: Exception) -> str:
        """Say what is wrong with the connection."""
        if isinstance(error, InvalidStatus):
            text = (error.response.body or b"").decode(errors="replace").strip().splitlines()
            said = f" ({text[0][:200]})" if text else ""
            return (
                f"{self._address} refused the connection with the HTTP status "
                f"{error.response.status_code}{said}; is it a realtime-mer server?"
            )
        if isinstance(error, ConnectionClosed) and not self._waits_for_hello:
            return f"the connection to {self._address} was lost ({error})"
        if isinstance(error, _Lost):
            return str(error)
        if isinstance(error, WebSocketException):
            return f"{self._address} is not a realtime-mer server ({error})"
        if isinstance(error, TimeoutError):
            return f"{self._address} does not answer within {OPEN_TIMEOUT_S:g} s"
        return (
            f"nothing answers at {self._address} ({error}); is `realtime-mer serve` running there?"
        )

    def _take(self, text: str | bytes) -> str | None:
        """Deal with a message; return the reason where it is the end of the session."""
        try:
            return self._take_message(json.loads(text))
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise self._other_server() from error

    def _take_message(self, message: Mapping[str, Any]) -> str | None:
        kind = message["type"]
        if self._waits_for_hello and kind == "error":
            raise _Lost(f"{self._address}: {message['message']}")
        if self._waits_for_hello and kind != "hello":
            raise self._other_server()
        match kind:
            case "hello":
                self._take_hello(message)
            case "snapshot":
                self._take_snapshot(message)
            case "estimate":
                self._check_for_gap(message["seq"])
                self._deliver(message)
            case "warning" | "error":
                self.queue.offer(Notice(message["code"], message["message"]))
            case "end":
                return str(message["reason"])
        # Other messages may be added to the schema.
        return None

    def _take_hello(self, message: Mapping[str, Any]) -> None:
        schema, session = message["schema"], message["session"]
        if schema != SCHEMA:
            raise UserError(
                f"{self._address} speaks schema {schema} and this client schema {SCHEMA}; "
                "install the same version of realtime-mer on both sides"
            )
        _input(message["input"])
        if self._session != session:
            if self._last is not None:
                self._last = -1  # all that it has is new to us
            self._session = session
        if self._lost_at is not None:
            away_s = time.monotonic() - self._lost_at
            self.queue.offer(Notice("connection_back", f"connected again after {away_s:.1f} s"))
        self._lost_at, self._pause_s = None, FIRST_RETRY_S
        self._waits_for_hello = False
        self.hello = message
        self.ready.set()

    def _take_snapshot(self, message: Mapping[str, Any]) -> None:
        estimates = message["estimates"]
        if not self._only_newest:
            for estimate in estimates:
                self._deliver(estimate)
            return
        if estimates:
            self._newest = estimates[-1]
        if not message["more"]:
            self._only_newest = False
            if self._newest is not None:
                self._deliver(self._newest)

    def _check_for_gap(self, seq: int) -> None:
        """Connect again where estimates were left out before this one; a snapshot has them."""
        last = self._last
        if self._reconnect and last is not None and seq > last + 1 and self._resumed_at != last:
            self._resumed_at = last  # what is missing after that is gone
            raise _Gap

    def _deliver(self, message: Mapping[str, Any]) -> None:
        estimate = Estimate.from_dict(message)
        if self._last is not None:
            if estimate.seq <= self._last:
                return
            self.missed += estimate.seq - self._last - 1
        self._last = estimate.seq
        self.queue.offer(estimate)

    def _other_server(self) -> UserError:
        return UserError(
            f"{self._address} answers, but not as a realtime-mer server; is the address right?"
        )


def _input(data: Mapping[str, Any]) -> Input:
    """Return the `input` of a hello."""
    known = data["kind"] in tuple(InputKind)
    kind = InputKind(data["kind"]) if known else InputKind.PCM
    live = kind not in (InputKind.FILE, InputKind.DEMO)
    rate, channels = int(data["sample_rate_hz"]), int(data["channels"])
    return Input(kind, str(data["name"]), rate, channels, paced=not live, live=live)
