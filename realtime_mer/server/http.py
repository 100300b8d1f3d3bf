"""Plain HTTP on the server's port: a fixed table of files, and checks of `Host` and `Origin`."""

from __future__ import annotations

import email.utils
import hashlib
import html
import ipaddress
import re
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from importlib import resources
from urllib.parse import parse_qs

from websockets.datastructures import Headers
from websockets.exceptions import (
    HeaderLineTooLong,
    InvalidHeader,
    InvalidProtocol,
    InvalidUpgrade,
    RequestLineTooLong,
    TooManyHeaders,
)
from websockets.http11 import MAX_LINE_LENGTH, MAX_NUM_HEADERS, Request, Response

from realtime_mer.errors import UserError
from realtime_mer.server.stage_scenes import INDEX as SCENES_INDEX
from realtime_mer.server.stage_scenes import SCENE_TYPE, StageScenes

_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:(?P<port>[0-9]{1,5}))?")
# Origin form (/path?query) or absolute form (http://host/path?query) of a request's target.
_TARGET = re.compile(
    r"(?:(?:https?|wss?)://(?P<host>[^/?#]*)(?=[/?]|$))?(?P<path>(?:/[^?#]*)?)(?:\?(?P<query>[^#]*))?",
    re.IGNORECASE,
)
_METHOD = re.compile("[!-~]{1,32}")
_REQUEST_LINE = re.compile(rb"(?P<method>[!-~]{1,32}) [!-~]+ HTTP/(?P<version>[0-9](?:\.[0-9])?)")
_ALLOWED_METHODS = ("GET", "HEAD")
# Browsers write names outside ASCII as ASCII (punycode).
_ORIGIN = re.compile(r"null|[a-z][a-z0-9+.-]*://[!-.0-~]{0,300}")
# What a content policy can name: no wildcard, no IPv6 address.
_FRAME_ORIGIN = re.compile(r"https?://[a-z0-9][a-z0-9.-]{0,252}(?::(?P<port>[0-9]{1,5}))?", re.I)
MAX_PORT = 65_535
MAX_REQUEST_BYTES = 32 * 2**10
"""The request line and all headers together."""
TLS_HANDSHAKE = b"\x16"
"""The byte that a handshake of TLS begins with."""
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
}


def content_security_policy(
    host: str, *, frames: Sequence[str] = (), inline_styles: bool = False
) -> str:
    """Allow only our own files, sockets to this host only, and framing by none but the named pages.

    Args:
        host: the request's `Host`, which `AccessPolicy` has accepted.
        frames: origins of the pages that may frame this one, by `frame_origin`.
        inline_styles: whether style elements of others count, such as the custom CSS of OBS.
    """
    styles = "style-src 'self' 'unsafe-inline'; " if inline_styles else ""
    ancestors = " ".join(frames) or "'none'"
    return (
        "default-src 'self'; "
        # Some browsers do not treat ws: as 'self', so the address is listed.
        f"connect-src 'self' ws://{host} wss://{host}; "
        f"{styles}img-src 'self' data: blob:; media-src 'self' blob:; worker-src 'self' blob:; "
        "object-src 'none'; base-uri 'none'; form-action 'none'; "
        f"frame-ancestors {ancestors}"
    )


def frame_origin(origin: str) -> str:
    """Return the origin of a page that may frame ours, in lower case.

    Raises:
        UserError: it is not an origin that a content policy can name.
    """
    match = _FRAME_ORIGIN.fullmatch(origin)
    if match is None or int(match["port"] or 0) > MAX_PORT:
        raise UserError(
            f"{origin!r} is no origin that may frame the page; write http or https, a host (no "
            "IPv6 address, which browsers do not take here) and its port, without a path, for "
            "example https://dashboard.example or http://192.168.1.5:3000"
        )
    return origin.lower()


