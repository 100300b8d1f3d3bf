"""Measures milliseconds per window by backend, batch size and threads, and compares them with the
peak speed of the machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mer_engine import Engine, load_engine
from mer_engine.backends.benchmark_input import BenchmarkInput
from mer_engine.backends.onnxruntime import OnnxRuntimeEngine
from mer_engine.backends.registry import backends
from mer_engine.engine import shipped_model

from realtime_mer.bench.cores import on_cores
from realtime_mer.bench.flops import count_flops, measure_peak_gflops
from realtime_mer.bench.live_input import live_input
from realtime_mer.bench.measurement import Measurement

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
THREADS = (1, 2)
MIN_CALLS = 5
# Calls before the timed ones: an engine on a card records its work in the third.
WARM_UP = 5
# A batch whose calls would take longer is left out: it would take long and tell nothing new.
MOST_CALL_S = 2.0
# No further row is begun after this time.
MOST_S = 75.0
# The default backend as it runs live.
IN_PARTS = "onnxruntime, in parts"
# All other backends run on a GPU.
CPU_BACKENDS = ("onnxruntime", "torch")


class Candidate(NamedTuple):
    """A backend to be measured.

    Attributes:
        name: of the backend.
        device: "cpu" or "gpu".
        threads: of a call.
        whole: whether it runs the whole network.
        open: loads the engine; may raise any error.
    """

    name: str
    device: str
    threads: int
    whole: bool
    open: Callable[[], Engine]


def measure_engine(
    *,
    batches: Sequence[int] = BATCHES,
    threads: Sequence[int] = THREADS,
    seconds: float = 0.8,
    path: Path | None = None,
    measurement: Measurement | None = None,
) -> dict[str, Any]:
    """Return all figures of `realtime-mer bench engine` as one JSON-ready object.

    Args:
        batches: batch sizes (windows per call), ascending.
        threads: numbers of threads per call, each on as many cores.
        seconds: measuring time of each combination, but at least `MIN_CALLS` calls.
        path: the model file; None: the shipped one.
        measurement: receives the figures as they come.
    """
    measurement = measurement or Measurement()
    result, say = measurement.result, measurement.say
    path = path or shipped_model()
    started = time.monotonic()
    loaded = load_engine(path)
    info, update = loaded.info, live_input(loaded)
    measurement.describe(info)
    result["method"] = {
        "window": "one update of a full window of the demo with one second (two steps) of new "
        f"frames; median and mean of the calls within {seconds:g} s",
        "left out": f"batches whose call would take more than {MOST_CALL_S:g} s, and what was not "
        f"begun within {MOST_S:g} s",
        "in parts": "as it runs for live streams: fewer steps are classified as music, speech or "
        "noise; everything else runs the whole network",
        "operations": "multiplications and additions of convolutions and matrix products, and "
        "one operation per output element of all other nodes, with the shapes of a real run",
        "peak": "the fastest float32 matrix product of numpy (sizes 256, 512, 1024) on one thread",
    }
    flops = count_flops(path.read_bytes(), BenchmarkInput.of(info).by_name())
    total = None if flops is None else sum(flops.values())
    with on_cores(1):
        peak = measure_peak_gflops(min(seconds, 0.5))
    result |= {
        "mflop_per_window": None if total is None else round(total / 1e6, 3),
        "mflop_by_kind": None
        if flops is None
        else {kind: round(count / 1e6, 3) for kind, count in flops.items()},
        "peak_gflops_one_thread": round(peak, 1),
        "lower_bound_ms": None if total is None else round(total / peak / 1e6, 4),
        "rows": [],
        "not_measured": {},
    }
    say(f"peak of one thread: {peak:.0f} GFLOP/s")
    for candidate in _candidates(path, threads, measurement):
        try:
            engine = candidate.open()
        except Exception as error:  # drivers and GPU libraries raise many kinds of errors
            _not_measured(measurement, candidate.name, str(error).partition("\n")[0])
            continue
        with on_cores(candidate.threads):
            call_ms_per_window = 0.0
            for batch in batches:
                if reason := _reason_to_stop(batch, call_ms_per_window, started):
                    _not_measured(measurement, f"{_title(candidate)}, batch {batch}", reason)
                    break
                row = measure_batch(engine, batch, seconds, update)
                call_ms_per_window = row["ms_per_window"]
                reached = (
                    total / row["ms_per_window"] / 1e6
                    if total is not None and candidate.whole
                    else None
                )
                # The peak of `threads` cores; the peak of a GPU is not measured.
                share = (
                    None
                    if reached is None or candidate.device != "cpu"
                    else reached / peak / candidate.threads
                )
                result["rows"].append(
                    {
                        "backend": candidate.name,
                        "device": candidate.device,
                        "threads": candidate.threads if candidate.device == "cpu" else None,
                        **row,
                        "gflops": None if reached is None else round(reached, 2),
                        "peak_share": None if share is None else round(share, 4),
                    }
                )
                say(f"{_title(candidate)}, batch {batch}: {row['ms_per_window']:.3f} ms per window")
    return result


def _title(candidate: Candidate) -> str:
    if candidate.device != "cpu":
        return candidate.name
    return f"{candidate.name}, {candidate.threads} thread{'s' * (candidate.threads > 1)}"


def _not_measured(measurement: Measurement, what: str, reason: str) -> None:
    measurement.result["not_measured"][what] = reason
    measurement.say(f"{what}: not measured: {reason}")


def _reason_to_stop(batch: int, ms_per_window: float, started: float) -> str:
    """Return why this batch and larger ones are not measured; "" if they are.

    Args:
        batch: windows of a call.
        ms_per_window: measured with the batch before; 0.0 without one.
        started: when the measurement began (`time.monotonic`).
    """
    call_s = batch * ms_per_window / 1e3
    if call_s > MOST_CALL_S:
        return f"a call would take about {call_s:.1f} s"
    if time.monotonic() - started > MOST_S:
        return f"{MOST_S:g} s had passed"
    return ""


def _candidates(
    path: Path, threads: Sequence[int], measurement: Measurement
) -> Iterator[Candidate]:
    """Return the backends that may run here; say why others do not."""
    for count in threads:
        yield Candidate(
            OnnxRuntimeEngine.backend, "cpu", count, True,
            lambda count=count: OnnxRuntimeEngine(path, threads=count),  # type: ignore[misc]
        )  # fmt: skip
    yield Candidate(IN_PARTS, "cpu", 1, False, lambda: load_engine(path))
    for entry in backends():
        if entry.name == OnnxRuntimeEngine.backend:
            continue
        missing = entry.missing()
        if missing is not None:
            _not_measured(measurement, entry.name, missing)
            continue
        yield Candidate(
            entry.name, "cpu" if entry.name in CPU_BACKENDS else "gpu", 1, True,
            lambda entry=entry: entry.open(path, measurement.say),  # type: ignore[misc]
        )  # fmt: skip


def measure_batch(
    engine: Engine, batch: int, seconds: float, update: BenchmarkInput
) -> dict[str, Any]:
    """Measure calls of one batch size, copies to and from a card included.

    Args:
        engine: what runs the network.
        batch: windows of a call.
        seconds: measuring time, but at least `MIN_CALLS` calls.
        update: the input of one window.

    Returns:
        A row of the result of `measure_engine`: calls, percentiles of a call, median and mean of a
        window, in ms.
    """
    inputs = [np.repeat(array, batch, axis=0) for array in update]
    warm_up = time.perf_counter()
    for _ in range(WARM_UP):
        engine.infer(*inputs)
        if time.perf_counter() - warm_up > seconds:
            break
    times: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(times) < MIN_CALLS:
        if times and time.perf_counter() > until + MOST_CALL_S:
            break
        start = time.perf_counter()
        engine.infer(*inputs)
        times.append(time.perf_counter() - start)
    ms = np.asarray(times) * 1e3
    p50, p95 = np.percentile(ms, (50, 95))
    return {
        "batch": batch,
        "calls": len(times),
        "ms_per_call": {"p50": round(float(p50), 3), "p95": round(float(p95), 3)},
        "ms_per_window": round(float(p50) / batch, 4),
        "mean_ms_per_window": round(float(ms.mean()) / batch, 4),
    }
