"""Plain HTTP on the server's port: a fixed table of files, and checks of `Host` and `Origin`."""

from __future__ import annotations

import email.utils
import hashlib
import ipaddress
import re
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from importlib import resources

from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from realtime_mer.errors import UserError

_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:(?P<port>[0-9]{1,5}))?")
_ORIGIN = re.compile(r"null|[a-z][a-z0-9+.-]*://[^/\s]*")
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
}


def content_security_policy(host: str) -> str:
    """Allow only our own files, sockets to this host only, and no framing by other pages.

    Args:
        host: the request's `Host`, which `AccessPolicy` has accepted.
    """
    return (
        "default-src 'self'; "
        # Some browsers do not treat ws: as 'self', so the address is listed.
        f"connect-src 'self' ws://{host} wss://{host}; "
        "img-src 'self' data: blob:; media-src 'self' blob:; worker-src 'self' blob:; "
        "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


@dataclass(frozen=True, slots=True)
class Refusal:
    """Status and reason of a refused request."""

    status: HTTPStatus
    message: str


class AccessPolicy:
    """Accepts or refuses requests by their `Host` and `Origin`.

    A foreign web page can make its visitor's browser connect to this server (the browser sends the
    page's `Origin`). It can also point its own name at our address (DNS rebinding: the browser
    sends that name as `Host`).

    Args:
        host: the address that the server binds.
        allowed_origins: further origins, for example `https://vj.example` or `null`.

    Raises:
        UserError: a value is not an origin.
    """

    def __init__(self, host: str, allowed_origins: Iterable[str] = ()) -> None:
        self._origins = frozenset(allowed_origins)
        names = {_bracketed(host).lower(), *_LOOPBACK_NAMES}
        for origin in self._origins:
            if not _ORIGIN.fullmatch(origin):
                raise UserError(
                    f"{origin!r} is not an origin; write scheme, host and port without a path, "
                    "for example http://192.168.1.5:8080"
                )
            if "://" in origin:
                names.add(_name(origin.split("://", 1)[1]) or "")
        self._any_address = not is_loopback(host)
        if self._any_address:
            own = socket.gethostname().lower()
            names |= {own, f"{own}.local", own.split(".")[0]}
        self._names = names - {""}

    def check_host(self, request: Request) -> Refusal | None:
        """Return None where the request names this server, else the refusal."""
        hosts = request.headers.get_all("Host")
        name = _name(hosts[0]) if len(hosts) == 1 else None
        if name is None:
            return Refusal(HTTPStatus.BAD_REQUEST, "the Host header is missing or malformed\n")
        # DNS rebinding needs a name; a request by address is safe.
        if name in self._names or (self._any_address and _is_address(name)):
            return None
        return Refusal(
            HTTPStatus.MISDIRECTED_REQUEST,
            f"this server does not respond to the name {name}; open it by its address, "
            f"or start it with --allow-origin http://{name}\n",
        )

    def check_origin(self, request: Request) -> Refusal | None:
        """Return None for our own page, an allowed page or no page at all, else the refusal."""
        origins = request.headers.get_all("Origin")
        if not origins:
            return None
        origin = origins[0]
        if len(origins) == 1 and (
            origin in self._origins
            or origin.split("://", 1)[-1].lower() == request.headers["Host"].lower()
        ):
            return None
        shown = origin if _ORIGIN.fullmatch(origin) else "(malformed)"
        return Refusal(
            HTTPStatus.FORBIDDEN,
            f"pages from {shown} may not use this server; start it with --allow-origin {shown}\n",
        )


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a server that binds this host."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


Page = Callable[[], tuple[str, bytes]]
"""Makes a page on demand: returns its content type and body."""


class Site:
    """Serves GET and HEAD for a fixed table of files and for a few pages made on demand.

    Args:
        package: import package that contains the files.
        files: maps a path to (file name inside the package, content type).
        pages: maps a path to the function that makes the page.
    """

    def __init__(
        self, package: str, files: Mapping[str, tuple[str, str]], pages: Mapping[str, Page]
    ) -> None:
        self._root = resources.files(package)
        self._files = dict(files)
        self._pages = dict(pages)

    def respond(self, request: Request) -> Response:
        """Respond to a request that the access policy has accepted."""
        path = request.path.split("?", 1)[0]
        if path not in self._files and path not in self._pages:
            paths = ", ".join(["/", "/ws", *self._pages])
            return refusal(
                Refusal(HTTPStatus.NOT_FOUND, f"there is no such page; the pages are: {paths}\n")
            )
        if request.method not in ("GET", "HEAD"):
            response = refusal(
                Refusal(
                    HTTPStatus.METHOD_NOT_ALLOWED,
                    f"{request.method} is not allowed, only GET and HEAD\n",
                )
            )
            response.headers["Allow"] = "GET, HEAD"
            return response
        if path in self._pages:
            content_type, body = self._pages[path]()
            response = _response(HTTPStatus.OK, content_type, body)
            response.headers["Cache-Control"] = "no-store"
        else:
            response = self._file(request, path)
        if request.method == "HEAD":
            response.body = b""
        return response

    def _file(self, request: Request, path: str) -> Response:
        name, content_type = self._files[path]
        # Read each time: the files are small, and a reload then shows an edited file.
        body = (self._root / name).read_bytes()
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        cached_tags = ",".join(request.headers.get_all("If-None-Match"))
        unchanged = any(part.strip().removeprefix("W/") == tag for part in cached_tags.split(","))
        response = (
            _response(HTTPStatus.NOT_MODIFIED, content_type, b"")
            if unchanged
            else _response(HTTPStatus.OK, content_type, body)
        )
        response.headers["ETag"] = tag
        response.headers["Cache-Control"] = "no-cache"
        response.headers["Content-Security-Policy"] = content_security_policy(
            request.headers["Host"]
        )
        return response


def refusal(refused: Refusal) -> Response:
    """Build the response of a refusal: one sentence of plain text."""
    return _response(refused.status, "text/plain; charset=utf-8", refused.message.encode())


def _response(status: HTTPStatus, content_type: str, body: bytes) -> Response:
    headers = Headers(
        {
            "Date": email.utils.formatdate(usegmt=True),
            "Connection": "close",
            "Content-Type": content_type,
            **SECURITY_HEADERS,
        }
    )
    # A 304 has no body; clients would take its length for the file's.
    if status is not HTTPStatus.NOT_MODIFIED:
        headers["Content-Length"] = str(len(body))
    return Response(status.value, status.phrase, headers, body)


def _name(host: str) -> str | None:
    """Return the name in a `Host` header, in lower case without the port; None if malformed."""
    match = _HOST.fullmatch(host)
    return match["name"].lower() if match else None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
