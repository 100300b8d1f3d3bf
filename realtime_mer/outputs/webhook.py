"""Webhooks: changes of the music are posted to a web address as JSON.

The body of an event is the event as in JSON Lines with an `id`. An action of a scene is
`{"json": {...}}`, and its body is exactly that. Every request has the header `webhook-id`, which is
the same on each attempt, so that a receiver can drop repeats. Values, onsets and beats are not
posted.

Addresses and headers often are secrets, so names and messages have the host alone.
"""

from __future__ import annotations

import base64
import http
import http.client
import re
import ssl
import urllib.error
import urllib.request
import uuid
from collections import deque
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from realtime_mer import __version__
from realtime_mer.clock import Clock, SystemClock
from realtime_mer.core.events import Event, EventKind, Marker, RhythmEvent
from realtime_mer.errors import UserError
from realtime_mer.live.retry import Retry
from realtime_mer.outputs.environment import secret_of
from realtime_mer.outputs.output import Action, Frame, Output, OutputSettings, json_text
from realtime_mer.retry_after import retry_after_s

QUEUE_DELIVERIES = 64
_URL = re.compile(r"https?://[!-~]+")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\t -~]*")
_TOO_MANY = 429


@dataclass(frozen=True, kw_only=True)
class WebhookSettings(OutputSettings):
    """Changes of the music as requests to a web server.

    Attributes:
        url: http or https address, with a login and a query if need be. It is never shown.
        events: kinds of changes that are posted; the default is all. Markers are posted too.
        header_variables: names of further headers, each with the name of the environment variable
            that has its value, for example {Authorization = "HOOK_TOKEN"}.
        timeout_s: how long the server may take to answer, 0.1 to 5 seconds.
        rate_hz: how often failed requests are looked after; each has pauses of its own.

    Raises:
        UserError: a value is not usable.
    """

    url: str = field(repr=False)
    events: tuple[EventKind, ...] = tuple(EventKind)
    header_variables: dict[str, str] = field(default_factory=dict)
    timeout_s: float = 3.0
    rate_hz: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            parts = urlsplit(self.url)
            is_valid = bool(parts.hostname) and parts.port != 0
            (parts.hostname or "").encode("idna")  # as the look-up of names does
        except ValueError:
            is_valid = False
        if not is_valid or not _URL.fullmatch(self.url):
            raise UserError(
                "url is not valid; write it as https://HOST/PATH, with other characters than those "
                "of ASCII as %XX (it is not shown here, because it may have a secret)"
            )
        for name in self.header_variables:
            if not _HEADER_NAME.fullmatch(name):
                raise UserError(f"header_variables has {name!r}, which is no name of a header")
        if not 0.1 <= self.timeout_s <= 5.0:
            raise UserError(f"timeout_s is {self.timeout_s:g}; it must lie between 0.1 and 5")


class _TryAgainError(Exception):
    """A request failed in a way that may pass.

    Attributes:
        pause_s: seconds that the server asks to wait; None if it does not.
    """

    def __init__(self, reason: str, pause_s: float | None = None) -> None:
        super().__init__(reason)
        self.pause_s = pause_s


@dataclass(frozen=True, slots=True)
class _Delivery:
    """A request that waits.

    Attributes:
        id: the same on each attempt.
        body: JSON.
    """

    id: str
    body: bytes


