"""Measures how long an update takes, and the delay of an estimate at a websocket client.

Engine and update are timed inside this process, on one core. The end-to-end delay is timed from
outside: the real `serve` command runs in a separate process and reads PCM from its standard input
in real time; a websocket client in this process receives the estimates.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import math
import os
import subprocess
import threading
import time
import tracemalloc
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from mer_engine import Engine, FrontEnd, load_engine
from mer_engine.backends.benchmark_input import BenchmarkInput
from mer_engine.backends.onnxruntime import OnnxRuntimeEngine
from mer_engine.backends.registry import AUTO
from mer_engine.engine import shipped_model
from mer_engine.graph_parts import Graph
from numpy.typing import NDArray

from realtime_mer.bench.cores import on_cores
from realtime_mer.bench.demo_audio import demo_audio
from realtime_mer.bench.flops import count_flops, measure_peak_gflops
from realtime_mer.bench.live_input import live_input
from realtime_mer.bench.measurement import Measurement
from realtime_mer.bench.percentiles import percentiles_ms
from realtime_mer.bench.process_usage import rss_mb
from realtime_mer.bench.server_process import ServerProcess, serving
from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.pipeline import Pipeline
from realtime_mer.core.polyphase import polyphase
from realtime_mer.core.resample import StreamResampler
from realtime_mer.core.types import Estimate, FastValues, Latency, State
from realtime_mer.errors import UserError
from realtime_mer.live.hub import Hub
from realtime_mer.server.channel import EncodedMessage
from realtime_mer.server.protocol import dump

RATE_HZ = 48_000
BLOCK_S = 0.02
BURN_IN = 20
# The short hop gives many delays in little time; the default hop gives the cost of a stream.
SHORT_HOP_S = 0.1
DEFAULT_HOP_S = 1.0
ALLOCATION_ROUNDS = 3


@dataclass(slots=True)
class LiveRun:
    """Measurements of one run of `serve`.

    Attributes:
        delays_s: for each estimate, seconds from writing the block that contains its last sample
            until reading the estimate from the socket.
        core_share: processor time of the server during the run, as a share of one core.
        rss_mb: resident memory of the server at the end, in MB (10^6 bytes).
        first_estimate_s: seconds from starting the process to the first estimate.
        first_tracking_s: seconds from starting the process to the first estimate of a full window.
    """

    delays_s: list[float] = field(default_factory=list)
    core_share: float = 0.0
    rss_mb: float = 0.0
    first_estimate_s: float = 0.0
    first_tracking_s: float = 0.0


def measure_latency(
    *,
    seconds: float = 30.0,
    updates: int = 300,
    lag_order: int | None = None,
    backend: str = AUTO,
    measurement: Measurement | None = None,
) -> dict[str, Any]:
    """Return all figures of `realtime-mer bench latency` as one JSON-ready object.

    Args:
        seconds: length of each of the two live runs; more than the lag window.
        updates: number of updates that are timed inside the process.
        lag_order: length of the lag window in steps; None: the model's default.
        backend: one of `mer_engine.backends.registry.NAMES`.
        measurement: receives the figures as they come.

    Raises:
        UserError: the server did not start or sent no estimate.
        ModelError: the backend cannot run here.
    """
    measurement = measurement or Measurement()
    result, say = measurement.result, measurement.say
    engine = load_engine(backend=backend, announce=say)
    measurement.describe(engine.info)
    result["backend"] = engine.backend
    lag_order = lag_order or engine.info.lag_order_default
    window_s = lag_order * engine.info.step_s
    audio = demo_audio(max(seconds, 30.0), RATE_HZ)
    method = result["method"] = {
        "update": f"one hop of {DEFAULT_HOP_S} s of {RATE_HZ} Hz mono through resampler, "
        f"front-end, lag window of {window_s:g} s and engine, on one core",
        "publish": "from an estimate to a websocket frame for one viewer, through the hub; "
        "without the socket",
        "audio": "the built-in demo",
    }

    def timed(key: str, name: str, seconds: Sequence[float]) -> None:
        result[key] = percentiles_ms(seconds)
        say("{}: p50 {p50:.2f} ms, p99 {p99:.2f} ms".format(name, **result[key]))

    with on_cores(1):
        timed("engine_ms", "engine", _time_engine(engine, lag_order, updates))
        timed("resample_ms", "resampler", _time_resampler(audio, updates))
        timed("frontend_ms", "front-end", _time_frontend(audio, updates))
        update_s = _time_updates(engine, audio, lag_order, updates)
        timed("update_ms", "full update", update_s)
        result["real_time_factor"] = round(float(np.mean(update_s)) / DEFAULT_HOP_S, 5)
        timed("publish_ms", "message to one viewer", _time_publishing(updates))
        peak = measure_peak_gflops()
    result["bounds"] = _bounds(engine, peak)
    method["bounds"] = (
        "time of the least arithmetic that we know at the speed of the fastest "
        f"matrix product of numpy ({peak:.0f} GFLOP/s, one thread); resampler: a filter of "
        f"{_taps(engine.info.frontend.sample_rate_hz)} taps for each output sample; "
        "front-end: a real FFT for each spectrum (2.5 n log2 n), its power, and two filter "
        "bands for each bin; engine: the operations of its graph, with one of two new steps "
        "classified as music, speech or noise where it runs in parts"
    )
    result["allocations"] = _count_allocations(engine, audio, lag_order, updates)
    method["allocations"] = (
        "growth of Python's memory (tracemalloc) and of the process over "
        f"{ALLOCATION_ROUNDS} times {updates} updates of a full window"
    )
    say(f"memory left by an update: {result['allocations']['traced_bytes_per_update']:.0f} bytes")
    live = _run_live(audio, seconds, lag_order, SHORT_HOP_S, backend)
    timed("end_to_end_ms", "sample in to message out", live.delays_s)
    method["end_to_end"] = (
        f"from writing the {BLOCK_S * 1e3:g} ms block with an estimate's last "
        "sample to serve's standard input until reading the estimate from the websocket; "
        f"hop {SHORT_HOP_S} s, {len(live.delays_s)} estimates"
    )
    usual = _run_live(audio, seconds, lag_order, DEFAULT_HOP_S, backend)
    result |= {
        "core_share": round(usual.core_share, 5),
        "rss_mb": round(usual.rss_mb, 1),
        "first_estimate_s": round(usual.first_estimate_s, 3),
        "window_full_to_tracking_s": round(usual.first_tracking_s - window_s, 3),
    }
    method["core_share"] = (
        f"processor time of serve with one viewer, hop {DEFAULT_HOP_S} s, {seconds:g} s of audio"
    )
    say(f"share of one core: {result['core_share']:.2%}")
    return result


def _time_engine(engine: Engine, lag_order: int, updates: int) -> list[float]:
    """Return the seconds of engine calls on a full window with two new steps."""
    inputs = live_input(engine, lag_order)
    return _timed(lambda: engine.infer(*inputs), updates)


def _time_resampler(audio: NDArray[np.float32], updates: int) -> list[float]:
    """Return the seconds that the resampler takes for one default hop."""
    resampler = StreamResampler(RATE_HZ, 1, FrontEnd().config.sample_rate_hz)
    hop = np.ascontiguousarray(audio[: int(RATE_HZ * DEFAULT_HOP_S)])
    return _timed(lambda: resampler.push(hop), updates)


def _time_publishing(updates: int) -> list[float]:
    """Return the seconds from an estimate to the bytes for a viewer: hub, message and frame."""
    hub = Hub()
    slot = hub.subscribe_latest()
    sent: list[EncodedMessage] = []

    def publish() -> None:
        hub.publish(_estimate(len(sent)))
        for item in slot.take():
            if isinstance(item, Estimate):
                sent.append(EncodedMessage.from_text(dump(item.to_dict())))

    return _timed(publish, updates)


def _estimate(seq: int) -> Estimate:
    fast = FastValues(3.0, 0.2, 0.4, 0.1, 0.3, 0.2, 0.6)
    return Estimate(
        seq=seq, t=seq + 1.0, utc="2026-01-02T03:04:05.678Z", valence=0.123456, arousal=0.234567,
        valence_low=-0.1, valence_high=0.3, arousal_low=0.0, arousal_high=0.4, mood="pleased",
        state=State.TRACKING, level_db=-18.42, latency=Latency(10.0, 4.1, 6.9, 0.2), whole=None,
        fast=fast,
    )  # fmt: skip


def _bounds(engine: Engine, peak_gflops: float) -> dict[str, float | None]:
    """Return a lower bound for each step on this machine, in milliseconds."""
    config = engine.info.frontend

    def spectra(size: int, hop: int) -> float:
        """Count the operations for a second of audio: real FFT, power, two bands per bin."""
        bins = size // 2 + 1
        spectrum = 2.5 * size * math.log2(size) + size + 3 * bins + 4 * bins
        return config.sample_rate_hz / hop * spectrum

    features = spectra(config.fft_size, config.hop)
    if config.chroma_fft_size:
        features += spectra(config.chroma_fft_size, config.chroma_hop)
    counted = operations_of_an_update(engine)
    operations = {
        "resample_ms": 2.0 * _taps(config.sample_rate_hz) * config.sample_rate_hz,
        "frontend_ms": features,
        "engine_ms": counted,
    }
    return {
        step: None if count is None else round(count / (peak_gflops * 1e6), 4)
        for step, count in operations.items()
    }


def operations_of_an_update(engine: Engine) -> float | None:
    """Count the operations of a call for a full window of clear music with two new steps.

    An engine in parts classifies the newest step only, see `mer_engine.sparse_sounds`.

    Returns:
        The operations; None if the `onnx` package is not installed.
    """
    content, info = shipped_model().read_bytes(), engine.info
    whole = count_flops(content, BenchmarkInput.of(info).by_name())
    if whole is None:
        return None
    counted = sum(whole.values())
    if info.sounds and isinstance(engine, OnnxRuntimeEngine):
        graph = Graph(content)
        maps, logits = graph.joined("held", "maps"), graph.producer("steps").inputs[-1]
        length = info.map_context + info.frames_per_step
        recent = np.zeros((1, length, len(info.silent_map)), dtype=np.float32)
        one_step = count_flops(graph.cut([maps], [logits]), {maps: recent})
        counted -= sum((one_step or {}).values())
    return counted


def _taps(output_rate_hz: int) -> int:
    """Return the length of the resampler's filter, in input samples."""
    return 2 * polyphase(RATE_HZ, output_rate_hz).reach + 1


