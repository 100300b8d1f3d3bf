"""Plain HTTP: served files, headers, and checks of `Host` and `Origin`."""

from __future__ import annotations

from pathlib import Path

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import InvalidMessage
from websockets.http11 import Request, Response

from realtime_mer.errors import UserError
from realtime_mer.server.http import (
    AccessPolicy,
    Site,
    Target,
    check_method,
    frame_origin,
    is_loopback,
    refusal,
    unparsed_refusal,
)
from realtime_mer.server.stage_scenes import StageScenes

HOST = "127.0.0.1:8765"


def request(path: str = "/", method: str = "GET", **headers: str) -> Request:
    fields = {"Host": HOST, **{name.replace("_", "-"): text for name, text in headers.items()}}
    return Request(path, Headers(fields), method)


def respond(site: Site, request: Request) -> Response:
    return site.respond(request, request.path.split("?", 1)[0])


@pytest.fixture
def site() -> Site:
    files = {"/": ("index.html", "text/html; charset=utf-8")}
    return Site("mer_web", files, {"/healthz": lambda: ("application/json", b"{}")})


def test_file_of_the_table(site: Site) -> None:
    response = respond(site, request("/?overlay=1"))
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert response.headers["Content-Length"] == str(len(response.body))
    assert response.headers["Cache-Control"] == "no-cache"
    assert b"<!doctype html>" in response.body.lower()


def test_security_headers(site: Site) -> None:
    headers = respond(site, request()).headers
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self'; ")
    assert f"connect-src 'self' ws://{HOST} wss://{HOST};" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "microphone=(self)" in headers["Permissions-Policy"]


@pytest.mark.parametrize(
    ("path", "inline"),
    [
        ("/", False),
        ("/?overlay=1&show=badge", True),
        ("/?show=badge&overlay", True),
        ("/?overlay=0", False),
        ("/?overlay=no", False),
        ("/app.js?overlay=1", False),
        ("/?other=overlay", False),
    ],
)
def test_inline_styles_in_the_overlay_alone(path: str, inline: bool) -> None:
    files = {"/": ("index.html", "text/html"), "/app.js": ("app.js", "text/javascript")}
    policy = respond(Site("mer_web", files, {}), request(path)).headers["Content-Security-Policy"]
    assert ("style-src 'self' 'unsafe-inline';" in policy) == inline
    assert policy.count("unsafe") == inline


def test_pages_that_may_frame_this_one() -> None:
    frames = [frame_origin(each) for each in ("https://A.example", "http://127.0.0.1:3000")]
    site = Site("mer_web", {"/": ("index.html", "text/html")}, {}, frames)
    policy = respond(site, request()).headers["Content-Security-Policy"]
    assert policy.endswith("; frame-ancestors https://a.example http://127.0.0.1:3000")


@pytest.mark.parametrize(
    "origin",
    [
        "dashboard.example",
        "https://dashboard.example/",
        "https://dashboard.example/panel",
        "https://*.example",
        "https://a.example https://b.example",
        "https://a.example; script-src *",
        "http://[::1]:3000",
        "http://a.example:65536",
        "ftp://a.example",
        "null",
        "*",
        "",
    ],
)
def test_what_cannot_frame_the_page(origin: str) -> None:
    with pytest.raises(UserError, match=r"no origin that may frame .* for example https://"):
        frame_origin(origin)


def test_unchanged_file_gives_304(site: Site) -> None:
    tag = respond(site, request()).headers["ETag"]
    for tags in (tag, f'"other", W/{tag}'):
        response = respond(site, request(If_None_Match=tags))
        assert (response.status_code, response.body) == (304, b"")
        assert response.headers["ETag"] == tag
        assert "Content-Length" not in response.headers
    assert respond(site, request(If_None_Match='"other"')).status_code == 200


def test_head_has_no_body(site: Site) -> None:
    get, head = respond(site, request()), respond(site, request(method="HEAD"))
    assert head.body == b""
    assert head.headers["Content-Length"] == get.headers["Content-Length"]


@pytest.mark.parametrize(
    "path", ["/nothing", "/../pyproject.toml", "/__init__.py", "/index.html/", "//", "/%2e%2e/x"]
)
def test_other_paths_give_404(site: Site, path: str) -> None:
    response = respond(site, request(path))
    assert response.status_code == 404
    assert response.body == b"there is no such page; the pages are: /, /ws, /healthz\n"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_give_405(method: str) -> None:
    refused = check_method(request("/healthz", method))
    assert refused is not None
    response = refusal(refused)
    assert response.status_code == 405
    assert response.headers["Allow"] == "GET, HEAD"
    assert response.body == f"{method} is not allowed, only GET and HEAD\n".encode()


