"""Two servers behind nginx, one of which goes away under load: nobody loses the music."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from live_support import TIMEOUT_S, receive_kind, wait_for
from replica_clients import Replicas, Sender, Watcher, get, viewers
from replica_support import replicas
from target_server import TargetServer
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect as open_websocket

from realtime_mer import Estimate
from realtime_mer.clock import SystemClock
from realtime_mer.server.tokens import Role, tokens_from_file

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals"),
]
WATCHERS = 6


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Replicas]:
    with replicas(tmp_path, "--input", "demo", "--no-token") as running:
        yield running


def history(server: TargetServer) -> list[tuple[int, str]]:
    """Return `seq` and time of all estimates of a server so far."""
    with open_websocket(f"ws://127.0.0.1:{server.port}/ws") as client:
        snapshot = receive_kind(client, "snapshot")
        estimates = snapshot["estimates"]
        while snapshot["more"]:
            snapshot = receive_kind(client, "snapshot")
            estimates += snapshot["estimates"]
    return [(estimate["seq"], estimate["utc"]) for estimate in estimates]


def told(watcher: Watcher) -> list[str]:
    """Return what a viewer was told of its connection; a busy machine has other notices too."""
    codes = [notice.code for notice in watcher.connection.notices]
    return [code for code in codes if code.startswith("connection_")]


def assert_whole(estimates: list[Estimate], second: list[tuple[int, str]]) -> bool:
    """Check that no estimate is missing; return whether they come from two servers.

    Args:
        estimates: of a viewer.
        second: the history of the server that stays.
    """
    got = [(estimate.seq, estimate.utc) for estimate in estimates]
    before = [each for each in got if each not in second]
    after = got[len(before) :]
    for part in (before, after):
        first = part[0][0] if part else 0
        assert [seq for seq, _ in part] == list(range(first, first + len(part)))
    assert after, "nothing of the server that stays"
    if before:
        # What the second server has heard since the first one's last estimate.
        newer = [each for each in second if each[1] >= before[-1][1]]
        assert after == newer[: len(after)]
    return bool(before)


def test_a_server_goes_away_under_load(pair: Replicas) -> None:
    leaving, staying = pair.servers
    with ExitStack() as stack:
        watchers = [stack.enter_context(closing(Watcher(pair))) for _ in range(WATCHERS)]
        sender = stack.enter_context(closing(Sender(pair)))
        wait_for(lambda: all(len(each.estimates) > 3 for each in watchers), "all have estimates")
        wait_for(lambda: bool(sender.estimates), "the sender has estimates")
        counts = [viewers(server) for server in pair.servers]
        assert sum(counts) == WATCHERS + 1
        assert max(counts) - min(counts) <= 1, "nginx takes the server with the fewest"
        # It knows nothing of servers that go away, so this one has to wait for it.
        url = f"ws://127.0.0.1:{leaving.port}/ws"
        with open_websocket(url) as old_client:
            receive_kind(old_client, "estimate")
            leaving.process.send_signal(signal.SIGTERM)
            announced = receive_kind(old_client, "going_away")
            assert announced == {"type": "going_away", "closes_in_s": 60.0}
            assert get(leaving, "/readyz") == (503, '{\n  "status": "draining"\n}\n')
            assert get(leaving, "/healthz")[0] == 200
            assert get(staying, "/readyz") == (200, '{\n  "status": "ready"\n}\n')
            status, sentence = get(leaving, "/")
            assert status == 503
            assert sentence.startswith("this server is going away and takes nobody any more")
            with pytest.raises(InvalidStatus) as refused, open_websocket(url):
                pass
            assert refused.value.response.status_code == 503
            old_client.send('{"type": "start", "sample_rate_hz": 16000}')
            assert receive_kind(old_client, "error")["code"] == "going_away"
            wait_for(lambda: viewers(staying) == WATCHERS + 1, "all have moved")
            with pytest.raises(ConnectionClosed) as closed:
                receive_kind(old_client, "never")
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
        assert leaving.process.wait(TIMEOUT_S) == 0
        assert "going away: waiting up to 60 s until" in leaving.log()
        assert leaving.tracebacks() == 0
        moved_at = [len(each.estimates) for each in watchers]
        wait_for(
            lambda: all(
                len(each.estimates) >= count + 3
                for each, count in zip(watchers, moved_at, strict=True)
            ),
            "all get estimates of the other server",
        )
        wait_for(lambda: len(next(reversed(sender.estimates.values()))) >= 3, "and the sender")
        came_from_both = [
            each for each in watchers if assert_whole(list(each.estimates), history(staying))
        ]
        assert came_from_both
        for each in watchers:
            assert each.connection.missed == 0
            expected = ["connection_moved"] if each in came_from_both else []
            assert told(each) == expected
        for stream in sender.estimates.values():
            assert [estimate["seq"] for estimate in stream] == list(range(len(stream)))


def test_a_server_is_killed(pair: Replicas) -> None:
    leaving, staying = pair.servers
    with ExitStack() as stack:
        watchers = [stack.enter_context(closing(Watcher(pair))) for _ in range(WATCHERS)]
        wait_for(lambda: all(len(each.estimates) > 3 for each in watchers), "all have estimates")
        assert viewers(leaving) == WATCHERS // 2
        leaving.process.kill()
        wait_for(lambda: viewers(staying) == WATCHERS, "all have come to the other server")
        moved_at = [len(each.estimates) for each in watchers]
        wait_for(
            lambda: all(
                len(each.estimates) >= count + 3
                for each, count in zip(watchers, moved_at, strict=True)
            ),
            "all get its estimates",
        )
        # In this order: what comes later is in no history that was read before.
        heard = [list(each.estimates) for each in watchers]
        known = history(staying)
        came_from_both = [
            each
            for each, estimates in zip(watchers, heard, strict=True)
            if assert_whole(estimates, known)
        ]
        assert len(came_from_both) == WATCHERS // 2
        for each in came_from_both:
            assert told(each) == [
                "connection_lost",
                "connection_back",
            ]


def test_one_cookie_is_for_all_servers_with_the_same_tokens(tmp_path: Path) -> None:
    """Browsers keep it for the address of nginx; the servers have other ports."""
    tokens = tmp_path / "tokens.toml"
    tokens.write_text('control = "0123456789abcdef"\n', encoding="utf-8")
    tokens.chmod(0o600)
    folder = tmp_path / "nginx"
    folder.mkdir()
    with replicas(folder, "--input", "browser", "--token", str(tokens)) as running:
        expires_at = int(SystemClock().utc().timestamp()) + 60
        value = tokens_from_file(tokens).new_cookie(Role.VIEW, expires_at)
        host = f"localhost:{running.nginx.port}"
        cookie = f"realtime_mer_{running.nginx.port}={value}"
        for server in running.servers:
            assert get(server, "/metrics", {"Host": host})[0] == 401
            assert get(server, "/metrics", {"Host": host, "Cookie": cookie})[0] == 200
