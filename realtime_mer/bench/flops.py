"""What a model computes, counted, and what the machine could compute at most, measured."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Of these, multiplications and additions are counted; of everything else, one for each number out.
_PRODUCTS = ("Conv", "FusedConv", "MatMul", "FusedMatMul", "Gemm", "FusedGemm", "LSTM")
# These only move numbers.
_MOVES = frozenset((
    "Reshape", "Transpose", "Concat", "Slice", "Gather", "Squeeze", "Unsqueeze", "Identity",
    "Constant", "ConstantOfShape", "Shape", "Cast", "Expand", "Split", "Pad", "Flatten", "Tile",
))  # fmt: skip
_PEAK = """
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


def count_flops(path: Path, inputs: Mapping[str, NDArray[Any]]) -> dict[str, float] | None:
    """Floating-point operations of one run of an ONNX model, by kind of node.

    The shapes are those of a real run, in which every node's result is asked for.

    Args:
        path: the model file.
        inputs: by name.

    Returns:
        Operations by kind, most first; None where the `onnx` package is not installed.
    """
    if importlib.util.find_spec("onnx") is None:
        return None
    import onnx
    import onnxruntime as ort

    model = onnx.load(str(path))
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
        # A sum or a mean takes every number that goes in.
        return max(size, math.prod(inputs[0])) if kind.startswith("Reduce") else size
    if kind == "LSTM":
        # In each of so many moments: four gates, each of what comes in and of the state.
        (moments, batch, width), (ways, gates, _) = inputs[:2]
        return 2 * moments * batch * ways * gates * (width + gates // 4)
    if kind.endswith("Conv"):
        # Weights are [out, in / groups, ...]: each number out is a sum over all but the first.
        return 2 * size * math.prod(inputs[1][1:])
    return 2 * size * inputs[0][-1]


def measure_peak_gflops(seconds: float = 0.5) -> float:
    """The most float32 operations a second that one thread reaches in numpy's matrix product.

    Args:
        seconds: for each of three sizes of matrices.

    Returns:
        10^9 operations a second.
    """
    one = dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
        "1",
    )
    # numpy reads these when it is imported, so it needs a process of its own.
    done = subprocess.run(
        [sys.executable, "-c", _PEAK, str(seconds)],
        env={**os.environ, **one}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    best: dict[str, float] = json.loads(done.stdout)
    return max(best.values())
