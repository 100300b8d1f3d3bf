"""The server over TLS, with real sockets and certificates."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_support import (
    TIMEOUT_S,
    HangingSource,
    RunningServer,
    receive,
    receive_kind,
    running_server,
    wait_for,
)
from mer_engine import Engine
from mer_web import FILES
from support import ESTIMATE, music
from tls_support import Files, make_files
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from realtime_mer.core.config import PipelineConfig
from realtime_mer.live.runner import LiveRunner
from realtime_mer.live.stats import Counter
from realtime_mer.server import tls_transport
from realtime_mer.server.limits import Limit
from realtime_mer.server.tls import ServerTls

NAME = "127.0.0.1"
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Site:
    """A running https server and a client that trusts it."""

    def __init__(self, running: RunningServer, runner: LiveRunner, files: Files) -> None:
        self.running = running
        self.runner = runner
        self.files = files
        self.context = ssl.create_default_context(cafile=str(files.certificate))

    def secure(self, plain: socket.socket | None = None) -> ssl.SSLSocket:
        plain = plain or self.plain()
        return self.context.wrap_socket(plain, server_hostname=NAME)

    def plain(self) -> socket.socket:
        return socket.create_connection((NAME, self.running.port), TIMEOUT_S)

    def connect(self, **options: Any) -> Any:
        return self.running.connect(ssl=self.context, **options)

    def get(self, path: str, *, tls: bool = True) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection(NAME, self.running.port)
        with self.secure() if tls else self.plain() as connection.sock:
            connection.request("GET", path)
            response = connection.getresponse()
            return response, response.read()

    def publish(self, seq: int) -> None:
        self.runner.hub.publish(replace(ESTIMATE, seq=seq))

    @property
    def tls(self) -> tls_transport.TlsHandshakes:
        tls = self.running.server._tls
        assert tls is not None
        return tls

    def handshakes(self) -> int:
        """Number of sockets in the handshake."""
        return int(self.running.call(lambda: len(self.tls._waiting)))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return make_files(tmp_path)


@pytest.fixture
def site(engine: Engine, files: Files) -> Iterator[Site]:
    runner = LiveRunner(HangingSource(), engine, config=PipelineConfig())
    tls = ServerTls(files.certificate, files.key)
    with running_server(engine, runner, tls=tls) as running:
        yield Site(running, runner, files)


def refuses_the_certificate(site: Site) -> None:
    """Do what a browser does that does not know the certificate's authority."""
    with contextlib.suppress(ssl.SSLError), site.plain() as raw:
        ssl.create_default_context().wrap_socket(raw, server_hostname=NAME)


def test_the_address_is_https(site: Site) -> None:
    assert site.running.server.url == f"https://{NAME}:{site.running.port}/"
    assert site.running.server.uses_tls


def test_every_file_of_the_page(site: Site) -> None:
    for path in FILES:
        response, body = site.get(path)
        assert response.status == 200
        assert len(body) == int(response.headers["Content-Length"])


def test_only_tls_1_2_and_newer(site: Site) -> None:
    with site.secure() as client:
        assert client.version() in ("TLSv1.2", "TLSv1.3")
        assert client.compression() is None
    site.context.maximum_version = ssl.TLSVersion.TLSv1_2
    with site.secure() as client:
        assert client.version() == "TLSv1.2"


def test_http_1_1_is_agreed_on(site: Site) -> None:
    site.context.set_alpn_protocols(["h2", "http/1.1"])
    with site.secure() as client:
        assert client.selected_alpn_protocol() == "http/1.1"


def test_estimates_reach_a_viewer(site: Site) -> None:
    with site.connect() as viewer:
        receive_kind(viewer, "snapshot")
        site.publish(7)
        assert receive_kind(viewer, "estimate")["seq"] == 7


def test_a_stream_of_audio_is_answered(site: Site) -> None:
    start = {"type": "start", "sample_rate_hz": 16_000, "channels": 1, "format": "f32le"}
    with site.connect() as client:
        client.send(json.dumps(start))
        while receive_kind(client, "hello")["input"]["kind"] != "browser":
            pass
        for block in np.array_split(music(4.0, 16_000), 40):
            client.send(block.tobytes())
        client.send('{"type": "stop"}')
        estimate = receive_kind(client, "estimate")
        receive_kind(client, "end")
    assert -1.0 <= estimate["valence"] <= 1.0


def test_a_slow_reader_gets_the_whole_page(site: Site) -> None:
    path = max(FILES, key=lambda path: len(site.get(path)[1]))
    _, whole = site.get(path)
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect((NAME, site.running.port))
    received = b""
    with site.secure(raw) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
        while part := client.recv(512):
            received += part
    assert received.endswith(whole)


