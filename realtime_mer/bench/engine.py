"""What the engine costs: milliseconds a window by backend, batch and threads, and how far that is
from what the machine can do.
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
# What does not need a card.
ON_CPU = ("onnxruntime", "torch")


def measure_engine(
    *,
    batches: Sequence[int] = BATCHES,
    threads: Sequence[int] = THREADS,
    seconds: float = 0.8,
    path: Path | None = None,
) -> dict[str, Any]:
    """All figures of `realtime-mer bench engine` as one JSON-ready object.

    Args:
        batches: numbers of windows in a call.
        threads: of a call, on as many cores.
        seconds: how long each pair of the two is measured.
        path: the model file; the shipped one where None.
    """
    path = path or shipped_model()
    info = load_engine(path).info
    flops = count_flops(path, BenchmarkInput.of(info)._asdict())
    with on_cores(1):
        peak = measure_peak_gflops(min(seconds, 0.5))
    total = None if flops is None else sum(flops.values())
    rows = []
    engines, refused = _engines(path, threads)
    for engine, device, count in engines:
        with on_cores(count):
            for batch in batches:
                row = _measure(engine, batch, seconds)
                reached = None if total is None else total / row["ms_per_window"] / 1e6
                # Of as many cores as there are threads; what a card could do was not measured.
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
        "not_measured": refused,
        "mflop_per_window": None if total is None else round(total / 1e6, 3),
        "mflop_by_kind": None
        if flops is None
        else {kind: round(count / 1e6, 3) for kind, count in flops.items()},
        "peak_gflops_one_thread": round(peak, 1),
        "lower_bound_ms": None if total is None else round(total / peak / 1e6, 4),
        "method": {
            "window": "the usual update: one second of new frames (two steps), full window; median "
            f"of calls over {seconds:g} s",
            "operations": "multiplications and additions of convolutions and matrix products, one "
            "for each number of other results; counted from the graph with the shapes of a run",
            "peak": "the fastest float32 matrix product of numpy (256, 512, 1024), one thread",
        },
        "model": {"name": info.name, "sha256": info.sha256},
        "machine": describe_machine(),
    }


def _engines(
    path: Path, threads: Sequence[int]
) -> tuple[list[tuple[Engine, str, int]], dict[str, str]]:
    """What can run here: engine, where it runs, cores; and why the others cannot."""
    found: list[tuple[Engine, str, int]] = [
        (OnnxRuntimeEngine(path, threads=count), "cpu", count) for count in threads
    ]
    refused: dict[str, str] = {}
    for entry in backends():
        if entry.name == OnnxRuntimeEngine.backend:
            continue
        missing = entry.missing()
        if missing is not None:
            refused[entry.name] = missing
            continue
        try:
            engine = entry.open(path, _tell)
        except Exception as error:  # drivers, cards and their libraries fail in ways of their own
            refused[entry.name] = str(error).partition("\n")[0]
        else:
            found.append((engine, "cpu" if entry.name in ON_CPU else "gpu", 1))
    return found, refused


def _tell(sentence: str) -> None:
    print(sentence, file=sys.stderr)


def _measure(engine: Engine, batch: int, seconds: float) -> dict[str, Any]:
    update = BenchmarkInput.of(engine.info, batch)
    for _ in range(2):
        engine.infer(*update)
    times: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(times) < MIN_CALLS:
        start = time.perf_counter()
        engine.infer(*update)
        times.append(time.perf_counter() - start)
    p50, p95 = np.percentile(np.asarray(times) * 1e3, (50, 95))
    return {
        "batch": batch,
        "calls": len(times),
        "ms_per_call": {"p50": round(float(p50), 3), "p95": round(float(p95), 3)},
        "ms_per_window": round(float(p50) / batch, 4),
    }
