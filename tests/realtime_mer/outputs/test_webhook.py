"""Webhooks against a real web server."""

from __future__ import annotations

import http.server
import json
import math
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from live_support import wait_for
from net_support import EVENT, FRAME
from support import ESTIMATE, ManualClock
from tls_support import make_files

from realtime_mer.clock import Clock
from realtime_mer.core.events import Event, EventKind, Marker, RhythmEvent, RhythmKind
from realtime_mer.errors import UserError
from realtime_mer.live.hub import Hub
from realtime_mer.live.show import Health
from realtime_mer.outputs.output import Action
from realtime_mer.outputs.output_worker import OutputWorker
from realtime_mer.outputs.shaping import Shaper
from realtime_mer.outputs.webhook import QUEUE_DELIVERIES, WebhookOutput, WebhookSettings


class Receiver(http.server.ThreadingHTTPServer):
    """Keeps what is posted.

    Attributes:
        statuses: of the next answers; 200 when there is none left, 0 closes without an answer.
        headers: of every answer.
        requests: path, headers and body of each request, in order.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.host = f"127.0.0.1:{self.server_port}"
        self.statuses: list[int] = []
        self.headers: dict[str, str] = {}
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def kinds(self) -> list[str]:
        return [body["kind"] for _, _, body in self.requests]

    def close(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append((self.path, headers, body))
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        if not status:
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def event(kind: EventKind = EventKind.RISE) -> Event:
    return replace(EVENT, kind=kind, mood=None)


def output_to(receiver: Receiver, clock: Clock | None = None) -> WebhookOutput:
    """Return an output that is patient, for a busy machine."""
    return WebhookOutput(WebhookSettings(url=f"http://{receiver.host}", timeout_s=5.0), clock)


def test_an_event_is_posted_as_json(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_TOKEN", "Bearer of-the-hook")
    settings = WebhookSettings(
        url=f"http://me:pass%20word@{receiver.host}/hook?key=1",
        header_variables={"X-Token": "HOOK_TOKEN"},
    )
    output = WebhookOutput(settings)
    output.open()
    output.send(FRAME)
    output.send_event(RhythmEvent(RhythmKind.BEAT, 1.0, 0.5, 120.0))
    output.send_event(EVENT)
    ((path, headers, body),) = receiver.requests
    assert path == "/hook?key=1"
    assert headers["content-type"] == "application/json"
    assert headers["x-token"] == "Bearer of-the-hook"
    assert headers["authorization"] == "Basic bWU6cGFzcyB3b3Jk"
    assert body.pop("id") == headers["webhook-id"]
    assert body == EVENT.to_dict()
    assert (output.sent, output.answer) == (1, f"{receiver.host} answers 200")
    output.close()


def test_a_marker_is_posted_whatever_kinds_are_wanted(receiver: Receiver) -> None:
    output = WebhookOutput(WebhookSettings(url=f"http://{receiver.host}", events=(), timeout_s=5.0))
    output.open()
    output.send_event(EVENT)
    output.send_event(Marker(1.0, EVENT.utc, "patient opened eyes"))
    ((_, _, body),) = receiver.requests
    assert (body["type"], body["t"], body["text"]) == ("marker", 1.0, "patient opened eyes")
    output.close()


def test_only_the_wanted_kinds_are_posted(receiver: Receiver) -> None:
    output = WebhookOutput(
        WebhookSettings(url=f"http://{receiver.host}", events=(EventKind.DROP, EventKind.SILENCE))
    )
    for kind in EventKind:
        output.send_event(event(kind))
    assert receiver.kinds == ["drop", "silence"]


def test_scenes_post_what_they_say(receiver: Receiver) -> None:
    output = output_to(receiver)
    output.act(Action("loud", {"json": {"content": "It is loud"}}))
    ((_, headers, body),) = receiver.requests
    assert body == {"content": "It is loud"}
    assert headers["webhook-id"]
    with pytest.raises(UserError, match=r"^a webhook takes one object json"):
        output.act(Action("loud", {"content": "It is loud"}))
    for value in (math.nan, date(2026, 1, 2)):
        with pytest.raises(UserError, match=r"^this cannot be sent as JSON"):
            output.check_action(Action("loud", {"json": {"value": value}}))


@pytest.mark.parametrize("status", [500, 503, 429, 0])
def test_what_may_pass_is_repeated_in_order(receiver: Receiver, status: int) -> None:
    clock = ManualClock()
    output = output_to(receiver, clock)
    receiver.statuses = [status, status]
    output.send_event(event(EventKind.RISE))
    output.send_event(event(EventKind.DROP))  # waits for its turn
    output.send(FRAME)
    assert receiver.kinds == ["rise"]
    clock.advance(0.5)
    output.send(FRAME)
    assert receiver.kinds == ["rise", "rise"]
    clock.advance(0.5)  # the second pause is longer
    output.send(FRAME)
    assert receiver.kinds == ["rise", "rise"]
    assert output.answer.startswith(f"{receiver.host} ")
    assert output.answer.endswith(" s, 2 waiting")
    clock.advance(0.5)
    output.send(FRAME)
    assert receiver.kinds == ["rise", "rise", "rise", "drop"]
    ids = [body["id"] for _, _, body in receiver.requests]
    assert len(set(ids)) == 2
    assert len(set(ids[:3])) == 1
    assert output.answer == f"{receiver.host} answers 200"
    assert (output.sent, output.lost) == (2, 0)


def test_the_server_says_how_long_to_wait(receiver: Receiver) -> None:
    clock = ManualClock()
    output = output_to(receiver, clock)
    receiver.statuses = [429]
    receiver.headers = {"Retry-After": "30"}
    output.send_event(event())
    assert output.answer == (
        f"{receiver.host} answers 429 (Too Many Requests); tried again after 30.0 s, 1 waiting"
    )
    clock.advance(29.0)
    output.send(FRAME)
    assert len(receiver.requests) == 1
    clock.advance(1.0)
    output.send(FRAME)
    assert len(receiver.requests) == 2


def test_a_slow_receiver_loses_the_oldest(receiver: Receiver) -> None:
    clock = ManualClock()
    output = output_to(receiver, clock)
    receiver.statuses = [503]
    output.send_event(event(EventKind.RISE))
    for _ in range(QUEUE_DELIVERIES):
        output.send_event(event(EventKind.DROP))
    clock.advance(1.0)
    output.send(FRAME)
    assert receiver.kinds == ["rise", *["drop"] * QUEUE_DELIVERIES]
    assert output.answer == f"{receiver.host} answers 200, 1 lost"


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (404, "answers 404 (Not Found); check url and header_variables"),
        (401, "answers 401 (Unauthorized); check url and header_variables"),
        (499, "answers 499; check url and header_variables"),
        (302, "answers 302 (Found); give the address that it leads to as url"),
    ],
)
def test_a_refusal_is_told_and_not_repeated(receiver: Receiver, status: int, sentence: str) -> None:
    receiver.statuses = [status]
    receiver.headers = {"Location": f"http://{receiver.host}/other?secret"}
    output = WebhookOutput(WebhookSettings(url=f"http://{receiver.host}/hook"))
    with pytest.raises(UserError) as caught:
        output.send_event(event())
    assert str(caught.value) == f"{receiver.host} {sentence}"
    output.send(FRAME)
    assert len(receiver.requests) == 1
    output.send_event(event())
    assert output.answer == f"{receiver.host} answers 200, 1 lost"


def test_a_server_that_does_not_answer_holds_up_for_the_timeout_alone() -> None:
    clock = ManualClock()
    with socket.create_server(("127.0.0.1", 0)) as server:
        host = f"127.0.0.1:{server.getsockname()[1]}"
        output = WebhookOutput(WebhookSettings(url=f"http://{host}", timeout_s=0.1), clock)
        output.send_event(event())
        assert output.answer.startswith(f"{host} has not answered within 0.1 s; tried again after ")
        assert output.answer.endswith(" s, 1 waiting")
    clock.advance(1.0)
    output.send(FRAME)
    assert output.answer.startswith(f"{host} cannot be reached: Connection refused; tried again")


def test_what_is_no_web_server_is_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"220 mail.example\r\n")

        answering = threading.Thread(target=answer)
        answering.start()
        host = f"127.0.0.1:{server.getsockname()[1]}"
        output = WebhookOutput(WebhookSettings(url=f"http://{host}/secret"))
        output.send_event(event())
        answering.join()
    assert output.answer.startswith(f"{host} gives no valid answer; tried again after ")


def test_https_needs_a_certificate_that_is_trusted(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = make_files(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    receiver.socket = context.wrap_socket(receiver.socket, server_side=True)
    settings = WebhookSettings(url=f"https://{receiver.host}/secret")
    with pytest.raises(UserError) as caught:
        WebhookOutput(settings).send_event(event())
    assert str(caught.value) == (
        f"the certificate of {receiver.host} is not trusted here: self-signed certificate; name "
        "the file of its authority in the environment variable SSL_CERT_FILE"
    )
    assert caught.value.__cause__ is None
    monkeypatch.setenv("SSL_CERT_FILE", str(files.certificate))
    output = WebhookOutput(settings)
    output.send_event(event())
    assert output.sent == 1


def test_the_proxy_of_the_system_is_used(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://{receiver.host}")
    output = WebhookOutput(WebhookSettings(url="http://hooks.example/a?b"))
    output.send_event(event())
    assert receiver.requests[0][0] == "http://hooks.example/a?b"


def test_it_goes_on_after_a_refusal_in_the_thread_of_an_output(receiver: Receiver) -> None:
    hub = Hub()
    settings = WebhookSettings(url=f"http://{receiver.host}/secret?secret", rate_hz=50.0)
    receiver.statuses = [410] * 100_000
    seen = []
    thread = OutputWorker(hub, WebhookOutput(settings), Shaper(settings, hop_s=1.0))

    def refused() -> bool:
        hub.publish(event())
        seen.append(thread.status)
        return seen[-1].health is Health.FAILING

    def asked() -> bool:
        hub.publish(event(EventKind.DROP))
        return not receiver.statuses

    with thread:
        hub.publish(ESTIMATE)
        wait_for(refused, "the refusal")
        assert seen[-1].answer == (
            f"{receiver.host} answers 410 (Gone); check url and header_variables"
        )
        assert seen[-1].dropped >= 1
        receiver.statuses = [503]
        wait_for(asked, "the next attempt")
        wait_for(lambda: thread.status.sent > 0, "the repeated event")
        assert thread.status.health is Health.OK
    ids = [body["id"] for _, _, body in receiver.requests]
    assert len(ids) == len(set(ids)) + 1


def test_no_secret_is_shown(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_TOKEN", "secret")
    settings = WebhookSettings(
        url=f"http://secret:secret@{receiver.host}/secret?secret#secret",
        header_variables={"X-Token": "HOOK_TOKEN"},
    )
    output = WebhookOutput(settings)
    receiver.statuses = [500]
    output.send_event(event())
    assert "secret" not in f"{settings} {output.name} {output.answer}"
    monkeypatch.setenv("HOOK_TOKEN", "secret\nsecret")
    with pytest.raises(UserError) as caught:
        WebhookOutput(settings)
    assert str(caught.value) == (
        "header_variables: the value of the variable for X-Token must be one line of ASCII"
    )
    written_itself = WebhookSettings(url="http://host", header_variables={"X": "Bearer secret"})
    with pytest.raises(UserError, match=r"^header_variables: X names \(not shown") as caught:
        WebhookOutput(written_itself)
    assert "Bearer" not in str(caught.value)


def test_a_missing_variable_is_told_at_the_start() -> None:
    settings = WebhookSettings(url="http://host", header_variables={"X-Token": "MISSING_TOKEN"})
    with pytest.raises(UserError, match=r"^header_variables: X-Token names MISSING_TOKEN"):
        WebhookOutput(settings)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"url": "secret"}, "url is not valid; write it as https://HOST/PATH"),
        ({"url": "ftp://host/secret"}, "url is not valid"),
        ({"url": "http:///secret"}, "url is not valid"),
        ({"url": "http://host:port/secret"}, "url is not valid"),
        ({"url": "http://host..secret/"}, "url is not valid"),
        ({"url": "http://host/a secret"}, "url is not valid"),
        ({"url": "http://host/sécret"}, "url is not valid"),
        ({"header_variables": {"X Token": "V"}}, "header_variables has 'X Token', which is no"),
        ({"timeout_s": 6.0}, "timeout_s is 6; it must lie between 0.1 and 5"),
    ],
)
def test_settings_that_cannot_be_used(fields: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        WebhookSettings(**{"url": "http://host", **fields})  # type: ignore[arg-type]
    assert str(caught.value).startswith(sentence)
    assert "secret" not in str(caught.value).replace("have a secret", "")
