"""How long an update takes, and how late an estimate arrives at a websocket.

Engine and update are timed inside this process, on one core. End to end is timed from outside: the
real `serve` command runs as a process of its own, gets PCM on its standard input at real time, and
a websocket client of this process takes the estimates.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import subprocess
import threading
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from mer_engine import Engine, FrontEnd, load_engine
from mer_engine.backends.benchmark_input import BenchmarkInput
from mer_engine.engine import shipped_model
from numpy.typing import NDArray

from realtime_mer.bench.cores import on_cores
from realtime_mer.bench.demo_audio import demo_audio
from realtime_mer.bench.flops import count_flops, measure_peak_gflops
from realtime_mer.bench.machine import describe_machine
from realtime_mer.bench.percentiles import percentiles_ms
from realtime_mer.bench.server_process import ServerProcess, rss_mb, serving
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
# A short hop for many measurements in little time; the usual hop for what a stream costs.
TIMED_HOP_S = 0.1
ALLOCATION_ROUNDS = 3
USUAL_HOP_S = 1.0
WINDOW_S = 10.0


@dataclass(slots=True)
class LiveRun:
    """What was seen of one run of `serve`.

    Attributes:
        delays_s: for each estimate, from the moment its last sample's block was written to the
            server until the estimate was read from the socket.
        core_share: processor time of the server while it listened, as a share of one core.
        rss_mb: its resident memory at the end, in MB (10^6 bytes).
        first_estimate_s: from starting the process to the first estimate.
        first_tracking_s: from starting the process to the first estimate on a full window.
    """

    delays_s: list[float] = field(default_factory=list)
    core_share: float = 0.0
    rss_mb: float = 0.0
    first_estimate_s: float = 0.0
    first_tracking_s: float = 0.0


def measure_latency(*, seconds: float = 30.0, updates: int = 300) -> dict[str, Any]:
    """All figures of `realtime-mer bench latency` as one JSON-ready object.

    Args:
        seconds: how long each of the two live runs lasts.
        updates: how many updates are timed inside the process.
    """
    engine = load_engine()
    audio = demo_audio(max(seconds, 30.0), RATE_HZ)
    with on_cores(1):
        engine_s = _time_engine(engine, updates)
        resample_s = _time_resampler(audio, updates)
        frontend_s = _time_frontend(audio, updates)
        update_s = _time_updates(engine, audio, updates)
        publish_s = _time_publishing(updates)
        peak = measure_peak_gflops()
    allocations = _count_allocations(engine, audio, updates)
    timed = _listen_live(audio, seconds, TIMED_HOP_S)
    usual = _listen_live(audio, seconds, USUAL_HOP_S)
    return {
        "engine_ms": percentiles_ms(engine_s),
        "resample_ms": percentiles_ms(resample_s),
        "frontend_ms": percentiles_ms(frontend_s),
        "update_ms": percentiles_ms(update_s),
        "publish_ms": percentiles_ms(publish_s),
        "bounds": _bounds(engine, peak),
        "allocations": allocations,
        "end_to_end_ms": percentiles_ms(timed.delays_s),
        "real_time_factor": round(float(np.mean(update_s)) / USUAL_HOP_S, 5),
        "core_share": round(usual.core_share, 5),
        "rss_mb": round(usual.rss_mb, 1),
        "first_estimate_s": round(usual.first_estimate_s, 3),
        "window_full_to_tracking_s": round(usual.first_tracking_s - WINDOW_S, 3),
        "method": {
            "update": f"one hop of {USUAL_HOP_S} s of {RATE_HZ} Hz mono: resample, front-end, "
            "window, engine, on one core",
            "publish": "an estimate as a message, framed for a websocket, handed to one viewer "
            "through the hub; without the socket",
            "bounds": "what the least arithmetic that we know would take at the speed of the "
            f"fastest matrix product of numpy ({peak:.0f} GFLOP/s, one thread); resample: a filter "
            f"of {_taps(engine.info.frontend.sample_rate_hz)} taps for each sample out; "
            "front-end: a real transform for each spectrum (2.5 n log2 n), its powers, each "
            "of them in two bands; engine: the operations of its graph",
            "allocations": f"growth of Python's memory (tracemalloc) and of the process over "
            f"{ALLOCATION_ROUNDS} times {updates} updates after a full window",
            "end_to_end": f"from writing the {BLOCK_S * 1e3:g} ms block that holds an estimate's "
            "last sample into serve's standard input to reading the estimate from its websocket; "
            f"hop {TIMED_HOP_S} s, {len(timed.delays_s)} estimates",
            "core_share": f"processor time of serve with one viewer, hop {USUAL_HOP_S} s, "
            f"{seconds:g} s of audio",
            "audio": "the built-in demo",
        },
        "backend": engine.backend,
        "model": {"name": engine.info.name, "sha256": engine.info.sha256},
        "machine": describe_machine(),
    }


def _time_engine(engine: Engine, updates: int) -> list[float]:
    """Seconds per engine call of a full window with the usual hop: two new steps."""
    update = BenchmarkInput.of(engine.info)
    return _timed(lambda: engine.infer(*update), updates)


def _time_resampler(audio: NDArray[np.float32], updates: int) -> list[float]:
    """Seconds that the resampler takes for one usual hop."""
    resampler = StreamResampler(RATE_HZ, 1, FrontEnd().config.sample_rate_hz)
    hop = np.ascontiguousarray(audio[: int(RATE_HZ * USUAL_HOP_S)])
    return _timed(lambda: resampler.push(hop), updates)


def _time_publishing(updates: int) -> list[float]:
    """Seconds from an estimate to the bytes for a viewer: the hub, the message and its frame."""
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
    """The least that each step could take on this machine, in milliseconds."""
    config = engine.info.frontend

    def spectra(size: int, hop: int) -> float:
        """A real transform, its powers, and each of them in two bands, for a second of audio."""
        bins = size // 2 + 1
        one = 2.5 * size * math.log2(size) + size + 3 * bins + 4 * bins
        return config.sample_rate_hz / hop * one

    features = spectra(config.fft_size, config.hop)
    if config.chroma_fft_size:
        features += spectra(config.chroma_fft_size, config.chroma_hop)
    counted = count_flops(shipped_model(), BenchmarkInput.of(engine.info)._asdict())
    operations = {
        "resample_ms": 2.0 * _taps(config.sample_rate_hz) * config.sample_rate_hz,
        "frontend_ms": features,
        "engine_ms": None if counted is None else sum(counted.values()),
    }
    return {
        step: None if count is None else round(count / (peak_gflops * 1e6), 4)
        for step, count in operations.items()
    }


def _taps(output_rate_hz: int) -> int:
    """Length of the resampler's filter, in samples of the input."""
    return 2 * polyphase(RATE_HZ, output_rate_hz).reach + 1


