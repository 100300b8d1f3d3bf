"""A metronome whose clicks are at known times."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from realtime_mer.core.beat_tracker import BeatTracker
from realtime_mer.core.events import RhythmEvent, RhythmKind
from realtime_mer.core.onset_detector import OnsetDetector

FIRST_CLICK_S = 0.5


class Listener:
    """An onset detector and the beat tracker that follows it.

    Args:
        rate_hz, start: as for `OnsetDetector`.
    """

    def __init__(self, rate_hz: int, *, start: int = 0) -> None:
        self.detector = OnsetDetector(rate_hz, start=start)
        self.tracker = BeatTracker()

    @property
    def bpm(self) -> float | None:
        """That of the tracker."""
        return self.tracker.bpm

    def feed(self, samples: NDArray[np.float32]) -> list[RhythmEvent]:
        """Return the rhythm in the next samples, float32 [n]."""
        return self.tracker.follow(self.detector.feed(samples))

    def skip(self, samples: int) -> list[RhythmEvent]:
        """Return the rhythm in lost samples."""
        return self.tracker.follow(self.detector.skip(samples))


def click_times(bpm: float, seconds: float) -> NDArray[np.float64]:
    """Return the times of the clicks of `metronome` in seconds."""
    return np.arange(FIRST_CLICK_S, seconds - 0.1, 60.0 / bpm)


def metronome(bpm: float, seconds: float, rate_hz: int) -> NDArray[np.float32]:
    """Render clicks of 50 ms, a decaying tone of 1 kHz: float32 [n], peak 0.5."""
    samples = np.zeros(round(seconds * rate_hz), dtype=np.float32)
    t = np.arange(round(0.05 * rate_hz)) / rate_hz
    click = (0.5 * np.sin(2 * np.pi * 1000.0 * t) * np.exp(-t / 0.01)).astype(np.float32)
    for moment in click_times(bpm, seconds):
        start = round(moment * rate_hz)
        part = samples[start : start + len(click)]
        part += click[: len(part)]
    return samples


def times(rhythm: Iterable[object], kind: RhythmKind) -> list[float]:
    """Return the times of the rhythm of a kind, of items of any type."""
    return [item.t for item in rhythm if isinstance(item, RhythmEvent) and item.kind is kind]


def found_share(times_s: Iterable[float], truth_s: NDArray[np.float64], within_s: float) -> float:
    """Return the share of the true times that have a found time at most `within_s` away."""
    found = np.array([*times_s, -np.inf])
    return float(np.mean([np.abs(found - moment).min() <= within_s for moment in truth_s]))
