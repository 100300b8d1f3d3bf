"""The report of a running session, over HTTP."""

from __future__ import annotations

import gc
import http.client
import json
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from live_support import HangingSource, RunningServer, receive_kind, running_server, wait_for
from mer_engine import Engine
from support import ESTIMATE

from realtime_mer.clock import iso_utc
from realtime_mer.commands.live_report import LiveReport
from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.events import Marker
from realtime_mer.core.types import Estimate
from realtime_mer.errors import UserError
from realtime_mer.live.runner import LiveRunner
from realtime_mer.recording.header import header_of
from realtime_mer.recording.recorder import Recorder
from realtime_mer.server.channel import Channel
from realtime_mer.server.server import MerServer, ServerConfig
from realtime_mer.server.tokens import Role, Tokens

BEGAN = datetime(2026, 11, 28, 20, 0, tzinfo=UTC)
CONFIG = PipelineConfig()
TOKENS = {role: f"a-token-for-{role}-role" for role in Role}
DEADLINE_S = 60.0


def moment(seq: int) -> Estimate:
    """The estimate of a second, from 1 s on."""
    utc = iso_utc(BEGAN + timedelta(seconds=seq + 1))
    return replace(ESTIMATE, seq=seq, t=seq + 1.0, utc=utc)


@pytest.fixture
def runner(engine: Engine) -> LiveRunner:
    return LiveRunner(HangingSource(), engine, config=CONFIG)


def ask(running: RunningServer, path: str = "/report.html", **headers: str) -> tuple[int, str]:
    """Return status and text of the answer, once the report is made."""
    answers: list[tuple[int, str]] = []

    def answered() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=DEADLINE_S)
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            body = response.read().decode()
        finally:
            connection.close()
        if response.status == 503 and response.headers["Retry-After"] == "2":
            assert response.headers["Refresh"] == "2"
            return False
        if response.status == 200:
            assert response.headers["Content-Type"] == "text/html; charset=utf-8"
            assert response.headers["Content-Disposition"].startswith(
                'attachment; filename="realtime-mer-20'
            )
            assert response.headers["Cache-Control"] == "no-store"
        answers.append((response.status, body))
        return True

    wait_for(answered, "the report")
    return answers[0]


def serving(engine: Engine, runner: LiveRunner, recording: Path | None = None) -> MerServer:
    report = LiveReport(engine, CONFIG, recording=recording)
    return MerServer(engine, runner, config=ServerConfig(port=0), report=report)


def test_without_a_recording_it_holds_what_the_server_holds(
    engine: Engine, runner: LiveRunner
) -> None:
    with running_server(engine, server=serving(engine, runner)) as running:
        status, text = ask(running)
        assert status == 409
        assert text.startswith("there is nothing to report yet")
        for seq in range(700):
            runner.hub.publish(moment(seq))
        runner.hub.publish(Marker(650.0, iso_utc(BEGAN), "the drop <b>"))
        runner.stats.add(next(iter(runner.stats.losses())))  # type: ignore[arg-type]
        status, text = ask(running)
    assert status == 200
    assert "Only the last 10 min are here" in text
    assert "start it with --record DIR" in text
    assert "the drop &lt;b&gt;" in text
    # Whoever opens the file asks nobody for anything.
    assert "src=" not in text
    assert "<link" not in text


def test_of_a_recorded_session_it_holds_all_and_names_no_folder(
    engine: Engine, runner: LiveRunner, tmp_path: Path
) -> None:
    header = header_of(
        model=engine.info,
        backend=engine.backend,
        config=CONFIG,
        source=runner.info,
        started=BEGAN,
        configuration={},
    )
    folder = tmp_path / "Anna Smith"
    recorder = Recorder(runner.hub, folder, header, stats=runner.stats)
    with recorder, running_server(engine, server=serving(engine, runner, folder)) as running:
        for seq in range(700):
            runner.hub.publish(moment(seq))
        runner.hub.publish(Marker(5.0, iso_utc(BEGAN + timedelta(seconds=5)), "opens eyes"))
        wait_for(lambda: "opens eyes" in (folder / "estimates.jsonl").read_text(), "the recording")
        status, text = ask(running)
    assert status == 200
    assert "12 min" in text
    assert "opens eyes" in text
    assert "are here, which is what the server keeps" not in text
    assert "Anna Smith" not in text
    assert runner.info.name in text