def test_a_stalled_viewer_is_buffered_little(site: Site) -> None:
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect((NAME, site.running.port))
    with site.secure(raw) as stalled, site.connect() as viewer:
        stalled.sendall(UPGRADE)
        wait_for(lambda: site.running.server.viewers == 2, "both are there")
        receive_kind(viewer, "snapshot")
        largest = 0
        for seq in range(1, 1501):
            site.publish(seq)
            # Waiting for the stalled viewer would take longer than this waits.
            assert receive_kind(viewer, "estimate")["seq"] == seq
            if seq % 50 == 0:
                largest = max(largest, site.running.call(lambda: backlog(site)))
        # The kernel and the buffer are full long before a megabyte was published.
        assert 0 < largest < 64 * 2**10
        dropped = Counter.MESSAGES_DROPPED
        stalled.settimeout(TIMEOUT_S)
        received = b""
        while b'"seq":1500,' not in received:
            received = received[-4096:] + stalled.recv(65_536)
        wait_for(lambda: site.running.server.stats[dropped] > 500, "skipped messages counted")


def backlog(site: Site) -> int:
    return max(viewer.backlog_bytes for viewer in site.running.server._viewers)


def test_a_closed_server_says_so(site: Site) -> None:
    with site.connect() as viewer:
        receive(viewer)
        site.running.stop()
        with contextlib.suppress(ConnectionClosed):
            while True:
                receive(viewer)
        assert viewer.close_code == 1001


# Clients that do not do as they should.


def test_plain_http_is_sent_to_https(site: Site) -> None:
    response, body = site.get("/metrics", tls=False)
    address = f"https://{NAME}:{site.running.port}/"
    assert (response.status, response.headers["Location"]) == (307, address)
    assert body.decode() == f"this server speaks https, not http: open {address}\n"
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://{NAME}:{site.running.port}/ws")
    assert refused.value.response.status_code == 426
    assert b"https" in (refused.value.response.body or b"")


def test_a_foreign_name_is_not_sent_anywhere(site: Site) -> None:
    with site.plain() as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        assert raw.recv(1000).startswith(b"HTTP/1.1 421 ")


def test_what_is_neither_tls_nor_http(site: Site) -> None:
    with site.plain() as raw:
        raw.sendall(b"\x00\x01garbage\n\n")
        answer = raw.recv(1000)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"open the page as https://HOST:PORT/" in answer


