"""Many live streams at once, as cheaply as they can be made: the load of `bench streams`.

Two kinds: browsers that send PCM over websockets to a server elsewhere, and decoded blocks that are
handed to a `SessionPool` in this process. Either runs as a process of its own
(`python -m realtime_mer.bench.stream_load`) and prints what it saw as JSON.
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
from numpy.typing import NDArray

from realtime_mer.bench.demo_audio import demo_audio
from realtime_mer.bench.percentiles import percentiles_ms
from realtime_mer.bench.raw_websocket import (
    BINARY,
    TEXT,
    RawWebSocket,
    allow_sockets,
    masked_frame,
    own_cpu_s,
)
from realtime_mer.bench.server_process import rss_mb
from realtime_mer.errors import UserError

HOP_S = 1.0
AUDIO_S = 12.0
# What a browser with the page sends: blocks of its audio thread, float 32, mono.
BROWSER_RATE_HZ, BROWSER_BLOCK = 48_000, 1024
# What a program hands over: decoded, at the rate of the front-end.
INSIDE_RATE_HZ, INSIDE_BLOCK = 16_000, 1600
# A browser lets no more than this wait on its side (web/mer_web/pcm.js).
MOST_WAITING_S = 0.5
# Between looks at the clock and the sockets: every look costs the machine that is measured.
TICK_S = 0.002
# An estimate may come so late and still be counted as late, not as missing.
GRACE_S = 1.5
NOT_A_LOSS = frozenset({"bad_samples"})


@dataclass(slots=True)
class Seen:
    """One stream: when its blocks were sent, and what was heard of it.

    Attributes:
        phase_s: when its first block begins, from the beginning of the load.
        sent: the time of each block.
        heard: stream time of each estimate and when it was here.
    """

    phase_s: float
    sent: list[float] = field(default_factory=list)
    heard: list[tuple[float, float]] = field(default_factory=list)


def spread(count: int, seed: int = 0) -> list[Seen]:
    """Streams whose hops begin at random moments."""
    return [Seen(float(phase)) for phase in np.random.default_rng(seed).uniform(0, HOP_S, count)]


def send_live(
    streams: Sequence[Seen],
    block_s: float,
    seconds: float,
    send: Callable[[int, int], None],
    wait: Callable[[float], None],
) -> float:
    """Sends every stream's blocks when they are due.

    Args:
        streams: get their times.
        block_s: length of a block.
        seconds: how long, from the last stream's beginning.
        send: a stream's number and the number of its block.
        wait: waits so many seconds at most, reading meanwhile.

    Returns:
        When it began.
    """
    # Within each length of a block they come in the same order.
    order = sorted(range(len(streams)), key=lambda i: streams[i].phase_s % block_s)
    offsets = [streams[i].phase_s % block_s for i in order]
    skipped = [int(streams[i].phase_s // block_s) for i in order]
    began = time.monotonic() + 0.1
    for turn in range(math.ceil((seconds + HOP_S) / block_s)):
        turn_at = began + (turn + 1) * block_s
        for i, offset, skip in zip(order, offsets, skipped, strict=True):
            if turn < skip:
                continue
            while (left := turn_at + offset - time.monotonic()) > 0.0:
                wait(max(left, TICK_S))
            streams[i].sent.append(time.monotonic())
            send(i, turn - skip)
    return began


def sum_up(
    streams: Iterable[Seen], rate_hz: int, block: int, from_s: float, to_s: float
) -> dict[str, Any]:
    """How late the estimates were whose last samples were sent within a time, and how many came."""
    lateness: list[float] = []
    expected = 0
    for stream in streams:
        at = dict(stream.heard)
        for hop in range(1, int(len(stream.sent) * block / rate_hz / HOP_S) + 1):
            sent = stream.sent[math.ceil(hop * HOP_S * rate_hz / block) - 1]
            if from_s <= sent < to_s:
                expected += 1
                if (heard := at.get(hop * HOP_S)) is not None:
                    lateness.append(heard - sent)
    if not lateness:
        raise UserError("no estimate came; measure for longer, or fewer streams")
    return {
        "estimates": len(lateness),
        "missed": expected - len(lateness),
        "lateness_ms": percentiles_ms(lateness),
        "worst_ms": round(max(lateness) * 1e3, 3),
    }


def load_server(port: int, count: int, settle_s: float, seconds: float) -> dict[str, Any]:
    """Streams as browsers send them, to a server on this machine."""
    if allow_sockets(count) < count:
        raise UserError(f"{count} streams need as many open files; raise the limit (ulimit -n)")
    audio = demo_audio(AUDIO_S, BROWSER_RATE_HZ)
    frames = [
        masked_frame(BINARY, audio[first : first + BROWSER_BLOCK].astype("<f4").tobytes())
        for first in range(0, len(audio) - BROWSER_BLOCK + 1, BROWSER_BLOCK)
    ]
    start = {"type": "start", "sample_rate_hz": BROWSER_RATE_HZ, "channels": 1, "format": "f32le"}
    greeting = masked_frame(TEXT, json.dumps({**start, "name": "bench"}).encode())
    selector = selectors.DefaultSelector()
    sockets = []
    for _ in range(count):
        one = RawWebSocket.open(port)
        one.send(greeting)
        selector.register(one.socket, selectors.EVENT_READ, one)
        sockets.append(one)
    closed = 0

    def wait(timeout_s: float) -> None:
        nonlocal closed
        for key, _ in selector.select(timeout_s):
            if not key.data.read(time.monotonic()):
                closed += 1
                selector.unregister(key.fileobj)

    until = time.monotonic() + 0.5
    while (left := until - time.monotonic()) > 0.0:
        wait(left)
    print(json.dumps({"kind": "connected"}), flush=True)
    streams = spread(count)
    most_waiting = MOST_WAITING_S * BROWSER_RATE_HZ * 4
    dropped = 0

    def send(i: int, block: int) -> None:
        nonlocal dropped
        one = sockets[i]
        if len(one.unsent) > most_waiting:
            dropped += BROWSER_BLOCK
            return
        try:
            one.send(frames[block % len(frames)])
        except OSError:
            dropped += BROWSER_BLOCK

    cpu_s, wall = own_cpu_s(), time.monotonic()
    began = send_live(streams, BROWSER_BLOCK / BROWSER_RATE_HZ, settle_s + seconds, send, wait)
    share = (own_cpu_s() - cpu_s) / (time.monotonic() - wall)
    print(json.dumps({"kind": "sent"}), flush=True)
    # While some had not begun, or had just stopped, their silence was told, as it should be.
    from_s, ended = began + HOP_S + settle_s, time.monotonic()
    until = time.monotonic() + GRACE_S
    while (left := until - time.monotonic()) > 0.0:
        wait(left)
    warnings: Counter[str] = Counter()
    losses: Counter[str] = Counter()
    for stream, one in zip(streams, sockets, strict=True):
        before: dict[str, int] = {}
        counters: dict[str, int] = {}
        for now, text in one.texts():
            if text.startswith('{"type":"estimate"'):
                estimate = json.loads(text)
                stream.heard.append((estimate["t"], now))
            elif text.startswith('{"type":"warning"'):
                warnings[json.loads(text)["code"]] += from_s <= now < ended
            elif text.startswith('{"type":"health"') and now < ended:
                counters = json.loads(text)["counters"]
                before = counters if now < from_s else before
        losses.update({k: v - before.get(k, 0) for k, v in counters.items()})
    return {
        **sum_up(streams, BROWSER_RATE_HZ, BROWSER_BLOCK, from_s, from_s + seconds - HOP_S),
        "not_sent_samples": dropped,
        "closed": closed,
        "losses": {k: v for k, v in losses.items() if v and k not in NOT_A_LOSS},
        "notices": {code: n for code, n in warnings.items() if n},
        "load_core_share": round(share, 4),
    }


def load_pool(count: int, settle_s: float, seconds: float) -> dict[str, Any]:
    """Decoded blocks, handed to the sessions of this process."""
    from mer_engine import load_engine

    from realtime_mer.audio.format import AudioFormat
    from realtime_mer.core.types import Estimate, State
    from realtime_mer.live.hub import LosslessQueue, Notice
    from realtime_mer.live.session_pool import SessionPool

    audio = demo_audio(AUDIO_S, INSIDE_RATE_HZ)[:, None]
    blocks: list[NDArray[np.float32]] = [
        audio[first : first + INSIDE_BLOCK] for first in range(0, len(audio), INSIDE_BLOCK)
    ]
    pool = SessionPool(load_engine(), max_sessions=count)
    before_mb = rss_mb(os.getpid())
    audio_format = AudioFormat(INSIDE_RATE_HZ, 1)
    sessions = [pool.open(audio_format, "bench") for _ in range(count)]
    streams = spread(count)
    notices: Counter[str] = Counter()
    loading, counting = True, False
    losses: Counter[str] = Counter()

    def count_losses(sign: int) -> None:
        for session in sessions:
            for name, value in session.stats.losses().items():
                losses[name] += sign * value

    def follow(stream: Seen, queue: list[LosslessQueue]) -> None:
        now = time.monotonic()
        for item in queue[0].take():
            if isinstance(item, Estimate) and item.state is not State.STALLED:
                stream.heard.append((item.t, now))
            elif isinstance(item, Notice) and loading and counting:
                notices[item.code] += 1

    for stream, session in zip(streams, sessions, strict=True):
        queue: list[LosslessQueue] = []
        queue.append(
            session.hub.subscribe_lossless(lambda s=stream, q=queue: follow(s, q))  # type: ignore[misc]
        )

    def send(i: int, block: int) -> None:
        nonlocal counting
        if not counting and time.monotonic() >= wall + HOP_S + settle_s:
            counting = True
            count_losses(-1)
        pool.push(sessions[i], blocks[block % len(blocks)])

    cpu_s, thread_s, wall = own_cpu_s(), time.thread_time(), time.monotonic()
    block_s = INSIDE_BLOCK / INSIDE_RATE_HZ
    began = send_live(streams, block_s, settle_s + seconds, send, time.sleep)
    loading = False
    took_s = time.monotonic() - wall
    share, feeding = own_cpu_s() - cpu_s, time.thread_time() - thread_s
    count_losses(1)
    time.sleep(GRACE_S)
    memory_mb = rss_mb(os.getpid()) - before_mb
    pool.close()
    from_s = began + HOP_S + settle_s
    return {
        **sum_up(streams, INSIDE_RATE_HZ, INSIDE_BLOCK, from_s, from_s + seconds - HOP_S),
        "losses": {k: v for k, v in losses.items() if v and k not in NOT_A_LOSS},
        "notices": dict(notices),
        "core_share": round((share - feeding) / took_s, 4),
        "load_core_share": round(feeding / took_s, 4),
        "memory_per_stream_kb": round(memory_mb * 1e3 / count, 1),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The process of the load."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, help="of the server; none for the pool in this process")
    parser.add_argument("--streams", type=int, required=True)
    parser.add_argument("--settle", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    args = parser.parse_args(arguments)
    try:
        if args.port is None:
            report = load_pool(args.streams, args.settle, args.seconds)
        else:
            report = load_server(args.port, args.streams, args.settle, args.seconds)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps({"kind": "report", **report}), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
