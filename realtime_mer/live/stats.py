"""What is counted and timed while a stream runs: every loss has a number here."""

from __future__ import annotations

import threading
from bisect import bisect_left
from dataclasses import dataclass
from enum import StrEnum


class Counter(StrEnum):
    """Things that are counted from the start of a session or of the server."""

    # Losses: shown on the page, in the terminal and in the health message.
    OVERFLOWS = "overflows"
    DROPPED_SAMPLES = "dropped_samples"
    OVERWRITTEN_FRAMES = "overwritten_frames"
    LATE_WINDOWS = "late_windows"
    BAD_SAMPLES = "bad_samples"
    SKIPPED_UPDATES = "skipped_updates"
    # Work.
    ESTIMATES = "estimates"
    STALLS = "stalls"
    SLOWED = "slowed"
    REOPENS = "reopens"
    # Connections.
    HTTP_REQUESTS = "http_requests"
    CONNECTIONS = "connections"
    STREAMS = "streams"
    REFUSALS = "refusals"
    CLIENT_ERRORS = "client_errors"
    MESSAGES_IN = "messages_in"
    MESSAGES_OUT = "messages_out"
    MESSAGES_DROPPED = "messages_dropped"
    BYTES_IN = "bytes_in"
    BYTES_OUT = "bytes_out"


HELP: dict[Counter, str] = {
    Counter.OVERFLOWS: "Times the input device said that it lost audio.",
    Counter.DROPPED_SAMPLES: "Sample frames lost before they were analysed.",
    Counter.OVERWRITTEN_FRAMES: "Feature frames overwritten before the engine saw them.",
    Counter.LATE_WINDOWS: "Estimates that came more than one hop after their audio had arrived.",
    Counter.BAD_SAMPLES: "Samples that were NaN or infinite and were taken as silence.",
    Counter.SKIPPED_UPDATES: "Estimates left out because the machine could not keep up.",
    Counter.ESTIMATES: "Estimates made, held ones included.",
    Counter.STALLS: "Times that no audio arrived although the input was open.",
    Counter.SLOWED: "Times that a stream's rate was lowered because the server was busy.",
    Counter.REOPENS: "Times that a lost input was opened again.",
    Counter.HTTP_REQUESTS: "Plain HTTP requests answered.",
    Counter.CONNECTIONS: "Websocket connections accepted.",
    Counter.STREAMS: "Audio streams that clients started.",
    Counter.REFUSALS: "Connections and streams refused (host, origin, too many).",
    Counter.CLIENT_ERRORS: "Error messages sent to clients.",
    Counter.MESSAGES_IN: "Websocket messages received.",
    Counter.MESSAGES_OUT: "Websocket messages sent.",
    Counter.MESSAGES_DROPPED: "Estimates that a viewer was too slow for.",
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
)


class Timing(StrEnum):
    """Durations whose distribution is kept."""

    BUFFER = "buffer"
    QUEUE = "queue"
    COMPUTE = "compute"
    DELIVERY = "delivery"


TIMING_HELP: dict[Timing, str] = {
    Timing.BUFFER: "From the last sample of an estimate to the end of the block it came in.",
    Timing.QUEUE: "Waiting for a free worker.",
    Timing.COMPUTE: "From taking a block to the estimate.",
    Timing.DELIVERY: "From the estimate to the socket of a viewer.",
}

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds of the histograms, in seconds; what exceeds the last one counts as infinite."""


@dataclass(frozen=True, slots=True)
class HistogramValues:
    """A distribution at one moment.

    Attributes:
        counts: observations in each bucket of `BUCKETS_S` and, last, above it (not cumulative).
        total_s: their sum in seconds.
    """

    counts: tuple[int, ...]
    total_s: float

    @property
    def count(self) -> int:
        return sum(self.counts)


class Stats:
    """Counters and latency histograms of a session or of the whole server; thread-safe.

    Args:
        parent: also gets everything that is counted here (a session's server).
    """

    def __init__(self, parent: Stats | None = None) -> None:
        self._parent = parent
        self._lock = threading.Lock()
        self._counters = dict.fromkeys(Counter, 0)
        self._buckets = {timing: [0] * (len(BUCKETS_S) + 1) for timing in Timing}
        self._totals = dict.fromkeys(Timing, 0.0)

    def add(self, counter: Counter, amount: int = 1) -> None:
        """Counts; an amount of 0 changes nothing."""
        if amount == 0:
            return
        with self._lock:
            self._counters[counter] += amount
        if self._parent is not None:
            self._parent.add(counter, amount)

    def observe(self, timing: Timing, seconds: float, *, times: int = 1) -> None:
        """Adds a duration to a histogram, as often as it was seen."""
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
        """All counters at one moment."""
        with self._lock:
            return dict(self._counters)

    def losses(self) -> dict[str, int]:
        """The counters that the health message shows."""
        with self._lock:
            return {str(counter): self._counters[counter] for counter in LOSSES}

    def histogram(self, timing: Timing) -> HistogramValues:
        """A distribution as it stands."""
        with self._lock:
            return HistogramValues(tuple(self._buckets[timing]), self._totals[timing])