def _is_overlay(query: str) -> bool:
    """Return whether the page is an overlay, as it reads its own address."""
    values = parse_qs(query, keep_blank_values=True).get("overlay", ["0"])
    return values[0] not in ("0", "false", "no")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Status and reason of a refused request."""

    status: HTTPStatus
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Target:
    """What a request asks for.

    Attributes:
        host: host and port of an absolute form; None in the usual form.
        path: begins with a slash.
        query: its fields.
    """

    host: str | None
    path: str
    query: Mapping[str, list[str]]

    @classmethod
    def parse(cls, target: str) -> Target | None:
        """Parse the target of a request line; None if it is neither origin nor absolute form."""
        match = _TARGET.fullmatch(target)
        if match is None or not target:
            return None
        path = match["path"] or ("/" if match["host"] is not None else "")
        return cls(match["host"], path, parse_qs(match["query"] or "")) if path else None


def check_method(request: Request) -> Refusal | None:
    """Return None for a method that only reads, else the refusal."""
    if request.method in _ALLOWED_METHODS:
        return None
    return _method_refusal(request.method)


def check_upgrade(request: Request) -> Refusal | None:
    """Return None for a request that asks for a websocket, else the refusal."""
    if request.method == "HEAD":
        return _method_refusal("HEAD", ("GET",))
    return None if "Upgrade" in request.headers else _NO_UPGRADE


def handshake_refusal(error: Exception | None) -> Refusal:
    """Say why a request for a websocket failed, in place of the library's answer."""
    if isinstance(error, InvalidProtocol):
        return Refusal(
            HTTPStatus.HTTP_VERSION_NOT_SUPPORTED,
            "a websocket needs HTTP/1.1; a proxy in between may have to be told so\n",
        )
    if isinstance(error, InvalidUpgrade):
        return _NO_UPGRADE
    if isinstance(error, InvalidHeader) and error.name == "Sec-WebSocket-Version":
        return Refusal(
            HTTPStatus.UPGRADE_REQUIRED,
            "the header Sec-WebSocket-Version must be 13, the version of RFC 6455\n",
            {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"},
        )
    name = error.name if isinstance(error, InvalidHeader) else "Sec-WebSocket-Key"
    return Refusal(
        HTTPStatus.BAD_REQUEST,
        f"the header {name} is missing or malformed; a proxy in between must pass it on\n",
    )


def unparsed_refusal(head: bytes, error: Exception, scheme: str = "http") -> Refusal:
    """Answer a request that is not HTTP, has a body or is too long.

    Args:
        head: what came first, perhaps only a part of the request.
        error: why the library could not parse it.
        scheme: that of our own page: http or https.
    """
    if isinstance(error, RequestLineTooLong):
        return Refusal(
            HTTPStatus.REQUEST_URI_TOO_LONG,
            f"the first line of the request is longer than {MAX_LINE_LENGTH} bytes\n",
        )
    if isinstance(error, HeaderLineTooLong | TooManyHeaders):
        return Refusal(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"the request has more than {MAX_NUM_HEADERS} headers, one longer than "
            f"{MAX_LINE_LENGTH} bytes, or more than {MAX_REQUEST_BYTES} bytes in all; cookies of "
            "other programs on this host may be the reason\n",
        )
    match = _REQUEST_LINE.match(head)
    if match is None:
        tls = head.startswith(TLS_HANDSHAKE)
        what = "this server speaks http, not https" if tls else "this is not HTTP"
        return Refusal(HTTPStatus.BAD_REQUEST, f"{what}; open the page as {scheme}://HOST:PORT/\n")
    if match["version"] not in (b"1.0", b"1.1"):
        return Refusal(
            HTTPStatus.HTTP_VERSION_NOT_SUPPORTED,
            f"HTTP/{match['version'].decode()} is not supported, only HTTP/1.1 and HTTP/1.0\n",
        )
    method = match["method"].decode()
    if method not in _ALLOWED_METHODS:
        return _method_refusal(method)
    return Refusal(
        HTTPStatus.BAD_REQUEST,
        "the request is malformed, or has a body, which no page takes\n",
    )


_NO_UPGRADE = Refusal(
    HTTPStatus.UPGRADE_REQUIRED,
    "/ws is a websocket, and this request does not ask for one: a proxy in between must speak "
    "HTTP/1.1 and pass on the headers Upgrade and Connection; the page is at /\n",
    {"Upgrade": "websocket"},
)


def _method_refusal(method: str, allowed: Iterable[str] = _ALLOWED_METHODS) -> Refusal:
    shown = method if _METHOD.fullmatch(method) else "this method"
    return Refusal(
        HTTPStatus.METHOD_NOT_ALLOWED,
        f"{shown} is not allowed, only {' and '.join(allowed)}\n",
        {"Allow": ", ".join(allowed)},
    )


def to_https(request: Request, target: Target) -> Refusal:
    """Send a request that came in plain HTTP to the port of an https server to its https page."""
    address = f"https://{request.headers['Host']}/"
    message = f"this server speaks https, not http: open {address}\n"
    if target.path == "/ws":
        return Refusal(HTTPStatus.UPGRADE_REQUIRED, message, {"Upgrade": "TLS/1.2, HTTP/1.1"})
    return Refusal(HTTPStatus.TEMPORARY_REDIRECT, message, {"Location": address})


class AccessPolicy:
    """Accepts or refuses requests by their `Host` and `Origin`.

    A foreign web page can make its visitor's browser connect to this server (the browser sends the
    page's `Origin`). It can also point its own name at our address (DNS rebinding: the browser
    sends that name as `Host`).

    Args:
        host: the address that the server binds.
        allowed_origins: further origins, for example `https://vj.example` or `null`.
        scheme: that of the server: http or https.

    Raises:
        UserError: a value is not an origin.
    """

    def __init__(
        self, host: str, allowed_origins: Iterable[str] = (), scheme: str = "http"
    ) -> None:
        self._scheme = scheme
        self._origins = frozenset(allowed_origins)
        names = {bracketed(host).lower(), *_LOOPBACK_NAMES}
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

    def check_host(self, request: Request, target: Target | None = None) -> Refusal | None:
        """Return None where the request names this server, else the refusal."""
        hosts = request.headers.get_all("Host")
        if not hosts:
            return Refusal(
                HTTPStatus.BAD_REQUEST,
                "the Host header is missing; a proxy in between must pass it on\n",
            )
        # An absolute target takes precedence, but only browsers are protected, which send `Host`.
        names = [*hosts, *([target.host] if target is not None and target.host is not None else [])]
        refusals = [self._check_name(name) for name in names]
        if len(hosts) > 1:
            return Refusal(HTTPStatus.BAD_REQUEST, "there is more than one Host header\n")
        return next((refused for refused in refusals if refused is not None), None)

    def _check_name(self, host: str) -> Refusal | None:
        name = _name(host)
        if name is None:
            return Refusal(HTTPStatus.BAD_REQUEST, "the Host header is malformed\n")
        # DNS rebinding needs a name; a request by address is safe.
        if name in self._names or (self._any_address and _is_address(name)):
            return None
        return Refusal(
            HTTPStatus.MISDIRECTED_REQUEST,
            f"this server does not respond to the name {name}; open it by its address, "
            f"or start it with --allow-origin {self._scheme}://{name}\n",
        )

    def check_origin(
        self, request: Request, target: Target | None = None, scheme: str = "http"
    ) -> Refusal | None:
        """Return None for our own page, an allowed page or no page at all, else the refusal.

        A page whose websocket is refused asks again with `?origin=`, because browsers show it no
        reason and send no `Origin` with a plain request.

        Args:
            request: has the origin and our host.
            target: of the request.
            scheme: that of our own page: http or https.
        """
        origins = request.headers.get_all("Origin")
        if not origins and target is not None:
            origins = target.query.get("origin", [])
        if not origins:
            return None
        origin = origins[0]
        host = request.headers["Host"].lower()
        if len(origins) == 1 and (
            origin in self._origins or origin.lower() == f"{scheme}://{host}"
        ):
            return None
        if not _ORIGIN.fullmatch(origin):
            return Refusal(HTTPStatus.FORBIDDEN, "the origin of the page is malformed\n")
        if len(origins) == 1 and origin.lower() == f"https://{host}":
            return Refusal(
                HTTPStatus.FORBIDDEN,
                f"the page came over https, but this server was asked over http: if a proxy in "
                "between speaks https, start the server with --proxy ADDRESS of the proxy, which "
                f"must send X-Forwarded-Proto, or with --allow-origin {origin}\n",
            )
        if len(origins) == 1 and origin.lower() == f"http://{host}":
            return Refusal(
                HTTPStatus.FORBIDDEN,
                f"the page came over http, where others can change it; open https://{host}/\n",
            )
        return Refusal(
            HTTPStatus.FORBIDDEN,
            f"pages from {origin} may not use this server; start it with --allow-origin {origin}\n",
        )


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a server that binds this host."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


NO_SCENES = StageScenes()
Page = Callable[[], tuple[str, bytes]]
"""Makes a page on demand: returns its content type and body."""


class Site:
    """Serves GET and HEAD for a fixed table of files and for a few pages made on demand.

    Args:
        package: import package that contains the files.
        files: maps a path to (file name inside the package, content type).
        pages: maps a path to the function that makes the page.
        frames: origins of the pages that may frame the files, by `frame_origin`.
        scenes: further files, which come and go.
    """

    def __init__(
        self,
        package: str,
        files: Mapping[str, tuple[str, str]],
        pages: Mapping[str, Page],
        frames: Sequence[str] = (),
        scenes: StageScenes = NO_SCENES,
    ) -> None:
        self._root = resources.files(package)
        self._files = dict(files)
        self._pages = dict(pages)
        self._frames = tuple(frames)
        self._scenes = scenes

    def respond(self, request: Request, path: str) -> Response:
        """Respond to a request that the access policy has accepted."""
        pages = {**self._pages, SCENES_INDEX: self._scenes.index}
        found = self._find(path)
        if found is None and path not in pages:
            paths = ", ".join(["/", "/ws", *self._pages])
            return refusal(
                Refusal(HTTPStatus.NOT_FOUND, f"there is no such page; the pages are: {paths}\n"),
                request,
            )
        if found is None:
            content_type, body = pages[path]()
            response = _response(HTTPStatus.OK, content_type, body)
            response.headers["Cache-Control"] = "no-store"
        else:
            response = self._file(request, path, *found)
        if request.method == "HEAD":
            response.body = b""
        return response

    def _find(self, path: str) -> tuple[str, bytes] | None:
        """Return the content type and body of a file; None where there is none."""
        # Read each time: the files are small, and a reload then shows an edited file.
        if path in self._files:
            name, content_type = self._files[path]
            return content_type, (self._root / name).read_bytes()
        scene = self._scenes.read(path)
        return None if scene is None else (SCENE_TYPE, scene)

    def _file(self, request: Request, path: str, content_type: str, body: bytes) -> Response:
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
            request.headers["Host"],
            frames=self._frames,
            inline_styles=path == "/" and _is_overlay(request.path.partition("?")[2]),
        )
        return response


