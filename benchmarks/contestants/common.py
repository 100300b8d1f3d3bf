"""What every contestant does in its own environment: load, tell one value, then be timed.

Runs with the standard library and numpy alone, because each environment holds only what its tool
brings along.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

WINDOW_S = 10
RATE_HZ = 16_000


def arguments() -> tuple[np.ndarray, Path]:
    """The audio at 16 kHz (float32 [n]) and the folder that was given."""
    folder = Path(sys.argv[1])
    return np.load(folder / "audio_16k.npy"), folder


def ready() -> None:
    """Says that the first value has been told."""
    print(json.dumps({"ready": True}), flush=True)


def timed(call: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e3


def report(window_ms: list[float], file_ms_per_s: float, **more: object) -> None:
    """Prints the result.

    Args:
        window_ms: what each second's new value cost.
        file_ms_per_s: one value for a whole file, by second of its audio.
        more: what else is to be recorded.
    """
    print(
        json.dumps(
            {
                "update_ms": {
                    "p50": round(statistics.median(window_ms), 3),
                    "mean": round(statistics.fmean(window_ms), 3),
                    "worst": round(max(window_ms), 3),
                },
                "updates": len(window_ms),
                "file_ms_per_s": round(file_ms_per_s, 4),
                "peak_rss_mb": round(
                    resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6, 1
                ),
                **more,
            }
        ),
        flush=True,
    )


def each_second(audio: np.ndarray, value: Callable[[np.ndarray], object]) -> list[float]:
    """Milliseconds of each second's value, computed from the last ten seconds anew."""
    window = WINDOW_S * RATE_HZ
    return [
        timed(lambda end=end: value(audio[end - window : end]))
        for end in range(window, len(audio) + 1, RATE_HZ)
    ]
