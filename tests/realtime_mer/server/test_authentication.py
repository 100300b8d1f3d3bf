"""A server that asks for tokens, over real sockets."""

from __future__ import annotations

import http.client
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from live_support import (
    TIMEOUT_S,
    HangingSource,
    RunningServer,
    receive,
    receive_kind,
    receive_until,
    running_server,
    wait_for,
)
from mer_engine import Engine
from support import ManualClock, music
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from realtime_mer.live.runner import LiveRunner
from realtime_mer.live.stats import Counter
from realtime_mer.server import authentication
from realtime_mer.server.authentication import (
    FAILURE_PERIOD_S,
    MAX_FAILURES,
    FailureLimit,
)
from realtime_mer.server.server import MerServer, ServerConfig
from realtime_mer.server.tokens import Role, Tokens

SECRETS = {role: f"the-secret-for-{role}" for role in Role}
TOKENS = Tokens(SECRETS, "a test")
WRONG = "a-secret-of-another-server"
RATE = 16_000
START = {"type": "start", "sample_rate_hz": RATE, "channels": 1, "format": "f32le", "name": "me"}


class Door:
    """A running server that asks for tokens."""

    def __init__(self, running: RunningServer) -> None:
        self.running = running
        self.server = running.server

    def http(
        self, path: str, method: str = "GET", headers: dict[str, str] | None = None
    ) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.running.port, timeout=TIMEOUT_S)
        try:
            connection.request(method, path, headers=headers or {})
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    def link(self, role: Role) -> str:
        """Return the path of a new link."""
        url = self.server.url
        link: str = self.running.call(lambda: self.server.link(role, url))
        return "/" + link.removeprefix(url)

    def cookie(self, role: Role) -> dict[str, str]:
        """Open a new link and return the header of its cookie."""
        response, _ = self.http(self.link(role))
        return {"Cookie": str(response.headers["Set-Cookie"]).partition(";")[0]}

    def connect(self, **options: Any) -> ClientConnection:
        return self.running.connect(**options)


@pytest.fixture
def door(engine: Engine) -> Iterator[Door]:
    runner = LiveRunner(HangingSource(), engine)
    with running_server(engine, runner, tokens=TOKENS) as running:
        yield Door(running)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def auth(token: object) -> str:
    return json.dumps({"type": "auth", "token": token})


def closed(client: ClientConnection) -> tuple[int, str]:
    """Wait until the server closes a connection; return code and reason."""
    with pytest.raises(ConnectionClosed) as caught:
        receive_until(client, "never")
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code, caught.value.rcvd.reason


# The ways to show a credential.


@pytest.mark.parametrize("role", Role)
def test_a_token_in_the_header(door: Door, role: Role) -> None:
    with door.connect(additional_headers=bearer(SECRETS[role])) as client:
        assert receive(client)["role"] == role


@pytest.mark.parametrize("role", Role)
def test_a_token_in_the_first_message(door: Door, role: Role) -> None:
    with door.connect() as client:
        client.send(auth(SECRETS[role]))
        hello = receive(client)
        assert (hello["type"], hello["role"]) == ("hello", role)
        assert receive(client)["type"] == "snapshot"


@pytest.mark.parametrize("role", Role)
def test_a_cookie(door: Door, role: Role) -> None:
    header = {"Cookie": f"other=1; broken; {door.cookie(role)['Cookie']}; more=x=y"}
    with door.connect(additional_headers=header) as client:
        assert receive(client)["role"] == role


def test_messages_behind_the_token_arrive_in_order(door: Door) -> None:
    with door.connect() as client:
        client.send(auth(SECRETS[Role.SEND]))
        client.send(json.dumps(START))
        client.send(music(3.0, RATE)[:, 0].tobytes())
        client.send('{"type": "stop"}')
        messages = receive_until(client, "end")
    assert len([m for m in messages if m["type"] == "estimate"]) == 3


def test_a_basic_login_is_a_proxys(door: Door) -> None:
    header = {"Authorization": "Basic bWU6c2VjcmV0", **door.cookie(Role.VIEW)}
    with door.connect(additional_headers=header) as client:
        assert receive(client)["role"] == "view"


# What is refused.


def test_a_wrong_token_in_the_header_is_401(door: Door) -> None:
    for header in (bearer(WRONG), bearer(""), {"Authorization": "bearer"}):
        with pytest.raises(InvalidStatus) as caught:
            door.connect(additional_headers=header)
        response = caught.value.response
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        assert response.body is not None
        assert re.fullmatch(r"this needs a valid token: .*\n", response.body.decode())


