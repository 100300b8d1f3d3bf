"""A client of a running server, with reconnect and resume.

A thread reads the websocket (docs/protocol.md) into a queue, and `EstimateStream` reads the queue.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import random
import ssl
import threading
import time
from collections import deque
from collections.abc import Mapping
from numbers import Real
from os import PathLike, fspath
from typing import Any, Self
from urllib.parse import urlencode, urlsplit, urlunsplit

from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidStatus,
    WebSocketException,
)
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as open_websocket

from realtime_mer.address import without_secrets
from realtime_mer.audio.source import Input, InputKind
from realtime_mer.core.events import Event, EventKind
from realtime_mer.core.types import Estimate
from realtime_mer.errors import UserError
from realtime_mer.live.estimate_stream import (
    MAX_EVENTS,
    POLL_S,
    QUEUE_CAPACITY,
    Alarm,
    EstimateStream,
)
from realtime_mer.live.hub import STOPPED, BoundedQueue, End, LatestSlot, Notice, Subscription
from realtime_mer.tls_socket import TlsConnection

SCHEMA = 1
DEFAULT_PORT = 8765
OPEN_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 1.0
TOKEN_VARIABLE = "REALTIME_MER_TOKEN"
FIRST_RETRY_S = 0.25
LAST_RETRY_S = 10.0
# The clients of a server that goes away spread over this time.
MOVE_SPREAD_S = 1.0
_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
# What reading a message of another program may raise.
_NOT_OURS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
_GIVE_TOKEN = f"give its token as the argument token or in the variable {TOKEN_VARIABLE}"
# The websockets library also raises what it logs.
_SILENT = logging.Logger("realtime_mer.client", logging.CRITICAL + 1)


class Connection(EstimateStream):
    """Live estimates of a server, as returned by `connect`; see `EstimateStream`.

    `with`, `async with` and the properties below wait for the server's first message.
    """

    def __init__(self, follower: _Follower, alarm: Alarm) -> None:
        super().__init__(follower.queue, alarm, stop=follower.stop, failure=lambda: follower.error)
        self._follower = follower
        follower.start()

    @property
    def hello(self) -> Mapping[str, Any]:
        """The `hello` message of the server, see docs/protocol.md.

        Raises:
            UserError: the connection failed.
        """
        while not self._follower.ready.wait(POLL_S):
            pass
        if self._follower.hello is None:
            self.close()
            raise self._follower.error or UserError("the connection was closed")
        return self._follower.hello

    @property
    def session(self) -> str:
        """The name of the session, for `connect(url, session=..., since=...)`."""
        return str(self.hello["session"])

    @property
    def input(self) -> Input:
        """The input of the server."""
        return _input(self.hello["input"])

    @property
    def missed(self) -> int:
        """Number of estimates of the session that were not delivered.

        The server no longer had them, or the consumer was too slow for them (`lost`).
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
    token: str | None = None,
    ca_file: str | PathLike[str] | None = None,
) -> Connection:
    """Follow a running server. Iterate over the result with `for` or `async for`.

    The first estimate is the newest one of the server. All later ones are delivered once, in order.
    The iteration ends at the end of the session: the file has ended, or the device is lost for
    good.

    A lost connection, also to a server that was stopped, is opened again, with pauses from 0.25 s
    to 10 s between attempts. The stream resumes after the last estimate, as long as the server
    still has the next ones (ten minutes). A restarted server has a new session, which is delivered
    from its start. A server that goes away says so: the stream then moves to another one behind the
    same address, if one answers, and goes on with what is newer there. `notices` contains the
    server's warnings, and `connection_lost`, `connection_back` and `connection_moved`.

    Args:
        url: an address with ws://, wss://, http:// or https://, with or without /ws, or host:port.
        session: the session to follow; None for the server's own.
        since: start after this `seq` of the session; -1 for all estimates that the server has;
            None for the newest.
        reconnect: whether to open a lost connection again. If not, the iteration also ends when
            the server is stopped.
        timeout_s: give up after this many seconds without a connection; None for never.
        latest_only: keep only the newest estimate for a slow consumer, instead of all.
        token: for a server that asks for one; None takes the variable REALTIME_MER_TOKEN, where
            it is set. Over ws:// and http:// the network can read it.
        ca_file: PEM file of the authority to trust for wss:// and https://, for a server whose
            certificate is its own (`self-signed-authority.crt`); None for those of the system.

    Raises:
        UserError: the address or an argument is not valid. `with` and the iteration raise it if
            nothing answers at the address, if the server is not a realtime-mer server, has
            another schema or asks for another token, or if the connection is lost and may not be
            opened again.
    """
    if since is not None and (isinstance(since, bool) or not isinstance(since, int) or since < -1):
        raise UserError(f"since is {since!r}; it must be a whole number from -1")
    if since is not None and since >= 0 and session is None:
        raise UserError(f"since is {since}, which counts within a session: give session too")
    if session is not None and not isinstance(session, str):
        raise UserError(f"session is {session!r}; it must be a text, as in `hello`")
    if timeout_s is not None and (
        isinstance(timeout_s, bool) or not isinstance(timeout_s, Real) or not timeout_s > 0
    ):
        raise UserError(f"timeout_s is {timeout_s!r}; it must be a number above 0")
    if token is None:
        token = os.environ.get(TOKEN_VARIABLE) or None
    # The value is not repeated: it is a secret.
    if token is not None and not (
        isinstance(token, str) and token and all("!" <= character <= "~" for character in token)
    ):
        raise UserError(
            f"token (or the variable {TOKEN_VARIABLE}) must be a text of printable ASCII "
            "characters without spaces, as in the server's file of tokens"
        )
    address = websocket_address(url)
    trust = _trust(address, ca_file)
    alarm = Alarm()
    queue = LatestSlot(alarm) if latest_only else BoundedQueue(QUEUE_CAPACITY, alarm)
    follower = _Follower(
        address, queue, session=session, since=since,
        reconnect=reconnect, timeout_s=timeout_s, token=token, trust=trust,
    )  # fmt: skip
    return Connection(follower, alarm)


