"""Counters and latency histograms of streams. Every loss is counted here."""

from __future__ import annotations

import threading
from bisect import bisect_left
from dataclasses import dataclass
from enum import StrEnum

from realtime_mer.core.types import State


class Counter(StrEnum):
    """Events counted since the start of a session or of the server."""

    # Losses: shown on the page, in the terminal and in the health message.
    OVERFLOWS = "overflows"
    DROPPED_SAMPLES = "dropped_samples"
    OVERWRITTEN_FRAMES = "overwritten_frames"
    LATE_WINDOWS = "late_windows"
    BAD_SAMPLES = "bad_samples"
    SKIPPED_UPDATES = "skipped_updates"
    FAULTY_UPDATES = "faulty_updates"
    # Work.
    ESTIMATES = "estimates"
    STALLS = "stalls"
    SLOWED = "slowed"
    REOPENS = "reopens"
    ENGINE_FAILURES = "engine_failures"
    ENGINE_STALLS = "engine_stalls"
    # Connections.
    HTTP_REQUESTS = "http_requests"
    CONNECTIONS = "connections"
    STREAMS = "streams"
    REFUSALS = "refusals"
    CLIENT_ERRORS = "client_errors"
    MESSAGES_IN = "messages_in"
    MESSAGES_OUT = "messages_out"
    MESSAGES_DROPPED = "messages_dropped"
    PULSES_OUT = "pulses_out"
    PULSES_DROPPED = "pulses_dropped"
    BYTES_IN = "bytes_in"
    BYTES_OUT = "bytes_out"


HELP: dict[Counter, str] = {
    Counter.OVERFLOWS: "Losses of audio that the input device reported.",
    Counter.DROPPED_SAMPLES: "Sample frames lost before they were analysed.",
    Counter.OVERWRITTEN_FRAMES: "Feature frames overwritten before they were encoded.",
    Counter.LATE_WINDOWS: "Estimates more than one hop after the arrival of their audio.",
    Counter.BAD_SAMPLES: "Samples that are not finite or far too large; silence instead.",
    Counter.SKIPPED_UPDATES: "Estimates skipped because the machine could not keep up.",
    Counter.FAULTY_UPDATES: "Estimates with repeated values, because the engine failed.",
    Counter.ESTIMATES: "Estimates, those with repeated values included.",
    Counter.STALLS: "Stalls: no audio arrived although the input was open.",
    Counter.SLOWED: "Times that the rate of a stream was lowered because of overload.",
    Counter.REOPENS: "Times that a lost input was reopened.",
    Counter.ENGINE_FAILURES: "Calls of the engine that failed; each is repeated once.",
    Counter.ENGINE_STALLS: "Calls of the engine that did not return for many hops.",
    Counter.HTTP_REQUESTS: "Plain HTTP requests answered.",
    Counter.CONNECTIONS: "Websocket connections accepted.",
    Counter.STREAMS: "Audio streams that clients started.",
    Counter.REFUSALS: "Requests, connections, streams and TLS handshakes refused.",
    Counter.CLIENT_ERRORS: "Error messages sent to clients.",
    Counter.MESSAGES_IN: "Websocket messages received.",
    Counter.MESSAGES_OUT: "Websocket messages sent.",
    Counter.MESSAGES_DROPPED: "Estimates not sent because a viewer was too slow.",
    Counter.PULSES_OUT: "Messages of pulses sent; they count as messages too.",
    Counter.PULSES_DROPPED: "Messages of pulses not sent because a viewer was behind.",
    Counter.BYTES_IN: "Payload bytes of websocket messages received.",
    Counter.BYTES_OUT: "Payload bytes of websocket messages sent.",
}

LOSSES = (
    Counter.OVERFLOWS,
    Counter.DROPPED_SAMPLES,
    Counter.OVERWRITTEN_FRAMES,
    Counter.LATE_WINDOWS,
    Counter.BAD_SAMPLES,
    Counter.SKIPPED_UPDATES,
    Counter.FAULTY_UPDATES,
)


NOTHING_LOST = "nothing lost"


class Timing(StrEnum):
    """Durations with a histogram."""

    BUFFER = "buffer"
    QUEUE = "queue"
    COMPUTE = "compute"
    ENGINE = "engine"
    DELIVERY = "delivery"