def test_the_report_of_a_clients_stream(engine: Engine, runner: LiveRunner) -> None:
    with (
        running_server(engine, server=serving(engine, runner)) as running,
        running.connect() as client,
    ):
        client.send(json.dumps({"type": "start", "sample_rate_hz": 16_000, "name": "my room"}))
        hello = receive_kind(client, "hello")
        while hello["input"]["kind"] != "browser":
            hello = receive_kind(client, "hello")
        client.send(np.zeros(16_000 * 8, np.float32).tobytes())
        while receive_kind(client, "estimate")["seq"] < 1:
            pass
        status, text = ask(running, f"/report.html?session={hello['session']}")
        assert status == 200
        assert "my room" in text
        status, text = ask(running, "/report.html?session=unknown")
        assert (status, text) == (404, "there is no such session; it has ended, or it is private\n")


def test_who_has_no_token_gets_none(engine: Engine, runner: LiveRunner) -> None:
    config = ServerConfig(port=0, tokens=Tokens(TOKENS, "a test"))
    server = MerServer(engine, runner, config=config, report=LiveReport(engine, CONFIG))
    with running_server(engine, server=server) as running:
        runner.hub.publish(moment(0))
        assert ask(running)[0] == 401
        assert ask(running, Authorization=f"Bearer {TOKENS[Role.VIEW]}")[0] == 200


def test_a_slow_report_is_made_once_and_holds_up_nobody(
    engine: Engine, runner: LiveRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realtime_mer.server.report_desk.WAIT_S", 0.01)
    released, calls = threading.Event(), []

    def make(channel: Channel) -> str:
        calls.append(channel.session)
        assert released.wait(DEADLINE_S)
        return "<p>all of it</p>"

    server = MerServer(engine, runner, config=ServerConfig(port=0), report=make)
    with running_server(engine, server=server) as running, running.connect() as viewer:
        statuses = []
        for _ in range(5):
            connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=DEADLINE_S)
            connection.request("GET", "/report.html")
            statuses.append(connection.getresponse().status)
            connection.close()
        receive_kind(viewer, "snapshot")
        runner.hub.publish(moment(0))
        assert receive_kind(viewer, "estimate")["seq"] == 0
        released.set()
        assert ask(running) == (200, "<p>all of it</p>")
        assert ask(running) == (200, "<p>all of it</p>")
    assert statuses == [503] * 5
    assert len(calls) == 1


def test_nobody_waits_for_the_garbage_of_a_report(engine: Engine, runner: LiveRunner) -> None:
    collects = []

    def make(channel: Channel) -> str:
        collects.append(gc.isenabled())
        return ""

    server = MerServer(engine, runner, config=ServerConfig(port=0), report=make)
    with running_server(engine, server=server) as running:
        assert ask(running)[0] == 200
        assert gc.isenabled()
    assert collects == [False]


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (UserError("there is nothing yet"), 409, "there is nothing yet\n"),
        (OSError("/secret/folder"), 500, "internal server error, see the server's log\n"),
    ],
)
def test_what_goes_wrong_is_told(
    engine: Engine, runner: LiveRunner, error: Exception, status: int, words: str
) -> None:
    def make(channel: Channel) -> str:
        raise error

    server = MerServer(engine, runner, config=ServerConfig(port=0), report=make)
    with running_server(engine, server=server) as running:
        assert ask(running) == (status, words)
        assert gc.isenabled()
    with running_server(engine, runner) as running:
        assert ask(running)[0] == 404
