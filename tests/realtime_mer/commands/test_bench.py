"""`realtime-mer bench` from its arguments to its figures, whatever the machine's speed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from mer_engine import Engine
from support import running_program

from realtime_mer.bench.engine import measure_engine
from realtime_mer.bench.measurement import Measurement
from realtime_mer.cli import main


def bench(capsys: pytest.CaptureFixture[str], measurement: str) -> dict[str, Any]:
    assert main(["bench", measurement, "--quick", "--json"]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert len(result["model"]["sha256"]) == 64
    assert result["machine"]["date_utc"]
    assert result["method"]
    return result


def ordered(row: dict[str, float]) -> bool:
    return 0.0 < row["p50"] <= row["p95"] <= row["p99"]


@pytest.mark.timeout(180)
def test_streams(capsys: pytest.CaptureFixture[str]) -> None:
    result = bench(capsys, "streams")
    for key in ("websockets", "inside"):
        rows = result[key]
        assert rows
        for row in rows:
            assert ordered(row["lateness_ms"])
            assert row["estimates"] > 0
            assert row["missed"] >= 0
            assert row["core_share"] > 0.0
            assert row["memory_per_stream_kb"] != 0.0


@pytest.mark.timeout(600)  # many seconds of measurement, and a busy machine
def test_viewers(capsys: pytest.CaptureFixture[str]) -> None:
    result = bench(capsys, "viewers")
    for row in result["levels"]:
        assert ordered(row["delay_ms"])
        assert row["updates"] > 0
        assert 0 <= row["missed"] < row["updates"] * row["viewers"]
        assert row["lost_connections"] == 0
    (pulses,) = result["pulses"]
    assert pulses["messages_per_s"] > 0.0
    assert pulses["server_core_share_with"] > 0.0
    assert pulses["missed"] >= 0
    stalled = result["stalled"]
    assert stalled["viewers"] == 10
    assert ordered(stalled["others_delay_ms_beside"])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
@pytest.mark.parametrize("limit", [32, 64])
def test_too_few_open_files_are_a_sentence(limit: int) -> None:
    command = f'ulimit -n {limit} && exec "$@"'
    bench = [sys.executable, "-m", "realtime_mer", "bench", "viewers", "--quick"]
    done = subprocess.run(["sh", "-c", command, "sh", *bench], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == (
        "realtime-mer bench: 20 viewers need 84 open files, but this process may open at most "
        f"{limit}; raise the limit with 'ulimit -n'\n"
    )


def test_start_up(capsys: pytest.CaptureFixture[str]) -> None:
    result = bench(capsys, "start-up")
    for key in ("listening_ms", "first_estimate_ms", "least_ms", "python_ms"):
        assert ordered(result[key])
    assert result["python_ms"]["p50"] < result["listening_ms"]["p50"]


def test_engine_prints_a_table(capsys: pytest.CaptureFixture[str], engine: Engine) -> None:
    shipped = engine.info
    assert main(["bench", "engine", "--quick"]) == 0
    printed = capsys.readouterr()
    assert "ms per window" in printed.out
    assert "GFLOP/s" in printed.out
    assert f"model {shipped.name} ({shipped.sha256[:12]})" in printed.out
    assert "onnxruntime, 1 thread, batch 4: " in printed.err
    assert "onnxruntime, in parts, 1 thread, batch 4: " in printed.err


def test_the_engine_table_leaves_out_what_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime_mer.bench.engine.MOST_CALL_S", 1e-6)
    monkeypatch.setattr("realtime_mer.bench.engine.backends", tuple)
    said: list[str] = []
    result = measure_engine(
        batches=(1, 2, 4), threads=(1,), seconds=0.01, measurement=Measurement(say=said.append)
    )
    assert [(row["backend"], row["batch"]) for row in result["rows"]] == [
        ("onnxruntime", 1),
        ("onnxruntime, in parts", 1),
    ]
    what = "onnxruntime, 1 thread, batch 2"
    why = result["not_measured"][what]
    assert "a call would take about" in why
    assert said[1].startswith("onnxruntime, 1 thread, batch 1: ")
    assert said[2] == f"{what}: not measured: {why}"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals of this kind")
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("send", "code", "as_json"),
    [
        # As a terminal does: to all processes in the foreground.
        (lambda process: os.killpg(process.pid, signal.SIGINT), 130, False),
        (lambda process: process.terminate(), 143, True),
    ],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_a_stopped_measurement_prints_what_it_has(
    send: Callable[[subprocess.Popen[str]], None], code: int, as_json: bool
) -> None:
    command = [sys.executable, "-m", "realtime_mer", "bench", "streams", "--quick"]
    with running_program(
        [*command, *["--json"] * as_json], start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        said = ""
        for line in process.stderr:
            said += line
            if line.startswith("2 streams over websockets"):
                break
        send(process)  # the streams inside the process are measured now
        output, rest = process.communicate()
    assert process.returncode == code, said + rest
    assert "Traceback" not in said + rest
    if as_json:
        result = json.loads(output)
        assert result["stopped"] is True
        assert [row["streams"] for row in result["websockets"]] == [2]
        assert result["inside"] == []
    else:
        assert "2 streams, onnxruntime" in output
        assert "stopped: the figures so far" in output


@pytest.mark.parametrize("what", ["streams", "viewers"])
def test_what_was_not_measured_is_no_zero(
    what: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"realtime_mer.bench.{what}.serving", stopped)
    assert main(["bench", what, "--quick"]) == 130
    printed = capsys.readouterr().out
    assert "maximum in time              not measured" in printed
    assert "stopped: the figures so far" in printed


def test_streams_name_the_backend(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="torch comes with the train extra")
    arguments = ["bench", "streams", "--quick", "--json", "--backend", "torch"]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert result["backend"] == "torch"
    for kind in ("websockets", "inside"):
        assert [row["backend"] for row in result[kind]] == ["torch"]
    assert "2 streams over websockets with torch: p99 " in printed.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["engine", "--backend", "torch"], "'bench engine' measures every backend"),
        (["latency", "--seconds", "3"], "--seconds is 3; it must be 12 or more"),
        (["viewers", "--seconds", "20"], "--seconds belongs to 'bench latency'"),
    ],
)
def test_bad_arguments(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *arguments]) == 2
    assert words in capsys.readouterr().err
