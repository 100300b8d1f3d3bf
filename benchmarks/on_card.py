"""Measures every backend on a machine with an NVIDIA card, in at most six minutes.

benchmarks/on_card.sh [--quick] [--backends NAME ...] [--out FILE]

Each part runs in a process of its own, with a time limit: an engine that hangs or crashes costs one
part. The result is written after each part.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from mer_engine import Engine
from mer_engine.backends.benchmark_input import BenchmarkInput
from mer_engine.backends.registry import AUTO, backend
from mer_engine.engine import Inference, shipped_model
from mer_engine.model_file import ModelInfo
from numpy.typing import NDArray

from realtime_mer.bench.child_process import child_process
from realtime_mer.bench.engine import MIN_CALLS, measure_batch
from realtime_mer.bench.measurement import Measurement
from realtime_mer.commands.signals import exit_code_of, interrupt, on_signals

OUT = Path(__file__).parent / "results" / "card.json"
# No part begins after this time, and none may go on for longer.
MOST_S = 350.0
# For a process that is told to stop, before it is killed.
STOP_S = 5.0
BATCHES = (1, 8, 32, 64, 128, 256)
LEVELS = (100, 400, 800, 1200, 1600, 2400)
QUICK_BATCHES, QUICK_LEVELS = (1, 8), (2,)
# Backends with a gate, the most important first.
BACKENDS = ("onnxruntime-cuda", "tensorrt", "onnxruntime", "torch")
# What runs the batches of a backend, where this is not the backend itself.
UNRECORDED, TORCH_ON_CARD = "onnxruntime-cuda, unrecorded", "torch, unrecorded"
VARIANTS = {
    "onnxruntime-cuda": ("onnxruntime-cuda", UNRECORDED),
    "tensorrt": ("tensorrt",),
    "onnxruntime": ("onnxruntime",),
    "torch": (TORCH_ON_CARD,),
}
# Names of installed packages that matter on a card.
_PACKAGES = re.compile(r"(onnxruntime|torch|tensorrt|cuda-|nvidia-)", re.IGNORECASE)


class NoCardError(Exception):
    """This machine has no NVIDIA card that its driver can use."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--backends", nargs="+", choices=BACKENDS, default=list(BACKENDS), metavar="NAME",
        help=f"of {', '.join(BACKENDS)} (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--quick", action="store_true", help="shows that each part works, not how fast it is"
    )
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE", help="default: card.json")
    parser.add_argument("--part", nargs=2, metavar=("KIND", "NAME"), help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.part is not None:
        return run_part(*args.part, quick=args.quick)
    try:
        card = find_card()
    except NoCardError as error:
        print(f"on_card: {error}", file=sys.stderr)
        return 2
    result: dict[str, Any] = {"card": card, "parts": {}, "failed": {}}
    try:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        _write(args.out, result)
    except OSError as error:
        print(
            f"on_card: {args.out} cannot be written ({error.strerror}); name another file with "
            "--out",
            file=sys.stderr,
        )
        return 2
    started = time.monotonic()
    try:
        with on_signals(interrupt):
            for kind, name, limit_s in _parts(args.backends):
                _measure_part(result, kind, name, args.quick, limit_s, started, args.out)
    except KeyboardInterrupt as interruption:
        result["stopped"] = True
        _write(args.out, result)
        _say(f"stopped; what was measured is in {args.out}")
        return exit_code_of(*(interruption.args or (2,)))
    _write(args.out, result)
    for title, reason in result["failed"].items():
        _say(f"failed: {title}: {reason}")
    _say(f"{args.out}: {card['name']}, {time.monotonic() - started:.0f} s")
    return 1 if result["failed"] else 0


def find_card() -> dict[str, str]:
    """Return name, driver, memory and compute capability of the first card, as its driver tells.

    Raises:
        NoCardError: there is no driver or no card.
    """
    fields = ("name", "driver_version", "memory.total", "compute_cap")
    try:
        told = _output("nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader")
        version = re.search(r"CUDA Version: *([\d.]+)", _output("nvidia-smi"))
    except FileNotFoundError as error:
        raise NoCardError(
            "this machine has no NVIDIA driver (there is no nvidia-smi); run it where there is a "
            "card, or measure the processor with 'realtime-mer bench engine'"
        ) from error
    except (OSError, subprocess.SubprocessError) as error:
        told_why = (getattr(error, "stdout", "") or str(error)).strip().partition("\n")[0]
        raise NoCardError(
            f"the NVIDIA driver finds no card that works ({told_why}); see what nvidia-smi says"
        ) from error
    if not told.strip():
        raise NoCardError("the NVIDIA driver lists no card; see what nvidia-smi says")
    values = [value.strip() for value in told.splitlines()[0].split(",")]
    names = ("name", "driver", "memory", "compute_capability")
    return dict(zip(names, values, strict=True)) | {"cuda": version[1] if version else ""}


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30.0).stdout


