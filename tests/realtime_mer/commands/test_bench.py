"""`realtime-mer bench` from its arguments to its figures, whatever the machine's speed."""

from __future__ import annotations

import json
from typing import Any

import pytest

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


def test_start_up(capsys: pytest.CaptureFixture[str]) -> None:
    result = bench(capsys, "start-up")
    for key in ("listening_ms", "first_estimate_ms", "least_ms", "python_ms"):
        assert ordered(result[key])
    assert result["python_ms"]["p50"] < result["listening_ms"]["p50"]


def test_engine_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "engine", "--quick"]) == 0
    output = capsys.readouterr().out
    assert "ms per window" in output
    assert "GFLOP/s" in output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["latency", "--seconds", "3"], "--seconds is 3; it must be 12 or more"),
        (["viewers", "--seconds", "20"], "--seconds belongs to 'bench latency'"),
    ],
)
def test_bad_arguments(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *arguments]) == 2
    assert words in capsys.readouterr().err
