"""Memory that a piece of work allocates, measured in a process without threads of other tests."""

from __future__ import annotations

import multiprocessing
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np
from mer_engine.frontend import FrontEnd
from support import FAST_ESTIMATE, music

from realtime_mer.core.types import Estimate
from realtime_mer.live.history import History

P = ParamSpec("P")
T = TypeVar("T")


def in_own_process(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function of this module in a fresh process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *args, **kwargs).result()


def traced(work: Callable[[], T]) -> tuple[T, int, int]:
    """Return the result, and the bytes in use at the end and at most."""
    tracemalloc.start()
    result = work()
    kept, peak = tracemalloc.get_traced_memory()
    return result, kept, peak


def scan_layout(path: Path) -> tuple[float | None, int]:
    """Return the duration in seconds of a file's audio, and the peak in bytes of its scan."""
    from realtime_mer.audio.layout.read import read_layout

    layout, _, peak = traced(lambda: read_layout(path))
    return layout.duration_s, peak


def probe(path: str) -> tuple[str | None, int]:
    """Return what ffprobe finds wrong with a file, and the peak in bytes."""
    from realtime_mer.audio import ffmpeg_file

    answer, _, peak = traced(lambda: ffmpeg_file._probe(path))
    return answer.problem, peak


def read_to_end(path: Path) -> int:
    """Return the peak in bytes of reading a file in blocks of 0.1 s."""
    from realtime_mer.audio.file import open_file
    from realtime_mer.audio.source import EndOfStream

    with open_file(path, block_s=0.1) as source:
        source.read(0)

        def read() -> None:
            while True:
                try:
                    source.read(0)
                except EndOfStream:
                    return

        return traced(read)[2]


def frontends(count: int) -> int:
    """Return the bytes that front-ends keep after half a second of music each."""
    signal = music(3.0, 16_000)[:, 0]
    FrontEnd().push(signal)  # allocates what all streams share

    def make() -> list[FrontEnd]:
        made = [FrontEnd() for _ in range(count)]
        for frontend in made:
            frontend.push(signal[:8000])
        return made

    return traced(make)[1]


def history(count: int) -> int:
    """Return the bytes that a history keeps of so many estimates, all different."""
    rng = np.random.default_rng(0)

    def estimates() -> list[Estimate]:
        return [
            replace(
                FAST_ESTIMATE,
                **dict(zip(("t", "valence", "arousal", "level_db"), row, strict=False)),
                utc=f"{row[4]:24.20f}",
                latency=replace(FAST_ESTIMATE.latency, queue_ms=row[5]),
            )
            for row in rng.standard_normal((count, 13)).tolist()
        ]

    def fill() -> History:
        kept = History(count)
        for estimate in estimates():
            kept.append(estimate)
        kept.latest = None
        return kept

    return traced(fill)[1]
