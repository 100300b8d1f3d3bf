"""Compares this project with two alternatives on one core and the same audio.

python benchmarks/side_by_side.py --cache DIR [--audio FILE ...]

Each tool runs in its own virtual environment in DIR. pip installs it from PyPI if it is missing:
about 2 GB and a few minutes the first time, seconds afterwards.

* VibeNet (`vibenet`): seven values of a window of audio, among them energy and valence.
* essentia (`essentia-tensorflow`): the embedding of MusiCNN, the input of its mood models. Its
  model files are not on PyPI. Therefore the graph is made from the PyPI package `musicnn`: the same
  network by the same authors with their published weights (MSD_musicnn), frozen for inference by
  TensorFlow in a separate environment. The cost of the small network on top is left out.
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
# For each folder in the cache: the package that pip installs.
PACKAGES = {
    "ours": str(ROOT),
    "vibenet": "vibenet",
    "essentia": "essentia-tensorflow",
}
FREEZER = ("tensorflow-cpu==2.15.*",)
MUSICNN = "musicnn==0.1.0"
# pip itself does not count as part of a tool.
_NOT_COUNTED = ("pip", "setuptools", "pkg_resources", "_distutils_hack")
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, required=True, help="folder of the environments")
    parser.add_argument(
        "--audio", type=Path, nargs="+", default=[], metavar="FILE",
        help="audio files, of which equal parts are joined (default: the built-in demo)",
    )  # fmt: skip
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="maximum length of the audio (default: 60)"
    )
    parser.add_argument("--runs", type=int, default=3, help="runs of each tool (default: 3)")
    parser.add_argument(
        "--tools", nargs="+", choices=tuple(PACKAGES), default=list(PACKAGES), metavar="NAME",
        help=f"tools to run, of {', '.join(PACKAGES)} (default: all)",
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
            f"{row['tool']:<10}{row['update_ms']['p50']:>9.2f} ms per update"
            f"{row['file_ms_per_s']:>9.2f} ms per second of a file{row['start_s']:>7.2f} s start"
            f"{row['install_mb']:>7.0f} MB installed{row['peak_rss_mb']:>7.0f} MB memory"
        )
    return 0


def measure(
    cache: Path, audio: Sequence[Path], seconds: float, runs: int, tools: Sequence[str]
) -> dict[str, Any]:
    """Run all tools on the same audio and return the contents of side_by_side.json.

    Args:
        cache: folder of the environments.
        audio: audio files; if empty, the built-in demo.
        seconds: maximum length of the audio.
        runs: runs of each tool; the median counts.
        tools: keys of `PACKAGES`.

    Raises:
        UserError: a file cannot be read, the audio is too short, or a tool failed.
    """
    for tool in tools:
        _environment(cache, tool, PACKAGES[tool])
    if "ours" in tools:
        _install_current(cache / "ours")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        audio_s = _write_audio(folder, audio, seconds)
        if "essentia" in tools:
            shutil.copy(_graph(cache), folder / "musicnn.pb")
        # Alternate the tools, so that a slow moment of the machine does not hit one tool alone.
        reports: dict[str, list[dict[str, Any]]] = {tool: [] for tool in tools}
        with on_cores(1):
            for _ in range(runs):
                for tool in tools:
                    reports[tool].append(_run(cache, tool, folder))
    info = load_engine().info
    return {
        "rows": [_row(cache, tool, reports[tool]) for tool in tools],
        "audio_s": round(audio_s, 1),
        "audio": [path.name for path in audio] or ["the built-in demo"],
        "runs": runs,
        "method": {
            "audio": "the first parts of the files, all of the same length, joined",
            "update": "a new value every second, wall time, one process pinned to one core, one "
            "thread; VibeNet and essentia compute the last ten seconds again, from audio that is "
            "already at 16 kHz; realtime-mer processes only the new second, from the recording's "
            f"{RATE_HZ} Hz",
            "file": "one pass over all the audio, per second of audio; VibeNet gives one value, "
            "essentia all patches, realtime-mer a value every second",
            "start": "from starting Python until the first value of a window (realtime-mer: of the "
            "first two seconds), audio in memory",
            "install": "size of the installed packages on disk, without pip and setuptools",
            "essentia": f"TensorflowPredictMusiCNN with the network of the PyPI package {MUSICNN} "
            "(MSD_musicnn), because essentia's own model files are not on PyPI; the embedding only",
            "vibenet": "with one thread, as its code intends; the result file also has the time "
            "as installed, with one thread per core",
        },
        "model": {"name": info.name, "sha256": info.sha256},
        "machine": describe_machine(),
    }


def _python(cache: Path, tool: str) -> Path:
    return cache / tool / "bin" / "python"


def _environment(cache: Path, tool: str, *packages: str) -> None:
    """Make a virtual environment with packages, unless it exists."""
    if (cache / tool / "complete").exists():
        return
    print(f"installing {', '.join(packages)} …", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(cache / tool)], check=True)
    _pip(cache / tool, "install", *packages)
    (cache / tool / "complete").touch()


def _install_current(environment: Path) -> None:
    """Install the current state of the project in the place of the one that was installed first.

    An interruption leaves a part of the old one behind, so the environment is then made anew.
    """
    (environment / "complete").unlink(missing_ok=True)
    _pip(environment, "install", "--force-reinstall", "--no-deps", str(ROOT))
    (environment / "complete").touch()


def _pip(environment: Path, *arguments: str) -> None:
    command = [environment / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "-q"]
    done = subprocess.run([*map(str, command), *arguments], capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"pip {' '.join(arguments)} failed: {done.stderr.strip()[-500:]}")


def _graph(cache: Path) -> Path:
    """Return the graph file for essentia; make it if it is missing."""
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
            raise UserError(
                f"the graph for essentia could not be made: {done.stderr.strip()[-500:]}"
            )
    return graph


def _write_audio(folder: Path, audio: Sequence[Path], seconds: float) -> float:
    """Write the audio as arrays at 44.1 and 16 kHz; return its length in seconds.

    Each file gives its first part, all of the same length.
    """
    if audio:
        parts: list[NDArray[np.float32]] = []
        for path in audio:
            try:
                samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
            except (OSError, soundfile.SoundFileError) as error:
                raise UserError(f"{path} cannot be read: {error}") from error
            part = samples[: round(seconds / len(audio) * rate_hz)].mean(axis=1)
            parts.append(soxr.resample(part, rate_hz, RATE_HZ).astype(np.float32))
        signal = np.concatenate(parts)
    else:
        signal = demo_audio(seconds, RATE_HZ)
    if len(signal) < 15 * RATE_HZ:
        raise UserError(
            f"the audio is {len(signal) / RATE_HZ:.1f} s long; at least 15 s are needed"
        )
    np.save(folder / "audio.npy", signal)
    np.save(
        folder / "audio_16k.npy",
        soxr.resample(signal, RATE_HZ, WINDOW_RATE_HZ).astype(np.float32),
    )
    (folder / "rate").write_text(str(RATE_HZ))
    return len(signal) / RATE_HZ


def _run(cache: Path, tool: str, folder: Path) -> dict[str, Any]:
    """Run a tool once in its environment and return its report."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [str(_python(cache, tool)), str(CONTESTANTS / f"{tool}_contestant.py"), str(folder)]
    started = time.monotonic()
    start_s, report = 0.0, None
    # A file, because TensorFlow logs more than a pipe can buffer.
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True,
            env={**environment, **_ONE_THREAD},
        ) as process,
    ):  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if not line.startswith("{"):
                continue
            message = json.loads(line)
            if "ready" in message:
                start_s = time.monotonic() - started
            else:
                report = message
        if process.wait() or report is None:
            errors.seek(0)
            raise UserError(f"{tool} failed: {errors.read().strip()[-800:]}")
    return {**report, "start_s": start_s}


def _row(cache: Path, tool: str, runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the run with the median update time, with the medians of start and file time."""
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
    """Return the size of the packages on disk, in MB (10^6 bytes)."""
    (packages,) = environment.glob("lib/python*/site-packages")
    total = 0
    for path in packages.rglob("*"):
        first = path.relative_to(packages).parts[0].split("-")[0]
        if first not in _NOT_COUNTED and path.is_file():
            total += path.stat().st_blocks * 512
    return total / 1e6


if __name__ == "__main__":
    raise SystemExit(main())