def refusal(refused: Refusal, request: Request | None = None) -> Response:
    """Build the response of a refusal: one sentence of plain text, which HEAD leaves out."""
    response = _response(
        refused.status, "text/plain; charset=utf-8", refused.message.encode(), refused.headers
    )
    # The page reads why its websocket is refused; an old reason would mislead.
    response.headers["Cache-Control"] = "no-store"
    if request is not None and request.method == "HEAD":
        response.body = b""
    return response


def redirect(location: str, headers: Mapping[str, str] | None = None) -> Response:
    """Build a response that leads a browser to another page, which replaces this one in history."""
    more = {"Location": location, "Cache-Control": "no-store", **(headers or {})}
    return _response(HTTPStatus.SEE_OTHER, "text/plain; charset=utf-8", b"", more)


def attachment(content_type: str, name: str, body: bytes, request: Request) -> Response:
    """Build a response that browsers save as a file, which HEAD leaves out.

    Args:
        content_type: of the file.
        name: of the file, ASCII without quotes.
        body: the file.
        request: asked for it.
    """
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    response = _response(HTTPStatus.OK, content_type, body, headers)
    if request.method == "HEAD":
        response.body = b""
    return response


def sentence_page(refused: Refusal, request: Request) -> Response:
    """Build a page for people: one sentence, which HEAD leaves out, and a link to the page."""
    body = (
        '<!doctype html><html lang="en"><meta name="viewport" content="width=device-width">'
        f"<title>realtime-mer</title><p>{html.escape(refused.message)}</p>"
        '<p><a href="/">Open the page</a></p></html>\n'
    )
    response = _response(refused.status, "text/html; charset=utf-8", body.encode(), refused.headers)
    response.headers["Cache-Control"] = "no-store"
    response.headers["Content-Security-Policy"] = "default-src 'none'; frame-ancestors 'none'"
    if request.method == "HEAD":
        response.body = b""
    return response


def _response(
    status: HTTPStatus, content_type: str, body: bytes, more: Mapping[str, str] | None = None
) -> Response:
    headers = Headers(
        {
            "Date": email.utils.formatdate(usegmt=True),
            "Connection": "close",
            "Content-Type": content_type,
            **SECURITY_HEADERS,
            **(more or {}),
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


def port_of_host(request: Request) -> str:
    """Return the port in the request's `Host`, as it is written; empty for the scheme's own."""
    match = _HOST.fullmatch(next(iter(request.headers.get_all("Host")), ""))
    return (match["port"] or "") if match else ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def bracketed(host: str) -> str:
    """Return a host as it is written in an address: IPv6 in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
