"""Counting a model's operations and measuring the engine."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from mer_engine import Engine
from mer_engine.backends.benchmark_input import BenchmarkInput
from mer_engine.engine import shipped_model

from realtime_mer.bench.engine import measure_engine
from realtime_mer.bench.flops import count_flops, measure_peak_gflops


def test_operations_are_counted_from_the_shapes() -> None:
    pytest.importorskip("onnx", reason="onnx comes with the train extra")
    from onnx import TensorProto, helper, numpy_helper

    weights = {
        "filters": np.zeros((8, 3, 5), np.float32),
        "matrix": np.zeros((10, 4), np.float32),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "filters"], ["filtered"]),
            helper.make_node("Relu", ["filtered"], ["rectified"]),
            helper.make_node("Transpose", ["rectified"], ["transposed"], perm=[0, 2, 1]),
            helper.make_node("MatMul", ["rectified", "matrix"], ["y"]),
        ],
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3, None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 8, 4])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    counted = count_flops(model.SerializeToString(), {"x": np.zeros((2, 3, 14), np.float32)})
    # Conv: 2 x 8 x 10 outputs of 15 products; MatMul: 2 x 8 x 4 of ten; Relu: one per output.
    assert counted == {"Conv": 4800.0, "MatMul": 1280.0, "Relu": 160.0}


def test_operations_are_not_counted_without_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert count_flops(shipped_model().read_bytes(), {}) is None


def test_the_peak_is_measured() -> None:
    assert measure_peak_gflops(0.02) > 0.0


def test_the_engine_accepts_the_benchmark_input(engine: Engine) -> None:
    info = engine.info
    inference = engine.infer(*BenchmarkInput.of(info, 3))
    steps = round(1.0 / info.step_s)
    assert inference.probabilities.shape[0] == 3
    assert inference.steps.shape == (3, steps, info.embedding_size)


def test_engine_rows() -> None:
    result = measure_engine(batches=(1, 2), threads=(1,), seconds=0.02)
    # Rows of other backends follow where they are installed.
    rows = [row for row in result["rows"] if row["backend"] == "onnxruntime"]
    assert [row["batch"] for row in rows] == [1, 2]
    for row in rows:
        assert row["ms_per_window"] == pytest.approx(
            row["ms_per_call"]["p50"] / row["batch"], abs=1e-3
        )
        assert row["ms_per_call"]["p50"] <= row["ms_per_call"]["p95"]
        if result["mflop_per_window"] is not None:
            assert row["peak_share"] > 0.0
    assert result["machine"]["date_utc"]
