"""Measures speed and error of int8 convolutions on a CPU, against the parity gate.

The convolutions are quantised statically (QDQ, weights per channel, activations by calibration).
The calibration windows come from the built-in demo or from recordings. One thread:

    python benchmarks/int8.py --out benchmarks/results/int8.json
    python benchmarks/int8.py --music DIR --out benchmarks/results/int8.json
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from mer_engine import Engine
from mer_engine.backends import parity
from mer_engine.backends.benchmark_input import BenchmarkInput
from mer_engine.backends.onnxruntime import OnnxRuntimeEngine
from mer_engine.engine import Inference, shipped_model
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from realtime_mer.audio.demo import DemoSource
from realtime_mer.audio.file import open_file
from realtime_mer.audio.source import EndOfStream, Source
from realtime_mer.bench.machine import describe_machine
from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.pipeline import Pipeline

BATCHES = (1, 8, 32)
ROUNDS = 40
CALIBRATION_WINDOWS = 64


class _RecordingEngine:
    """An engine that records its inputs."""

    def __init__(self, engine: Engine) -> None:
        self.info, self.backend, self._engine = engine.info, engine.backend, engine
        self.calls: list[dict[str, NDArray[np.float32]]] = []

    def infer(
        self,
        frames: NDArray[np.float32],
        cached_maps: NDArray[np.float32],
        past: NDArray[np.float32],
    ) -> Inference:
        self.calls.append(
            {"frames": frames.copy(), "held": cached_maps.copy(), "past": past.copy()}
        )
        return self._engine.infer(frames, cached_maps, past)


class _Windows(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, windows: list[dict[str, NDArray[np.float32]]]) -> None:
        self._windows = iter(windows)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self._windows, None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--music", type=Path, help="folder of recordings for calibration")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    args = parser.parse_args()
    engine = OnnxRuntimeEngine(shipped_model())
    windows = calibration_windows(engine, args.music)
    result: dict[str, Any] = {
        "calibration": {
            "windows": len(windows),
            "music": "recordings" if args.music else "the built-in demo",
        },
        "variants": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        variants: dict[str, OnnxRuntimeEngine] = {"fp32": engine}
        for activations in (QuantType.QUInt8, QuantType.QInt8):
            path = Path(folder) / f"{activations.name}.onnx"
            quantise(path, windows, activations)
            variants[f"int8, {activations.name} activations"] = OnnxRuntimeEngine(path)
        times = time_alternating(variants)
        for name, variant in variants.items():
            variant.precision = "fp32" if name == "fp32" else "int8"  # type: ignore[attr-defined]
            verdict = parity.check(variant)
            result["variants"][name] = {
                "ms_per_window": {str(b): round(times[name, b], 3) for b in BATCHES},
                "times_fp32": {
                    str(b): round(times[name, b] / times["fp32", b], 2) for b in BATCHES
                },
                "gate": verdict.to_dict(),
            }
    result["method"] = (
        f"one update of a full window with two new steps, one thread, best of {ROUNDS} calls, "
        "variants in alternation; the gate is that of mer_engine.backends.parity"
    )
    result["model"] = {"name": engine.info.name, "sha256": engine.info.sha256}
    result["machine"] = describe_machine()
    args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result["variants"], indent=2))


def calibration_windows(
    engine: OnnxRuntimeEngine, folder: Path | None
) -> list[dict[str, NDArray[np.float32]]]:
    """Return inputs of the engine on full windows of music, evenly spaced."""
    recording = _RecordingEngine(engine)
    paths = sorted(p for p in folder.iterdir() if p.is_file())[:16] if folder else [None]
    for path in paths:
        with DemoSource(block_s=1.0) if path is None else open_file(path, block_s=1.0) as source:
            _run(recording, source)
    full = [call for call in recording.calls if call["past"].shape[1] >= 10]
    chosen = np.linspace(0, len(full) - 1, min(CALIBRATION_WINDOWS, len(full))).astype(int)
    return [full[index] for index in chosen]


def _run(engine: Engine, source: Source) -> None:
    info = source.info
    pipeline = Pipeline(
        engine,
        sample_rate_hz=info.sample_rate_hz,
        channels=info.channels,
        config=PipelineConfig(hop_s=1.0),
    )
    try:
        while True:
            block = source.read(timeout_s=10.0)
            if block is not None:
                pipeline.feed(block.samples)
    except EndOfStream:
        pipeline.finish()


def quantise(
    path: Path, windows: list[dict[str, NDArray[np.float32]]], activations: QuantType
) -> None:
    """Write the shipped model with its convolutions in int8.

    Args:
        path: the file to write.
        windows: calibration inputs.
        activations: data type of the activations.
    """
    quantize_static(
        str(shipped_model()),
        str(path),
        _Windows(windows),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["Conv"],
        per_channel=True,
        reduce_range=False,
        activation_type=activations,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
    )
    # The loader requires the metadata.
    model, quantised = onnx.load(shipped_model()), onnx.load(path)
    if not quantised.metadata_props:
        quantised.metadata_props.extend(model.metadata_props)
        onnx.save(quantised, path)


def time_alternating(variants: dict[str, OnnxRuntimeEngine]) -> dict[tuple[str, int], float]:
    """Return milliseconds per window of each variant and batch, measured in alternation."""
    info = next(iter(variants.values())).info
    times: dict[tuple[str, int], float] = {}
    for batch in BATCHES:
        inputs = BenchmarkInput.of(info, batch)
        best = dict.fromkeys(variants, float("inf"))
        for _ in range(ROUNDS):
            for name, engine in variants.items():
                start = time.perf_counter()
                engine.infer(*inputs)
                best[name] = min(best[name], time.perf_counter() - start)
        times |= {(name, batch): 1e3 * seconds / batch for name, seconds in best.items()}
    return times


if __name__ == "__main__":
    main()
