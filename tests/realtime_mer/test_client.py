"""The client of a running server: against real servers, cut connections and other servers."""

from __future__ import annotations

import asyncio
import gc
import http.server
import json
import math
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import websockets.sync.server
from live_support import ArraySource, HangingSource, RunningServer, running_server, wait_for
from mer_engine import Engine
from support import ESTIMATE, EVENT, FAST_ESTIMATE, music
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection

import realtime_mer
from realtime_mer import Connection, Estimate, UserError, client
from realtime_mer.core.config import PipelineConfig
from realtime_mer.live.hub import BoundedQueue, End, Notice
from realtime_mer.live.runner import LiveRunner
from realtime_mer.server import authentication, protocol
from realtime_mer.server.tokens import Role, Tokens

RATE = 16_000


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    gc.collect()
    wait_for(
        lambda: "realtime-mer client" not in [thread.name for thread in threading.enumerate()],
        "the end of the client's thread",
    )


class Stage:
    """A server whose estimates the test publishes itself."""

    def __init__(self, running: RunningServer, runner: LiveRunner) -> None:
        self.running = running
        self.hub = runner.hub
        self.published = 0
        self.url = f"ws://127.0.0.1:{running.port}"

    def publish(self, count: int) -> None:
        for _ in range(count):
            seq = self.published
            self.hub.publish(replace(FAST_ESTIMATE, seq=seq, t=float(seq + 1)))
            self.published += 1

    @property
    def viewers(self) -> int:
        return self.running.server.viewers


@contextmanager
def stage_on(engine: Engine, port: int = 0, **settings: Any) -> Iterator[Stage]:
    runner = LiveRunner(HangingSource(), engine)
    with running_server(engine, runner, port=port, **settings) as running:
        yield Stage(running, runner)


@pytest.fixture
def stage(engine: Engine) -> Iterator[Stage]:
    with stage_on(engine) as running:
        yield running


def sequence(connection: Connection, count: int) -> list[int]:
    """The numbers of the next estimates."""
    return [next(connection).seq for _ in range(count)]


def cut(connection: Connection) -> None:
    """Breaks the connection off, as a network does that goes away."""
    websocket = connection._follower._socket
    assert websocket is not None
    websocket.socket.shutdown(socket.SHUT_RDWR)


# Addresses


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("ws://127.0.0.1:8765", "ws://127.0.0.1:8765/ws"),
        ("ws://127.0.0.1:8765/", "ws://127.0.0.1:8765/ws"),
        ("ws://127.0.0.1:8765/ws", "ws://127.0.0.1:8765/ws"),
        ("http://studio.local:80", "ws://studio.local:80/ws"),
        ("https://music.example/mer/ws", "wss://music.example/mer/ws"),
        ("wss://music.example", "wss://music.example/ws"),
        ("127.0.0.1:9000", "ws://127.0.0.1:9000/ws"),
        ("localhost", "ws://localhost:8765/ws"),
        (" [::1]:8765 ", "ws://[::1]:8765/ws"),
    ],
)
def test_addresses_are_completed(written: str, address: str) -> None:
    assert client.websocket_address(written) == address


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("ftp://127.0.0.1", "begins with ftp://"),
        ("", "not an address"),
        ("ws://", "not an address"),
        ("my server", "not an address"),
        ("127.0.0.1:99999", "out of range"),
        ("127.0.0.1:port", "not an address"),
        ("ws://127.0.0.1:8765/ws?since=3", "session and since as arguments"),
        (8765, "is 8765; it must be a text"),
    ],
)
def test_invalid_addresses_are_refused(written: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        realtime_mer.connect(written)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"since": 3}, "give session too"),
        ({"since": -2, "session": "a"}, "since is -2"),
        ({"since": 1.5, "session": "a"}, "since is 1.5"),
        ({"timeout_s": 0}, "timeout_s is 0"),
        ({"timeout_s": True}, "timeout_s is True"),
        ({"session": 5}, "session is 5"),
    ],
)
def test_invalid_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        realtime_mer.connect("ws://127.0.0.1:8765", **arguments)


def test_the_schema_equals_the_server_schema() -> None:
    assert client.SCHEMA == protocol.SCHEMA


# Following


