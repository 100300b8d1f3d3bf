"""Counts the operations of a model and measures the peak speed of the machine."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Multiplications and additions are counted for these nodes; one operation per output element for
# all others.
_PRODUCTS = ("Conv", "FusedConv", "MatMul", "FusedMatMul", "Gemm", "FusedGemm", "LSTM")
# These only move data.
_MOVES = frozenset((
    "Reshape", "Transpose", "Concat", "Slice", "Gather", "Squeeze", "Unsqueeze", "Identity",
    "Constant", "ConstantOfShape", "Shape", "Cast", "Expand", "Split", "Pad", "Flatten", "Tile",
))  # fmt: skip
_PEAK_PROGRAM = """
import json, sys, time
import numpy as np
best = {}
for size in (256, 512, 1024):
    a = np.random.default_rng(0).standard_normal((size, size)).astype(np.float32)
    b, out = a.T.copy(), np.empty_like(a)
    until, times = time.perf_counter() + float(sys.argv[1]), []
    while time.perf_counter() < until or len(times) < 3:
        start = time.perf_counter()
        np.matmul(a, b, out=out)
        times.append(time.perf_counter() - start)
    best[size] = 2 * size**3 / min(times) / 1e9
print(json.dumps(best))
"""


def count_flops(content: bytes, inputs: Mapping[str, NDArray[Any]]) -> dict[str, float] | None:
    """Count the floating-point operations of one run of an ONNX model.

    The model is run once to get the output shape of every node.

    Args:
        content: the model file.
        inputs: input arrays by name.

    Returns:
        Operations by node type, largest first; None if the `onnx` package is not installed.
    """
    if importlib.util.find_spec("onnx") is None:
        return None
    import onnx
    import onnxruntime as ort

    model = onnx.load_from_string(content)
    graph = model.graph
    names = [name for node in graph.node for name in node.output if name]
    del graph.output[:]
    graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    shapes: dict[str, tuple[int, ...]] = {
        entry.name: tuple(entry.dims) for entry in graph.initializer
    }
    shapes |= {name: array.shape for name, array in inputs.items()}
    results = session.run(names, dict(inputs))
    shapes |= {name: np.shape(result) for name, result in zip(names, results, strict=True)}
    counted: Counter[str] = Counter()
    for node in graph.node:
        operations = _operations(node.op_type, [shapes.get(n, ()) for n in node.input],
                                 shapes[node.output[0]])  # fmt: skip
        if operations:
            counted[node.op_type] += operations
    return {kind: float(count) for kind, count in counted.most_common()}


def _operations(kind: str, inputs: list[tuple[int, ...]], output: tuple[int, ...]) -> int:
    size = math.prod(output)
    if kind in _MOVES:
        return 0
    if kind not in _PRODUCTS:
        # A reduction (sum, mean) reads every input element.
        return max(size, math.prod(inputs[0])) if kind.startswith("Reduce") else size
    if kind == "LSTM":
        # Per time step: four gates, each from the input and the state.
        (time_steps, batch, width), (directions, gates, _) = inputs[:2]
        return 2 * time_steps * batch * directions * gates * (width + gates // 4)
    if kind.endswith("Conv"):
        # Weights are [out, in / groups, ...]: each output sums over all axes but the first.
        return 2 * size * math.prod(inputs[1][1:])
    return 2 * size * inputs[0][-1]


def measure_peak_gflops(seconds: float = 0.5) -> float:
    """Measure the highest float32 speed of numpy's matrix product on one thread.

    Args:
        seconds: measuring time for each of three matrix sizes.

    Returns:
        GFLOP/s (10^9 operations per second).
    """
    one_thread = dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
        "1",
    )
    # numpy reads these variables at import, so the measurement needs a separate process.
    done = subprocess.run(
        [sys.executable, "-c", _PEAK_PROGRAM, str(seconds)],
        env={**os.environ, **one_thread}, capture_output=True, text=True, check=True,
        process_group=0,
    )  # fmt: skip
    best: dict[str, float] = json.loads(done.stdout)
    return max(best.values())