@pytest.mark.parametrize(
    "message",
    [
        auth(WRONG),
        auth(""),
        auth(7),
        '{"type": "auth"}',
        '{"type": "ping"}',
        json.dumps(START),
        "{",
        b"\0\0\0\0",
    ],
)
def test_another_first_message_is_unauthorized(door: Door, message: str | bytes) -> None:
    with door.connect() as client:
        client.send(message)
        error = receive(client)
        assert (error["type"], error["code"]) == ("error", "unauthorized")
        assert closed(client) == (1008, "unauthorized")
    assert door.server.stats[Counter.CONNECTIONS] == 0


def test_a_silent_connection_is_closed(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "AUTH_TIMEOUT_S", 0.05)
    with door.connect() as client:
        error = receive(client)
        assert error["code"] == "unauthorized"
        assert "as the first message within" in error["message"]
        assert closed(client) == (1008, "unauthorized")


def test_a_client_that_leaves_before_its_token_leaves_nothing(door: Door) -> None:
    idle = door.running.tasks()
    with door.connect():
        assert door.server.viewers == 0
    wait_for(lambda: door.running.tasks() == idle, "the end of the connection's task")


def test_unauthenticated_connections_are_no_viewers(engine: Engine) -> None:
    with (
        running_server(engine, tokens=TOKENS, max_viewers=1) as running,
        running.connect() as silent,
        running.connect() as second,
    ):
        assert running.server.viewers == 0
        second.send(auth(SECRETS[Role.VIEW]))
        assert receive(second)["type"] == "hello"
        assert running.server.viewers == 1
        # The place is taken now.
        silent.send(auth(SECRETS[Role.VIEW]))
        assert receive(silent)["code"] == "too_many_viewers"


def test_an_unauthenticated_connection_gets_no_broadcast(door: Door) -> None:
    with (
        door.connect() as silent,
        door.connect(additional_headers=bearer(SECRETS[Role.VIEW])) as viewer,
    ):
        receive_kind(viewer, "health")
        receive_kind(viewer, "health")
        with pytest.raises(TimeoutError):
            silent.recv(timeout=0)


# Roles.


def test_who_may_watch_may_ask_for_pulses(door: Door) -> None:
    with door.connect(additional_headers=bearer(SECRETS[Role.VIEW])) as client:
        client.send('{"type": "pulse", "on": true}')
        hub = door.running.call(lambda: door.server.channel(None).hub)
        wait_for(lambda: hub.wants_pulses, "the request")


def test_only_send_may_send(door: Door) -> None:
    with door.connect(additional_headers=bearer(SECRETS[Role.VIEW])) as client:
        client.send(json.dumps(START))
        error = receive_kind(client, "error")
        assert error["code"] == "forbidden"
        assert "the role view may watch" in error["message"]
        # The connection stays.
        client.send('{"type": "ping", "id": 1}')
        assert receive_kind(client, "pong")["id"] == 1
        # A better token on the same connection.
        client.send(auth(SECRETS[Role.SEND]))
        assert receive_kind(client, "hello")["role"] == "send"
        client.send(json.dumps(START))
        assert receive_kind(client, "hello")["input"]["kind"] == "browser"


def test_a_lower_or_wrong_token_after_the_first(door: Door) -> None:
    with door.connect(additional_headers=bearer(SECRETS[Role.SEND])) as client:
        receive_kind(client, "health")
        client.send(auth(SECRETS[Role.VIEW]))
        client.send(json.dumps(START))
        hello = receive_kind(client, "hello")
        assert (hello["role"], hello["input"]["kind"]) == ("send", "browser")
        client.send(auth(WRONG))
        assert receive_kind(client, "error")["code"] == "unauthorized"
        assert closed(client) == (1008, "unauthorized")


def test_without_tokens_everyone_has_control_and_a_token_is_ignored(engine: Engine) -> None:
    with running_server(engine) as running, running.connect() as client:
        assert receive(client)["role"] == "control"
        client.send(auth(WRONG))
        client.send('{"type": "ping", "id": 1}')
        assert receive_kind(client, "pong")["id"] == 1
        door = Door(running)
        assert json.loads(door.http("/healthz", headers=bearer(WRONG))[1])["version"]
        assert door.http("/metrics")[0].status == 200
        assert door.http("/enter?code=x")[0].status == 404


