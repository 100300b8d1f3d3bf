"""The numbers of a report."""

from __future__ import annotations

import pytest
from report_support import TARGET, estimate, music, session_of, utc_at

from realtime_mer.core.events import Marker
from realtime_mer.core.target import TargetTrajectory
from realtime_mer.core.types import State
from realtime_mer.report.measures import Measures, compare

SILENCE = [estimate(t, 0.9, 0.9, "excited", State.SILENCE, -90.0) for t in range(11, 21)]


def test_shares_and_means_are_over_the_music_alone() -> None:
    points = [(0.4, 0.0, "calm")] * 6 + [(-0.4, 0.5, "sad")] * 4
    measures = Measures(session_of([*music(points), *SILENCE]))
    assert measures.music_s == 10.0
    assert measures.mood_shares == {"calm": pytest.approx(0.6), "sad": pytest.approx(0.4)}
    assert measures.state_s == {"music": 10.0, "silence": pytest.approx(10.0)}
    valence = measures.dimension("valence")
    assert valence is not None
    assert valence.mean == pytest.approx(0.08)
    assert valence.deviation == pytest.approx(0.8 * (0.6 * 0.4) ** 0.5)
    assert (valence.lowest, valence.highest) == (-0.4, 0.4)
    assert measures.level_db == -20.0


def test_an_estimate_counts_for_the_time_that_it_stands_for() -> None:
    items = [estimate(1, 0.0), estimate(2, 0.0), estimate(6, 0.6)]
    valence = Measures(session_of(items)).dimension("valence")
    assert valence is not None
    assert valence.mean == pytest.approx(0.4)


def test_without_music_there_is_nothing_to_measure() -> None:
    measures = Measures(session_of(SILENCE), TARGET)
    assert measures.music_s == 0.0
    assert measures.mood_shares == {}
    assert measures.dimension("valence") is None
    assert measures.level_db is None
    assert measures.peaks == []
    assert measures.changes == []
    assert measures.target is not None
    assert not measures.target.has_music
    assert measures.target.largest == 0.0


def test_peaks_are_where_the_window_was_full() -> None:
    items = [
        estimate(1, 0.9, 0.9, state=State.SETTLING),
        estimate(2, 0.1, -0.3, "still"),
        estimate(3, 0.5, 0.4, "joyful"),
    ]
    found = {(peak.what, peak.t, peak.mood) for peak in Measures(session_of(items)).peaks}
    assert found == {
        ("highest arousal", 3.0, "joyful"),
        ("lowest arousal", 2.0, "still"),
        ("highest valence", 3.0, "joyful"),
        ("lowest valence", 2.0, "still"),
    }


def test_the_largest_change_is_found_once_and_where_it_is() -> None:
    points = [(0.0, 0.0, "calm")] * 60 + [(0.6, -0.3, "calm")] * 60
    (change,) = Measures(session_of(music(points))).changes
    assert change.t == 60.0
    assert change.before == pytest.approx((0.0, 0.0))
    assert change.after == pytest.approx((0.6, -0.3))
    assert change.distance == pytest.approx((0.6**2 + 0.3**2) ** 0.5)


def test_values_that_hardly_move_have_no_changes() -> None:
    assert (
        Measures(session_of(music([(0.02 * (n % 2), 0, "calm") for n in range(90)]))).changes == []
    )


def test_what_was_before_and_after_a_marker() -> None:
    points = [(0.0, 0.5, "tense")] * 40 + [(0.4, -0.5, "calm")] * 40
    marker = Marker(40.0, utc_at(40), "eyes open")
    (marked,) = Measures(session_of([*music(points), marker])).marked
    assert (marked.text, marked.mood, marked.at) == ("eyes open", "tense", (0.0, 0.5))
    assert marked.before == pytest.approx((0.0, 0.5))
    assert marked.after == pytest.approx((0.4, -0.5))


def test_a_marker_without_music_around_has_no_values() -> None:
    markers = [Marker(5.0, utc_at(5), "early"), Marker(15.0, utc_at(15), "quiet")]
    early, quiet = Measures(session_of([*SILENCE, *markers])).marked
    assert early.at is early.before is early.after is None
    assert quiet.at is quiet.before is None


def test_the_distance_to_a_target() -> None:
    target = TargetTrajectory.from_dict({"points": [{"t_s": 0, "valence": 0.3, "arousal": 0.4}]})
    points = [(0.3, 0.4, "joyful")] * 5 + [(0.0, 0.0, "neutral")] * 5
    measured = Measures(session_of([*music(points), *SILENCE]), target).target
    assert measured is not None
    assert measured.mean_distance == pytest.approx(0.25)
    assert measured.largest == pytest.approx(0.5)
    assert measured.mean_between(0.0, 5.0) == pytest.approx(0.0)
    assert measured.mean_between(5.0, 10.0) == pytest.approx(0.5)
    assert measured.mean_between(10.0, 20.0) is None
    # The intervals are 0.3 to each side: the target leaves that of arousal, not that of valence.
    assert measured.shares_within == pytest.approx((1.0, 0.5, 0.5))


def test_two_sessions_are_compared_where_both_have_music() -> None:
    one = session_of([*music([(0.0, 0.0, "calm")] * 10), *SILENCE])
    other = session_of(music([(0.3, 0.4, "calm")] * 15))
    found = compare(one, other)
    assert found.seconds == 10.0
    assert found.mean_distance == pytest.approx(0.5)


def test_sessions_without_common_music_have_no_distance() -> None:
    found = compare(session_of(SILENCE), session_of(music([(0.0, 0.0, "calm")] * 5)))
    assert (found.seconds, found.mean_distance) == (0.0, None)