def websocket_address(url: str) -> str:
    """Return the URL of a server's websocket for an address as users write it.

    Raises:
        UserError: the address is not valid.
    """
    example = "write, for example, ws://127.0.0.1:8765"
    if not isinstance(url, str):
        raise UserError(f"the address of the server is {url!r}; it must be a text: {example}")
    text = url.strip()
    whole = text if "://" in text else f"//{text}"
    shown = without_secrets(whole).removeprefix("//")
    try:
        parts = urlsplit(whole)
        port = parts.port
    except ValueError as error:
        # The reason may quote a password that is taken for a port.
        reason = "" if "@" in text else f" ({error})"
        raise UserError(f"{shown!r} is not an address of a server{reason}; {example}") from None
    if parts.scheme and parts.scheme not in _SCHEMES:
        raise UserError(
            f"{shown!r} begins with {parts.scheme}://, not with ws://, wss://, http:// or "
            f"https://; {example}"
        )
    if not parts.hostname or any(character.isspace() for character in text):
        raise UserError(f"{shown!r} is not an address of a server; {example}")
    if parts.query or parts.fragment:
        raise UserError(
            f"{shown!r} has a query or a fragment; leave it out and give session and since as "
            "arguments"
        )
    host = parts.netloc if parts.scheme or port is not None else f"{parts.netloc}:{DEFAULT_PORT}"
    path = parts.path if parts.path.strip("/") else "/ws"
    return urlunsplit((_SCHEMES[parts.scheme or "ws"], host, path, "", ""))


def _trust(address: str, ca_file: str | PathLike[str] | None) -> ssl.SSLContext | None:
    if ca_file is None:
        return None
    if not address.startswith("wss:"):
        raise UserError("ca_file is for https; write the address with wss:// or https://")
    try:
        return ssl.create_default_context(cafile=fspath(ca_file))
    except (OSError, TypeError) as error:  # ssl.SSLError is an OSError
        raise UserError(
            f"ca_file {ca_file!r} cannot be used ({error}); give the PEM file of an authority"
        ) from error


