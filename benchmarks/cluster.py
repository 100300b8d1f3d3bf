"""Measures what a Ray cluster costs against the plain run: the same files, the same cores.

Two nodes of one core each run on this machine, beside a plain run with two processes.

python benchmarks/cluster.py [FOLDER] [--files 60] [--rounds 2] [--json results/cluster.json]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile
from mer_engine import load_engine

from realtime_mer.bench.demo_audio import demo_audio
from realtime_mer.bench.machine import describe_machine
from realtime_mer.commands.music_files import find_music
from realtime_mer.library.analysis import FileTask, analyze_files
from realtime_mer.library.cluster import analyze_on_cluster
from realtime_mer.library.track_analysis import AnalysisSettings, Outcome

NODES = 2
SONG_S = 180.0
SAMPLE_RATE_HZ = 44_100
OBJECT_STORE_BYTES = 80_000_000
SEED = 0
Run = Callable[[list[FileTask]], Generator[tuple[FileTask, Outcome]]]


@contextmanager
def cluster() -> Iterator[str]:
    """Run two nodes on this machine; yield their address."""
    from ray.cluster_utils import Cluster

    nodes = Cluster()
    nodes.add_node(num_cpus=1, object_store_memory=OBJECT_STORE_BYTES, include_dashboard=False)
    for _ in range(NODES - 1):
        nodes.add_node(num_cpus=1, object_store_memory=OBJECT_STORE_BYTES)
    try:
        yield nodes.address
    finally:
        nodes.shutdown()


def write_songs(folder: Path, count: int) -> None:
    """Write different excerpts of the demo, at different levels, as FLAC."""
    demo = demo_audio(SONG_S, SAMPLE_RATE_HZ)
    rng = np.random.default_rng(SEED)
    for index in range(count):
        song = np.roll(demo, int(rng.integers(len(demo)))) * rng.uniform(0.3, 1.0)
        soundfile.write(folder / f"{index:03d}.flac", song, SAMPLE_RATE_HZ)


def measure(run: Run, tasks: list[FileTask]) -> dict[str, float]:
    """Analyse files; return the seconds of all, and those after the first result."""
    started_s = time.perf_counter()
    first_s = None
    audio_s = 0.0
    values = {}
    for task, outcome in run(tasks):
        first_s = first_s or time.perf_counter()
        summary = outcome.track.summary
        if summary is not None:
            audio_s += summary.duration_s
            values[task.name] = (summary.valence, summary.arousal)
    ended_s = time.perf_counter()
    return {
        "files": len(values),
        "audio_s": round(audio_s),
        "wall_s": round(ended_s - started_s, 2),
        "start_s": round((first_s or ended_s) - started_s, 2),
        "files_per_core_hour": round(len(values) / (ended_s - started_s) / NODES * 3600),
        "sum": round(sum(abs(v or 0.0) + abs(a or 0.0) for v, a in values.values()), 6),
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="?", help="music (default: excerpts of the demo)")
    parser.add_argument("--files", type=int, default=60, help="at most so many (default: 60)")
    parser.add_argument("--rounds", type=int, default=2, help="of each kind (default: 2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    args = parser.parse_args(arguments)
    engine = load_engine()
    settings = AnalysisSettings().resolved(engine)
    rounds: list[dict[str, dict[str, float]]] = []
    with tempfile.TemporaryDirectory() as folder, cluster() as address:
        if args.folder is None:
            write_songs(Path(folder), args.files)
        found = find_music([args.folder or folder])[: args.files]
        tasks = [FileTask(file.name) for file in found if file.error is None]
        for _ in range(args.rounds):
            rounds.append(
                {
                    "plain": measure(lambda each: analyze_files(each, settings, NODES), tasks),
                    "cluster": measure(
                        lambda each: analyze_on_cluster(
                            each, settings, address=address, announce=print
                        ),
                        tasks,
                    ),
                }
            )
            print(json.dumps(rounds[-1]), flush=True)
    best = {
        kind: min((each[kind] for each in rounds), key=lambda figures: figures["wall_s"])
        for kind in ("plain", "cluster")
    }
    result = {
        **best,
        "wall_ratio": round(best["cluster"]["wall_s"] / best["plain"]["wall_s"], 3),
        "ratio_after_start": round(
            (best["cluster"]["wall_s"] - best["cluster"]["start_s"])
            / (best["plain"]["wall_s"] - best["plain"]["start_s"]),
            3,
        ),
        "method": {
            "plain": f"analyze_files with {NODES} processes",
            "cluster": f"analyze_on_cluster on {NODES} local nodes of one core each",
            "best": f"the shortest of {args.rounds} rounds of each, alternating",
            "music": args.folder or f"excerpts of the demo, {SONG_S:g} s each, FLAC",
        },
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "seed": SEED,
        "model": {"name": engine.info.name, "sha256": engine.info.sha256},
        "machine": describe_machine(),
    }
    print(json.dumps(result, indent=1))
    if args.json is not None:
        args.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
