"""Latency figures from a short run."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from mer_engine import load_engine
from mer_engine.backends.onnxruntime import OnnxRuntimeEngine
from mer_engine.engine import shipped_model

from realtime_mer.bench import latency
from realtime_mer.bench.flops import count_flops
from realtime_mer.bench.latency import measure_latency
from realtime_mer.bench.live_input import live_input
from realtime_mer.bench.machine import describe_machine
from realtime_mer.bench.percentiles import percentiles_ms


def test_percentiles_are_milliseconds() -> None:
    seconds = [i / 1000.0 for i in range(101)]
    assert percentiles_ms(seconds) == {"p50": 50.0, "p95": 95.0, "p99": 99.0}


def test_the_machine_is_described() -> None:
    machine = describe_machine()
    assert machine["processor"]
    assert machine["cores"]
    assert machine["onnxruntime"]


def test_the_bound_counts_what_an_engine_in_parts_computes() -> None:
    pytest.importorskip("onnx", reason="onnx comes with the train extra")
    served = load_engine(backend="onnxruntime")
    assert isinstance(served, OnnxRuntimeEngine)
    parts = served.parts()
    assert parts is not None
    classified = []
    classify = parts.sound_logits
    parts.sound_logits = lambda maps: classified.append(len(maps)) or classify(maps)  # type: ignore
    newest = live_input(served)
    classified.clear()
    served.infer(*newest)
    assert classified == [1]  # of two new steps of the demo
    in_parts = latency.operations_of_an_update(served)
    whole = sum((count_flops(shipped_model().read_bytes(), newest.by_name()) or {}).values())
    assert in_parts is not None
    # The classifier takes more than half of the whole graph.
    assert 0.6 * whole < in_parts < 0.8 * whole


@pytest.mark.timeout(180)
def test_every_figure_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "measure_peak_gflops", lambda: 100.0)

    async def call_inside_an_event_loop() -> dict[str, Any]:
        return measure_latency(seconds=1.5, updates=10, lag_order=1)

    result = asyncio.run(call_inside_an_event_loop())
    for key in (
        "engine_ms", "resample_ms", "frontend_ms", "update_ms", "publish_ms", "end_to_end_ms",
    ):  # fmt: skip
        row = result[key]
        assert 0.0 < row["p50"] <= row["p95"] <= row["p99"], key
    assert result["bounds"]["resample_ms"] > 0.0
    assert result["bounds"]["frontend_ms"] > 0.0
    assert result["allocations"]["updates"] == 30
    assert result["core_share"] > 0.0
    assert 20.0 < result["rss_mb"] < 400.0
    assert result["real_time_factor"] > 0.0
    # The first estimate comes after a hop of one second, when the window of 0.5 s is full.
    assert result["first_estimate_s"] > 1.0
    assert result["window_full_to_tracking_s"] > 0.0
    assert set(result["method"]) >= {"update", "end_to_end", "core_share"}