class _Lost(Exception):
    """The connection is lost; another attempt may succeed."""


class _Gap(Exception):
    """The server skipped estimates for this connection, but may still have them."""


class _Follower:
    """The thread of a connection: receives messages, reconnects and fills the queue.

    Attributes:
        ready: set after the first hello or when the thread ends.
        hello: the newest hello message.
        error: the error that ended the thread; None after the end of the session and `stop`.
        missed: number of estimates that the server no longer had.
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
        token: str | None = None,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self.queue = queue
        self.ready = threading.Event()
        self.hello: Mapping[str, Any] | None = None
        self.error: Exception | None = None
        self.missed = 0
        self._address = address
        self._shown = without_secrets(address)  # for messages
        self._token = token
        # The library makes the header of the token from a login, which is a proxy's.
        self._has_login = urlsplit(address).username is not None
        self._session = session
        self._named = session is not None
        self._last = since if since is not None and since >= 0 else None  # newest `seq` so far
        self._only_newest = since is None  # of the first snapshot
        self._newest: Mapping[str, Any] | None = None
        self._last_utc = ""  # of the newest estimate so far
        self._newer_than = ""  # the part of another session's history that is already known
        self._move_at: float | None = None  # when to look for another server
        # Those of the last ten minutes follow a snapshot; events before this stream time are old.
        self._events_from = math.inf
        self._events: deque[Event] = deque(maxlen=MAX_EVENTS)
        self._resumed_at: int | None = None  # the `seq` before the newest gap
        self._reconnect = reconnect
        self._timeout_s = timeout_s
        self._trust = trust
        self._waits_for_hello = True
        self._lost_at: float | None = None
        self._pause_s = FIRST_RETRY_S
        self._socket: ClientConnection | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="realtime-mer client", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread and close the connection."""
        self._stop.set()
        if self._socket is not None:
            self._socket.close()
        if self._thread is not threading.current_thread():
            # A pending attempt to connect cannot be interrupted; the thread ends after it.
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
        """Receive messages until the session ends; return the reason of the end."""
        successor = None
        while successor is not None or not self._stop.is_set():
            try:
                self._waits_for_hello = True
                with successor or self._open() as socket:
                    self._socket, successor, self._move_at = socket, None, None
                    if self._token is not None and self._has_login:
                        socket.send(json.dumps({"type": "auth", "token": self._token}))
                    while successor is None and not self._stop.is_set():
                        # The hello comes at once; later the server may be silent for long.
                        timeout_s = OPEN_TIMEOUT_S if self._waits_for_hello else self._until_move_s
                        try:
                            reason = self._take(socket.recv(timeout_s))
                        except TimeoutError:
                            if self._waits_for_hello:
                                raise
                            successor = self._move(socket)
                        else:
                            if reason is not None:
                                return reason
            except _Gap:
                self._stop.wait(FIRST_RETRY_S)
            except (_Lost, OSError, WebSocketException) as error:
                if not self._stop.is_set():
                    self._wait_to_retry(error)
        return "closed"

    @property
    def _until_move_s(self) -> float | None:
        return None if self._move_at is None else max(0.0, self._move_at - time.monotonic())

    def _move(self, old: ClientConnection) -> ClientConnection | None:
        """Connect anew while the old connection still serves; None where nobody else answers."""
        try:
            successor = self._open()
        except (OSError, WebSocketException):
            self._pause_s = min(2.0 * self._pause_s, LAST_RETRY_S)
            self._move_at = time.monotonic() + self._pause_s * random.uniform(0.5, 1.0)
            return None
        # What the old one has sent in the meantime.
        with contextlib.suppress(TimeoutError, ConnectionClosed, _Lost):
            while True:
                self._take(old.recv(0.0))
        self.queue.offer(
            Notice("connection_moved", f"the server at {self._shown} goes away; another took over")
        )
        return successor

    def _open(self) -> ClientConnection:
        query = {}
        if self._session is not None:
            query["session"] = self._session
        if self._last is not None:
            query["since"] = str(self._last)
        in_header = self._token is not None and not self._has_login
        try:
            return open_websocket(
                f"{self._address}?{urlencode(query)}" if query else self._address,
                additional_headers={"Authorization": f"Bearer {self._token}"} if in_header else {},
                open_timeout=OPEN_TIMEOUT_S,
                close_timeout=CLOSE_TIMEOUT_S,
                logger=_SILENT,
                ssl=self._trust,
                create_connection=TlsConnection,
            )
        except AssertionError as error:
            # The library's own, if a server that speaks no HTTP sends something first.
            raise InvalidHandshake("did not receive a valid HTTP response") from error

    def _wait_to_retry(self, error: Exception) -> None:
        """Wait before the next attempt, or raise if there is none."""
        # 429: others of this address have sent wrong tokens; the server says so for a minute.
        refused = isinstance(error, InvalidStatus) and (
            error.response.status_code < 500 and error.response.status_code != 429
        )
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
        # Jitter: the clients of a restarted server do not all connect at the same moment.
        pause_s = self._pause_s * random.uniform(0.5, 1.0)
        self._pause_s = min(2.0 * self._pause_s, LAST_RETRY_S)
        self._stop.wait(pause_s if left_s is None else min(pause_s, left_s))

    def _sentence(self, error: Exception) -> str:
        """Return the user's message for a failed or lost connection."""
        if isinstance(error, InvalidStatus):
            text = (error.response.body or b"").decode(errors="replace").strip().splitlines()
            said = f" ({text[0][:200]})" if text else ""
            if error.response.status_code in (401, 429):
                remedy = f"; {_GIVE_TOKEN}" if error.response.status_code == 401 else ""
                return (
                    f"{self._shown} refused access with the HTTP status "
                    f"{error.response.status_code}{said}{remedy}"
                )
            return (
                f"{self._shown} refused the connection with the HTTP status "
                f"{error.response.status_code}{said}; is it a realtime-mer server?"
            )
        if isinstance(error, ConnectionClosed) and not self._waits_for_hello:
            return f"the connection to {self._shown} was lost ({error})"
        if isinstance(error, _Lost):
            return str(error)
        if isinstance(error, WebSocketException):
            return f"{self._shown} is not a realtime-mer server ({error})"
        if isinstance(error, ssl.SSLCertVerificationError):
            return (
                f"the certificate of {self._shown} is not trusted ({error.verify_message}); if "
                "the server made it itself, give its self-signed-authority.crt as ca_file"
            )
        if isinstance(error, ssl.SSLError):
            return (
                f"{self._shown} does not speak TLS ({error.reason}); if it is a server without "
                "TLS, write ws:// or http://"
            )
        if isinstance(error, TimeoutError):
            return f"{self._shown} does not answer within {OPEN_TIMEOUT_S:g} s"
        return f"nothing answers at {self._shown} ({error}); is `realtime-mer serve` running there?"

    def _take(self, text: str | bytes) -> str | None:
        """Process a message; return the reason if it ends the session."""
        try:
            return self._take_message(json.loads(text))
        except _NOT_OURS as error:
            raise self._other_server() from error

    def _take_message(self, message: Mapping[str, Any]) -> str | None:
        kind = message["type"]
        if kind == "error" and message["code"] == "unauthorized":
            raise UserError(f"{self._shown}: {message['message']}; {_GIVE_TOKEN}")
        if self._waits_for_hello and kind == "error":
            raise _Lost(f"{self._shown}: {message['message']}")
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
            case "event":
                self._take_event(message)
            case "going_away":
                self._plan_move(float(message["closes_in_s"]))
            case "warning" | "error":
                self.queue.offer(Notice(message["code"], message["message"]))
            case "end":
                reason = str(message["reason"])
                if reason == STOPPED and self._reconnect:
                    raise _Lost(f"the server at {self._shown} was stopped")
                return reason
        # Unknown types are ignored: the schema allows new ones.
        return None

    def _take_hello(self, message: Mapping[str, Any]) -> None:
        schema, session = message["schema"], message["session"]
        if schema != SCHEMA:
            raise UserError(
                f"{self._shown} has schema {schema} and this client schema {SCHEMA}; "
                "install the same version of realtime-mer on both sides"
            )
        _input(message["input"])
        if self._session != session:
            if self._last is not None:
                # Another server may have heard for long what this stream has had from the first.
                self._last, self._newer_than = -1, self._last_utc
            self._events_from = math.inf
            self._events.clear()
            self._session = session
        if self._lost_at is not None:
            away_s = time.monotonic() - self._lost_at
            self.queue.offer(Notice("connection_back", f"connected again after {away_s:.1f} s"))
        self._lost_at, self._pause_s = None, FIRST_RETRY_S
        self._waits_for_hello = False
        self.hello = message
        self.ready.set()

    def _take_snapshot(self, message: Mapping[str, Any]) -> None:
        estimates, more = message["estimates"], message["more"]
        if not self._only_newest:
            for estimate in estimates:
                if estimate["utc"] < self._newer_than:
                    self._last = estimate["seq"]
                else:
                    self._deliver(estimate)
        elif estimates:
            self._newest = estimates[-1]
        if more:
            return
        if self._only_newest and self._newest is not None:
            self._deliver(self._newest)
        self._only_newest = False
        if math.isinf(self._events_from):
            self._events_from = 0.0  # there was no estimate before

    def _check_for_gap(self, seq: int) -> None:
        """Reconnect if estimates before this one were skipped; the snapshot contains them."""
        last = self._last
        if self._move_at is not None:
            return  # the server would not let this client in again
        if self._reconnect and last is not None and seq > last + 1 and self._resumed_at != last:
            self._resumed_at = last  # a second attempt would be in vain
            raise _Gap

    def _deliver(self, message: Mapping[str, Any]) -> None:
        estimate = Estimate.from_dict(message)
        if self._last is not None:
            if estimate.seq <= self._last:
                return
            self.missed += estimate.seq - self._last - 1
        self._last, self._last_utc = estimate.seq, estimate.utc
        self._events_from = min(self._events_from, estimate.t)
        self.queue.offer(estimate)

    def _plan_move(self, closes_in_s: float) -> None:
        """Plan to connect anew, at a random moment, so that not all clients come at once."""
        assert self.hello is not None
        if not self._reconnect:
            return
        if self._named and self.hello["input"]["kind"] == InputKind.BROWSER:
            return  # a client's stream: this session ends where that client moves
        spread_s = min(MOVE_SPREAD_S, closes_in_s / 2)
        self._move_at = time.monotonic() + spread_s * random.random()

    def _take_event(self, message: Mapping[str, Any]) -> None:
        # A later version of the server may know other kinds.
        if message["kind"] not in tuple(EventKind):
            return
        event = Event.from_dict(message)
        if event.detected_t >= self._events_from and event not in self._events:
            self._events.append(event)
            self._events_from = event.detected_t
            self.queue.offer(event)

    def _other_server(self) -> UserError:
        return UserError(
            f"{self._shown} answers, but it is not a realtime-mer server; is the address right?"
        )


def _input(data: Mapping[str, Any]) -> Input:
    """Return the `input` of a hello message."""
    known = data["kind"] in tuple(InputKind)
    kind = InputKind(data["kind"]) if known else InputKind.PCM
    live = kind not in (InputKind.FILE, InputKind.DEMO, InputKind.RECORDING)
    rate, channels = int(data["sample_rate_hz"]), int(data["channels"])
    return Input(kind, str(data["name"]), rate, channels, paced=not live, live=live)
