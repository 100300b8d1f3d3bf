"""What a user would install instead, and this project, in one run on one core and the same audio.

python benchmarks/side_by_side.py --cache DIR [--audio FILE ...]

Each tool gets a virtual environment of its own in DIR, made by pip from PyPI when it is missing
(about 2 GB and some minutes the first time; seconds afterwards).

* VibeNet (`vibenet`): seven values of a window of audio, energy and valence among them.
* essentia (`essentia-tensorflow`): the embedding of MusiCNN, on which its mood models stand. Its
  model files are not on PyPI, so the graph is made from the PyPI package `musicnn`: the same
  network by the same authors, with the weights that they published (MSD_musicnn), frozen for
  inference by TensorFlow in an environment of its own. What the small network on top would cost
  is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import soundfile
import soxr
from mer_engine import load_engine
from numpy.typing import NDArray

from realtime_mer.bench.cores import on_cores
from realtime_mer.bench.demo_audio import demo_audio
from realtime_mer.bench.machine import describe_machine
from realtime_mer.errors import UserError

ROOT = Path(__file__).parent.parent
CONTESTANTS = Path(__file__).parent / "contestants"
OUT = Path(__file__).parent / "results" / "side_by_side.json"
RATE_HZ, WINDOW_RATE_HZ = 44_100, 16_000
# By folder in the cache: what pip installs.
PACKAGES = {
    "ours": str(ROOT),
    "vibenet": "vibenet",
    "essentia": "essentia-tensorflow",
}
FREEZER = ("tensorflow-cpu==2.15.*",)
MUSICNN = "musicnn==0.1.0"
# pip itself is no part of a tool.
_NOT_OURS = ("pip", "setuptools", "pkg_resources", "_distutils_hack")
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, required=True, help="where the environments are")
    parser.add_argument(
        "--audio", type=Path, nargs="+", default=[], metavar="FILE",
        help="what is listened to, one after the other (default: the built-in demo)",
    )  # fmt: skip
    parser.add_argument("--seconds", type=float, default=60.0, help="of it, at most (default: 60)")
    parser.add_argument("--runs", type=int, default=3, help="of each tool (default: 3)")
    parser.add_argument(
        "--tools", nargs="+", choices=tuple(PACKAGES), default=list(PACKAGES), metavar="NAME",
        help=f"only these of {', '.join(PACKAGES)}",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE")
    args = parser.parse_args(arguments)
    try:
        result = measure(args.cache.resolve(), args.audio, args.seconds, args.runs, args.tools)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for row in result["rows"]:
        print(
            f"{row['tool']:<10}{row['update_ms']['p50']:>9.2f} ms an update"
            f"{row['file_ms_per_s']:>9.2f} ms per second of a file{row['start_s']:>7.2f} s start"
            f"{row['install_mb']:>7.0f} MB installed{row['peak_rss_mb']:>7.0f} MB memory"
        )
    return 0


def measure(
    cache: Path, audio: Sequence[Path], seconds: float, runs: int, tools: Sequence[str]
) -> dict[str, Any]:
    """All tools on the same audio.

    Args:
        cache: where the environments are made.
        audio: files; the built-in demo where none.
        seconds: of them, at most.
        runs: of each tool; the median counts.
        tools: of `PACKAGES`.
    """
    for tool in tools:
        _environment(cache, tool, PACKAGES[tool])
    # What is measured is this state of the project, whatever the environment was made of.
    _pip(cache / "ours", "install", "--force-reinstall", "--no-deps", str(ROOT))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        heard_s = _write_audio(folder, audio, seconds)
        if "essentia" in tools:
            shutil.copy(_graph(cache), folder / "musicnn.pb")
        # One after the other, so that a slow moment of the machine does not meet one tool alone.
        found: dict[str, list[dict[str, Any]]] = {tool: [] for tool in tools}
        with on_cores(1):
            for _ in range(runs):
                for tool in tools:
                    found[tool].append(_run(cache, tool, folder))
    info = load_engine().info
    return {
        "rows": [_row(cache, tool, found[tool]) for tool in tools],
        "audio_s": round(heard_s, 1),
        "audio": [path.name for path in audio] or ["the built-in demo"],
        "runs": runs,
        "method": {
            "update": "a value each second: VibeNet and essentia compute the last ten seconds "
            "anew, at 16 kHz already; ours takes the new second at the recording's own "
            f"{RATE_HZ} Hz; wall time, one process pinned to one core, one thread",
            "file": "one pass over all of the audio, by second of it: one value (VibeNet), all "
            "patches (essentia), a value each second (ours)",
            "start": "from starting Python until the first value of a window (ours: of the first "
            "two seconds) has been told, audio in memory",
            "install": "what the installed packages take on disk, without pip and setuptools",
            "essentia": f"TensorflowPredictMusiCNN with the network of the PyPI package {MUSICNN} "
            "(MSD_musicnn), as essentia's own model files are not on PyPI; the embedding alone",
            "vibenet": "with one thread, as its code means to ask for; what it costs as installed, "
            "with a thread for each core of the machine, is recorded beside",
        },
        "model": {"name": info.name, "sha256": info.sha256},
        "machine": describe_machine(),
    }


def _python(cache: Path, tool: str) -> Path:
    return cache / tool / "bin" / "python"


def _environment(cache: Path, tool: str, *packages: str) -> None:
    """Makes a virtual environment with packages, unless it is there."""
    if (cache / tool / "complete").exists():
        return
    print(f"installing {', '.join(packages)} …", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(cache / tool)], check=True)
    _pip(cache / tool, "install", *packages)
    (cache / tool / "complete").touch()


def _pip(environment: Path, *arguments: str) -> None:
    command = [environment / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "-q"]
    done = subprocess.run([*map(str, command), *arguments], capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"pip {' '.join(arguments)} failed: {done.stderr.strip()[-500:]}")


def _graph(cache: Path) -> Path:
    """The graph file for essentia; made once."""
    graph = cache / "musicnn.pb"
    if not graph.exists():
        _environment(cache, "freezer", *FREEZER)
        with tempfile.TemporaryDirectory() as name:
            _pip(cache / "freezer", "download", "--no-deps", "--dest", name, MUSICNN)
            (wheel,) = Path(name).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(name)
            command = [str(_python(cache, "freezer")), str(CONTESTANTS / "freeze_musicnn.py")]
            done = subprocess.run(
                [*command, name, str(graph)], capture_output=True, text=True,
                env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
            )  # fmt: skip
        if done.returncode:
            raise UserError(f"the graph could not be made: {done.stderr.strip()[-500:]}")
    return graph


def _write_audio(folder: Path, audio: Sequence[Path], seconds: float) -> float:
    """The audio as arrays, at a recording's rate and at that of the windows; its length."""
    if audio:
        parts: list[NDArray[np.float32]] = []
        for path in audio:
            try:
                samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
            except (OSError, soundfile.SoundFileError) as error:
                raise UserError(f"{path} cannot be read: {error}") from error
            parts.append(soxr.resample(samples.mean(axis=1), rate_hz, RATE_HZ).astype(np.float32))
        signal = np.concatenate(parts)[: int(seconds * RATE_HZ)]
    else:
        signal = demo_audio(seconds, RATE_HZ)
    if len(signal) < 15 * RATE_HZ:
        raise UserError(
            f"there are {len(signal) / RATE_HZ:.1f} s of audio; at least 15 s are needed"
        )
    np.save(folder / "audio.npy", signal)
    np.save(
        folder / "audio_16k.npy",
        soxr.resample(signal, RATE_HZ, WINDOW_RATE_HZ).astype(np.float32),
    )
    (folder / "rate").write_text(str(RATE_HZ))
    return len(signal) / RATE_HZ