def test_starts_with_the_newest_estimate(stage: Stage) -> None:
    stage.publish(120)  # a snapshot in three parts
    with realtime_mer.connect(stage.url) as connection:
        assert connection.input.name == "hanging"
        assert connection.session == stage.running.server.session
        first = next(connection)
        assert first.to_dict() == replace(FAST_ESTIMATE, seq=119, t=120.0).to_dict()
        stage.publish(3)
        assert sequence(connection, 3) == [120, 121, 122]
        assert connection.missed == 0


def test_since_minus_one_gives_the_whole_history(stage: Stage) -> None:
    stage.publish(120)
    with realtime_mer.connect(stage.url, since=-1) as connection:
        assert sequence(connection, 120) == list(range(120))


def test_a_session_resumes_after_since(stage: Stage) -> None:
    stage.publish(10)
    session = stage.running.server.session
    with realtime_mer.connect(stage.url, session=session, since=6) as connection:
        assert sequence(connection, 3) == [7, 8, 9]


def test_the_iteration_ends_with_the_session(stage: Stage) -> None:
    stage.publish(2)
    with realtime_mer.connect(stage.url, since=-1) as connection:
        stage.hub.publish(Notice("stalled", "no audio"))
        stage.hub.publish(End("the song is over"))
        assert [estimate.seq for estimate in connection] == [0, 1]
        assert connection.reason == "the song is over"
    # A later connection gets the last estimate and the end.
    assert [estimate.seq for estimate in realtime_mer.connect(stage.url)] == [1]


def test_warnings_become_notices(stage: Stage) -> None:
    with realtime_mer.connect(stage.url) as connection:
        stage.publish(1)
        next(connection)  # from here on the server sends to this connection
        stage.hub.publish(Notice("input_lost", "unplugged"))
        stage.publish(1)
        next(connection)  # notices arrive in their order among the estimates
        assert list(connection.notices) == [Notice("input_lost", "unplugged")]


def test_events_arrive_beside_the_estimates(stage: Stage) -> None:
    with realtime_mer.connect(stage.url) as connection:
        stage.publish(1)
        next(connection)
        stage.hub.publish(EVENT)
        for seq in range(1, 100):  # an estimate may overtake it
            stage.publish(1)
            assert next(connection).seq == seq
            if connection.events:
                break
        assert list(connection.events) == [EVENT]


def test_events_before_the_newest_estimate_are_old(stage: Stage) -> None:
    stage.publish(1)
    stage.hub.publish(replace(EVENT, t=0.0, detected_t=0.5))
    stage.publish(99)
    stage.hub.publish(late := replace(EVENT, t=99.0, detected_t=100.0))
    with realtime_mer.connect(stage.url) as connection:
        assert next(connection).t == 100.0
        stage.publish(1)
        next(connection)  # the events come before it
        assert list(connection.events) == [late]


def test_kinds_of_events_of_a_later_version_are_ignored() -> None:
    later = {**EVENT.to_dict(), "kind": "applause"}
    with (
        fake_server(hello(), SNAPSHOT, later, EVENT.to_dict(), estimate_message(4)) as address,
        realtime_mer.connect(address) as connection,
    ):
        assert next(connection).seq == 4
        assert list(connection.events) == [EVENT]


def test_a_live_server_with_music(engine: Engine) -> None:
    source = ArraySource(music(5.0, RATE), RATE)
    runner = LiveRunner(source, engine, config=PipelineConfig(hop_s=0.5), speed=10.0)
    with (
        running_server(engine, runner) as running,
        realtime_mer.connect(running.url, since=-1) as connection,
        runner,
    ):
        found = list(connection)
    assert [e.seq for e in found] == list(range(len(found)))
    assert found[-1].t == 5.0


# Losing the connection


def test_a_cut_connection_resumes_without_a_gap(stage: Stage) -> None:
    stage.publish(3)
    with realtime_mer.connect(stage.url, since=-1) as connection:
        assert sequence(connection, 3) == [0, 1, 2]
        for _ in range(2):
            wait_for(lambda: stage.viewers == 1, "the connection")
            cut(connection)
            stage.publish(70)
            expected = list(range(stage.published - 70, stage.published))
            assert sequence(connection, 70) == expected
        assert connection.missed == 0
        assert [notice.code for notice in connection.notices] == [
            *("connection_lost", "connection_back") * 2
        ]