def test_failed_handshakes_write_one_line(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(5):
        refuses_the_certificate(site)
        with site.plain() as raw:  # no TLS after its first byte
            raw.sendall(b"\x16" + bytes(300))
            while raw.recv(1000):
                pass
        with site.plain() as raw:  # breaks off
            raw.sendall(b"\x16\x03\x01")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_for(lambda: site.running.server.stats[Counter.REFUSALS] == 15, "all have failed")
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1
    assert lines[0].startswith(f"a TLS handshake of {NAME} failed: ")
    assert site.get("/healthz")[0].status == 200


def test_sockets_that_finish_no_handshake_are_closed(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tls_transport, "HANDSHAKE_TIMEOUT_S", 0.05)

    def is_closed_after(said: bytes) -> None:
        with site.plain() as raw:
            raw.sendall(said)
            with contextlib.suppress(ConnectionResetError):
                assert raw.recv(1) == b""
        wait_for(lambda: site.handshakes() == 0, "the socket is closed")

    def fails_to_finish() -> bool:
        is_closed_after(b"\x16\x03\x01\x02\x00")
        return bool(caplog.records)

    # Browsers open sockets in reserve, which is no failure.
    is_closed_after(b"")
    assert caplog.records == []
    # On a busy machine the bytes may come after the time limit, as if nothing had been sent.
    wait_for(fails_to_finish, "a handshake took too long")
    assert [record.getMessage() for record in caplog.records] == [
        f"a TLS handshake of {NAME} failed: it took more than 0.05 s"
    ]


def test_an_open_connection_has_no_time_limit(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_transport, "HANDSHAKE_TIMEOUT_S", 1.0)
    with site.connect() as viewer:
        began = time.monotonic()
        wait_for(lambda: time.monotonic() > began + 1.2, "the time limit is over")
        site.publish(1)
        receive_kind(viewer, "estimate")


def test_many_unfinished_handshakes_give_way(site: Site) -> None:
    assert site.running.server.door is not None
    site.running.server.door._max_pending = 10
    with contextlib.ExitStack() as stack:
        other = socket.create_connection(
            (NAME, site.running.port), TIMEOUT_S, source_address=("127.0.0.2", 0)
        )
        stack.enter_context(other)
        hello = ClientHello(site.context)
        other.sendall(hello.data[:5])
        wait_for(lambda: site.handshakes() == 1, "the first is there")
        unfinished = [stack.enter_context(site.plain()) for _ in range(40)]
        for raw in unfinished:
            with contextlib.suppress(ConnectionError):  # it had to go already
                raw.sendall(hello.data[:5])
        closed = site.running.server.refusals.counts
        wait_for(lambda: closed[Limit.PENDING] == 31, "the oldest had to go")
        wait_for(lambda: site.handshakes() <= 10, "their handshakes have ended")
        with contextlib.suppress(ConnectionResetError):
            assert unfinished[0].recv(1) == b""
        # The address that holds one socket keeps it.
        hello.finish(other, hello.data[5:])


class ClientHello:
    """A handshake that can be sent in pieces."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=NAME)
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
        self.data = self._outgoing.read()

    def finish(self, raw: socket.socket, rest: bytes) -> None:
        """Send the rest of the first message, and go on until the handshake is complete."""
        while True:
            raw.sendall(rest)
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._incoming.write(raw.recv(16_384))
                rest = self._outgoing.read()
            else:
                raw.sendall(self._outgoing.read())
                return


def test_a_step_of_a_handshake_may_wait_for_its_turn(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the client sends meanwhile is kept."""
    steps: list[str] = []

    def later(address: str, step: Callable[[], None]) -> bool:
        steps.append(address)
        site.running.loop.call_later(0.02, step)
        return False

    monkeypatch.setattr(site.tls.turns, "run", later)
    with site.plain() as raw:
        hello = ClientHello(site.context)
        for at in range(0, len(hello.data), 100):
            raw.sendall(hello.data[at : at + 100])
        hello.finish(raw, b"")
    assert site.get("/healthz")[0].status == 200
    assert set(steps) == {NAME}
    with site.plain() as raw:  # gone before its turn
        raw.sendall(hello.data)
    wait_for(lambda: site.handshakes() == 0, "the handshake has ended")


def test_a_stop_does_not_wait_for_handshakes(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with site.plain() as silent, site.plain() as half:
        half.sendall(b"\x16\x03\x01")
        wait_for(lambda: site.handshakes() >= 1, "the handshake has begun")
        site.running.stop()
        for raw in (silent, half):
            with contextlib.suppress(ConnectionResetError):
                assert raw.recv(1) == b""
    assert not caplog.records


def test_a_renewed_certificate_leaves_connections_open(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with site.connect() as viewer:
        receive_kind(viewer, "snapshot")
        new = make_files(tmp_path, "new")
        new.key.replace(site.files.key)
        new.certificate.replace(site.files.certificate)
        tls = site.running.server.config.tls
        assert tls is not None
        assert tls.reload() == "the server has a new certificate"
        with pytest.raises(ssl.SSLCertVerificationError):
            site.secure()
        site.context = ssl.create_default_context(cafile=str(site.files.certificate))
        assert site.get("/healthz")[0].status == 200
        site.publish(1)
        receive_kind(viewer, "estimate")


@pytest.mark.parametrize("self_signed", [False, True])
def test_browsers_are_told_to_stay_with_https(
    engine: Engine, files: Files, self_signed: bool
) -> None:
    """Not where the user may have to go back, and not on the machine itself.

    Other programs of this machine speak http on other ports of localhost.
    """
    renew = (lambda: None) if self_signed else None
    tls = ServerTls(files.certificate, files.key, renew=renew)
    runner = LiveRunner(HangingSource(), engine, config=PipelineConfig())
    origins = ("https://vj.example",)
    with running_server(engine, runner, tls=tls, allowed_origins=origins) as running:
        site = Site(running, runner, files)
        for host, told in (("vj.example", not self_signed), (NAME, False), ("[::1]", False)):
            with site.secure() as client:
                client.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                response = http.client.HTTPResponse(client)
                response.begin()
                assert (response.headers["Strict-Transport-Security"] is not None) == told


# Who may connect.


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://127.0.0.1:{port}"}, 101),
        ({"Origin": "http://127.0.0.1:{port}"}, 403),
        # Nobody is believed who is no proxy.
        ({"Origin": "http://127.0.0.1:{port}", "X-Forwarded-Proto": "http"}, 403),
    ],
)
def test_a_page_from_http_may_not_use_an_https_server(
    site: Site, headers: dict[str, str], status: int
) -> None:
    given = {name: value.format(port=site.running.port) for name, value in headers.items()}
    assert answer(site.running, given, ssl=site.context) == status


def answer(running: RunningServer, headers: dict[str, str], **options: Any) -> int:
    """Return the status of a websocket's handshake."""
    try:
        with running.connect(additional_headers=headers, **options):
            return 101
    except InvalidStatus as refused:
        return int(refused.response.status_code)


@pytest.mark.parametrize(
    ("proxies", "origins", "scheme", "named", "status"),
    [
        ((), (), "http", None, 101),
        ((), (), "https", None, 403),
        ((), (), "https", "https", 403),
        (("127.0.0.1",), (), "https", "https", 101),
        (("127.0.0.1",), (), "https", None, 403),
        (("127.0.0.1",), (), "http", "https", 403),
        (("127.0.0.2",), (), "https", "https", 403),
        ((), ("https://127.0.0.1:{port}",), "https", None, 101),
    ],
)
def test_pages_behind_a_proxy(
    engine: Engine,
    proxies: tuple[str, ...],
    origins: tuple[str, ...],
    scheme: str,
    named: str | None,
    status: int,
) -> None:
    with socket.socket() as probe:
        probe.bind((NAME, 0))
        port = probe.getsockname()[1]
    allowed = tuple(origin.format(port=port) for origin in origins)
    headers = {"Origin": f"{scheme}://{NAME}:{port}"}
    if named is not None:
        headers["X-Forwarded-Proto"] = named
    with running_server(
        engine, max_sessions=1, port=port, proxies=proxies, allowed_origins=allowed
    ) as running:
        assert answer(running, headers) == status
