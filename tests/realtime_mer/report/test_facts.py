"""When a session was, and what it lacks, in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from report_support import HEADER, START, estimate, session_of, utc_at

from realtime_mer.core.types import State
from realtime_mer.recording.lines import RecordedNotice
from realtime_mer.report.facts import local_clock, missing, when
from realtime_mer.report.session import Session


def paused() -> Session:
    """Five seconds, an hour of nothing, and five more seconds."""
    began = START + timedelta(hours=1)
    later = [replace(estimate(5.0 + n), utc=utc_at(3600.0 + n)) for n in range(1, 6)]
    items = [*(estimate(float(n)) for n in range(1, 6)), *later]
    return Session("evening", items, hop_s=1.0, header=HEADER, run_starts=[began])


def test_the_time_of_day_goes_on_where_the_recording_stood_still() -> None:
    session = paused()
    assert when(session) == "Wednesday 25 November 2026, 14:02 to 15:02 (UTC+01:00), 10 s"
    assert missing(session) == [
        "At 0:05 the recording stood still for 1 h; the time axis goes on without that."
    ]


@pytest.mark.parametrize(
    ("utc", "expected"),
    [
        ("2026-11-25T13:02:11.900Z", "14:02:11"),
        ("2026-11-25T23:59:59", "00:59:59"),
        ("9999-12-31T23:59:59Z", ""),
        ("soon", ""),
    ],
)
def test_a_marker_has_the_local_time_of_its_moment(utc: str, expected: str) -> None:
    assert local_clock(session_of([estimate(1.0)]), utc) == expected


def test_a_session_over_midnight_names_both_days() -> None:
    header = replace(HEADER, time_zone="-03:30", started_utc="2026-11-26T03:25:00Z")
    session = session_of([estimate(600.0)], header=header)
    assert when(session) == (
        "Wednesday 25 November 2026, 23:55 to 26 November, 00:05 (UTC\u221203:30), 10 min"
    )


def test_a_table_that_was_recorded_has_its_time_and_no_time_of_day_of_its_place() -> None:
    session = session_of([estimate(float(n)) for n in range(1, 61)], header=None)
    assert when(session) == "Wednesday 25 November 2026, 13:02 to 13:03 (UTC), 1 min"
    assert local_clock(session, utc_at(30.0)) == ""


def test_a_time_that_is_none_is_left_out() -> None:
    for utc in ("yesterday", "0001-01-01T00:00:00Z"):
        session = session_of([replace(estimate(45.0), utc=utc)], header=None)
        assert when(session) == "45 s"


def test_gaps_and_messages_are_listed_up_to_a_number() -> None:
    items = [estimate(20.0 * n) for n in range(12)]
    notices = [RecordedNotice(1.0, utc_at(1), "code", f"message {n}") for n in range(50)]
    gaps, *messages, more = missing(session_of([*items, *notices]))
    assert gaps.startswith("No estimates for 3 min 29 s: 0:00 to 0:19, 0:20 to 0:39, ")
    assert gaps.endswith(" and 1 more.")
    assert messages[0] == "At 0:01: message 0."
    assert (len(messages), more) == (40, "10 more messages are in the recording.")


def test_a_stall_and_a_cut_file_are_told() -> None:
    items = [estimate(1.0), estimate(2.0, state=State.STALLED)]
    session = Session("e", items, hop_s=1.0, header=HEADER, remark="line 9 of e was cut off")
    assert missing(session) == [
        "No audio arrived for 1 s; the last values were kept.",
        "Line 9 of e was cut off.",
    ]