def _count_allocations(
    engine: Engine, audio: NDArray[np.float32], lag_order: int, updates: int
) -> dict[str, float]:
    """Return how much memory updates leave allocated; a stream must not grow without limit."""
    update = _update_function(engine, audio, lag_order)
    for _ in range(updates):
        update()
    before_mb = rss_mb(os.getpid())
    for _ in range(ALLOCATION_ROUNDS * updates):
        update()
    grown_mb = rss_mb(os.getpid()) - before_mb
    tracemalloc.start()
    try:
        for _ in range(BURN_IN):
            update()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(updates):
            update()
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        update()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return {
        "traced_bytes_per_update": round((after - before) / updates, 2),
        "traced_peak_of_an_update_kb": round((peak - after) / 1e3, 1),
        "rss_growth_kb": round(grown_mb * 1e3, 1),
        "updates": ALLOCATION_ROUNDS * updates,
    }


def _time_frontend(audio: NDArray[np.float32], updates: int) -> list[float]:
    """Return the seconds that the front-end takes for one default hop."""
    frontend = FrontEnd()
    hop = audio[: int(frontend.config.sample_rate_hz * DEFAULT_HOP_S)]
    return _timed(lambda: frontend.push(hop), updates)


def _time_updates(
    engine: Engine, audio: NDArray[np.float32], lag_order: int, updates: int
) -> list[float]:
    """Return the seconds of complete updates: all the work for one default hop of audio."""
    return _timed(_update_function(engine, audio, lag_order), updates)


