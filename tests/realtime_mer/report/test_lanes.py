"""The paths of the drawings over time."""

from __future__ import annotations

import re

import numpy as np
import pytest
from report_support import TARGET, estimate, session_of

from realtime_mer.core.types import State
from realtime_mer.report.lanes import (
    MAX_SPANS,
    TimeAxis,
    band,
    curve,
    drawn_spans,
    target_curve,
    uprights,
    y_of,
)

AXIS = TimeAxis(100.0)
NO_BREAK = np.zeros(4, dtype=bool)
ALL = np.ones(4, dtype=bool)
T_S = np.array([10.0, 20.0, 30.0, 40.0])
Y = np.array([0.0, 50.0, 100.0, 25.0])


def points_of(path: str) -> list[list[tuple[float, float]]]:
    """Return the points of each part of a path."""
    parts = []
    for part in path.split("M")[1:]:
        numbers = [float(number) for number in re.findall(r"-?[\d.]+(?:e-?\d+)?", part)]
        parts.append(list(zip(numbers[::2], numbers[1::2], strict=True)))
    return parts


def test_values_are_drawn_from_the_top() -> None:
    assert y_of(np.array([1.0, 0.0, -1.0, 3.0])).tolist() == [0.0, 50.0, 100.0, 0.0]


def test_a_curve_goes_through_its_points() -> None:
    path = curve(AXIS, T_S, Y, ALL, NO_BREAK)
    assert points_of(path) == [[(100, 0), (200, 50), (300, 100), (400, 25)]]


def test_a_curve_is_broken_where_nothing_is_drawn_and_at_gaps() -> None:
    drawn = np.array([True, True, False, True])
    assert [len(part) for part in points_of(curve(AXIS, T_S, Y, drawn, NO_BREAK))] == [2, 2]
    starts = np.array([False, False, True, False])
    assert [len(part) for part in points_of(curve(AXIS, T_S, Y, ALL, starts))] == [2, 2]


def test_a_single_point_can_be_seen() -> None:
    only = np.array([False, True, False, False])
    ((left, right),) = points_of(curve(AXIS, T_S, Y, only, NO_BREAK))
    assert left[0] < right[0] == 200
    assert left[1] == right[1] == 50


def test_a_band_goes_there_and_back() -> None:
    (points,) = points_of(band(AXIS, T_S, Y + 10.0, Y, ALL, NO_BREAK))
    assert points[:4] == [(100, 0), (200, 50), (300, 100), (400, 25)]
    assert points[4:] == [(400, 35), (300, 110), (200, 60), (100, 10)]


def test_no_peak_of_hours_is_lost() -> None:
    t_s = np.arange(36_000) / 10.0
    y = 50.0 + 10.0 * np.sin(t_s)
    y[17_003], y[23_001] = 3.0, 97.0
    everywhere, nowhere = np.ones(len(y), dtype=bool), np.zeros(len(y), dtype=bool)
    ((*points,),) = points_of(curve(TimeAxis(3600.0), t_s, y, everywhere, nowhere))
    assert len(points) <= 2_002
    drawn = [value for _, value in points]
    assert (min(drawn), max(drawn)) == (3.0, 97.0)
    (edge,) = points_of(band(TimeAxis(3600.0), t_s, y, y, everywhere, nowhere))
    assert (min(v for _, v in edge), max(v for _, v in edge)) == (3.0, 97.0)


def test_a_target_is_drawn_with_its_corners_and_beyond() -> None:
    (points,) = points_of(target_curve(TimeAxis(200.0), TARGET, 0, 200.0))
    assert points == [(0, 70), (500, 30), (1000, 30)]


def test_strokes_in_the_same_column_are_one() -> None:
    assert uprights(AXIS, [10.0, 10.01, 50.0], 0.0, 45.0) == "M100 0V45M500 0V45"


@pytest.mark.parametrize("end_s", [1.0, 48.0, 600.0, 3600.0, 90_000.0, 1e6])
def test_there_are_a_few_round_ticks(end_s: float) -> None:
    ticks = TimeAxis(end_s).ticks()
    assert ticks[0] == 0
    assert 2 <= len(ticks) <= 11
    assert ticks[-1] <= end_s


def test_many_short_spans_are_drawn_by_the_longest_in_each_column() -> None:
    items = []
    for n in range(1, 10_001):
        word = "sad" if n % 4 == 0 else "calm"
        items.append(estimate(float(n), mood=word))
    items += [estimate(10_000.0 + n, state=State.SILENCE) for n in range(1, 101)]
    session = session_of(items)
    assert len(session.spans) > MAX_SPANS
    drawn = drawn_spans(session)
    assert [span.word for span in drawn] == ["calm", "silence"]
    assert drawn[0].start_s == 0.0
    assert drawn[1].end_s == pytest.approx(10_100.0)