@pytest.mark.parametrize(
    ("target", "host", "path"),
    [
        ("/ws?since=3", None, "/ws"),
        ("//x", None, "//x"),
        (f"http://{HOST}/ws?since=3", HOST, "/ws"),
        (f"HTTP://{HOST}", HOST, "/"),
        ("http:///", "", "/"),
    ],
)
def test_target(target: str, host: str | None, path: str) -> None:
    parsed = Target.parse(target)
    assert parsed is not None
    assert (parsed.host, parsed.path) == (host, path)
    assert parsed.query.get("since") == (["3"] if "?" in target else None)


@pytest.mark.parametrize("target", ["", "*", "?since=3", "ftp://x/", f"{HOST}", "http://[/#x"])
def test_what_is_no_target(target: str) -> None:
    assert Target.parse(target) is None


@pytest.mark.parametrize(
    ("head", "status", "words"),
    [
        (b"hello\r\n\r\n", 400, "this is not HTTP"),
        (b"PRI * HTTP/2.0\r\n\r\nSM", 505, "HTTP/2.0 is not supported"),
        (b"POST /ws HTTP/1.1\r\n", 405, "POST is not allowed"),
        (b"GET / HTTP/1.1\r\nContent-Length: 4\r\n", 400, "has a body"),
        (b"GET  / HTTP/1.1\r\n", 400, "this is not HTTP"),
    ],
)
def test_refusal_of_what_cannot_be_parsed(head: bytes, status: int, words: str) -> None:
    refused = unparsed_refusal(head, InvalidMessage(""))
    assert refused.status.value == status
    assert words in refused.message


def test_pages_made_on_demand_are_not_cached(site: Site) -> None:
    response = respond(site, request("/healthz"))
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
        ("https://127.0.0.1:8765", [], False),
        ("https://127.0.0.1:8765", ["https://127.0.0.1:8765"], True),
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


@pytest.mark.parametrize(
    ("scheme", "origin", "words"),
    [
        ("http", "https://127.0.0.1:8765", "--proxy ADDRESS"),
        ("http", "https://127.0.0.1:8765", "--allow-origin https://127.0.0.1:8765"),
        ("https", "http://127.0.0.1:8765", "open https://127.0.0.1:8765/"),
        ("https", "https://127.0.0.1:8765", None),
        ("https", "HTTPS://127.0.0.1:8765", None),
    ],
)
def test_a_page_of_the_other_scheme_is_another_page(
    scheme: str, origin: str, words: str | None
) -> None:
    refused = AccessPolicy("127.0.0.1").check_origin(request("/ws", Origin=origin), scheme=scheme)
    assert (refused is None) == (words is None)
    if refused is not None and words is not None:
        assert (refused.status.value, words in refused.message) == (403, True)


def test_no_origin_is_accepted_and_two_are_refused() -> None:
    policy = AccessPolicy("127.0.0.1")
    assert policy.check_origin(request("/ws")) is None
    headers = Headers([("Host", HOST), ("Origin", f"http://{HOST}"), ("Origin", "null")])
    assert policy.check_origin(Request("/ws", headers)) is not None


def test_page_learns_why_its_websocket_is_refused() -> None:
    policy = AccessPolicy("127.0.0.1", ["https://vj.example"])
    for origin, accepted in (("https://vj.example", True), ("https://other.example", False)):
        asked = request(f"/ws?origin={origin}")
        refused = policy.check_origin(asked, Target.parse(asked.path))
        assert (refused is None) == accepted
    # The header counts more.
    asked = request("/ws?origin=https://vj.example", Origin="https://other.example")
    assert policy.check_origin(asked, Target.parse(asked.path)) is not None


def test_host_of_an_absolute_target_is_checked() -> None:
    asked = request("http://evil.example/")
    refused = AccessPolicy("127.0.0.1").check_host(asked, Target.parse(asked.path))
    assert refused is not None
    assert refused.status.value == 421


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


def test_scenes_of_the_operator_are_files_too(tmp_path: Path) -> None:
    (tmp_path / "mine.js").write_text("1;")
    site = Site("mer_web", {}, {}, scenes=StageScenes(tmp_path))
    response = respond(site, request("/scenes/mine.js"))
    assert response.status_code == 200
    assert response.body == b"1;"
    assert response.headers["Content-Type"].startswith("text/javascript")
    assert "default-src 'self'" in response.headers["Content-Security-Policy"]
    assert respond(site, request("/scenes/index.json")).body == b'{"scenes": ["mine"]}'
    assert respond(site, request("/scenes/other.js")).status_code == 404