def _update_function(
    engine: Engine, audio: NDArray[np.float32], lag_order: int
) -> Callable[[], object]:
    """Return a function that does one update of a stream whose window is full."""
    config = PipelineConfig(hop_s=DEFAULT_HOP_S, lag_order=lag_order)
    pipeline = Pipeline(engine, sample_rate_hz=RATE_HZ, config=config)
    hop = int(RATE_HZ * DEFAULT_HOP_S)
    starts = itertools.count(0, hop)

    def update() -> None:
        start = next(starts) % (len(audio) - hop)
        pipeline.feed(audio[start : start + hop])

    for _ in range(math.ceil(lag_order * engine.info.step_s / DEFAULT_HOP_S)):
        update()
    return update


def _timed(call: Callable[[], object], count: int) -> list[float]:
    for _ in range(BURN_IN):
        call()
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return seconds


def _run_live(
    audio: NDArray[np.float32], seconds: float, lag_order: int, hop_s: float, backend: str
) -> LiveRun:
    """Run the real server on `seconds` of audio in real time."""
    started = time.monotonic()
    pcm = ("--pcm-rate", str(RATE_HZ), "--pcm-channels", "1", "--pcm-format", "f32le")
    options = ("--hop", str(hop_s), "--lag-order", str(lag_order), "--backend", backend)
    with (
        # A separate thread, because the caller may run an event loop, as a notebook does. An
        # interruption ends the server first, and thereby what the thread waits for.
        ThreadPoolExecutor(1) as thread,
        serving("--input", "-", *pcm, *options) as server,
    ):
        return thread.submit(
            lambda: asyncio.run(_receive_estimates(server, audio, seconds, started))
        ).result()