def _count_allocations(
    engine: Engine, audio: NDArray[np.float32], updates: int
) -> dict[str, float]:
    """What stays of the memory that updates take: nothing, or the stream grows for ever."""
    update = _updating(engine, audio)
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
    """Seconds that the front-end takes for one usual hop."""
    frontend = FrontEnd()
    hop = audio[: int(frontend.config.sample_rate_hz * USUAL_HOP_S)]
    return _timed(lambda: frontend.push(hop), updates)


def _time_updates(engine: Engine, audio: NDArray[np.float32], updates: int) -> list[float]:
    """Seconds per whole update: everything that one usual hop of audio costs."""
    return _timed(_updating(engine, audio), updates)


def _updating(engine: Engine, audio: NDArray[np.float32]) -> Callable[[], object]:
    """One update of a stream whose window is full, each time it is called."""
    pipeline = Pipeline(engine, sample_rate_hz=RATE_HZ, config=PipelineConfig(hop_s=USUAL_HOP_S))
    hop = int(RATE_HZ * USUAL_HOP_S)
    starts = iter(range(10**9))

    def update() -> None:
        start = next(starts) * hop % (len(audio) - hop)
        pipeline.feed(audio[start : start + hop])

    for _ in range(round(WINDOW_S / USUAL_HOP_S)):
        update()
    return update


def _timed(call: Any, count: int) -> list[float]:
    for _ in range(BURN_IN):
        call()
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return seconds


def _listen_live(audio: NDArray[np.float32], seconds: float, hop_s: float) -> LiveRun:
    """Runs the real server over `seconds` of audio at real time."""
    started = time.monotonic()
    pcm = ("--pcm-rate", str(RATE_HZ), "--pcm-channels", "1", "--pcm-format", "f32le")
    with (
        serving("--input", "-", *pcm, "--hop", str(hop_s)) as server,
        # On a thread of its own: the caller may run an event loop, as a notebook does.
        ThreadPoolExecutor(1) as thread,
    ):
        return thread.submit(lambda: asyncio.run(_follow(server, audio, seconds, started))).result()


async def _follow(
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
        raise UserError("the server gave no estimate; 'realtime-mer doctor' may say why")
    return run


class _Writer(threading.Thread):
    """Writes the audio into the server's standard input at real time and remembers when."""

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
        """Ends writing and waits for it."""
        self._stopping.set()
        self.join()

    def run(self) -> None:
        begin = time.monotonic()
        with contextlib.suppress(BrokenPipeError, ValueError):
            for index, start in enumerate(range(0, len(self._audio), self._block)):
                due = begin + (index + 1) * BLOCK_S
                if self._stopping.wait(max(0.0, due - time.monotonic())):
                    return
                self._times.append(time.monotonic())
                self._pipe.write(self._audio[start : start + self._block].tobytes())

    def written_at(self, stream_s: float) -> float | None:
        """When the block was written that holds the last sample before a stream time."""
        index = round(stream_s / BLOCK_S) - 1
        return self._times[index] if 0 <= index < len(self._times) else None