TIMING_HELP: dict[Timing, str] = {
    Timing.BUFFER: "From the last sample of an estimate to the end of its block.",
    Timing.QUEUE: "Waiting for processing to start.",
    Timing.COMPUTE: "From the start of processing to the estimate.",
    Timing.ENGINE: "One call of the engine, for one stream or a batch.",
    Timing.DELIVERY: "From the estimate to the socket of a viewer.",
}

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds of the histogram buckets in seconds; the last bucket above them is unbounded."""


@dataclass(frozen=True, slots=True)
class HistogramValues:
    """The state of a histogram at one moment.

    Attributes:
        counts: observations per bucket of `BUCKETS_S`, and above the last one; not cumulative.
        total_s: sum of the observations in seconds.
    """

    counts: tuple[int, ...]
    total_s: float

    @property
    def count(self) -> int:
        return sum(self.counts)


class Stats:
    """Counters and latency histograms of a session or of the whole server; thread-safe.

    Args:
        parent: receives all counts too (the server of a session).
    """

    def __init__(self, parent: Stats | None = None) -> None:
        self._parent = parent
        self._lock = threading.Lock()
        self._counters = dict.fromkeys(Counter, 0)
        self._buckets = {timing: [0] * (len(BUCKETS_S) + 1) for timing in Timing}
        self._states = dict.fromkeys(State, 0)
        self._totals = dict.fromkeys(Timing, 0.0)
        self._lost_s = 0.0

    def add(self, counter: Counter, amount: int = 1) -> None:
        """Add to a counter."""
        if amount == 0:
            return
        with self._lock:
            self._counters[counter] += amount
        if self._parent is not None:
            self._parent.add(counter, amount)

    def add_lost(self, samples: int, sample_rate_hz: int) -> None:
        """Count sample frames that were lost before they were analysed."""
        with self._lock:
            self._counters[Counter.DROPPED_SAMPLES] += samples
            self._lost_s += samples / sample_rate_hz
        if self._parent is not None:
            self._parent.add_lost(samples, sample_rate_hz)

    def count_estimate(self, state: State) -> None:
        """Count an estimate and its state."""
        with self._lock:
            self._counters[Counter.ESTIMATES] += 1
            self._states[state] += 1
        if self._parent is not None:
            self._parent.count_estimate(state)

    def observe(self, timing: Timing, seconds: float, *, times: int = 1) -> None:
        """Add a duration to a histogram `times` times."""
        bucket = bisect_left(BUCKETS_S, seconds)
        with self._lock:
            self._buckets[timing][bucket] += times
            self._totals[timing] += seconds * times
        if self._parent is not None:
            self._parent.observe(timing, seconds, times=times)

    def __getitem__(self, counter: Counter) -> int:
        with self._lock:
            return self._counters[counter]

    def counters(self) -> dict[Counter, int]:
        """Return all counters at one moment."""
        with self._lock:
            return dict(self._counters)

    def states(self) -> dict[State, int]:
        """Return the number of estimates in each state."""
        with self._lock:
            return dict(self._states)

    def losses(self) -> dict[str, int]:
        """Return the counters of the health message."""
        with self._lock:
            return {str(counter): self._counters[counter] for counter in LOSSES}

    def loss_text(self) -> str:
        """Return the losses in words, for example "36.2 s of audio missing, overflows 2"."""
        with self._lock:
            lost_s = self._lost_s
            counts = {counter: self._counters[counter] for counter in LOSSES}
        # Lost audio counts in seconds: sample frames say nothing to users.
        parts = [f"{max(lost_s, 0.1):.1f} s of audio missing"] if lost_s > 0.0 else []
        parts += [
            f"{counter.replace('_', ' ')} {count}"
            for counter, count in counts.items()
            if count and counter != Counter.DROPPED_SAMPLES
        ]
        return ", ".join(parts) or NOTHING_LOST

    def histogram(self, timing: Timing) -> HistogramValues:
        """Return the current state of a histogram."""
        with self._lock:
            return HistogramValues(tuple(self._buckets[timing]), self._totals[timing])
