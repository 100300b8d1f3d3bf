"""Measures what the analysis of whole files costs, part by part, and whether it equals live.

python benchmarks/analysis_speed.py DIR --jobs --json benchmarks/results/analysis_speed.json

Without files it takes the built-in demo. Processor time of one process with one thread; of several
rounds the shortest time of each part counts, since other programs only add to the time. With
--jobs, also the wall time of `realtime-mer analyze` with one and with two worker processes, start
included; the files are repeated until they last an hour, so that the start hardly counts.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

# Numpy's threads wait for one another at full load. `analyze` starts with one too.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from mer_engine import Engine
from mer_engine.backends.onnxruntime import OnnxRuntimeEngine
from mer_engine.engine import EngineParts, shipped_model
from numpy.typing import NDArray

from realtime_mer.audio.open_input import open_file_or_demo
from realtime_mer.audio.source import blocks_of
from realtime_mer.bench.machine import describe_machine
from realtime_mer.core.audio_requests import analyze_requests
from realtime_mer.core.file_pipeline import FilePipeline
from realtime_mer.core.pipeline import Pipeline
from realtime_mer.core.requests import run
from realtime_mer.core.types import VALUES, Estimate
from realtime_mer.outputs.table_file import TableFile

ROUNDS = 3
JOBS = (1, 2)
# Audio of a run with --jobs; with less, the start would count.
JOBS_S = 3600.0
BLOCK_S = 1.0

P = ParamSpec("P")
T = TypeVar("T")


class Stopwatch:
    """Sums the processor time of each part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def timed(self, part: str, function: Callable[P, T]) -> Callable[P, T]:
        """Return the function with its time added to a part."""

        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            start = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[part] += time.process_time() - start

        return call


class TimedParts:
    """The parts of an engine with the time of each, and how many steps were classified."""

    def __init__(self, parts: EngineParts, watch: Stopwatch) -> None:
        self.info, self.sizes = parts.info, parts.sizes
        self.maps = watch.timed("filters", parts.maps)
        self.describe = watch.timed("steps", parts.describe)
        self.head = watch.timed("windows", parts.head)
        self._sound_logits = watch.timed("sounds", parts.sound_logits)
        self.classified = 0

    def sound_logits(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        self.classified += len(maps)
        return self._sound_logits(maps)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="*", metavar="FILE", help="default: the built-in demo")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"default: {ROUNDS}")
    parser.add_argument("--jobs", action="store_true", help="also one and two worker processes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result to this file")
    args = parser.parse_args(arguments)
    if args.jobs and not args.files:
        parser.error("--jobs needs files of music")
    names = [name for file in args.files or ["demo"] for name in _files(file)]
    result = measure(names, rounds=args.rounds)
    if args.jobs:
        repeats = math.ceil(JOBS_S / result["audio_s"])
        with tempfile.TemporaryDirectory() as folder:
            copies = [copy(name, Path(folder), k) for k in range(repeats) for name in names]
            # In alternation: other programs slow some of the runs down.
            runs = [{jobs: wall_s(copies, jobs) for jobs in JOBS} for _ in range(args.rounds)]
        result["wall_s_by_jobs"] = {str(jobs): min(run[jobs] for run in runs) for jobs in JOBS}
        result["jobs_audio_s"] = round(repeats * result["audio_s"], 1)
    text = json.dumps(result, indent=1)
    print(text)
    if args.json is not None:
        args.json.write_text(text + "\n", encoding="utf-8")
    return 0


def _files(name: str) -> list[str]:
    path = Path(name)
    return (
        sorted(str(file) for file in path.iterdir() if file.is_file()) if path.is_dir() else [name]
    )


