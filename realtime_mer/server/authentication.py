"""Who a client is: by a token, by a cookie, or by a link that opens the page once."""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
from collections.abc import Callable
from http import HTTPStatus

from websockets.http11 import Request, Response

from realtime_mer.clock import Clock
from realtime_mer.server.http import Refusal, Target, port_of_host, redirect
from realtime_mer.server.ip_address import network_of
from realtime_mer.server.protocol import ErrorCode, WireError
from realtime_mer.server.tokens import Role, Tokens

AUTH_TIMEOUT_S = 5.0
"""How long a websocket without a credential may wait with its token."""
COOKIE_LIFETIME_S = 7 * 24 * 3600
# Failures of an address before it is refused, and for how long.
MAX_FAILURES, FAILURE_PERIOD_S = 10, 60.0
_MAX_ADDRESSES = 4096
_MAX_CODES = 16
UNAUTHORIZED = Refusal(
    HTTPStatus.UNAUTHORIZED,
    "this needs a valid token: send it in the header Authorization: Bearer TOKEN; the server's "
    "terminal says where its tokens are\n",
    {"WWW-Authenticate": 'Bearer realm="realtime-mer"'},
)
_USED_LINK = Refusal(
    HTTPStatus.FORBIDDEN,
    "This link is not valid, or was opened before: each link opens the page once. Scan the new "
    "code in the server's terminal, or open the page and enter a token.",
)
_NOT_OPENED = Refusal(
    HTTPStatus.SERVICE_UNAVAILABLE, "This link works once, so it is not opened in advance."
)


class FailureLimit:
    """Refuses an address for a minute after ten failures within one.

    Its memory is bounded: the address that failed least recently is forgotten first.

    Args:
        clock: the time source.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: dict[str, tuple[int, float]] = {}

    def wait_s(self, address: str) -> float:
        """Return for how many seconds an address is still refused; 0 where it is not."""
        count, since = self._failures.get(network_of(address), (0, 0.0))
        if count < MAX_FAILURES:
            return 0.0
        return max(0.0, since + FAILURE_PERIOD_S - self._clock.monotonic())

    def add(self, address: str) -> None:
        """Count a failure."""
        now = self._clock.monotonic()
        count, since = self._failures.pop(network_of(address), (0, now))
        if now >= since + FAILURE_PERIOD_S:
            count, since = 0, now
        count += 1
        self._failures[network_of(address)] = (count, now if count >= MAX_FAILURES else since)
        while len(self._failures) > _MAX_ADDRESSES:
            del self._failures[next(iter(self._failures))]


class Authenticator:
    """Gives clients their roles.

    Its cookies have the port of the address that the browser knows in their name, because they go
    to all ports of a host. Behind a proxy that is the proxy's port, so a cookie counts on every
    server there that has the same tokens.

    Attributes:
        on_link_used: called with the role of a link that was just used.

    Args:
        tokens: what the operator gives out.
        clock: the time source.
    """

    def __init__(self, tokens: Tokens, clock: Clock) -> None:
        self._tokens = tokens
        self._clock = clock
        self._failures = FailureLimit(clock)
        self._codes: dict[bytes, Role] = {}
        self.on_link_used: Callable[[Role], None] = lambda role: None

    def check_request(self, request: Request, address: str) -> Role | Refusal | None:
        """Return the role that a request's credential gives.

        Args:
            request: any request.
            address: of the client.

        Returns:
            A refusal for a wrong token; None without one, also for a cookie that has expired.
        """
        bearers = [
            token.strip()
            for value in request.headers.get_all("Authorization")
            for scheme, _, token in (value.strip().partition(" "),)
            if scheme.lower() == "bearer"
        ]
        if not bearers:
            return self._role_of_cookies(request)
        if refused := self._too_many(address):
            return refused
        role = self._tokens.role_of(bearers[0]) if len(bearers) == 1 else None
        if role is None:
            self._failures.add(address)
            return UNAUTHORIZED
        return role

    def check_token(self, token: str, address: str) -> Role:
        """Return the role of a token that came over a websocket.

        Raises:
            WireError: it is wrong, or its address sent too many wrong ones.
        """
        if refused := self._too_many(address):
            raise WireError(ErrorCode.UNAUTHORIZED, refused.message.strip())
        role = self._tokens.role_of(token)
        if role is None:
            self._failures.add(address)
            raise WireError(
                ErrorCode.UNAUTHORIZED,
                "this token is not one of this server; its terminal says where its tokens are",
            )
        return role

    def new_code(self, role: Role) -> str:
        """Make the code of a link that gives a role once."""
        code = secrets.token_urlsafe(16)
        self._codes[_digest(code)] = role
        while len(self._codes) > _MAX_CODES:
            del self._codes[next(iter(self._codes))]
        return code

    def enter(
        self, request: Request, target: Target, address: str, *, secure: bool
    ) -> Response | Refusal:
        """Answer a request for a link: exchange its code for a cookie.

        Args:
            request: GET or HEAD.
            target: its parsed target.
            address: of the client.
            secure: whether browsers may send the cookie over TLS only.
        """
        purposes = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")
        values = [value for name in purposes for value in request.headers.get_all(name)]
        purpose = " ".join(values).lower()
        if request.method != "GET" or "prefetch" in purpose or "preview" in purpose:
            return _NOT_OPENED
        # Nobody guesses a code, so a right one counts also where others of the address guess.
        role = self._take_code(next(iter(target.query.get("code", ())), ""))
        if role is None:
            if refused := self._too_many(address):
                return refused
            if self._role_of_cookies(request) is not None:
                return redirect("/")
            self._failures.add(address)
            return _USED_LINK
        expires_at = int(self._clock.utc().timestamp()) + COOKIE_LIFETIME_S
        cookie = (
            f"{_cookie_name(request)}={self._tokens.new_cookie(role, expires_at)}; Path=/; "
            f"Max-Age={COOKIE_LIFETIME_S}; HttpOnly; SameSite=Strict{'; Secure' if secure else ''}"
        )
        self.on_link_used(role)
        return redirect("/", {"Set-Cookie": cookie})

    def _take_code(self, code: str) -> Role | None:
        digest = _digest(code)
        found = [known for known in self._codes if hmac.compare_digest(known, digest)]
        return self._codes.pop(found[0]) if found else None

    def _role_of_cookies(self, request: Request) -> Role | None:
        now, own_name = self._clock.utc().timestamp(), _cookie_name(request)
        for header in request.headers.get_all("Cookie"):
            for cookie in header.split(";"):
                name, _, value = cookie.strip().partition("=")
                if name == own_name and (role := self._tokens.role_of_cookie(value, now)):
                    return role
        return None

    def _too_many(self, address: str) -> Refusal | None:
        wait_s = math.ceil(self._failures.wait_s(address))
        if not wait_s:
            return None
        return Refusal(
            HTTPStatus.TOO_MANY_REQUESTS,
            f"too many wrong tokens or links from this address; try again in {wait_s} s\n",
            {"Retry-After": str(wait_s)},
        )


def _cookie_name(request: Request) -> str:
    return f"realtime_mer_{port_of_host(request) or 'default'}"


def _digest(code: str) -> bytes:
    return hashlib.sha256(code.encode("utf-8", "surrogatepass")).digest()
