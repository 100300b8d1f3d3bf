"""How long an update takes, and how late an estimate arrives at a websocket.

Engine and update are timed inside this process, on one core. End to end is timed from outside: the
real `serve` command runs as a process of its own, gets PCM on its standard input at real time, and
a websocket client of this process takes the estimates.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from mer_engine import Engine, FrontEnd, load_engine
from mer_engine.engine import silent_maps
from numpy.typing import NDArray

from realtime_mer.audio.demo import DemoSource
from realtime_mer.audio.source import EndOfStream
from realtime_mer.benchmarks.machine import describe_machine
from realtime_mer.benchmarks.percentiles import percentiles_ms
from realtime_mer.config import PipelineConfig
from realtime_mer.errors import UserError
from realtime_mer.pipeline import Pipeline

RATE_HZ = 48_000
BLOCK_S = 0.02
BURN_IN = 20
SERVE_START_TIMEOUT_S = 30.0
# A short hop for many measurements in little time; the usual hop for what a stream costs.
TIMED_HOP_S = 0.1
USUAL_HOP_S = 1.0
WINDOW_S = 10.0
ADDRESS = re.compile(r"http://[^\s/]+:(\d+)")


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
    audio = _demo(max(seconds, 30.0))
    with _one_core():
        engine_s = _time_engine(engine, updates)
        frontend_s = _time_frontend(audio, updates)
        update_s = _time_updates(engine, audio, updates)
    timed = _listen_live(audio, seconds, TIMED_HOP_S)
    usual = _listen_live(audio, seconds, USUAL_HOP_S)
    return {
        "engine_ms": percentiles_ms(engine_s),
        "frontend_ms": percentiles_ms(frontend_s),
        "update_ms": percentiles_ms(update_s),
        "end_to_end_ms": percentiles_ms(timed.delays_s),
        "real_time_factor": round(float(np.mean(update_s)) / USUAL_HOP_S, 5),
        "core_share": round(usual.core_share, 5),
        "rss_mb": round(usual.rss_mb, 1),
        "first_estimate_s": round(usual.first_estimate_s, 3),
        "window_full_to_tracking_s": round(usual.first_tracking_s - WINDOW_S, 3),
        "method": {
            "update": f"one hop of {USUAL_HOP_S} s of {RATE_HZ} Hz mono: resample, front-end, "
            "window, engine, on one core",
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


def _demo(seconds: float) -> NDArray[np.float32]:
    """The built-in demo, mono at `RATE_HZ`, as long as asked."""
    import soxr

    parts: list[NDArray[np.float32]] = []
    with DemoSource(block_s=1.0) as source:
        rate_hz = source.info.sample_rate_hz
        with contextlib.suppress(EndOfStream):
            while True:
                block = source.read(1.0)
                if block is not None:
                    parts.append(block.samples.mean(axis=1))
    signal = soxr.resample(np.concatenate(parts), rate_hz, RATE_HZ)
    return np.resize(signal, int(seconds * RATE_HZ)).astype(np.float32)


@contextlib.contextmanager
def _one_core() -> Iterator[None]:
    """Keeps this process on one core where the system allows it."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def _time_engine(engine: Engine, updates: int) -> list[float]:
    """Seconds per engine call of a full window with the usual hop: two new steps."""
    info = engine.info
    new = round(USUAL_HOP_S / info.step_s)
    rng = np.random.default_rng(0)
    shape = (1, new * info.frames_per_step, info.frontend.width)
    frames = rng.uniform(0, 3, shape).astype(np.float32)
    held = silent_maps(info)
    past_shape = (1, info.lag_order_default - new, info.embedding_size)
    past = rng.standard_normal(past_shape).astype(np.float32)
    return _timed(lambda: engine.infer(frames, held, past), updates)


def _time_frontend(audio: NDArray[np.float32], updates: int) -> list[float]:
    """Seconds that the front-end takes for one usual hop."""
    frontend = FrontEnd()
    hop = audio[: int(frontend.config.sample_rate_hz * USUAL_HOP_S)]
    return _timed(lambda: frontend.push(hop), updates)


def _time_updates(engine: Engine, audio: NDArray[np.float32], updates: int) -> list[float]:
    """Seconds per whole update: everything that one usual hop of audio costs."""
    pipeline = Pipeline(engine, sample_rate_hz=RATE_HZ, config=PipelineConfig(hop_s=USUAL_HOP_S))
    hop = int(RATE_HZ * USUAL_HOP_S)
    starts = iter(range(10**9))

    def update() -> None:
        start = next(starts) * hop % (len(audio) - hop)
        pipeline.feed(audio[start : start + hop])

    for _ in range(round(WINDOW_S / USUAL_HOP_S)):
        update()
    return _timed(update, updates)


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
    command = [
        *(sys.executable, "-m", "realtime_mer", "serve", "--input", "-", "--port", "0"),
        *("--pcm-rate", str(RATE_HZ), "--pcm-channels", "1", "--pcm-format", "f32le"),
        *("--hop", str(hop_s)),
    ]
    started = time.monotonic()
    with subprocess.Popen(
        command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as server:
        assert server.stdout is not None
        # What it prints after its address must not fill the pipe.
        drain = threading.Thread(target=server.stdout.read, daemon=True)
        try:
            port = _port(server.stdout)
            drain.start()
            # On a thread of its own: the caller may run an event loop, as a notebook does.
            with ThreadPoolExecutor(1) as thread:
                return thread.submit(
                    lambda: asyncio.run(_follow(server, port, audio, seconds, started))
                ).result()
        finally:
            server.kill()
            if drain.is_alive():
                drain.join()


def _port(output: IO[bytes]) -> int:
    """The port from the line in which the server says where it is."""
    printed = []
    deadline = time.monotonic() + SERVE_START_TIMEOUT_S
    while time.monotonic() < deadline:
        line = output.readline().decode(errors="replace")
        if not line:
            break
        printed.append(line)
        if found := ADDRESS.search(line):
            return int(found[1])
    raise UserError(f"the server did not start; it said: {''.join(printed).strip() or 'nothing'}")


async def _follow(
    server: subprocess.Popen[bytes],
    port: int,
    audio: NDArray[np.float32],
    seconds: float,
    started: float,
) -> LiveRun:
    from websockets.asyncio.client import connect

    run = LiveRun()
    writer = _Writer(server, audio, seconds)
    async with connect(f"ws://127.0.0.1:{port}/ws", max_size=None) as socket:
        await socket.recv()  # hello: the server is ready
        writer.start()
        cpu_before, wall_before = _cpu_s(server.pid), time.monotonic()
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
        run.core_share = (_cpu_s(server.pid) - cpu_before) / wall_s
        run.rss_mb = _rss_mb(server.pid)
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


def _cpu_s(pid: int) -> float:
    """Processor time of a process in seconds; 0 where the system has no /proc."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return 0.0
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / float(os.sysconf("SC_CLK_TCK"))


def _rss_mb(pid: int) -> float:
    """Resident memory of a process in MB; 0 where the system has no /proc."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return 0.0
    for line in status.read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0
