"""Frames between estimates: evenly, and as many as asked for."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable
from math import ceil

import pytest

from realtime_mer.outputs.frame_times import FrameTimes


def sent(rate_hz: float, hop_s: float, estimates_s: Iterable[float], end_s: float) -> list[float]:
    """The times of all frames, with a loop like that of `OutputWorker`."""
    times = FrameTimes(rate_hz, hop_s, 0.0)
    found = []
    now = 0.0
    coming = [*estimates_s, float("inf")]
    while (now := min(times.due_s, coming[0])) < end_s:
        if now == coming[0]:
            del coming[0]
            if times.due_with_estimate(now):
                found.append(now)
        if times.due_without_estimate(now):
            found.append(now)
    return found


def late(hop_s: float, count: int, latest_s: float = 0.005) -> list[float]:
    """When estimates arrive that are late by up to `latest_s`."""
    chance = random.Random(0)
    return [hop_s * k + chance.uniform(0.0, latest_s) for k in range(count)]


@pytest.mark.parametrize(
    ("rate_hz", "hop_s", "expected_hz"),
    [
        (30.0, 1.0, 30.0),
        (30.0, 0.1, 30.0),
        (44.0, 1.0, 44.0),
        (50.0, 0.1, 50.0),
        (2.5, 1.0, 2.0),  # a whole number for each estimate
        (1.0, 1.0, 1.0),
        (10.0, 0.1, 10.0),
        (7.0, 0.1, 7.0),
        (1.0, 0.1, 1.0),
        (0.1, 1.0, 0.1),
    ],
)
def test_rate(rate_hz: float, hop_s: float, expected_hz: float) -> None:
    end_s = 100.0
    found = sent(rate_hz, hop_s, late(hop_s, round(end_s / hop_s)), end_s)
    assert len(found) == pytest.approx(expected_hz * end_s, abs=1)
    gaps = [later - earlier for earlier, later in itertools.pairwise(found)]
    if rate_hz * hop_s >= 1.0:
        assert max(gaps) < 1.0 / expected_hz + 0.006
        assert min(gaps) > 1.0 / expected_hz - 0.006


@pytest.mark.parametrize("rate_hz", [1.0, 30.0])
@pytest.mark.parametrize("latest_s", [0.005, 0.021])
def test_an_estimate_is_sent_at_once(rate_hz: float, latest_s: float) -> None:
    estimates_s = late(1.0, 20, latest_s)
    assert set(estimates_s) <= set(sent(rate_hz, 1.0, estimates_s, 30.0))


def test_estimates_that_wait_for_a_block_of_audio_change_no_rate() -> None:
    # A microphone's blocks of 1024 samples.
    found = sent(30.0, 1.0, [1024 / 48000 * ceil(k * 48000 / 1024) for k in range(100)], 100.0)
    assert len(found) == pytest.approx(3000, abs=10)


def test_frames_go_on_without_estimates() -> None:
    found = sent(30.0, 1.0, [0.0], 10.0)
    assert len(found) == pytest.approx(300, abs=2)
    assert len(sent(0.5, 1.0, [0.0], 100.0)) == pytest.approx(50, abs=1)


def test_estimates_that_come_in_a_burst_hardly_exceed_the_rate() -> None:
    found = sent(10.0, 1.0, [k * 0.001 for k in range(1000)], 1.0)
    assert len(found) <= 10 / 0.75 + 1


def test_frames_that_were_missed_are_not_sent_later() -> None:
    times = FrameTimes(30.0, 1.0, 0.0)
    assert times.due_with_estimate(0.0)
    assert times.due_without_estimate(20.0)
    assert not times.due_without_estimate(20.01)
    assert times.due_without_estimate(20.03)


def test_nothing_is_due_before_the_first_estimate() -> None:
    assert not FrameTimes(30.0, 1.0, 0.0).due_without_estimate(1e6)


def test_a_frame_for_what_was_set_by_hand_is_due_at_once_but_not_above_the_highest_rate() -> None:
    times = FrameTimes(0.1, 1.0, 100.0)
    times.hurry(100.0)
    assert times.due_s == math.inf  # there is nothing to send before the first estimate
    assert times.due_with_estimate(101.0)
    times.hurry(103.0)
    assert times.due_s == 103.0
    assert times.due_without_estimate(103.0)
    for _ in range(3):
        times.hurry(103.001)
    assert times.due_s == pytest.approx(103.02)
