"""The example clients of docs/protocol.md work as shown."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
from live_support import ArraySource, RunningServer, running_server
from mer_engine import Engine
from support import music

from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.pipeline import Pipeline
from realtime_mer.live.runner import LiveRunner

PROTOCOL = Path(__file__).parents[2] / "docs" / "protocol.md"
ADDRESS = "ws://127.0.0.1:8765/ws"
RATE = 16_000
LINE = re.compile(r"\d+(\.\d+)? -?\d\.\d+(e-?\d+)? -?\d\.\d+(e-?\d+)? ([a-z]+|None)")


def client(name: str) -> str:
    """Return the code block of a client."""
    document = PROTOCOL.read_text(encoding="utf-8")
    match = re.search(rf"<!-- client: {name} -->\n```\w+\n(.*?)```", document, re.DOTALL)
    assert match is not None
    return match[1]


@pytest.fixture
def server(engine: Engine) -> Iterator[RunningServer]:
    source = ArraySource(music(10.0, RATE), RATE, loop=True)
    runner = LiveRunner(source, engine, config=PipelineConfig(hop_s=0.5), speed=20.0)
    with running_server(engine, runner) as running, runner:
        yield running


def run_for_lines(command: list[str], count: int) -> list[str]:
    """Run a client that never ends and return its first lines."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline().strip() for _ in range(count)]
        finally:
            process.kill()
            _, errors = process.communicate()
    assert lines[-1], errors
    return lines


@pytest.mark.parametrize("name", ["python", "javascript"])
def test_the_shortest_clients_have_five_lines(name: str) -> None:
    assert len(client(name).strip().splitlines()) == 5
    assert ADDRESS in client(name)


def test_the_python_client(server: RunningServer, tmp_path: Path) -> None:
    script = tmp_path / "client.py"
    script.write_text(client("python").replace(ADDRESS, server.url), encoding="utf-8")
    for line in run_for_lines([sys.executable, str(script)], 5):
        assert LINE.fullmatch(line), line


def node_command() -> list[str]:
    """Return the command of Node.js with a built-in WebSocket; skip without one."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True)
    major = int(version.stdout.removeprefix("v").split(".")[0])
    if major < 20:
        pytest.skip(f"node {version.stdout.strip()} has no WebSocket")
    return [node] if major >= 22 else [node, "--experimental-websocket"]


def test_the_javascript_client(server: RunningServer, tmp_path: Path) -> None:
    script = tmp_path / "client.mjs"
    script.write_text(client("javascript").replace(ADDRESS, server.url), encoding="utf-8")
    for line in run_for_lines([*node_command(), str(script)], 5):
        assert LINE.fullmatch(line), line


def test_the_client_that_sends_audio(engine: Engine, server: RunningServer, tmp_path: Path) -> None:
    signal = music(4.0, 44_100, channels=2)
    soundfile.write(tmp_path / "song.flac", signal, 44_100)
    script = tmp_path / "client.py"
    script.write_text(client("stream").replace(ADDRESS, server.url), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for line in lines:
        assert LINE.fullmatch(line), line
    # It sends faster than real time and may miss estimates, but always gets the last one.
    decoded, _ = soundfile.read(tmp_path / "song.flac", dtype="float32", always_2d=True)
    pipeline = Pipeline(engine, sample_rate_hz=44_100, channels=2, config=PipelineConfig(hop_s=0.5))
    last = [*pipeline.feed(decoded), *pipeline.finish()][-1]
    t, valence, arousal, mood = lines[-1].split()
    assert (float(t), mood) == (last.t, last.mood)
    assert float(valence) == pytest.approx(last.valence, abs=2e-5)
    assert float(arousal) == pytest.approx(last.arousal, abs=2e-5)
