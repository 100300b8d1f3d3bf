"""Measures what outputs cost: processor time, delay of the updates, time from estimate to packet.

Ten OSC outputs with thirty frames a second each send to real UDP sockets of another process, while
a pipeline computes the demo in real time. Parts of the run without outputs lie in between.

python benchmarks/outputs.py [--seconds 20] [--rounds 3] [--json results/outputs.json]
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import selectors
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from mer_engine import Engine, load_engine
from numpy.typing import NDArray

from realtime_mer.bench.demo_audio import demo_audio
from realtime_mer.bench.machine import describe_machine
from realtime_mer.bench.percentiles import percentiles_ms
from realtime_mer.core.config import PipelineConfig
from realtime_mer.core.pipeline import Pipeline
from realtime_mer.live.hub import Hub
from realtime_mer.live.show import Show
from realtime_mer.outputs.osc import OscSettings
from realtime_mer.outputs.output_set import OutputSet

OUTPUTS = 10
RATE_HZ = 30.0
SAMPLE_RATE_HZ = 48_000
# The default hop, and one that gives many delays in little time.
HOPS_S = (1.0, 0.1)
AUDIO_S = 60.0
SEED = 0


@dataclass
class Part:
    """What was measured of one condition, over all rounds.

    Attributes:
        wall_s, processor_s: duration, and processor time of this process within it.
        outputs_s: processor time of the threads of the outputs.
        updates_s: duration of each update.
        published_s: monotonic time of each estimate.
        packets_s: for each output, monotonic times of its packets of floats.
    """

    wall_s: float = 0.0
    processor_s: float = 0.0
    outputs_s: float = 0.0
    updates_s: list[float] = field(default_factory=list)
    published_s: list[float] = field(default_factory=list)
    packets_s: list[list[float]] = field(default_factory=lambda: [[] for _ in range(OUTPUTS)])


def receive(pipe: Connection) -> None:
    """Receive packets in a process of its own; tell the ports, and at the end all times."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(OUTPUTS)]
    times: list[list[float]] = [[] for _ in sockets]
    selector = selectors.DefaultSelector()
    selector.register(pipe, selectors.EVENT_READ)
    for index, each in enumerate(sockets):
        each.bind(("127.0.0.1", 0))
        selector.register(each, selectors.EVENT_READ, index)
    pipe.send([each.getsockname()[1] for each in sockets])
    while True:
        for key, _ in selector.select():
            if key.fileobj is pipe:
                pipe.send(times)
                return
            packet = sockets[key.data].recv(2048)
            if packet.startswith(b"#bundle"):  # the others are words
                times[key.data].append(time.monotonic())