def _parts(names: Sequence[str]) -> Iterator[tuple[str, str, float]]:
    """Return kind, name and time limit in seconds of each part, the most important first."""
    yield "machine", "", 30.0
    for name in names:
        yield "gate", name, 40.0
        for variant in VARIANTS[name]:
            yield "batches", variant, 40.0
        if name == names[0]:
            yield "streams", name, 80.0
            yield "streams", AUTO, 80.0


def _measure_part(
    result: dict[str, Any],
    kind: str,
    name: str,
    quick: bool,
    limit_s: float,
    started: float,
    out: Path,
) -> None:
    """Run a part in a process of its own; store what it measured, and why it failed if it did."""
    title = f"{kind} {name}".strip()
    left_s = min(limit_s, started + MOST_S - time.monotonic())
    if left_s < 1.0:
        result["failed"][title] = f"{MOST_S:g} s had passed"
    else:
        values: list[Any] = []

        def take(value: Any) -> None:
            values.append(value)
            _store(result, kind, name, value)
            _write(out, result)

        _say(title)
        reason = _run_process(kind, name, quick, left_s, take)
        if reason:
            result["failed"][title] = reason
            _say(f"{title}: {reason}")
    _write(out, result)


def _run_process(
    kind: str, name: str, quick: bool, limit_s: float, take: Callable[[Any], None]
) -> str:
    """Run a part; return why it failed, or "".

    Args:
        kind, name, quick: of the part.
        limit_s: seconds until it is stopped.
        take: called in this thread with each value that the part prints.
    """
    command = [sys.executable, __file__, "--part", kind, name, *["--quick"] * quick]
    late = threading.Event()
    with child_process(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as process:

        def stop() -> None:
            late.set()
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()

        timer = threading.Timer(limit_s, stop)
        timer.start()
        try:
            assert process.stdout is not None
            failure = ""
            for line in process.stdout:
                if not line.startswith("{"):  # of a library
                    continue
                told = json.loads(line)
                if "failed" in told:
                    failure = told["failed"]
                else:
                    take(told["value"])
            code = process.wait()
        finally:
            timer.cancel()
    if late.is_set():
        return f"stopped after {limit_s:.0f} s"
    return failure or (f"its process ended with exit code {code}" if code else "")


def _store(result: dict[str, Any], kind: str, name: str, value: Any) -> None:
    if kind == "machine":
        result |= value
    else:
        result["parts"].setdefault(kind, {})[name] = value


def _write(path: Path, result: dict[str, Any]) -> None:
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    draft.replace(path)


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


# The process of a part.


def run_part(kind: str, name: str, *, quick: bool) -> int:
    """Print what a part measures as lines of JSON, each with all of it so far."""
    # Idle threads of torch must not spin.
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    measure = {"machine": _machine, "gate": _gate, "batches": _batches, "streams": _streams}[kind]
    try:
        with on_signals(interrupt):
            for value in measure(name, quick):
                print(json.dumps({"value": value}), flush=True)
    except KeyboardInterrupt:
        return 1
    except Exception as error:  # drivers and GPU libraries raise many kinds of errors
        print(json.dumps({"failed": str(error).partition("\n")[0] or repr(error)}), flush=True)
        return 1
    return 0


def _machine(name: str, quick: bool) -> Iterator[dict[str, Any]]:
    from mer_engine import load_engine

    measurement = Measurement()
    measurement.describe(load_engine().info)
    packages = {
        found.metadata["Name"]: found.version
        for found in metadata.distributions()
        if _PACKAGES.match(found.metadata["Name"])
    }
    yield {**measurement.result, "packages": dict(sorted(packages.items()))}


def _gate(name: str, quick: bool) -> Iterator[dict[str, Any]]:
    from mer_engine.backends.choice import timed, try_backend

    finding = timed(try_backend(shipped_model(), backend(name), _say), anew=True)
    yield {
        "may_run": finding.engine is not None,
        "missing": finding.missing,
        "warning": getattr(finding.engine, "warning", ""),
        "differences": None if finding.verdict is None else finding.verdict.figures,
        "update_ms": None if finding.speed is None else round(finding.ms(1), 3),
    }


def _batches(name: str, quick: bool) -> Iterator[dict[str, Any]]:
    engine = _open(name)
    if isinstance(engine, str):
        yield {"rows": [], "missing": engine}
        return
    rows: list[dict[str, Any]] = []
    update = BenchmarkInput.of(engine.info)
    for batch in QUICK_BATCHES if quick else BATCHES:
        row = measure_batch(engine, batch, 0.1 if quick else 2.0, update)
        rows.append(row)
        _say(f"{name}, batch {batch}: {row['ms_per_window']:.4f} ms per window")
        yield {"rows": rows}
        if row["ms_per_call"]["p50"] * MIN_CALLS > 5e3:  # the processor, with a large batch
            return


def _streams(name: str, quick: bool) -> Iterator[dict[str, Any]]:
    from realtime_mer.bench.streams import measure_streams

    measurement = Measurement(say=_say)
    missing = None if name == AUTO else backend(name).missing()
    if missing is not None:
        yield {"rows": [], "missing": missing}
        return
    try:
        measure_streams(
            levels=(),
            inside_levels=QUICK_LEVELS if quick else LEVELS,
            seconds=2.0 if quick else 4.0,
            settle_s=0.5 if quick else 2.0,
            bisections=0,
            backend=name,
            measurement=measurement,
        )
    finally:
        if "inside" in measurement.result:
            rows = measurement.result["inside"]
            print(json.dumps({"value": {"rows": rows}}), flush=True)
    yield {"rows": measurement.result["inside"]}


def _open(name: str) -> Engine | str:
    """Return what runs the batches of a variant, or why it is not there."""
    entry = backend(next(backend for backend, variants in VARIANTS.items() if name in variants))
    if (missing := entry.missing()) is not None:
        return missing
    if name == UNRECORDED:
        import onnxruntime
        from mer_engine.backends.onnxruntime_cuda import UnrecordedCudaEngine

        onnxruntime.preload_dlls()
        return UnrecordedCudaEngine(shipped_model())
    if name == TORCH_ON_CARD:
        import torch

        if not torch.cuda.is_available():
            return "the installed torch finds no card"
        return TorchOnDevice("cuda")
    return entry.open(shipped_model(), _say)


class TorchOnDevice:
    """The network in torch, one piece of work at a time, with copies to and from a device.

    Args:
        device: as torch names it.
    """

    backend = "torch"

    def __init__(self, device: str) -> None:
        from mer_engine.network_import import load_network

        network, self.info = load_network(shipped_model())
        self._network = network.to(device)
        self._device = device

    info: ModelInfo

    def infer(
        self, frames: NDArray[Any], cached_maps: NDArray[Any], past: NDArray[Any]
    ) -> Inference:
        """See `mer_engine.engine.Engine.infer`."""
        import torch

        with torch.inference_mode():
            inputs = (torch.from_numpy(a).to(self._device) for a in (frames, cached_maps, past))
            return Inference(*(tensor.cpu().numpy() for tensor in self._network(*inputs)))


if __name__ == "__main__":
    raise SystemExit(main())