def measure(names: Sequence[str], *, rounds: int) -> dict[str, Any]:
    """Return milliseconds of processor time per second of audio, and differences from live."""
    engine = OnnxRuntimeEngine(shipped_model())
    parts = engine.parts()
    if parts is None:
        raise SystemExit("the graph of the shipped model cannot be cut")
    engine.use_parts()  # as it serves live streams
    seconds: list[dict[str, float]] = []
    audio_s, estimates, steps, classified, states = 0.0, 0, 0.0, 0, 0
    difference = 0.0
    for name in names:
        fastest: dict[str, float] = {}
        for _ in range(rounds):
            watch = Stopwatch()
            timed = TimedParts(parts, watch)
            blocks, rate_hz, found = _file(name, engine, timed, watch)
            live: list[Estimate] = []
            pipeline = Pipeline(engine, sample_rate_hz=rate_hz, channels=blocks[0].shape[1])
            requests = analyze_requests(name, blocks, pipeline, live.extend)
            watch.timed("live", run)(engine, requests)
            for part, part_s in watch.seconds.items():
                fastest[part] = min(part_s, fastest.get(part, part_s))
        seconds.append(fastest)
        audio_s += sum(map(len, blocks)) / rate_hz
        steps += len(found) * pipeline.config.hop_s / engine.info.step_s
        classified += timed.classified
        estimates += len(found)
        states += sum(a.state is not b.state for a, b in zip(found, live, strict=True))
        for value in VALUES:
            for a, b in zip(found, live, strict=True):
                difference = max(difference, abs(getattr(a, value) - getattr(b, value)))
    ms = {
        part: round(1e3 * sum(times[part] for times in seconds) / audio_s, 4) for part in seconds[0]
    }
    decoding, live_ms = ms.pop("decoding"), ms.pop("live")
    return {
        "ms_per_s": round(sum(ms.values()), 3),
        "decoding_ms_per_s": decoding,
        "parts_ms_per_s": ms,
        "live_ms_per_s": live_ms,
        "classified_share": round(classified / steps, 3),
        "largest_difference_from_live": difference,
        "states_that_differ_from_live": states,
        "estimates": estimates,
        "audio_s": round(audio_s, 1),
        "files": [Path(name).name for name in names],
        "rounds": rounds,
        "load_average": round(os.getloadavg()[0], 1),
        "model": {"name": engine.info.name, "sha256": engine.info.sha256},
        "machine": describe_machine(),
    }


def _file(
    name: str, engine: Engine, parts: TimedParts, watch: Stopwatch
) -> tuple[list[NDArray[np.float32]], int, list[Estimate]]:
    """Analyse a file into a table; return its blocks, its rate and the estimates."""
    with open_file_or_demo(name, block_s=BLOCK_S) as source:
        info = source.info
        copied = watch.timed("decoding", lambda: [block.copy() for block in blocks_of(source)])
        blocks = copied()
    pipeline = FilePipeline(
        engine, parts, sample_rate_hz=info.sample_rate_hz, channels=info.channels
    )
    resampler, frontend = pipeline._resampler, pipeline._frontend
    resampler.mono = watch.timed("down-mix", resampler.mono)  # type: ignore[method-assign]
    resampler.push = watch.timed("resampler", resampler.push)  # type: ignore[method-assign]
    frontend.push = watch.timed("front-end", frontend.push)  # type: ignore[method-assign]
    found: list[Estimate] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        TableFile(Path(folder) / "table.csv", "csv") as table,
    ):
        write = watch.timed("table", table.write)

        def add(new: list[Estimate]) -> None:
            found.extend(new)
            for estimate in new:
                write(estimate)

        before = sum(watch.seconds.values())
        start = time.process_time()
        run(engine, analyze_requests(name, blocks, pipeline, add))
        total = time.process_time() - start
    watch.seconds["levels, pieces, estimates"] = total - (sum(watch.seconds.values()) - before)
    return blocks, info.sample_rate_hz, found


def copy(name: str, folder: Path, number: int) -> str:
    """Copy a file, since `analyze` takes a file that is given twice only once."""
    path = Path(name)
    return str(shutil.copyfile(path, folder / f"{path.stem}-{number}{path.suffix}"))


def wall_s(names: Sequence[str], jobs: int) -> float:
    """Return the wall time of `realtime-mer analyze` with a number of worker processes."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "realtime_mer", "analyze", *names, "--quiet"]
        start = time.perf_counter()
        subprocess.run([*command, "-o", f"{folder}/tables/", "--jobs", str(jobs)], check=True)
        return round(time.perf_counter() - start, 2)


if __name__ == "__main__":
    sys.exit(main())