@contextmanager
def sending(hub: Hub, hop_s: float, part: Part) -> Iterator[None]:
    """Send the estimates of a hub to ten receivers; add the times of their packets."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=receive, args=(theirs,))
    process.start()
    settings = [OscSettings(to=f"127.0.0.1:{port}", rate_hz=RATE_HZ) for port in ours.recv()]
    with OutputSet(hub, settings, hop_s=hop_s, show=Show()):
        yield
    ours.send("end")
    for times, more in zip(part.packets_s, ours.recv(), strict=True):
        times += more
    process.join()


def outputs_time() -> float:
    """Return the processor time of all threads of outputs so far, in seconds."""
    clocks = (
        time.pthread_getcpuclockid(thread.ident)
        for thread in threading.enumerate()
        if thread.name.startswith("output") and thread.ident is not None
    )
    return sum(map(time.clock_gettime, clocks))


class Player:
    """Computes the demo in real time and publishes its estimates.

    Attributes:
        published_s: monotonic time of the newest estimate.
    """

    def __init__(self, engine: Engine, audio: NDArray[np.float32], hop_s: float) -> None:
        self.hub = Hub(hop_s=hop_s)
        self.published_s = 0.0
        self._hop_s = hop_s
        self._audio = audio
        self._samples = int(SAMPLE_RATE_HZ * hop_s)
        self._starts = itertools.count(0, self._samples)
        config = PipelineConfig(hop_s=hop_s)
        self._pipeline = Pipeline(engine, sample_rate_hz=SAMPLE_RATE_HZ, config=config)
        for _ in range(int(12.0 / hop_s)):  # fills the window
            self._update()

    def _update(self) -> None:
        start = next(self._starts) % (len(self._audio) - self._samples)
        for estimate in self._pipeline.feed(self._audio[start : start + self._samples]):
            self.published_s = time.monotonic()
            self.hub.publish(estimate)

    def play(self, seconds: float, part: Part) -> None:
        """Play in real time and measure."""
        begun, processor, outputs = time.monotonic(), time.process_time(), outputs_time()
        for number in range(1, round(seconds / self._hop_s) + 1):
            time.sleep(max(0.0, begun + number * self._hop_s - time.monotonic()))
            start = time.perf_counter()
            self._update()
            part.updates_s.append(time.perf_counter() - start)
            part.published_s.append(self.published_s)
        part.wall_s += time.monotonic() - begun
        part.processor_s += time.process_time() - processor
        part.outputs_s += outputs_time() - outputs


def measure(hop_s: float, seconds: float, rounds: int) -> dict[str, Any]:
    """Return the figures of one hop; `seconds` of each condition in each round."""
    player = Player(load_engine(), demo_audio(AUDIO_S, SAMPLE_RATE_HZ), hop_s)
    without, with_outputs = Part(), Part()
    for _ in range(rounds):
        player.play(seconds, without)
        with sending(player.hub, hop_s, with_outputs):
            player.play(seconds, with_outputs)
    delays_s = [
        delay
        for times in with_outputs.packets_s
        for delay in first_after(with_outputs.published_s, times)
    ]
    gaps_s = [gap for times in with_outputs.packets_s for gap in np.diff(times) if gap < 0.5]
    return {
        "hop_s": hop_s,
        "core_share_without": round(without.processor_s / without.wall_s, 5),
        "core_share_with": round(with_outputs.processor_s / with_outputs.wall_s, 5),
        "core_share_of_outputs": round(with_outputs.outputs_s / with_outputs.wall_s, 5),
        "update_without_ms": percentiles_ms(without.updates_s),
        "update_with_ms": percentiles_ms(with_outputs.updates_s),
        "updates": len(with_outputs.updates_s),
        "estimate_to_packet_ms": percentiles_ms(delays_s),
        "packets_per_s": round(1.0 / float(np.mean(gaps_s)), 2),
        "between_packets_ms": percentiles_ms(gaps_s),
    }


def first_after(moments: list[float], times: list[float]) -> list[float]:
    """Return the seconds from each moment to the next of the times."""
    following = np.searchsorted(times, moments)
    return [
        times[index] - moment
        for moment, index in zip(moments, following, strict=True)
        if index < len(times)
    ]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="of each part (default: 20)")
    parser.add_argument("--rounds", type=int, default=3, help="parts of each kind (default: 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    args = parser.parse_args(arguments)
    if args.seconds < 2.0 or args.rounds < 1:
        parser.error("--seconds must be at least 2 and --rounds at least 1")
    info = load_engine().info
    result = {
        "outputs": OUTPUTS,
        "rate_hz": RATE_HZ,
        "hops": [measure(hop_s, args.seconds, args.rounds) for hop_s in HOPS_S],
        "method": {
            "outputs": f"{OUTPUTS} OSC outputs with default settings at {RATE_HZ:g} frames a "
            "second, to UDP sockets of another process",
            "parts": f"{args.rounds} parts of {args.seconds:g} s each with and without outputs, "
            "alternating",
            "shares": "processor time of the threads of the outputs, and of the whole process; "
            "without the search for beats, which some outputs need",
            "update": "one hop of audio through the pipeline and the hub, in real time",
            "estimate to packet": "from giving an estimate to the hub to the receipt of the "
            "next bundle of floats at each output",
            "audio": "the built-in demo",
        },
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "niceness": os.nice(0),
        "seed": SEED,
        "model": {"name": info.name, "sha256": info.sha256},
        "machine": describe_machine(),
    }
    print(json.dumps(result, indent=1))
    if args.json is not None:
        args.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