# Links.


def test_a_link_works_once(door: Door) -> None:
    link = door.link(Role.SEND)
    # 128 bits.
    assert re.fullmatch(r"/enter\?code=[A-Za-z0-9_-]{22}", link)
    response, body = door.http(link)
    assert (response.status, response.headers["Location"], body) == (303, "/", b"")
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Cache-Control"] == "no-store"
    name, *attributes = str(response.headers["Set-Cookie"]).split("; ")
    assert name.startswith(f"realtime_mer_{door.running.port}=send.")
    assert {"Path=/", "HttpOnly", "SameSite=Strict"} <= set(attributes)
    assert "Secure" not in attributes
    assert not [secret for secret in SECRETS.values() if secret in str(response.headers)]

    response, body = door.http(link)
    assert response.status == 403
    assert response.headers["Set-Cookie"] is None
    assert b"was opened before" in body
    assert b'<a href="/">' in body
    # Whoever opened it comes in again.
    response, _ = door.http(link, headers={"Cookie": name})
    assert (response.status, response.headers["Location"]) == (303, "/")


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("HEAD", {}),
        ("GET", {"Sec-Purpose": "prefetch;prerender"}),
        ("GET", {"Purpose": "prefetch"}),
        ("GET", {"Purpose": "Prefetch"}),
        ("GET", {"X-Purpose": "preview"}),
        ("GET", {"X-Moz": "prefetch"}),
    ],
)
def test_looking_at_a_link_does_not_use_it(
    door: Door, method: str, headers: dict[str, str]
) -> None:
    link = door.link(Role.VIEW)
    response, _ = door.http(link, method, headers)
    assert response.status == 503
    assert response.headers["Set-Cookie"] is None
    assert door.http(link)[0].status == 303


@pytest.mark.parametrize("path", ["/enter", "/enter?code=", "/enter?code=wrong", "/enter?x=1"])
def test_a_wrong_link(door: Door, path: str) -> None:
    response, body = door.http(path)
    assert response.status == 403
    assert b"Scan the new code" in body


def test_the_use_of_a_link_is_told_with_its_role(door: Door) -> None:
    used: list[Role] = []
    door.running.call(lambda: door.server.on_link_used(used.append))
    link = door.link(Role.CONTROL)
    door.http("/enter?code=wrong")
    door.http(link, "HEAD")
    assert used == []
    door.http(link)
    door.http(link)
    assert used == [Role.CONTROL]


def test_a_cookie_expires_and_new_tokens_void_it(engine: Engine) -> None:
    clock = ManualClock()
    new = Tokens({**SECRETS, Role.VIEW: "a-new-secret-for-view"}, "a test")
    with running_server(engine, server=_server(engine, TOKENS, clock)) as running:
        door = Door(running)
        cookie = door.cookie(Role.VIEW)
        assert _is_let_in(door, cookie)
        clock.advance(authentication.COOKIE_LIFETIME_S - 1.0)
        assert _is_let_in(door, cookie)
        clock.advance(2.0)
        assert not _is_let_in(door, cookie)
        cookie = door.cookie(Role.VIEW)
        port = running.port
    for tokens, is_let_in in ((TOKENS, True), (new, False)):
        with running_server(engine, server=_server(engine, tokens, clock, port)) as running:
            assert _is_let_in(Door(running), cookie) is is_let_in


def test_a_cookie_of_another_port_is_another_servers(door: Door) -> None:
    _, _, value = door.cookie(Role.VIEW)["Cookie"].partition("=")
    assert not _is_let_in(door, {"Cookie": f"realtime_mer_1={value}"})


def _server(engine: Engine, tokens: Tokens, clock: ManualClock, port: int = 0) -> MerServer:
    return MerServer(engine, config=ServerConfig(port=port, tokens=tokens), clock=clock)


def _is_let_in(door: Door, headers: dict[str, str]) -> bool:
    return door.http("/metrics", headers=headers)[0].status == 200


# Plain HTTP.


def test_the_page_needs_no_token_and_the_figures_do(door: Door) -> None:
    assert door.http("/")[0].status == 200
    response, body = door.http("/metrics")
    assert response.status == 401
    assert body.count(b"\n") == 1
    response, body = door.http("/healthz")
    assert response.status == 200
    assert json.loads(body) == {"status": "listening", "token": "required"}
    for headers in (bearer(SECRETS[Role.VIEW]), door.cookie(Role.VIEW)):
        assert b"realtime_mer_info" in door.http("/metrics", headers=headers)[1]
        health = json.loads(door.http("/healthz", headers=headers)[1])
        assert health["input"]["kind"] == "microphone"
        assert "token" not in health
    assert door.http("/healthz", headers=bearer(WRONG))[0].status == 401


