"""A page whose websocket is refused says why."""

from __future__ import annotations

import re
import socket
import socketserver
import threading
from collections.abc import Iterator

import pytest
from page_support import Open, ServerProcess

# More than one of the generous waits of a busy machine.
pytestmark = pytest.mark.timeout(600)


class Proxy(socketserver.ThreadingTCPServer):
    """Passes requests on like a proxy that knows nothing of websockets, one per connection.

    Attributes:
        rewrite: a pattern of the request's head, and its replacement.
    """

    daemon_threads = True

    def __init__(self, target: int, rewrite: tuple[bytes, bytes]) -> None:
        self.target = target
        self.rewrite = rewrite
        super().__init__(("127.0.0.1", 0), ProxyHandler)


class ProxyHandler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Proxy)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.rfile.readline()
            if not line:
                return
            head += line
        with socket.create_connection(("127.0.0.1", self.server.target)) as server:
            server.sendall(re.sub(*self.server.rewrite, head, flags=re.I))
            while part := server.recv(65_536):
                self.wfile.write(part)


@pytest.fixture
def proxy(demo: ServerProcess, rewrite: tuple[bytes, bytes]) -> Iterator[str]:
    """The page's address behind the proxy."""
    with Proxy(demo.port, rewrite) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("rewrite", "words"),
    [
        ((rb"Upgrade: websocket\r\n", b""), "must speak HTTP/1.1 and pass on the headers Upgrade"),
        ((rb"Host: [^\r]*", b"Host: localhost"), "--allow-origin http://127.0.0.1:"),
    ],
    ids=["no-upgrade", "other-host"],
)
def test_page_behind_a_proxy_says_why_it_is_refused(visit: Open, proxy: str, words: str) -> None:
    here = visit(proxy)
    here.may_lose_server = True
    here.wait("() => !document.querySelector('#notice').hidden")
    notice = here.page.locator("#notice p").inner_text()
    assert notice.startswith("The server refuses this page: ")
    assert words in notice
