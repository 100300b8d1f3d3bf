"""Shared code of the compared tools: load the audio, produce one value, then measure times.

Uses only the standard library and numpy: each environment has only the packages of its tool.
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
from numpy.typing import NDArray

WINDOW_S = 10
RATE_HZ = 16_000

Audio = NDArray[np.float32]


def arguments() -> tuple[Audio, Path]:
    """Return the audio at 16 kHz (float32 [n]) and the folder given on the command line."""
    folder = Path(sys.argv[1])
    return np.load(folder / "audio_16k.npy"), folder


def ready() -> None:
    """Report that the first value has been computed."""
    print(json.dumps({"ready": True}), flush=True)


def timed(function: Callable[..., object], *values: object) -> float:
    """Call a function with values and return the milliseconds it took."""
    start = time.perf_counter()
    function(*values)
    return (time.perf_counter() - start) * 1e3


def report(window_ms: list[float], file_ms_per_s: float, **more: object) -> None:
    """Print the result as a line of JSON.

    Args:
        window_ms: milliseconds for the new value of each second.
        file_ms_per_s: milliseconds per second of audio for a whole file.
        more: further entries of the result.
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


def each_second(audio: Audio, value: Callable[[Audio], object]) -> list[float]:
    """Return milliseconds for the value of each second, computed from the last ten seconds."""
    window = WINDOW_S * RATE_HZ
    return [
        timed(value, audio[end - window : end]) for end in range(window, len(audio) + 1, RATE_HZ)
    ]