class WebhookOutput(Output):
    """Posts changes of the music, in order.

    A request that fails with a status of 500 or more, with 429 or without an answer is repeated
    with growing pauses, at least those of `Retry-After`. Later ones wait meanwhile; of more than 64
    the oldest is lost. Any other refusal loses the request and is raised. No redirection is
    followed: it would carry the secrets to another address. The proxies of the system are used.

    It works in the thread of the output alone: one attempt takes as long as the timeout allows each
    step of a connection, and attempts end when the timeout has passed.

    Args:
        settings: of the output.
        clock: the time source.

    Attributes:
        lost: requests that were given up: refused, or the oldest of too many.

    Raises:
        UserError: an environment variable is missing or is no value of a header.
    """

    kind = "webhook"
    rhythm = False

    def __init__(self, settings: WebhookSettings, clock: Clock | None = None) -> None:
        parts = urlsplit(settings.url)
        self._host = parts.netloc.rpartition("@")[2]
        super().__init__(settings.name or f"webhook {self._host}")
        self.lost = 0
        self._settings = settings
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": f"realtime-mer/{__version__}",
            **_headers(settings.header_variables),
        }
        login = parts.netloc.rpartition("@")[0]
        if login:
            encoded = base64.b64encode(unquote(login).encode()).decode()
            self._headers.setdefault("Authorization", f"Basic {encoded}")
        self._url = parts._replace(netloc=self._host, fragment="").geturl()
        self._opener = _opener()
        self._clock = clock or SystemClock()
        self._retry = Retry(self._clock)
        self._retry_at = 0.0
        self.failing = False
        self._waiting: deque[_Delivery] = deque()

    def send(self, frame: Frame) -> None:
        """Repeat what failed, if it is time to.

        Raises:
            UserError: the server refuses a request, or its certificate is not trusted here.
        """
        self._deliver()

    def send_event(self, event: Event | RhythmEvent | Marker) -> None:
        """Post a marker, or a change of the music of the wanted kinds.

        Raises:
            UserError: as for `send`.
        """
        wanted = isinstance(event, Event) and event.kind in self._settings.events
        if isinstance(event, Marker) or wanted:
            assert not isinstance(event, RhythmEvent)
            delivery_id = str(uuid.uuid4())
            self._post(json_text({"id": delivery_id, **event.to_dict()}), delivery_id)

    def check_action(self, action: Action) -> None:
        _message(action)

    def act(self, action: Action) -> None:
        """Post what a scene asks for: the object `json`.

        Raises:
            UserError: as for `send`, or there is no such object.
        """
        self._post(_message(action), str(uuid.uuid4()))

    def _post(self, message: str, delivery_id: str) -> None:
        if len(self._waiting) == QUEUE_DELIVERIES:
            self._waiting.popleft()
            self.lost += 1
        self._waiting.append(_Delivery(delivery_id, message.encode()))
        self._deliver()

    def _deliver(self) -> None:
        """Post what waits, until it fails or the time is up."""
        until = self._clock.monotonic() + self._settings.timeout_s
        while self._waiting and self._retry_at <= self._clock.monotonic() < until:
            try:
                status = self._attempt(self._waiting[0])
            except _TryAgainError as error:
                self._failed(error)
                return
            except UserError:
                self._waiting.popleft()
                self.lost += 1
                raise
            self._waiting.popleft()
            self.sent += 1
            self.failing = False
            self._retry.back()
            self.answer = f"{self._host} answers {status}{self._losses()}"

    def _failed(self, error: _TryAgainError) -> None:
        if not self.failing:
            self.failing = True
            self._retry.lost(str(error))
        pause_s = self._retry.next_pause_s(error.pause_s)
        self._retry_at = self._clock.monotonic() + pause_s
        self.answer = (
            f"{self._host} {error}; tried again after {pause_s:.1f} s, {len(self._waiting)} "
            f"waiting{self._losses()}"
        )

    def _losses(self) -> str:
        return f", {self.lost} lost" if self.lost else ""

    def _attempt(self, delivery: _Delivery) -> int:
        """Make a request and return its status, which is 200 to 299.

        Exceptions of the libraries may quote the address or a header, so none is passed on.
        """
        request = urllib.request.Request(
            self._url,
            data=delivery.body,
            headers={**self._headers, "webhook-id": delivery.id},
            method="POST",
        )
        try:
            with self._opener.open(request, timeout=self._settings.timeout_s) as response:
                status: int = response.status
                pause_s = retry_after_s(response.headers)
        except (OSError, http.client.HTTPException) as error:
            raise self._translated(error) from None
        if 200 <= status < 300:
            return status
        answer = f"answers {status} {_phrase(status)}".rstrip()
        if status >= 500 or status == _TOO_MANY:
            raise _TryAgainError(answer, pause_s)
        if 300 <= status < 400:
            raise UserError(f"{self._host} {answer}; give the address that it leads to as url")
        raise UserError(f"{self._host} {answer}; check url and header_variables")

    def _translated(self, error: Exception) -> Exception:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            return UserError(
                f"the certificate of {self._host} is not trusted here: {reason.verify_message}; "
                "name the file of its authority in the environment variable SSL_CERT_FILE"
            )
        if isinstance(reason, TimeoutError):
            return _TryAgainError(f"has not answered within {self._settings.timeout_s:g} s")
        if isinstance(reason, http.client.RemoteDisconnected):
            return _TryAgainError("closed the connection without an answer")
        if isinstance(reason, OSError) and reason.strerror:
            return _TryAgainError(f"cannot be reached: {reason.strerror}")
        return _TryAgainError("gives no valid answer")


def _message(action: Action) -> str:
    """Return the object that a scene posts, as JSON.

    Raises:
        UserError: there is none, JSON cannot hold it, or there are other values.
    """
    message = action.values.get("json")
    if not isinstance(message, dict) or len(action.values) > 1:
        raise UserError("a webhook takes one object json to post, and nothing else")
    return json_text(message)


def _headers(variables: dict[str, str]) -> dict[str, str]:
    """Return headers with their values from the environment.

    Raises:
        UserError: a variable is missing, or a value is not valid.
    """
    headers = {}
    for name, variable in variables.items():
        headers[name] = secret_of(variable, f"header_variables: {name}")
        if not _HEADER_VALUE.fullmatch(headers[name]):
            raise UserError(
                f"header_variables: the value of the variable for {name} must be one line of ASCII"
            )
    return headers


def _opener() -> urllib.request.OpenerDirector:
    """Return an opener for http and https that returns every answer and follows no redirection."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.UnknownHandler,
    ):
        opener.add_handler(handler())
    return opener


def _phrase(status: int) -> str:
    try:
        return f"({http.HTTPStatus(status).phrase})"
    except ValueError:
        return ""
