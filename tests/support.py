"""Synthetic music, a manual clock, programs and example estimates."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from mer_engine import Engine, Inference
from numpy.typing import NDArray

from realtime_mer.core.events import Event, EventKind
from realtime_mer.core.types import Estimate, FastValues, Latency, ScaledValues, State

ESTIMATE = Estimate(
    seq=3,
    t=4.0,
    utc="2026-01-02T03:04:05.000Z",
    valence=0.12345678,
    arousal=-0.5,
    valence_low=-0.1,
    valence_high=0.3,
    arousal_low=-0.7,
    arousal_high=-0.3,
    mood="still",
    state=State.SETTLING,
    level_db=-20.123,
    latency=Latency(10.0, 5.4321987, 1.0, 0.0),
)
FAST_ESTIMATE = replace(ESTIMATE, fast=FastValues(3.0, 1 / 3, -0.25, 0.0, 0.6, -0.5, 0.125))
SCALED_ESTIMATE = replace(
    ESTIMATE,
    fast=FastValues(
        3.0, 1 / 3, -0.25, 0.0, 0.6, -0.5, 0.125,
        scaled=ScaledValues(2 / 3, -0.5, 0.0, 1.0, -1.0, 0.25),
    ),
    scaled=ScaledValues(0.25, -1.0, -0.2, 0.6, -1.0, -0.6),
    novelty=0.0213,
)  # fmt: skip
EVENT = Event(EventKind.MOOD_ENTER, 4.0, 4.0, "2026-01-02T03:04:05.000Z", 0.75, "still")


class ManualClock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept_s = 0.0
        self._start = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def advance(self, seconds: float) -> None:
        self.now += seconds

    def sleep(self, seconds: float) -> None:
        """Let the computer sleep: only the monotonic time stands still."""
        self.slept_s += seconds

    def set_wall(self, seconds: float) -> None:
        """Set the wall clock forward, or back."""
        self._start += timedelta(seconds=seconds)

    def monotonic(self) -> float:
        return self.now

    def utc(self) -> datetime:
        return self._start + timedelta(seconds=self.now - 100.0 + self.slept_s)

    def boottime(self) -> float:
        return self.now + self.slept_s


class FaultyEngine:
    """An engine of which the given calls return a number that is not finite, in one output.

    A call that is repeated at once with the same arrays is the same call.

    Args:
        engine: computes everything else.
        field: name of the output in `Inference`.
        calls: numbers of the faulty calls, from 0.
        value: in the place of the output's last number.
    """

    def __init__(
        self, engine: Engine, field: str, calls: Iterable[int], value: float = np.nan
    ) -> None:
        self.info, self.backend = engine.info, engine.backend
        self._engine, self._field, self._faulty, self._value = engine, field, set(calls), value
        self.calls = 0
        self._newest: NDArray[np.float32] | None = None

    def infer(
        self,
        frames: NDArray[np.float32],
        cached_maps: NDArray[np.float32],
        past: NDArray[np.float32],
    ) -> Inference:
        inference = self._engine.infer(frames, cached_maps, past)
        self.calls += frames is not self._newest
        self._newest = frames
        if self.calls - 1 not in self._faulty:
            return inference
        output = getattr(inference, self._field).copy()
        output[..., -1] = self._value
        return inference._replace(**{self._field: output})


class FaultInjector:
    """A real engine whose calls fail, hang or take time when a test says so.

    Attributes:
        calls: number of calls so far, repeated ones included.
        failing: numbers of the calls that fail, from 0.
        error: raised by every call; None for none.
        before: called before each call, for example to advance a clock.
        hangs: set while a call hangs.
    """

    def __init__(self, engine: Engine) -> None:
        self.info, self.backend = engine.info, engine.backend
        self._engine = engine
        self.calls = 0
        self.failing: Container[int] = ()
        self.error: Exception | None = None
        self.before: Callable[[], None] = lambda: None
        self.hangs = threading.Event()
        self._may_return = threading.Event()
        self._may_return.set()

    def hang(self) -> None:
        """Let the next call hang until `release`."""
        self._may_return.clear()

    def release(self) -> None:
        """Let all calls return again."""
        self._may_return.set()

    def infer(
        self,
        frames: NDArray[np.float32],
        cached_maps: NDArray[np.float32],
        past: NDArray[np.float32],
    ) -> Inference:
        self.calls += 1
        self.before()
        if not self._may_return.is_set():
            self.hangs.set()
            self._may_return.wait()
            self.hangs.clear()
        if self.error is not None:
            raise self.error
        if self.calls - 1 in self.failing:
            raise RuntimeError("the injected fault\nand its details")
        return self._engine.infer(frames, cached_maps, past)


@contextmanager
def running_program(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """Run a program as `Popen` does, and kill it where the test fails.

    `Popen` waits for its end without limit, so that a test with a time limit would hang there.
    """
    with subprocess.Popen(command, **options) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def music(
    seconds: float, sample_rate_hz: int = 44_100, *, channels: int = 1, seed: int = 0
) -> NDArray[np.float32]:
    """Return a signal with notes, beats and noise: float32 [n, channels]."""
    rng = np.random.default_rng(seed)
    count = round(seconds * sample_rate_hz)
    time_s = np.arange(count) / sample_rate_hz
    signal = 0.01 * rng.standard_normal(count)
    for onset_s in np.arange(0.0, seconds, 0.25):
        frequency = 110.0 * 2.0 ** (rng.integers(0, 36) / 12.0)
        # After seven seconds, what is left of a note is less than the rounding of the samples.
        start, end = np.searchsorted(time_s, (onset_s, onset_s + 7.0))
        after = time_s[start:end] - onset_s
        note = 0.2 * np.exp(-6.0 * after) * np.sin(2 * np.pi * frequency * after)
        signal[start:end] += note
    gains = np.linspace(1.0, 0.6, channels)
    return np.asarray(signal[:, None] * gains, dtype=np.float32)


def blocks(samples: NDArray[np.float32], sizes: Sequence[int]) -> Iterable[NDArray[np.float32]]:
    """Cut a signal into blocks of the given sizes, which repeat."""
    start, index = 0, 0
    while start < len(samples):
        end = start + sizes[index % len(sizes)]
        yield samples[start:end]
        start, index = end, index + 1


def values(estimates: Iterable[Estimate]) -> NDArray[np.float64]:
    """Return what must not depend on the block sizes: time, values, intervals and level.

    Returns:
        float64 [n, 8], or [n, 14] for estimates with fast values.
    """
    return np.array(
        [
            (
                e.t,
                e.valence,
                e.arousal,
                e.valence_low,
                e.valence_high,
                e.arousal_low,
                e.arousal_high,
                e.level_db,
                *fast_values(e),
            )
            for e in estimates
        ]
    )


def fast_values(estimate: Estimate) -> tuple[float, ...]:
    """Return the fast values and their intervals: six numbers, or none."""
    fast = estimate.fast
    if fast is None:
        return ()
    return (
        *(fast.valence, fast.arousal, fast.valence_low, fast.valence_high),
        *(fast.arousal_low, fast.arousal_high),
    )