def test_estimates_that_the_server_no_longer_has_are_counted(stage: Stage) -> None:
    capacity = stage.hub.history_capacity
    with realtime_mer.connect(stage.url) as connection:
        stage.publish(1)
        assert sequence(connection, 1) == [0]
        follower = connection._follower
        # It may come back only once the server has forgotten some.
        wait, follower._stop.wait = follower._stop.wait, partial(_publish_and_wait, stage, capacity)  # type: ignore[method-assign]
        cut(connection)
        assert sequence(connection, 1) == [11]
        follower._stop.wait = wait  # type: ignore[method-assign]
        assert connection.missed == 10


def _publish_and_wait(stage: Stage, capacity: int, timeout_s: float | None = None) -> bool:
    if stage.published == 1:
        stage.publish(capacity + 10)
    return False


@contextmanager
def draining(stage: Stage) -> Iterator[None]:
    """The server has told its clients that it goes away, and waits for them."""
    server = stage.running.server
    drain = asyncio.run_coroutine_threadsafe(server.drain(), stage.running.loop)
    wait_for(lambda: server.draining != "", "the clients are told")
    yield
    drain.cancel()


def test_nothing_is_lost_while_no_other_server_answers(engine: Engine) -> None:
    with (
        stage_on(engine, drain_s=600.0) as stage,
        realtime_mer.connect(stage.url, since=-1) as connection,
    ):
        stage.publish(1)
        assert sequence(connection, 1) == [0]
        with draining(stage):
            follower = connection._follower
            wait_for(lambda: follower._pause_s > client.FIRST_RETRY_S, "it has tried to move")
            for seq in (1, 2, 3):
                stage.publish(1)
                assert sequence(connection, 1) == [seq]
        assert not connection.notices


def test_a_gap_is_no_reason_to_leave_a_server_that_goes_away(engine: Engine) -> None:
    """It would not let the client in again, so what it skipped is missing."""
    with (
        stage_on(engine, drain_s=600.0) as stage,
        realtime_mer.connect(stage.url, since=-1) as connection,
    ):
        stage.publish(1)
        assert sequence(connection, 1) == [0]
        with draining(stage):
            stage.publish(1)
            assert sequence(connection, 1) == [1]
            stage.published += 3
            stage.publish(1)
            assert sequence(connection, 1) == [5]
        assert connection.missed == 3


def test_who_does_not_reconnect_stays_where_it_is(engine: Engine) -> None:
    with (
        stage_on(engine, drain_s=600.0) as stage,
        realtime_mer.connect(stage.url, since=-1, reconnect=False) as connection,
    ):
        stage.publish(1)
        assert sequence(connection, 1) == [0]
        with draining(stage):
            stage.publish(1)
            assert sequence(connection, 1) == [1]
            assert connection._follower._move_at is None


def test_who_watches_a_stream_stays_until_it_moves(engine: Engine) -> None:
    """Another server would show its own input."""
    start = json.dumps({"type": "start", "sample_rate_hz": RATE, "name": "a stream"})
    with stage_on(engine, drain_s=600.0) as stage, stage.running.connect() as sender:
        sender.send(start)
        session = ""
        while not session:
            message = json.loads(sender.recv(60.0))
            if message["type"] == "hello" and message["input"]["kind"] == "browser":
                session = message["session"]
        sender.send(music(2.0, RATE).tobytes())
        with realtime_mer.connect(stage.url, session=session, since=-1) as connection:
            assert next(connection).seq == 0
            with draining(stage):
                sender.send(music(2.0, RATE).tobytes())
                assert sequence(connection, 2)[-1] >= 2
                assert connection._follower._move_at is None
                sender.close()
                assert list(connection) is not None
                assert connection.reason == "its client is gone"


def test_a_restarted_server_is_followed_from_its_start(engine: Engine) -> None:
    with stage_on(engine) as first:
        connection = realtime_mer.connect(first.url)
        first.publish(5)
        assert next(connection).seq >= 0
        session = connection.session
        port = first.running.port
    # Nothing answers at the port now; the client tries again and again.
    wait_for(lambda: not first.running.server.viewers, "the end of the first server")
    with stage_on(engine, port) as second, connection:
        second.publish(3)
        found = []
        for estimate in connection:
            if connection.session != session:
                found.append(estimate.seq)
            if found[-1:] == [2]:
                break
        assert found == [0, 1, 2]
        assert connection.missed == 0