# Guessing.


def test_guessing_ends_after_ten_failures(engine: Engine) -> None:
    clock = ManualClock()
    with running_server(engine, server=_server(engine, TOKENS, clock)) as running:
        door = Door(running)
        cookie = door.cookie(Role.VIEW)
        link = door.link(Role.SEND)
        for number in range(MAX_FAILURES):
            if number % 3 == 0:
                assert door.http("/metrics", headers=bearer(WRONG))[0].status == 401
            elif number % 3 == 1:
                assert door.http("/enter?code=wrong")[0].status == 403
            else:
                with door.connect() as client:
                    client.send(auth(WRONG))
                    assert closed(client) == (1008, "unauthorized")
        # Right tokens are not even looked at.
        right = bearer(SECRETS[Role.CONTROL])
        response, body = door.http("/metrics", headers=right)
        assert response.status == 429
        assert response.headers["Retry-After"] == "60"
        assert b"try again in 60 s" in body
        assert door.http("/enter?code=wrong")[0].status == 429
        # But nobody guesses a link, so visitors still come in where a neighbour guesses tokens.
        assert door.http(link)[0].status == 303
        with door.connect() as client:
            client.send(auth(SECRETS[Role.CONTROL]))
            assert "try again in 60 s" in receive(client)["message"]
            assert closed(client) == (1008, "unauthorized")
        # Whoever is in already, stays.
        assert _is_let_in(door, cookie)
        clock.advance(FAILURE_PERIOD_S)
        assert door.http("/metrics", headers=right)[0].status == 200
        assert door.http("/enter?code=wrong")[0].status == 403


def test_failures_are_counted_by_address_and_forgotten() -> None:
    clock = ManualClock()
    limit = FailureLimit(clock)
    for _ in range(MAX_FAILURES - 1):
        limit.add("192.0.2.1")
    assert limit.wait_s("192.0.2.1") == 0.0
    clock.advance(FAILURE_PERIOD_S)
    limit.add("192.0.2.1")
    assert limit.wait_s("192.0.2.1") == 0.0
    for _ in range(MAX_FAILURES - 1):
        limit.add("192.0.2.1")
    assert limit.wait_s("192.0.2.1") == FAILURE_PERIOD_S
    assert limit.wait_s("192.0.2.2") == 0.0
    # The same client as IPv4 in IPv6; one client has a whole /64 of IPv6.
    assert limit.wait_s("::ffff:192.0.2.1") == FAILURE_PERIOD_S
    for number in range(MAX_FAILURES):
        limit.add(f"2001:db8:0:1::{number:x}%eth0")
    assert limit.wait_s("2001:db8:0:1:ffff::1") == FAILURE_PERIOD_S
    assert limit.wait_s("2001:db8:0:2::1") == 0.0
    limit.add("a closed connection")


def test_the_memory_of_failures_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "_MAX_ADDRESSES", 8)
    limit = FailureLimit(ManualClock())
    for _ in range(MAX_FAILURES):
        limit.add("192.0.2.1")
    for number in range(7):
        limit.add(f"198.51.100.{number}")
    assert limit.wait_s("192.0.2.1") == FAILURE_PERIOD_S
    limit.add("198.51.100.7")
    assert limit.wait_s("192.0.2.1") == 0.0
    assert len(limit._failures) == 8


def test_refusals_are_counted_and_logged_without_what_was_sent(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        for _ in range(3):
            door.http("/metrics", headers=bearer(WRONG))
            with door.connect() as client:
                client.send(auth(WRONG))
                closed(client)
        link = door.link(Role.VIEW)
        door.http(link)
        door.http(link)
    assert door.server.stats[Counter.REFUSALS] == 7
    # One line of each status; what the test's own client logs is left out.
    lines = [r.getMessage() for r in caplog.records if r.name.startswith("realtime_mer")]
    assert len(lines) == 2
    assert "127.0.0.1 (401)" in lines[0]
    assert "127.0.0.1 (403): This link is not valid" in lines[1]
    for secret in (WRONG, link.partition("=")[2], *SECRETS.values()):
        assert secret not in "\n".join(lines)
