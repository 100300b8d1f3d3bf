"""The examples of docs/python.md run as they stand, and its tables are complete."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
import soundfile
from live_support import ArraySource, RunningServer, running_server
from mer_engine import Engine
from support import ESTIMATE, music

import realtime_mer
from realtime_mer.analysis import TABLE
from realtime_mer.live.runner import LiveRunner

PAGE = (Path(__file__).parents[1] / "docs" / "python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
ADDRESS = "ws://127.0.0.1:8765"
RATE = 16_000


@pytest.fixture
def server(engine: Engine) -> Iterator[RunningServer]:
    runner = LiveRunner(ArraySource(music(10.0, RATE), RATE, loop=True), engine, speed=10.0)
    with running_server(engine, runner) as running, runner:
        yield running


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_an_example_runs(
    number: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    code = BLOCKS[number]
    soundfile.write(tmp_path / "song.flac", music(8.0, RATE, channels=2), RATE)
    monkeypatch.chdir(tmp_path)
    if ADDRESS in code:
        address = request.getfixturevalue("server").url.removesuffix("/ws")
        code = code.replace(ADDRESS, address)
    if "to_pandas" in code:
        pytest.importorskip("pandas")
    exec(compile(code, f"docs/python.md, example {number}", "exec"), {})
    printed = capsys.readouterr()
    assert printed.out or "assert" in code
    assert printed.err == ""


def test_every_public_name_is_on_the_page() -> None:
    for name in realtime_mer.__all__:
        assert re.search(rf"\b{name}\b", PAGE), name


def test_the_tables_are_complete() -> None:
    for field in fields(realtime_mer.Estimate):
        assert f"`{field.name}`" in PAGE
    for state in realtime_mer.State:
        assert f"`{state}`" in PAGE
    for column in TABLE.names or ():
        assert f"`{column.removeprefix('fast_')}`" in PAGE
    analysis = realtime_mer.Analysis(
        [ESTIMATE],
        input=realtime_mer.Input(
            kind=realtime_mer.audio.source.InputKind.FILE, name="a song", sample_rate_hz=RATE,
            channels=1, paced=True, live=False,
        ),
        duration_s=4.0,
        hop_s=1.0,
    )  # fmt: skip
    for key in analysis.summary():
        assert f"`{key}`" in PAGE