def test_a_stopped_server_is_waited_for(engine: Engine) -> None:
    with stage_on(engine) as first:
        connection = realtime_mer.connect(first.url)
        first.publish(1)
        next(connection)
        session, port = connection.session, first.running.port
        first.hub.publish(End("stopped"))
        wait_for(lambda: not first.viewers, "the end of the connection")
    with stage_on(engine, port) as second, connection:
        second.publish(1)
        assert next(connection).seq == 0
        assert connection.session != session
        assert connection.notices.popleft().message.endswith("was stopped; trying again")


def test_without_reconnect_the_iteration_ends_with_the_server(stage: Stage) -> None:
    stage.publish(1)
    with realtime_mer.connect(stage.url, reconnect=False) as connection:
        next(connection)
        stage.hub.publish(End("stopped"))
        assert list(connection) == []
        assert connection.reason == "stopped"


def test_without_reconnect_the_loss_is_an_error(stage: Stage) -> None:
    with realtime_mer.connect(stage.url, reconnect=False) as connection:
        stage.publish(1)
        next(connection)
        cut(connection)
        with pytest.raises(UserError, match="was lost"):
            next(connection)
        with pytest.raises(StopIteration):
            next(connection)


def test_gives_up_after_timeout_s(engine: Engine) -> None:
    with stage_on(engine) as stage:
        # Long enough for a busy machine to connect the first time.
        connection = realtime_mer.connect(stage.url, timeout_s=3.0)
        stage.publish(1)
        next(connection)
    with pytest.raises(UserError, match=r"nothing answers at .* `realtime-mer serve`"):
        next(connection)


def test_leaving_the_loop_closes_the_connection(stage: Stage) -> None:
    stage.publish(1)
    for _ in realtime_mer.connect(stage.url):
        break
    wait_for(lambda: stage.viewers == 0, "the end of the connection")


@pytest.mark.parametrize("with_asyncio", [False, True])
def test_close_from_another_thread(stage: Stage, with_asyncio: bool) -> None:
    connection = realtime_mer.connect(stage.url)

    async def collect() -> list[Estimate]:
        return [estimate async for estimate in connection]

    found: list[list[Estimate]] = []
    waiting = threading.Thread(
        target=lambda: found.append(asyncio.run(collect()) if with_asyncio else list(connection))
    )
    waiting.start()
    wait_for(lambda: stage.viewers == 1, "the connection")
    connection.close()
    waiting.join(20.0)
    assert found == [[]]


# asyncio


def test_async_iteration(stage: Stage) -> None:
    stage.publish(2)

    async def follow() -> list[int]:
        async with realtime_mer.connect(stage.url, since=-1) as connection:
            found = [(await anext(connection)).seq for _ in range(2)]
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(connection), 0.05)
            stage.publish(1)
            stage.hub.publish(End("over"))
            return found + [estimate.seq async for estimate in connection]

    assert asyncio.run(follow()) == [0, 1, 2]


def test_an_async_connection_raises_the_error() -> None:
    async def follow() -> None:
        async with realtime_mer.connect("ws://127.0.0.1:1"):
            pass

    with pytest.raises(UserError, match="nothing answers"):
        asyncio.run(follow())


# Servers that are not ours, or not as they should be


