"""Load generator of `bench streams`: many live streams at little cost.

There are two kinds of load: browsers that send PCM over websockets to a server in another process,
and decoded blocks that are pushed to a `SessionPool` in this process. Either runs as a separate
process (`python -m realtime_mer.bench.stream_load`) and prints its measurements as JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import selectors
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from mer_engine.backends.registry import AUTO
from numpy.typing import NDArray

from realtime_mer.bench.demo_audio import demo_audio
from realtime_mer.bench.percentiles import percentiles_ms
from realtime_mer.bench.process_usage import own_cpu_s, rss_mb
from realtime_mer.bench.raw_websocket import (
    BINARY,
    TEXT,
    RawWebSocket,
    allow_sockets,
    masked_frame,
)
from realtime_mer.errors import UserError

HOP_S = 1.0
AUDIO_S = 12.0
# What the page sends from a browser: blocks of the browser's audio thread, float32, mono.
BROWSER_RATE_HZ, BROWSER_BLOCK = 48_000, 1024
# What a program pushes: decoded blocks at the rate of the front-end.
INSIDE_RATE_HZ, INSIDE_BLOCK = 16_000, 1600
# The page drops audio when more than this waits to be sent (web/mer_web/pcm.js).
MAX_UNSENT_S = 0.5
# Interval between checks of clock and sockets; each check costs processor time.
TICK_S = 0.002
# An estimate that arrives within this time after the end counts as late, not as missing; at most
# a quarter of the measuring time.
GRACE_S = 1.5
# Time for the server to answer after the connections have been made.
CONNECT_S = 0.5
NOT_A_LOSS = frozenset({"bad_samples"})


@dataclass(slots=True)
class StreamTimes:
    """Times of one stream.

    Attributes:
        phase_s: start of its first block, in seconds from the start of the load.
        sent: time at which each block was sent.
        estimates: stream time of each estimate and the time of its arrival.
    """

    phase_s: float
    sent: list[float] = field(default_factory=list)
    estimates: list[tuple[float, float]] = field(default_factory=list)


def random_phases(count: int, seed: int = 0) -> list[StreamTimes]:
    """Return streams whose hops start at random times."""
    phases = np.random.default_rng(seed).uniform(0, HOP_S, count)
    return [StreamTimes(float(phase)) for phase in phases]


def send_live(
    streams: Sequence[StreamTimes],
    block_s: float,
    seconds: float,
    send: Callable[[int, int], None],
    wait: Callable[[float], None],
) -> float:
    """Send the blocks of all streams in real time.

    Args:
        streams: their `sent` times are filled in.
        block_s: length of a block in seconds.
        seconds: length of the load, from the start of the last stream.
        send: called with the index of the stream and the index of its block.
        wait: waits for at most this many seconds, and may read from sockets meanwhile.

    Returns:
        The time of the start (`time.monotonic`).
    """
    # The streams send in the same order within each block length.
    order = sorted(range(len(streams)), key=lambda i: streams[i].phase_s % block_s)
    offsets = [streams[i].phase_s % block_s for i in order]
    skipped = [int(streams[i].phase_s // block_s) for i in order]
    started = time.monotonic() + 0.1
    for turn in range(math.ceil((seconds + HOP_S) / block_s)):
        turn_at = started + (turn + 1) * block_s
        for i, offset, skip in zip(order, offsets, skipped, strict=True):
            if turn < skip:
                continue
            while (left := turn_at + offset - time.monotonic()) > 0.0:
                wait(max(left, TICK_S))
            streams[i].sent.append(time.monotonic())
            send(i, turn - skip)
    return started


def lateness_summary(
    streams: Iterable[StreamTimes], rate_hz: int, block: int, from_s: float, to_s: float
) -> dict[str, Any]:
    """Count the estimates whose last sample was sent in a time range and compute their lateness.

    Args:
        streams: the measured times.
        rate_hz: sample rate of the streams.
        block: samples per block.
        from_s, to_s: the time range (`time.monotonic`).

    Raises:
        UserError: no estimate arrived.
    """
    lateness: list[float] = []
    expected = 0
    for stream in streams:
        arrival_by_time = dict(stream.estimates)
        for hop in range(1, int(len(stream.sent) * block / rate_hz / HOP_S) + 1):
            sent = stream.sent[math.ceil(hop * HOP_S * rate_hz / block) - 1]
            if from_s <= sent < to_s:
                expected += 1
                if (arrival := arrival_by_time.get(hop * HOP_S)) is not None:
                    lateness.append(arrival - sent)
    if not lateness:
        raise UserError("no estimate arrived; measure longer or with fewer streams")
    return {
        "estimates": len(lateness),
        "missed": expected - len(lateness),
        "lateness_ms": percentiles_ms(lateness),
        "worst_ms": round(max(lateness) * 1e3, 3),
    }


def load_server(port: int, count: int, settle_s: float, seconds: float) -> dict[str, Any]:
    """Send streams to a server on this machine as browsers do.

    Args:
        port: TCP port of the server.
        count: number of streams.
        settle_s: seconds before the measurement starts.
        seconds: length of the measurement.

    Raises:
        UserError: this process may not open that many sockets, or no estimate arrived.
    """
    if allow_sockets(count) < count:
        raise UserError(
            f"{count} streams need as many open files; raise the limit with 'ulimit -n'"
        )
    audio = demo_audio(AUDIO_S, BROWSER_RATE_HZ)
    frames = [
        masked_frame(BINARY, audio[first : first + BROWSER_BLOCK].astype("<f4").tobytes())
        for first in range(0, len(audio) - BROWSER_BLOCK + 1, BROWSER_BLOCK)
    ]
    start = {"type": "start", "sample_rate_hz": BROWSER_RATE_HZ, "channels": 1, "format": "f32le"}
    start_frame = masked_frame(TEXT, json.dumps({**start, "name": "bench"}).encode())
    selector = selectors.DefaultSelector()
    sockets = []
    for _ in range(count):
        client = RawWebSocket.open(port)
        client.send(start_frame)
        selector.register(client.socket, selectors.EVENT_READ, client)
        sockets.append(client)
    closed = 0

    def wait(timeout_s: float) -> None:
        nonlocal closed
        for key, _ in selector.select(timeout_s):
            if not key.data.read(time.monotonic()):
                closed += 1
                selector.unregister(key.fileobj)

    def read_for(duration_s: float) -> None:
        until = time.monotonic() + duration_s
        while (left := until - time.monotonic()) > 0.0:
            wait(left)

    read_for(CONNECT_S)
    print(json.dumps({"kind": "connected"}), flush=True)
    streams = random_phases(count)
    max_unsent_bytes = MAX_UNSENT_S * BROWSER_RATE_HZ * 4
    dropped = 0

    def send(i: int, block: int) -> None:
        nonlocal dropped
        client = sockets[i]
        if len(client.unsent) > max_unsent_bytes:
            dropped += BROWSER_BLOCK
            return
        try:
            client.send(frames[block % len(frames)])
        except OSError:
            dropped += BROWSER_BLOCK

    cpu_before_s, wall_before_s = own_cpu_s(), time.monotonic()
    started = send_live(streams, BROWSER_BLOCK / BROWSER_RATE_HZ, settle_s + seconds, send, wait)
    share = (own_cpu_s() - cpu_before_s) / (time.monotonic() - wall_before_s)
    print(json.dumps({"kind": "sent"}), flush=True)
    # Before all streams have started and after they have stopped, the server rightly warns that no
    # audio arrives; those warnings do not count.
    from_s, ended = started + HOP_S + settle_s, time.monotonic()
    read_for(min(GRACE_S, seconds / 4))
    warnings: Counter[str] = Counter()
    losses: Counter[str] = Counter()
    backend = ""
    for stream, client in zip(streams, sockets, strict=True):
        before: dict[str, int] = {}
        counters: dict[str, int] = {}
        for now, text in client.texts():
            if text.startswith('{"type":"estimate"'):
                stream.estimates.append((json.loads(text)["t"], now))
            elif text.startswith('{"type":"hello"'):
                backend = json.loads(text)["backend"]
            elif text.startswith('{"type":"warning"'):
                warnings[json.loads(text)["code"]] += from_s <= now < ended
            elif text.startswith('{"type":"health"') and now < ended:
                counters = json.loads(text)["counters"]
                before = counters if now < from_s else before
        losses.update({k: v - before.get(k, 0) for k, v in counters.items()})
    to_s = from_s + seconds - HOP_S
    return {
        "backend": backend,
        **lateness_summary(streams, BROWSER_RATE_HZ, BROWSER_BLOCK, from_s, to_s),
        "not_sent_samples": dropped,
        "closed": closed,
        "losses": _real_losses(losses),
        "notices": {code: n for code, n in warnings.items() if n},
        "load_core_share": round(share, 4),
    }


def load_pool(count: int, settle_s: float, seconds: float, backend: str) -> dict[str, Any]:
    """Push decoded blocks to a `SessionPool` in this process.

    Args:
        count, settle_s, seconds: as for `load_server`.
        backend: one of `mer_engine.backends.registry.NAMES`.

    Raises:
        ModelError: the backend cannot run here.
        UserError: no estimate arrived.
    """
    from mer_engine import load_engine

    from realtime_mer.audio.format import AudioFormat
    from realtime_mer.core.types import Estimate, State
    from realtime_mer.live.hub import LosslessQueue, Notice
    from realtime_mer.live.session_pool import SessionPool

    audio = demo_audio(AUDIO_S, INSIDE_RATE_HZ)[:, None]
    blocks: list[NDArray[np.float32]] = [
        audio[first : first + INSIDE_BLOCK] for first in range(0, len(audio), INSIDE_BLOCK)
    ]
    engine = load_engine(backend=backend)
    pool = SessionPool(engine, max_sessions=count)
    rss_before_mb = rss_mb(os.getpid())
    audio_format = AudioFormat(INSIDE_RATE_HZ, 1)
    sessions = [pool.open(audio_format, "bench") for _ in range(count)]
    streams = random_phases(count)
    notices: Counter[str] = Counter()
    loading, counting = True, False
    losses: Counter[str] = Counter()

    def count_losses(sign: int) -> None:
        for session in sessions:
            for name, value in session.stats.losses().items():
                losses[name] += sign * value

    def receive(stream: StreamTimes, queue: list[LosslessQueue]) -> None:
        now = time.monotonic()
        for item in queue[0].take():
            if isinstance(item, Estimate) and item.state is not State.STALLED:
                stream.estimates.append((item.t, now))
            elif isinstance(item, Notice) and loading and counting:
                notices[item.code] += 1

    for stream, session in zip(streams, sessions, strict=True):
        queue: list[LosslessQueue] = []
        queue.append(
            session.hub.subscribe_lossless(lambda s=stream, q=queue: receive(s, q))  # type: ignore[misc]
        )

    def send(i: int, block: int) -> None:
        nonlocal counting
        if not counting and time.monotonic() >= wall_before_s + HOP_S + settle_s:
            counting = True
            count_losses(-1)
        pool.push(sessions[i], blocks[block % len(blocks)])

    cpu_before_s, thread_before_s = own_cpu_s(), time.thread_time()
    wall_before_s = time.monotonic()
    block_s = INSIDE_BLOCK / INSIDE_RATE_HZ
    started = send_live(streams, block_s, settle_s + seconds, send, time.sleep)
    loading = False
    wall_s = time.monotonic() - wall_before_s
    process_s, push_s = own_cpu_s() - cpu_before_s, time.thread_time() - thread_before_s
    count_losses(1)
    time.sleep(min(GRACE_S, seconds / 4))
    memory_mb = rss_mb(os.getpid()) - rss_before_mb
    pool.close()
    from_s = started + HOP_S + settle_s
    to_s = from_s + seconds - HOP_S
    return {
        "backend": engine.backend,
        **lateness_summary(streams, INSIDE_RATE_HZ, INSIDE_BLOCK, from_s, to_s),
        "losses": _real_losses(losses),
        "notices": dict(notices),
        "core_share": round((process_s - push_s) / wall_s, 4),
        "load_core_share": round(push_s / wall_s, 4),
        "memory_per_stream_kb": round(memory_mb * 1e3 / count, 1),
    }


def _real_losses(counters: Counter[str]) -> dict[str, int]:
    return {name: n for name, n in counters.items() if n and name not in NOT_A_LOSS}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the load generator and print its report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, help="of the server; default: a pool in this process")
    parser.add_argument("--streams", type=int, required=True)
    parser.add_argument("--settle", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--backend", default=AUTO, help="of a pool in this process")
    args = parser.parse_args(arguments)
    try:
        if args.port is None:
            report = load_pool(args.streams, args.settle, args.seconds, args.backend)
        else:
            report = load_server(args.port, args.streams, args.settle, args.seconds)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps({"kind": "report", **report}), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
