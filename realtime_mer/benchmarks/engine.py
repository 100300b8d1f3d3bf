"""What the engine costs: milliseconds a window by backend, batch and threads, and how far that is
from what the machine can do.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mer_engine import Engine, load_engine
from mer_engine.backends.onnxruntime import OnnxRuntimeEngine
from mer_engine.engine import shipped_model

from realtime_mer.benchmarks.flops import count_flops, measure_peak_gflops
from realtime_mer.benchmarks.machine import describe_machine
from realtime_mer.benchmarks.usual_update import UsualUpdate, on_cores

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
THREADS = (1, 2)
MIN_CALLS = 5


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
    flops = count_flops(path, UsualUpdate.of(info)._asdict())
    with on_cores(1):
        peak = measure_peak_gflops(min(seconds, 0.5))
    total = None if flops is None else sum(flops.values())
    rows = []
    for backend, count, engine in _engines(path, threads):
        with on_cores(count):
            for batch in batches:
                row = _measure(engine, batch, seconds)
                reached = None if total is None else total / row["ms_per_window"] / 1e6
                rows.append(
                    {
                        "backend": backend,
                        "threads": count,
                        **row,
                        "gflops": None if reached is None else round(reached, 2),
                        # Of as many cores as there are threads.
                        "peak_share": None if reached is None else round(reached / peak / count, 4),
                    }
                )
    return {
        "rows": rows,
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


def _engines(path: Path, threads: Sequence[int]) -> list[tuple[str, int, Engine]]:
    """What can run here: backend, threads and the engine."""
    return [
        (OnnxRuntimeEngine.backend, count, OnnxRuntimeEngine(path, threads=count))
        for count in threads
    ]


def _measure(engine: Engine, batch: int, seconds: float) -> dict[str, Any]:
    update = UsualUpdate.of(engine.info, batch)
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