@contextmanager
def fake_server(*messages: object) -> Iterator[str]:
    """A websocket server that sends the given messages to each client; yields its address."""

    def handle(connection: ServerConnection) -> None:
        for message in messages:
            connection.send(message if isinstance(message, str) else json.dumps(message))
        with suppress(ConnectionClosed):
            connection.recv()

    with websockets.sync.server.serve(handle, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join()


def hello(**changes: object) -> dict[str, object]:
    source = {"kind": "theremin", "name": "x", "sample_rate_hz": 8000, "channels": 1}
    return {"type": "hello", "schema": 1, "session": "s", "input": source, **changes}


def estimate_message(seq: int) -> dict[str, object]:
    return replace(ESTIMATE, seq=seq).to_dict()


SNAPSHOT = {"type": "snapshot", "session": "s", "estimates": [], "complete": True, "more": False}


def first_error(address: str, **arguments: Any) -> str:
    with pytest.raises(UserError) as caught:
        next(realtime_mer.connect(address, **arguments))
    return str(caught.value)


def test_no_server_at_the_address() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    message = first_error(f"127.0.0.1:{port}")
    assert f"nothing answers at ws://127.0.0.1:{port}/ws" in message


def test_a_plain_web_server_is_refused() -> None:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever).start()
        message = first_error(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert "HTTP status 404" in message
    assert "is it a realtime-mer server?" in message


def test_a_server_without_http_is_refused() -> None:
    def handle(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            connection.sendall(b"220 mail.example ESMTP\r\n")
            connection.recv(1000)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=handle, args=(listening,))
        thread.start()
        message = first_error(f"127.0.0.1:{listening.getsockname()[1]}")
        thread.join()
    assert "is not a realtime-mer server" in message


@pytest.mark.parametrize(
    "message",
    [
        "good day",
        "[]",
        "[" * 200_000,
        {"type": "welcome"},
        {"type": "hello", "schema": 1},
        hello(input={}),
        hello(input={"kind": "demo", "name": "a", "sample_rate_hz": math.inf, "channels": 1}),
        {"type": "error"},
    ],
)
def test_another_websocket_protocol_is_refused(message: object) -> None:
    with fake_server(message) as address:
        assert "it is not a realtime-mer server" in first_error(address)


@pytest.mark.parametrize("closes_in_s", [None, "soon", 10**400])
def test_an_invalid_announcement_is_refused(closes_in_s: object) -> None:
    with fake_server(hello(), {"type": "going_away", "closes_in_s": closes_in_s}) as address:
        assert "it is not a realtime-mer server" in first_error(address)


def test_another_schema_is_refused() -> None:
    with fake_server(hello(schema=2)) as address:
        assert "has schema 2 and this client schema 1" in first_error(address)


def test_an_invalid_estimate_is_refused() -> None:
    with fake_server(hello(), SNAPSHOT, {"type": "estimate", "seq": 0}) as address:
        assert "not an estimate" in first_error(address)


def test_a_silent_server_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "OPEN_TIMEOUT_S", 0.2)
    with fake_server() as address:
        assert "does not answer within 0.2 s" in first_error(address)


def test_a_full_server_is_reported(engine: Engine) -> None:
    with (
        stage_on(engine, max_viewers=1) as stage,
        realtime_mer.connect(stage.url) as first,
    ):
        assert first.session
        assert "at most 1 viewer at once" in first_error(stage.url)


def test_skipped_estimates_are_fetched(stage: Stage) -> None:
    stage.publish(1)
    with realtime_mer.connect(stage.url) as connection:
        assert sequence(connection, 1) == [0]
        for _ in range(5):
            # All at once, of which the server may send the newest only.
            stage.running.call(partial(stage.publish, 20))
            assert sequence(connection, 20) == list(range(stage.published - 20, stage.published))
        assert connection.missed == 0
        assert not connection.notices


def test_gaps_are_counted_and_nothing_is_repeated() -> None:
    messages = [estimate_message(seq) for seq in (4, 5, 5, 8)]
    added_later = {"type": "novelty"}
    with (
        fake_server(hello(), SNAPSHOT, added_later, *messages) as address,
        realtime_mer.connect(address) as connection,
    ):
        assert connection.input.sample_rate_hz == 8000
        assert sequence(connection, 3) == [4, 5, 8]
        assert connection.missed == 2


def test_a_slow_consumer_loses_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "QUEUE_CAPACITY", 2)
    messages = [estimate_message(seq) for seq in range(6)]
    end = {"type": "end", "session": "s", "reason": "over"}
    with fake_server(hello(), SNAPSHOT, *messages, end) as address:
        connection = realtime_mer.connect(address)
        ended: Callable[[], bool] = lambda: not connection._follower._thread.is_alive()  # noqa: E731
        wait_for(ended, "the end")
        assert [estimate.seq for estimate in connection] == [5]
        assert (connection.lost, connection.missed) == (5, 5)


def test_pauses_between_attempts_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    follower = client._Follower(
        "ws://127.0.0.1:1/ws", BoundedQueue(9), session=None, since=None, reconnect=True,
        timeout_s=None, token=None,
    )  # fmt: skip
    follower.hello = hello()  # it was connected before
    pauses: list[float] = []
    monkeypatch.setattr(follower._stop, "wait", pauses.append)
    for _ in range(9):
        follower._wait_to_retry(ConnectionRefusedError())
    for pause, longest in zip(pauses, [0.25, 0.5, 1, 2, 4, 8, 10, 10, 10], strict=True):
        assert longest / 2 <= pause <= longest
    (notice,) = follower.queue.take()
    assert isinstance(notice, Notice)
    assert notice.code == "connection_lost"