def _run(cache: Path, tool: str, folder: Path) -> dict[str, Any]:
    """One run of a tool in its environment."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [str(_python(cache, tool)), str(CONTESTANTS / f"{tool}_contestant.py"), str(folder)]
    began = time.monotonic()
    start_s, report = 0.0, None
    # Not a pipe: TensorFlow says more than one holds.
    with (
        tempfile.TemporaryFile("w+") as told,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=told, text=True,
            env={**environment, **_ONE_THREAD},
        ) as process,
    ):  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if not line.startswith("{"):
                continue
            message = json.loads(line)
            if "ready" in message:
                start_s = time.monotonic() - began
            else:
                report = message
        if process.wait() or report is None:
            told.seek(0)
            raise UserError(f"{tool} failed: {told.read().strip()[-800:]}")
    return {**report, "start_s": start_s}


def _row(cache: Path, tool: str, runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The run in the middle by what an update costs, with the medians of the others' figures."""
    middle = sorted(runs, key=lambda run: float(run["update_ms"]["p50"]))[len(runs) // 2]
    return {
        "tool": tool,
        "versions": _versions(cache, tool),
        **middle,
        "start_s": round(median(run["start_s"] for run in runs), 3),
        "file_ms_per_s": round(median(run["file_ms_per_s"] for run in runs), 4),
        "install_mb": round(_size_mb(cache / tool), 1),
    }


def _versions(cache: Path, tool: str) -> dict[str, str]:
    wanted = ("realtime-mer", "vibenet", "essentia-tensorflow", "onnxruntime", "numpy", "librosa")
    command = [str(_python(cache, tool)), "-m", "pip", "list", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    listed = {entry["name"].lower(): entry["version"] for entry in json.loads(done.stdout)}
    return {name: listed[name] for name in wanted if name in listed}


def _size_mb(environment: Path) -> float:
    """What the packages take on disk, in MB (10^6 bytes)."""
    (packages,) = environment.glob("lib/python*/site-packages")
    total = 0
    for path in packages.rglob("*"):
        first = path.relative_to(packages).parts[0].split("-")[0]
        if first not in _NOT_OURS and path.is_file():
            total += path.stat().st_blocks * 512
    return total / 1e6


if __name__ == "__main__":
    raise SystemExit(main())