async def _receive_estimates(
    server: ServerProcess, audio: NDArray[np.float32], seconds: float, started: float
) -> LiveRun:
    from websockets.asyncio.client import connect

    run = LiveRun()
    writer = _Writer(server.process, audio, seconds)
    async with connect(f"ws://127.0.0.1:{server.port}/ws", max_size=None) as socket:
        await socket.recv()  # hello: the server is ready
        writer.start()
        cpu_before, wall_before = server.cpu_s, time.monotonic()
        while writer.is_alive():
            try:
                message = json.loads(await asyncio.wait_for(socket.recv(), 2.0))
            except TimeoutError:
                break
            now = time.monotonic()
            if message["type"] == "end":
                break
            if message["type"] != "estimate" or message["state"] == "stalled":
                continue
            run.first_estimate_s = run.first_estimate_s or now - started
            if message["state"] == "tracking":
                run.first_tracking_s = run.first_tracking_s or now - started
            written = writer.written_at(message["t"])
            if written is not None:
                run.delays_s.append(now - written)
        wall_s = time.monotonic() - wall_before
        run.core_share = (server.cpu_s - cpu_before) / wall_s
        run.rss_mb = server.rss_mb
    writer.stop()
    if not run.delays_s:
        raise UserError("the server sent no estimate; run 'realtime-mer doctor' to find out why")
    return run


class _Writer(threading.Thread):
    """Writes audio to the server's standard input in real time and records the times."""

    def __init__(
        self, server: subprocess.Popen[bytes], audio: NDArray[np.float32], seconds: float
    ) -> None:
        super().__init__(daemon=True)
        assert server.stdin is not None
        self._pipe = server.stdin
        self._block = round(RATE_HZ * BLOCK_S)
        self._audio = audio[: int(seconds * RATE_HZ)]
        self._times: list[float] = []
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Stop writing and wait for the thread to end."""
        self._stopping.set()
        self.join()

    def run(self) -> None:
        started = time.monotonic()
        with contextlib.suppress(BrokenPipeError, ValueError):
            for index, start in enumerate(range(0, len(self._audio), self._block)):
                due = started + (index + 1) * BLOCK_S
                if self._stopping.wait(max(0.0, due - time.monotonic())):
                    return
                self._times.append(time.monotonic())
                self._pipe.write(self._audio[start : start + self._block].tobytes())

    def written_at(self, stream_s: float) -> float | None:
        """Return when the block with the last sample before a stream time was written."""
        index = round(stream_s / BLOCK_S) - 1
        return self._times[index] if 0 <= index < len(self._times) else None
