"""Measures the time from starting a process until it listens, and until its first estimate."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

from mer_engine import load_engine

from realtime_mer.bench.measurement import Measurement
from realtime_mer.bench.percentiles import percentiles_ms
from realtime_mer.bench.server_process import serving

GOAL_MS = 700.0
# The lower bound: every program that runs the model in Python loads these two.
_IMPORTS_ONLY = "import numpy, onnxruntime"
# A program that uses the package; its audio is in memory, so nothing waits for playback.
_FIRST_ESTIMATE = """
import numpy as np
from mer_engine import load_engine
from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.pipeline import Pipeline
pipeline = Pipeline(load_engine(), sample_rate_hz=48_000, config=PipelineConfig(hop_s=0.5))
second = np.sin(np.arange(48_000) * 0.05).astype(np.float32)
assert pipeline.feed(second)
"""


def measure_start_up(*, runs: int = 15, measurement: Measurement | None = None) -> dict[str, Any]:
    """Return all figures of `realtime-mer bench start-up` as one JSON-ready object.

    Args:
        runs: number of processes that are started for each figure.
        measurement: receives the figures as they come.
    """
    measurement = measurement or Measurement()
    measurement.describe(load_engine().info)  # also brings the files into the system's file cache
    measurement.result |= {
        "runs": runs,
        "goal": {"listening_ms": GOAL_MS},
        "method": {
            "listening": "from starting `serve --input browser` until it prints its address; the "
            "model is then loaded and checked, and the port is open",
            "first_estimate": "run time of a program that imports the package, loads the model and "
            "feeds one second of audio from memory",
            "least": f"run time of the program `{_IMPORTS_ONLY}`",
            "python": "run time of an empty program",
        },
    }
    for key, name, measure_s in (
        ("listening_ms", "start to listening", _listening_s),
        ("first_estimate_ms", "start to an estimate", lambda: _program_s(_FIRST_ESTIMATE)),
        ("least_ms", "numpy and onnxruntime alone", lambda: _program_s(_IMPORTS_ONLY)),
        ("python_ms", "Python alone", lambda: _program_s("pass")),
    ):
        measure_s()
        measured = percentiles_ms([measure_s() for _ in range(runs)])
        measurement.result[key] = measured
        measurement.say(f"{name}: p50 {measured['p50']:.0f} ms, p99 {measured['p99']:.0f} ms")
    return measurement.result


def _listening_s() -> float:
    with serving("--input", "browser") as server:
        return server.start_s


def _program_s(program: str) -> float:
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", program], check=True, process_group=0)
    return time.monotonic() - started