# Tokens

SECRET = "the-secret-of-the-stage"
TOKENS = Tokens({Role.CONTROL: SECRET}, "a test")


@pytest.mark.parametrize("login", ["", "me:password@"])
def test_a_token_is_shown_to_the_server(engine: Engine, login: str) -> None:
    with stage_on(engine, tokens=TOKENS) as stage:
        stage.publish(1)
        # A login in the address is a proxy's; both would need the same header.
        with realtime_mer.connect(stage.url.replace("//", f"//{login}"), token=SECRET) as server:
            assert server.hello["role"] == "control"
            assert sequence(server, 1) == [0]
            cut(server)
            stage.publish(1)
            assert sequence(server, 1) == [1]
        assert SECRET not in repr(server) + repr(server.hello) + str(server.notices)


def test_the_token_of_the_environment(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALTIME_MER_TOKEN", SECRET)
    with stage_on(engine, tokens=TOKENS) as stage, realtime_mer.connect(stage.url) as server:
        assert server.hello["role"] == "control"


@pytest.mark.parametrize("login", ["", "me:password@"])
def test_a_wrong_token_ends_at_once_with_a_sentence(engine: Engine, login: str) -> None:
    wrong = "a-secret-of-another-stage"
    with stage_on(engine, tokens=TOKENS) as stage:
        url = stage.url.replace("//", f"//{login}")
        with (
            pytest.raises(UserError, match="as the argument token or in the variable") as caught,
            realtime_mer.connect(url, token=wrong),
        ):
            pass
        for secret in (wrong, SECRET, "password"):
            assert secret not in str(caught.value)


def test_a_server_that_asks_for_a_token(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "AUTH_TIMEOUT_S", 0.05)
    with (
        stage_on(engine, tokens=TOKENS) as stage,
        pytest.raises(UserError, match=r"this server needs a token: .* the argument token"),
        realtime_mer.connect(stage.url),
    ):
        pass


def test_a_server_that_came_back_with_other_tokens_is_not_asked_again(engine: Engine) -> None:
    with stage_on(engine, tokens=TOKENS) as stage:
        stage.publish(1)
        server = realtime_mer.connect(stage.url, token=SECRET)
        assert sequence(server, 1) == [0]
        port = stage.running.port
    other = Tokens({Role.CONTROL: "another-secret-of-the-stage"}, "a test")
    with (
        stage_on(engine, port, tokens=other),
        pytest.raises(UserError, match="refused access with the HTTP status 401"),
    ):
        next(server)


def test_a_client_waits_while_others_of_its_address_guess_tokens(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stage_on(engine, tokens=TOKENS) as stage:
        stage.publish(1)
        server = realtime_mer.connect(stage.url, token=SECRET)
        assert sequence(server, 1) == [0]
        port = stage.running.port
    waits = [9.0, 9.0]
    monkeypatch.setattr(
        authentication.FailureLimit, "wait_s", lambda *_: waits.pop() if waits else 0.0
    )
    with stage_on(engine, port, tokens=TOKENS) as stage, server:
        stage.publish(1)
        assert sequence(server, 1) == [0]
        assert not waits
        assert "connection_back" in [notice.code for notice in server.notices]


def test_too_many_guesses_are_no_reason_to_give_a_token(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authentication.FailureLimit, "wait_s", lambda *_: 9.0)
    with (
        stage_on(engine, tokens=TOKENS) as stage,
        pytest.raises(UserError, match=r"429.*try again in 9 s") as caught,
        realtime_mer.connect(stage.url, token=SECRET),
    ):
        pass
    assert "give its token" not in str(caught.value)


@pytest.mark.parametrize("token", ["", "with space", "ümlaut-ümlaut", 7])
def test_a_token_that_no_header_carries_is_refused_and_not_repeated(token: Any) -> None:
    with pytest.raises(UserError, match="text of printable ASCII") as caught:
        realtime_mer.connect("ws://127.0.0.1:1", token=token)
    assert not token or str(token) not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["ws://me:password@127.0.0.1:1", "me:password@[::1", "me:pass/word@127.0.0.1:1"]
)
def test_no_message_shows_the_login_of_an_address(url: str) -> None:
    with pytest.raises(UserError) as caught, realtime_mer.connect(url):
        pass
    assert "pass" not in str(caught.value)
