"""Plain HTTP: served files, headers, and checks of `Host` and `Origin`."""

from __future__ import annotations

import pytest
from websockets.datastructures import Headers
from websockets.http11 import Request

from realtime_mer.errors import UserError
from realtime_mer.server.http import AccessPolicy, Site, is_loopback

HOST = "127.0.0.1:8765"


def request(path: str = "/", method: str = "GET", **headers: str) -> Request:
    fields = {"Host": HOST, **{name.replace("_", "-"): text for name, text in headers.items()}}
    return Request(path, Headers(fields), method)


@pytest.fixture
def site() -> Site:
    files = {"/": ("index.html", "text/html; charset=utf-8")}
    return Site("mer_web", files, {"/healthz": lambda: ("application/json", b"{}")})


def test_file_of_the_table(site: Site) -> None:
    response = site.respond(request("/?overlay=1"))
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert response.headers["Content-Length"] == str(len(response.body))
    assert response.headers["Cache-Control"] == "no-cache"
    assert b"<!doctype html>" in response.body.lower()


def test_security_headers(site: Site) -> None:
    headers = site.respond(request()).headers
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self'; ")
    assert f"connect-src 'self' ws://{HOST} wss://{HOST};" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "microphone=(self)" in headers["Permissions-Policy"]


def test_unchanged_file_gives_304(site: Site) -> None:
    tag = site.respond(request()).headers["ETag"]
    for tags in (tag, f'"other", W/{tag}'):
        response = site.respond(request(If_None_Match=tags))
        assert (response.status_code, response.body) == (304, b"")
        assert response.headers["ETag"] == tag
        assert "Content-Length" not in response.headers
    assert site.respond(request(If_None_Match='"other"')).status_code == 200


def test_head_has_no_body(site: Site) -> None:
    get, head = site.respond(request()), site.respond(request(method="HEAD"))
    assert head.body == b""
    assert head.headers["Content-Length"] == get.headers["Content-Length"]


@pytest.mark.parametrize(
    "path", ["/nothing", "/../pyproject.toml", "/__init__.py", "/index.html/", "//", "/%2e%2e/x"]
)
def test_other_paths_give_404(site: Site, path: str) -> None:
    response = site.respond(request(path))
    assert response.status_code == 404
    assert response.body == b"there is no such page; the pages are: /, /ws, /healthz\n"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_give_405(site: Site, method: str) -> None:
    response = site.respond(request("/healthz", method))
    assert response.status_code == 405
    assert response.headers["Allow"] == "GET, HEAD"
    assert response.body == f"{method} is not allowed, only GET and HEAD\n".encode()


def test_pages_made_on_demand_are_not_cached(site: Site) -> None:
    response = site.respond(request("/healthz"))
    assert (response.status_code, response.body) == (200, b"{}")
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("bound", "host", "status"),
    [
        ("127.0.0.1", "127.0.0.1:8765", None),
        ("127.0.0.1", "localhost:9000", None),
        ("127.0.0.1", "LOCALHOST", None),
        ("127.0.0.1", "[::1]:8765", None),
        ("127.0.0.1", "evil.example", 421),
        ("127.0.0.1", "evil.example:8765", 421),
        ("127.0.0.1", "127.0.0.1.evil.example", 421),
        ("127.0.0.1", "192.168.1.5:8765", 421),
        ("127.0.0.1", "", 400),
        ("127.0.0.1", "a b", 400),
        ("127.0.0.1", "127.0.0.1:8765;evil", 400),
        ("0.0.0.0", "192.168.1.5:8765", None),
        ("0.0.0.0", "[fe80::1]:8765", None),
        ("0.0.0.0", "evil.example", 421),
        ("192.168.1.5", "192.168.1.5:8765", None),
        ("::1", "[::1]:8765", None),
        ("stage.example", "stage.example:8765", None),
    ],
)
def test_accepted_hosts(bound: str, host: str, status: int | None) -> None:
    refused = AccessPolicy(bound).check_host(Request("/", Headers({"Host": host})))
    assert (refused and refused.status.value) == status


def test_missing_or_repeated_host_is_refused() -> None:
    policy = AccessPolicy("127.0.0.1")
    twice = Headers([("Host", HOST), ("Host", HOST)])
    for headers in (Headers(), twice):
        refused = policy.check_host(Request("/", headers))
        assert refused is not None
        assert refused.status.value == 400


@pytest.mark.parametrize(
    ("origin", "allowed", "accepted"),
    [
        ("http://127.0.0.1:8765", [], True),
        ("https://127.0.0.1:8765", [], True),
        ("http://127.0.0.1:9999", [], False),
        ("http://evil.example", [], False),
        ("http://127.0.0.1:8765.evil.example", [], False),
        ("null", [], False),
        ("null", ["null"], True),
        ("https://vj.example", ["https://vj.example"], True),
        ("http://vj.example", ["https://vj.example"], False),
        ("", [], False),
    ],
)
def test_accepted_origins(origin: str, allowed: list[str], accepted: bool) -> None:
    refused = AccessPolicy("127.0.0.1", allowed).check_origin(request("/ws", Origin=origin))
    assert (refused is None) == accepted
    if refused is not None:
        assert refused.status.value == 403


def test_no_origin_is_accepted_and_two_are_refused() -> None:
    policy = AccessPolicy("127.0.0.1")
    assert policy.check_origin(request("/ws")) is None
    headers = Headers([("Host", HOST), ("Origin", f"http://{HOST}"), ("Origin", "null")])
    assert policy.check_origin(Request("/ws", headers)) is not None


def test_host_of_an_allowed_origin_is_accepted() -> None:
    policy = AccessPolicy("127.0.0.1", ["https://vj.example:8443"])
    assert policy.check_host(request(Host="vj.example:8443")) is None


def test_refusal_does_not_repeat_a_malformed_origin() -> None:
    refused = AccessPolicy("127.0.0.1").check_origin(request("/ws", Origin="<script>"))
    assert refused is not None
    assert "<" not in refused.message


@pytest.mark.parametrize("origin", ["vj.example", "https://vj.example/", "https://a b", "*", ""])
def test_invalid_origins(origin: str) -> None:
    with pytest.raises(UserError, match="is not an origin"):
        AccessPolicy("127.0.0.1", [origin])


def test_is_loopback() -> None:
    for host in ("127.0.0.1", "127.3.4.5", "::1", "[::1]", "localhost"):
        assert is_loopback(host)
    for host in ("0.0.0.0", "::", "192.168.1.5", "stage.example", ""):
        assert not is_loopback(host)
