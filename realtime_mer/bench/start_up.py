"""How long it takes from starting a process until it listens, and until its first estimate."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from mer_engine import load_engine

from realtime_mer.bench.machine import describe_machine
from realtime_mer.bench.percentiles import percentiles_ms
from realtime_mer.bench.server_process import serving

GOAL_MS = 700.0
# What every program of this kind must load: the least that is possible without another language.
_LEAST = "import numpy, onnxruntime"
# As a program uses the package; the audio is there at once, so nothing waits for it to be played.
_ESTIMATE = """
import numpy as np
from mer_engine import load_engine
from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.pipeline import Pipeline
pipeline = Pipeline(load_engine(), sample_rate_hz=48_000, config=PipelineConfig(hop_s=0.5))
second = np.sin(np.arange(48_000) * 0.05).astype(np.float32)
assert pipeline.feed(second)
"""


def measure_start_up(*, runs: int = 15) -> dict[str, Any]:
    """All figures of `realtime-mer bench start-up` as one JSON-ready object.

    Args:
        runs: processes that are started for each question.
    """
    info = load_engine().info  # the files are in the system's memory from here on
    return {
        "listening_ms": _repeat(runs, _listening),
        "first_estimate_ms": _repeat(runs, lambda: _python(_ESTIMATE)),
        "least_ms": _repeat(runs, lambda: _python(_LEAST)),
        "python_ms": _repeat(runs, lambda: _python("pass")),
        "runs": runs,
        "goal": {"listening_ms": GOAL_MS},
        "method": {
            "listening": "from starting `serve --input browser` until it has said where it is: the "
            "model is loaded and checked, the port is open",
            "first_estimate": "a program that imports the package, loads the model and feeds one "
            "second of audio that it has; from its start to its end",
            "least": f"a program that does nothing but `{_LEAST}`",
            "python": "a program that does nothing",
        },
        "model": {"name": info.name, "sha256": info.sha256},
        "machine": describe_machine(),
    }


def _repeat(runs: int, measure: Callable[[], float]) -> dict[str, float]:
    measure()
    return percentiles_ms([measure() for _ in range(runs)])


def _listening() -> float:
    with serving("--input", "browser") as server:
        return server.start_s


def _python(program: str) -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", program], check=True)
    return time.monotonic() - began
