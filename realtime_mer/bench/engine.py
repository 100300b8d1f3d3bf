"""Measures milliseconds per window by backend, batch size and threads, and compares them with the
peak speed of the machine.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mer_engine import Engine, load_engine
from mer_engine.backends.benchmark_input import BenchmarkInput
from mer_engine.backends.onnxruntime import OnnxRuntimeEngine
from mer_engine.backends.registry import backends
from mer_engine.engine import shipped_model

from realtime_mer.bench.cores import on_cores
from realtime_mer.bench.flops import count_flops, measure_peak_gflops
from realtime_mer.bench.machine import describe_machine

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
THREADS = (1, 2)
MIN_CALLS = 5
# All other backends run on a GPU.
CPU_BACKENDS = ("onnxruntime", "torch")


def measure_engine(
    *,
    batches: Sequence[int] = BATCHES,
    threads: Sequence[int] = THREADS,
    seconds: float = 0.8,
    path: Path | None = None,
) -> dict[str, Any]:
    """Return all figures of `realtime-mer bench engine` as one JSON-ready object.

    Args:
        batches: batch sizes (windows per call).
        threads: numbers of threads per call, each on as many cores.
        seconds: measuring time of each combination.
        path: the model file; None: the shipped one.
    """
    path = path or shipped_model()
    info = load_engine(path).info
    flops = count_flops(path, BenchmarkInput.of(info).by_name())
    with on_cores(1):
        peak = measure_peak_gflops(min(seconds, 0.5))
    total = None if flops is None else sum(flops.values())
    rows = []
    engines, unavailable = _engines(path, threads)
    for engine, device, count in engines:
        with on_cores(count):
            for batch in batches:
                row = _measure(engine, batch, seconds)
                reached = None if total is None else total / row["ms_per_window"] / 1e6
                # The peak of `count` cores; the peak of a GPU is not measured.
                share = None if reached is None or device != "cpu" else reached / peak / count
                rows.append(
                    {
                        "backend": engine.backend,
                        "device": device,
                        "threads": count if device == "cpu" else None,
                        **row,
                        "gflops": None if reached is None else round(reached, 2),
                        "peak_share": None if share is None else round(share, 4),
                    }
                )
    return {
        "rows": rows,
        "not_measured": unavailable,
        "mflop_per_window": None if total is None else round(total / 1e6, 3),
        "mflop_by_kind": None
        if flops is None
        else {kind: round(count / 1e6, 3) for kind, count in flops.items()},
        "peak_gflops_one_thread": round(peak, 1),
        "lower_bound_ms": None if total is None else round(total / peak / 1e6, 4),
        "method": {
            "window": "one update of a full window with one second (two steps) of new frames; "
            f"median of the calls within {seconds:g} s",
            "operations": "multiplications and additions of convolutions and matrix products, and "
            "one operation per output element of all other nodes, with the shapes of a real run",
            "peak": "the fastest float32 matrix product of numpy (sizes 256, 512, 1024) on one "
            "thread",
        },
        "model": {"name": info.name, "sha256": info.sha256},
        "machine": describe_machine(),
    }


def _engines(
    path: Path, threads: Sequence[int]
) -> tuple[list[tuple[Engine, str, int]], dict[str, str]]:
    """Return the engines that run here as (engine, device, threads), and why others do not."""
    found: list[tuple[Engine, str, int]] = [
        (OnnxRuntimeEngine(path, threads=count), "cpu", count) for count in threads
    ]
    unavailable: dict[str, str] = {}
    for entry in backends():
        if entry.name == OnnxRuntimeEngine.backend:
            continue
        missing = entry.missing()
        if missing is not None:
            unavailable[entry.name] = missing
            continue
        try:
            engine = entry.open(path, _log)
        except Exception as error:  # drivers and GPU libraries raise many kinds of errors
            unavailable[entry.name] = str(error).partition("\n")[0]
        else:
            found.append((engine, "cpu" if entry.name in CPU_BACKENDS else "gpu", 1))
    return found, unavailable


def _log(sentence: str) -> None:
    print(sentence, file=sys.stderr)


def _measure(engine: Engine, batch: int, seconds: float) -> dict[str, Any]:
    inputs = BenchmarkInput.of(engine.info, batch)
    for _ in range(2):
        engine.infer(*inputs)
    times: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(times) < MIN_CALLS:
        start = time.perf_counter()
        engine.infer(*inputs)
        times.append(time.perf_counter() - start)
    p50, p95 = np.percentile(np.asarray(times) * 1e3, (50, 95))
    return {
        "batch": batch,
        "calls": len(times),
        "ms_per_call": {"p50": round(float(p50), 3), "p95": round(float(p95), 3)},
        "ms_per_window": round(float(p50) / batch, 4),
    }
